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
from moodreel.training.face_loss import Priors
from moodreel.training.face_network import FaceGraph, FaceNet, enlarge
from moodreel.training.face_recipe import FaceRecipe
from moodreel.training.ferplus import Faces, majority_labels

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
class Scores:
    """How well labels are met.

    Attributes:
        n: faces with a label.
        accuracy: share of faces met, 0..1.
        uar: recall averaged over the emotions that occur, 0..1.
        recall: by emotion, 0..1; emotions that do not occur are left out.
    """

    n: int
    accuracy: float
    uar: float
    recall: Mapping[str, float]


def score(logits: Array, labels: Array) -> Scores:
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
    labels, guesses = labels[known], logits[known].argmax(1)
    recall = {
        name: float((guesses[labels == index] == index).mean())
        for index, name in enumerate(EMOTIONS)
        if (labels == index).any()
    }
    return Scores(len(labels), float((guesses == labels).mean()), float(np.mean(list(recall.values()))), recall)


def evaluate(logits: Array, faces: Faces, priors: Priors) -> dict[str, Scores]:
    """Score exported logits on both labels, as they are and with the labels' prior added.

    Args:
        logits: balanced, float32, shape (n, 7).
        faces: the same n faces.
        priors: of the training labels.

    Returns:
        `fer2013` and `ferplus_majority` as shipped, and both with the suffix `_with_prior`.

    Raises:
        ValueError: no face has a label.
    """
    majority = majority_labels(faces.votes)
    return {
        "fer2013": score(logits, faces.fer2013),
        "ferplus_majority": score(logits, majority),
        "fer2013_with_prior": score(logits + priors.fer2013.numpy(), faces.fer2013),
        "ferplus_majority_with_prior": score(logits + priors.ferplus.numpy(), majority),
    }


def mixed_logits(graph: FaceGraph, images: Array) -> Array:
    """The exported logits of FER2013 faces, which need no crop: float32, shape (n, 7)."""
    fer2013, ferplus = predict_logits(graph.net, images, graph.side)
    return np.asarray(graph.mix(fer2013, ferplus).numpy())


def write_scores(graph: FaceGraph, parts: Mapping[str, Faces], priors: Priors, recipe: FaceRecipe, out: Path) -> None:
    """Write scores of all parts with the recipe and the priors, and each part's exported logits with its labels.

    Args:
        graph: the network as exported.
        parts: labelled faces by the name of their part.
        priors: of the training labels.
        recipe: what the network was trained by.
        out: folder for `scores.json` and one `.npz` a part.
    """
    by_name = {name: dict(zip(EMOTIONS, prior.exp().tolist(), strict=True)) for name, prior in vars(priors).items()}
    scores: dict[str, Any] = {"recipe": asdict(recipe), "priors": by_name}
    for name, faces in parts.items():
        logits = mixed_logits(graph, faces.images)
        scores[name] = {labels: asdict(found) for labels, found in evaluate(logits, faces, priors).items()}
        np.savez(
            out / f"{name}.npz",
            logits=logits,
            fer2013=faces.fer2013,
            ferplus_majority=majority_labels(faces.votes),
        )
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
