"""How well the face network meets FER2013's labels and the majority of FER+'s votes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, bootstrap
from moodreel.storage.whole_files import write_arrays, write_text
from moodreel.training.face.ferplus import Faces, majority_labels
from moodreel.training.face.loss import Priors
from moodreel.training.face.network import FaceGraph, FaceNet, enlarge
from moodreel.training.face.recipe import FaceRecipe

Array = npt.NDArray[Any]


@torch.no_grad()
def predict_logits(net: FaceNet, images: Array, side: int, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Run the network over faces as they stand.

    Args:
        net: in evaluation mode.
        images: uint8, shape (n, 48, 48).
        side: of the pictures the network sees.
        batch: faces at a time.

    Returns:
        Logits of the FER2013 and the FER+ head, float32, shape (n, 7) each.
    """
    pictures = torch.from_numpy(images).unsqueeze(1).float()
    parts = [net(enlarge(part, side)) for part in torch.split(pictures, batch)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


@dataclass(frozen=True)
class FaceScores:
    """How well labels are met.

    Attributes:
        n: faces with a label.
        accuracy: share of faces met, 0..1.
        uar: recall averaged over the emotions that occur, 0..1.
        recall: by emotion, 0..1; emotions that do not occur are left out.
        accuracy_interval: 95 % interval of the accuracy, by a bootstrap over faces: FER2013 names no people.
        uar_interval: that of the UAR.
    """

    n: int
    accuracy: float
    uar: float
    recall: Mapping[str, float]
    accuracy_interval: tuple[float | None, float | None]
    uar_interval: tuple[float | None, float | None]


def score_labels(logits: Array, labels: Array) -> FaceScores:
    """Compare the largest logit with the label.

    Args:
        logits: float, shape (n, 7).
        labels: int, shape (n,); anything outside 0..6 is left out.

    Returns:
        The scores.

    Raises:
        ValueError: no label is inside 0..6.
    """
    known = (labels >= 0) & (labels < N_EMOTIONS)
    if not known.any():
        raise ValueError("no face has a label")
    labels, met = labels[known], logits[known].argmax(1) == labels[known]
    there = np.eye(N_EMOTIONS)[labels]
    accuracy, uar = bootstrap(np.hstack([there, there * met[:, None]]), _accuracy_and_uar, "faces", DEFAULT_RESAMPLING)
    recall = {name: float(met[labels == i].mean()) for i, name in enumerate(EMOTIONS) if (labels == i).any()}
    ends = [(interval.low, interval.high) for interval in (accuracy, uar)]
    return FaceScores(len(labels), accuracy.value, uar.value, recall, *ends)


def _accuracy_and_uar(totals: Array) -> Array:
    """Accuracy and UAR, shape (n, 2), of counts of faces by emotion and of those met, shape (n, 14)."""
    counts, met = totals[:, :N_EMOTIONS], totals[:, N_EMOTIONS:]
    recall = np.where(counts > 0, met / np.maximum(counts, 1), np.nan)
    return np.stack([met.sum(1) / counts.sum(1), np.nanmean(recall, axis=1)], axis=1)


@dataclass(frozen=True)
class FaceLogits:
    """What the network answers to faces: balanced logits, float32, shape (n, 7) each.

    Attributes:
        exported: the mix that ships.
        fer2013: of the head that learned FER2013's labels.
        ferplus: of the head that learned FER+'s votes.
    """

    exported: Array
    fer2013: Array
    ferplus: Array


def read_logits(graph: FaceGraph, images: Array) -> FaceLogits:
    """Run the network over FER2013 faces, which need no crop: uint8, shape (n, 48, 48)."""
    heads = predict_logits(graph.net, images, graph.side)
    return FaceLogits(*(np.asarray(logits.numpy()) for logits in (graph.mix(*heads), *heads)))


def score_heads(answers: FaceLogits, faces: Faces, priors: Priors) -> dict[str, FaceScores]:
    """Score logits on both labels, as they are and with the labels' prior added.

    Args:
        answers: to the faces.
        faces: the same n faces.
        priors: of the training labels.

    Returns:
        `fer2013` and `ferplus_majority` as shipped; `fer2013_head` and `ferplus_head`, each head on the labels that it
        learned; and all four with the suffix `_with_prior`.

    Raises:
        ValueError: no face has a label.
    """
    majority = majority_labels(faces.votes)
    rows = {
        "fer2013": (answers.exported, priors.fer2013, faces.fer2013),
        "ferplus_majority": (answers.exported, priors.ferplus, majority),
        "fer2013_head": (answers.fer2013, priors.fer2013, faces.fer2013),
        "ferplus_head": (answers.ferplus, priors.ferplus, majority),
    }
    plain = {name: score_labels(logits, labels) for name, (logits, _, labels) in rows.items()}
    return plain | {
        f"{name}_with_prior": score_labels(logits + prior.numpy(), y) for name, (logits, prior, y) in rows.items()
    }


def write_scores(graph: FaceGraph, parts: Mapping[str, Faces], priors: Priors, recipe: FaceRecipe, out: Path) -> None:
    """Write scores of all parts with the recipe and the priors, and each part's exported logits with its labels.

    Args:
        graph: the network as exported.
        parts: labelled faces by the name of their part.
        priors: of the training labels.
        recipe: what the network was trained by.
        out: folder for `scores.json` and one `.npz` per part.
    """
    by_name = {name: dict(zip(EMOTIONS, prior.exp().tolist(), strict=True)) for name, prior in vars(priors).items()}
    scores: dict[str, Any] = {"recipe": asdict(recipe), "priors": by_name}
    for name, faces in parts.items():
        logits = read_logits(graph, faces.images)
        scores[name] = {kind: asdict(found) for kind, found in score_heads(logits, faces, priors).items()}
        labels = {"fer2013": faces.fer2013, "ferplus_majority": majority_labels(faces.votes)}
        write_arrays(out / f"{name}.npz", {"logits": logits.exported, **labels})
    write_text(out / "scores.json", json.dumps(scores, indent=1) + "\n")
