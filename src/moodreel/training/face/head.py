"""The face network's last layer fitted anew: to faces that talk, and to people whom FER2013 does not show.

FER2013's pictures show posed, single moments. People who talk shape their mouths for sounds, which a network of
pictures takes for surprise. The features stay; the linear map from them to the seven emotions is fitted on FER2013,
FER+ and further corpora together, pulled towards the map that was there, for the further corpora are small.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from moodreel.bundle import Bundle, load_bundle, read_network
from moodreel.corpora import Sample, read_corpus
from moodreel.errors import CorpusError
from moodreel.inference import run_network, start_session
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.recognition.inputs import FrameSpec, InputSpec
from moodreel.storage.cache import Cache
from moodreel.storage.whole_files import whole_folder, write_text
from moodreel.training.extraction import extract_corpus
from moodreel.training.face.ferplus import UNKNOWN_LABEL, Faces, clean_faces, majority_labels, read_ferplus
from moodreel.training.face.network import enlarge

logger = logging.getLogger(__name__)

RATE_HZ = 5.0
"""Frames per second that clips of the further corpora are read at: as in predicting."""
_LEAST_SPREAD = 0.01
_AT_ONCE = 64

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeadRecipe:
    """How the last layer is fitted.

    Attributes:
        fer2013: weight of FER2013's labels; every emotion counts alike within a set.
        ferplus: weight of FER+'s majorities.
        corpus: weight of each further corpus.
        pull: strength of the pull towards the map that was there.
        faces: most FER2013 faces of each kind of labels that are used, drawn by `seed`.
        steps: steps of the optimiser at most.
        seed: see `faces`.
    """

    fer2013: float = 1.0
    ferplus: float = 0.5
    corpus: float = 0.5
    pull: float = 3e-3
    faces: int = 9000
    steps: int = 80
    seed: int = 0


@dataclass(frozen=True)
class LinearHead:
    """Features to logits: `features @ weights + bias`; shapes (d, 7) and (7,)."""

    weights: Float32
    bias: Float32


@dataclass(frozen=True)
class LabelledFeatures:
    """Features with labels, and how much all of them count together.

    Attributes:
        features: shape (n, d).
        labels: shape (n,), 0-6.
        weight: above 0.
    """

    features: Float32
    labels: npt.NDArray[np.int64]
    weight: float


def refit_head(
    model: str, ferplus: Path, corpora: Sequence[Path], out: Path, cache: Cache, recipe: HeadRecipe = HeadRecipe()
) -> Path:
    """Fit the last layer of a late bundle's face network anew, and write the bundle with it.

    Args:
        model: name or folder of the bundle.
        ferplus: folder with FER2013 and FER+ as `train.npz` and `valid.npz`.
        corpora: further corpora of clips or pictures with labels; their people are trained on from then on.
        out: folder of the new bundle, which must not be there yet.
        cache: where features of clips are kept.
        recipe: how.

    Returns:
        The path of `bundle.json`. Its fusion and adaptation are of the old face: calibrate it next.

    Raises:
        BundleError: the bundle has no such face network.
        CorpusError: a corpus cannot be read or shows no face.
        OutputError: the folder cannot be written, or is there already.
    """
    bundle = load_bundle(model)
    graph = read_network(bundle.path, bundle.networks["face"])
    train, _ = clean_faces(*(read_ferplus(ferplus / f"{side}.npz") for side in ("train", "valid")))
    side_px = int(bundle.number("face", "side_px", 96, 16, 512))
    sets = [
        *_read_faces(graph, train, side_px, recipe),
        *(_read_corpus(model, folder, side_px, cache, recipe) for folder in corpora),
    ]
    head = fit_head(sets, find_head(graph, sets[0].features.shape[1], side_px), recipe)
    return _write_bundle(bundle, replace_head(graph, head), corpora, recipe, out)


def find_head(graph: bytes, width: int, side_px: int) -> LinearHead:
    """Read the linear map that a face network has, from what it answers to random pictures."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2 * width, 3, 4, 4)).astype(np.float32)
    pictures = np.repeat(np.repeat(noise, side_px // 4, axis=2), side_px // 4, axis=3)
    features, logits = _run(graph, pictures)
    given = np.c_[features, np.ones(len(features))].astype(np.float64)
    weights, *_ = np.linalg.lstsq(given, logits.astype(np.float64), rcond=None)
    return LinearHead(weights[:-1].astype(np.float32), weights[-1].astype(np.float32))


def fit_head(sets: Sequence[LabelledFeatures], before: LinearHead, recipe: HeadRecipe) -> LinearHead:
    """Fit the map by logistic regression pulled towards another; every emotion counts alike within a set.

    Args:
        sets: what to learn from; features are scaled by those of the first.
        before: the map to stay near.
        recipe: how strongly.
    """
    centre, spread = sets[0].features.mean(axis=0), sets[0].features.std(axis=0) + _LEAST_SPREAD
    features = torch.from_numpy(np.concatenate([(one.features - centre) / spread for one in sets]).astype(np.float32))
    labels = torch.from_numpy(np.concatenate([one.labels for one in sets]))
    weights = torch.from_numpy(np.concatenate([_balance(one) for one in sets]).astype(np.float32))
    start = torch.from_numpy(before.weights * spread[:, None])
    bias = torch.from_numpy(before.bias + centre @ before.weights)
    found, bias = _descend(features, labels, weights / weights.sum(), start, bias, recipe)
    raw = found.numpy() / spread[:, None]
    return LinearHead(raw.astype(np.float32), (bias.numpy() - centre @ raw).astype(np.float32))


def _descend(
    features: Tensor, labels: Tensor, weights: Tensor, start: Tensor, bias: Tensor, recipe: HeadRecipe
) -> tuple[Tensor, Tensor]:
    head, offset = start.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([head, offset], max_iter=recipe.steps, line_search_fn="strong_wolfe")

    def measure() -> Tensor:
        optimizer.zero_grad()
        costs = torch.nn.functional.cross_entropy(features @ head + offset, labels, reduction="none")
        loss: Tensor = (weights * costs).sum() + recipe.pull * ((head - start) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(measure)  # type: ignore[no-untyped-call]
    return head.detach(), offset.detach()


def _balance(given: LabelledFeatures) -> npt.NDArray[np.float64]:
    counts = np.bincount(given.labels, minlength=N_EMOTIONS)
    return np.asarray(given.weight / counts[given.labels] / (counts > 0).sum())


def replace_head(graph: bytes, head: LinearHead) -> bytes:
    """Return a face network whose `logits` are this map of its `features`; its other outputs stay."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "logits":
                    names[place] = "pretrained_logits"
    model.graph.initializer.extend(
        [numpy_helper.from_array(head.weights, "head.weights"), numpy_helper.from_array(head.bias, "head.bias")]
    )
    model.graph.node.extend(
        [
            helper.make_node("MatMul", ["features", "head.weights"], ["head.scores"]),
            helper.make_node("Add", ["head.scores", "head.bias"], ["logits"]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _read_faces(graph: bytes, faces: Faces, side_px: int, recipe: HeadRecipe) -> list[LabelledFeatures]:
    """Read the features of FER2013's faces under both kinds of labels."""
    rng = np.random.default_rng(recipe.seed)
    known, majority = faces.fer2013 != UNKNOWN_LABEL, majority_labels(faces.votes)
    sets = []
    for labels, has_label, weight in (
        (faces.fer2013.astype(np.int64), known, recipe.fer2013),
        (majority.astype(np.int64), majority >= 0, recipe.ferplus),
    ):
        chosen = rng.permutation(np.flatnonzero(has_label))[: recipe.faces]
        large = enlarge(torch.from_numpy(faces.images[chosen])[:, None].float(), side_px).numpy()
        features, _ = _run(graph, np.repeat(large, 3, axis=1))
        sets.append(LabelledFeatures(features, labels[chosen], weight))
    return sets


def _read_corpus(model: str, folder: Path, side_px: int, cache: Cache, recipe: HeadRecipe) -> LabelledFeatures:
    """Read the mean features of the face of each clip or picture."""
    samples: tuple[Sample, ...] = read_corpus(folder, allow_outside=True).samples
    spec = InputSpec(frames=FrameSpec("face", side_px, RATE_HZ), expressions=True)
    extraction = extract_corpus(samples, spec, cache, encoders=model, allow_unreadable=True)
    rows, labels = [], []
    for index, sample in enumerate(extraction.samples):
        features = extraction.load(index)
        if features.has_face:
            rows.append(features.expressions.mean(axis=0))
            labels.append(EMOTIONS.index(sample.label))
    if not rows:
        raise CorpusError(f"{folder}: no clip or picture shows a face; nothing can be learnt from it")
    logger.info("%s: %d faces of %d", folder, len(rows), len(samples))
    return LabelledFeatures(np.stack(rows).astype(np.float32), np.array(labels), recipe.corpus)


def _run(graph: bytes, pictures: Float32) -> tuple[Float32, Float32]:
    """Return features and logits of aligned faces, float32, shape (n, 3, side, side)."""
    session = start_session(graph, threads=2)
    width = int(next(one.shape[-1] for one in session.get_outputs() if one.name == "features"))
    parts = []
    for start in range(0, len(pictures), _AT_ONCE):
        batch = np.ascontiguousarray(pictures[start : start + _AT_ONCE], np.float32)
        shapes = {"features": (len(batch), width), "logits": (len(batch), N_EMOTIONS)}
        parts.append(run_network(session, {"faces": batch}, shapes))
    features, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
    return features, logits


def _write_bundle(bundle: Bundle, graph: bytes, corpora: Sequence[Path], recipe: HeadRecipe, out: Path) -> Path:
    manifest: dict[str, Any] = json.loads(json.dumps(dict(bundle.manifest)))
    entry = manifest["networks"]["face"]
    entry["sha256"] = sha256(graph).hexdigest()
    entry["head"] = {**asdict(recipe), "corpora": [folder.name for folder in corpora]}
    manifest.pop("adaptation", None)  # it is of the old face's answers
    with whole_folder(out) as folder:
        for name, network in bundle.networks.items():
            held = graph if name == "face" else read_network(bundle.path, network)
            (folder / str(network["file"])).write_bytes(held)
        listed = bundle.manifest.get("training_clips")
        if listed:
            (folder / str(listed["file"])).write_bytes((bundle.path / str(listed["file"])).read_bytes())
        write_text(folder / "bundle.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return out / "bundle.json"
