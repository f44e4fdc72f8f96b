"""Where the face network learns: static faces, once for all folds, for no clip takes part."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from moodreel.metrics import confusion_matrix, unweighted_average_recall, weighted_average_recall
from moodreel.predecessors.emonets.face_cnn import CnnSettings, FaceCnn, fit_face_cnn
from moodreel.storage.cache import Cache, hash_file, make_key
from moodreel.training.face.ferplus import Faces, clean_faces, majority_labels, read_ferplus

logger = logging.getLogger(__name__)

FIT_VERSION = 1
"""Raised when the same faces and settings give other weights."""


@dataclass(frozen=True)
class FittedCnn:
    """A face network and what it is worth on static faces that it did not see.

    Attributes:
        cnn: the network.
        n_faces: faces it learned from.
        accuracy: on the valid faces, against the majority of the raters, 0-1.
        uar: likewise, unweighted average recall.
        train_cpu_s: processor seconds it took when it was fitted.
    """

    cnn: FaceCnn
    n_faces: int
    accuracy: float
    uar: float
    train_cpu_s: float


def load_face_cnn(folder: Path, settings: CnnSettings, seed: int, cache: Cache) -> FittedCnn:
    """Fit the face network on a folder of faces, or take it from the cache.

    Args:
        folder: holds `train.npz` and `valid.npz`, FER2013 with FER+ votes, as `moodreel pretrain faces` reads them.
        settings: how it is fitted.
        seed: of weights, order and augmentation.
        cache: where fitted networks are kept.

    Raises:
        CorpusError: a file is missing or of another form.
        OutputError: the cache cannot be written.
    """
    train, valid = (read_ferplus(folder / f"{side}.npz") for side in ("train", "valid"))
    hashes = [hash_file(folder / f"{side}.npz") for side in ("train", "valid")]
    fitting = {one.name: getattr(settings, one.name) for one in fields(CnnSettings)}  # no others of a subclass
    key = make_key("face_cnn", FIT_VERSION, *hashes, fitting, seed)
    entry = cache.read(key)
    if entry is None:
        entry = {name: np.asarray(value) for name, value in _fit(train, valid, settings, seed).items()}
        cache.write(key, entry)
    cnn = FaceCnn(settings.dropout)
    cnn.load_state_dict({name: torch.from_numpy(entry[f"cnn.{name}"]) for name in cnn.state_dict()})
    figures = {name: float(entry[name]) for name in ("accuracy", "uar", "train_cpu_s")}
    return FittedCnn(cnn.eval().requires_grad_(False), int(entry["n_faces"]), **figures)


def _fit(train: Faces, valid: Faces, settings: CnnSettings, seed: int) -> dict[str, object]:
    begun_cpu_s = time.process_time()
    train, valid = clean_faces(train, valid)
    labels, truth = majority_labels(train.votes), majority_labels(valid.votes)
    logger.info("face network: %d faces", (labels >= 0).sum())
    cnn = fit_face_cnn(train.images[labels >= 0], labels[labels >= 0], settings, seed)
    with torch.inference_mode():
        pictures = torch.from_numpy(valid.images[truth >= 0]).float() / 255
        found = torch.cat([cnn(part).argmax(1) for part in torch.split(pictures, 256)]).numpy()
    confusion = confusion_matrix(truth[truth >= 0], found)
    return {
        **{f"cnn.{name}": value.numpy() for name, value in cnn.state_dict().items()},
        "n_faces": (labels >= 0).sum(),
        "accuracy": weighted_average_recall(confusion),
        "uar": unweighted_average_recall(confusion),
        "train_cpu_s": time.process_time() - begun_cpu_s,
    }
