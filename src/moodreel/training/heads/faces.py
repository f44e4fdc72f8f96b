"""The face's last layer fitted anew: to faces that talk, and to people whom FER2013 does not show.

FER2013's pictures show posed, single moments. People who talk shape their mouths for sounds, which a network of
pictures takes for surprise. The features stay; the linear map from them to the seven emotions is fitted on FER2013,
FER+ and further corpora together, pulled towards the map that was there, for the further corpora are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.inference import run_network, start_session
from moodreel.labels import N_EMOTIONS
from moodreel.storage.cache import Cache, make_key
from moodreel.training.face.ferplus import UNKNOWN_LABEL, Faces, majority_labels
from moodreel.training.face.network import enlarge
from moodreel.training.heads.recipe import FaceHeadRecipe
from moodreel.training.tuned.heads import Correction

_LEAST_SPREAD = 0.01
_AT_ONCE = 64

Float32 = npt.NDArray[np.float32]


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


def find_head(graph: bytes, width: int, side_px: int) -> LinearHead:
    """Read the linear map that a face network has, from what it answers to random pictures."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2 * width, 3, 4, 4)).astype(np.float32)
    pictures = np.repeat(np.repeat(noise, side_px // 4, axis=2), side_px // 4, axis=3)
    features, logits = _run(graph, pictures)
    given = np.c_[features, np.ones(len(features))].astype(np.float64)
    weights, *_ = np.linalg.lstsq(given, logits.astype(np.float64), rcond=None)
    return LinearHead(weights[:-1].astype(np.float32), weights[-1].astype(np.float32))


def fit_head(sets: Sequence[LabelledFeatures], before: LinearHead, recipe: FaceHeadRecipe) -> LinearHead:
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
    features: Tensor, labels: Tensor, weights: Tensor, start: Tensor, bias: Tensor, recipe: FaceHeadRecipe
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


def correct_head(after: LinearHead, before: LinearHead) -> Correction:
    """What turns one map into another where it is added."""
    return Correction(
        (after.bias - before.bias).astype(np.float64), (after.weights - before.weights).astype(np.float64)
    )


def read_faces(
    graph: bytes, faces: Faces, side_px: int, recipe: FaceHeadRecipe, seed: int, cache: Cache
) -> list[LabelledFeatures]:
    """Read the features of FER2013's faces under both kinds of labels.

    Args:
        graph: the face network.
        faces: cleaned faces.
        side_px: of the pictures that the network takes.
        recipe: how many faces, and how much they count.
        seed: decides which.
        cache: where features are kept.
    """
    rng = np.random.default_rng(seed)
    known, majority = faces.fer2013 != UNKNOWN_LABEL, majority_labels(faces.votes)
    sets = []
    for labels, has_label, weight in (
        (faces.fer2013.astype(np.int64), known, recipe.fer2013),
        (majority.astype(np.int64), majority >= 0, recipe.ferplus),
    ):
        chosen = rng.permutation(np.flatnonzero(has_label))[: recipe.faces]
        sets.append(
            LabelledFeatures(_read_features(graph, faces.images[chosen], side_px, cache), labels[chosen], weight)
        )
    return sets


def _read_features(graph: bytes, images: npt.NDArray[np.uint8], side_px: int, cache: Cache) -> Float32:
    """Features of grey pictures, shape (n, height, width)."""
    key = make_key("face features", 2, sha256(graph).hexdigest(), sha256(images.tobytes()).hexdigest(), side_px)
    if (kept := cache.read(key)) is not None and "features" in kept:
        return kept["features"]
    features, _ = _run(graph, np.repeat(_enlarge(images, side_px)[:, None], 3, axis=1))
    cache.write(key, {"features": features})
    return features


def _enlarge(images: npt.NDArray[np.uint8], side_px: int) -> Float32:
    """Pictures of the network's size; whole multiples are repeated, for the network averages them back unblurred."""
    times, rest = divmod(side_px, images.shape[1])
    if times and not rest and images.shape[1] == images.shape[2]:
        return images.repeat(times, axis=1).repeat(times, axis=2).astype(np.float32)
    return enlarge(torch.from_numpy(images)[:, None].float(), side_px).numpy()[:, 0]


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
