"""FER2013 faces with FER+ votes: reading, cleaning, labels and augmentation.

FER2013: Goodfellow et al., ICML 2013 challenge, 48x48 grey faces, one noisy label each. FER+: Barsoum et al.,
"Training deep networks for facial expression recognition with crowd-sourced label distribution", ICMI 2016, ten raters
an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from moodreel.errors import CorpusError
from moodreel.labels import N_EMOTIONS

FACE_SIDE = 48
"""Side of a FER2013 face in pixels."""

UNKNOWN_LABEL = 255
"""FER2013 label of an image whose original label was not recovered."""

NO_MAJORITY = -1
"""FER+ majority of an image without one: a tie, or most votes for contempt, unknown or not-a-face."""

VOTE_COLUMNS = (4, 5, 6, 1, 0, 3, 2)
"""Where moodreel's seven emotions stand among FER+'s columns: neutral, happiness, surprise, sadness, anger, disgust,
fear, contempt, unknown, not-a-face."""

_NOT_A_FACE = 9
_NEAR_IDENTICAL = 0.95
_THUMBNAIL = 24

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Faces:
    """Labelled faces.

    Attributes:
        images: uint8, shape (n, 48, 48), grey.
        votes: uint8, shape (n, 10), FER+ votes in FER+'s own order.
        fer2013: uint8, shape (n,), FER2013's label in moodreel's order, or `UNKNOWN_LABEL`.
    """

    images: Array
    votes: Array
    fer2013: Array

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: Array) -> Faces:
        """The faces at an index array or under a boolean mask of shape (n,)."""
        return Faces(self.images[chosen], self.votes[chosen], self.fer2013[chosen])


def read_ferplus(path: Path) -> Faces:
    """Read one `.npz` of faces.

    Args:
        path: an archive of `images`, `votes` and `fer2013` as `Faces` describes them.

    Returns:
        The faces, as they stand in the file.

    Raises:
        CorpusError: the file is missing, is no such archive, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            faces = Faces(archive["images"], archive["votes"], archive["fer2013"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise CorpusError(f"{path}: not an archive of images, votes and fer2013: {error}") from error
    n_images = len(faces)
    shapes = (faces.images.shape, faces.votes.shape, faces.fer2013.shape)
    if shapes != ((n_images, FACE_SIDE, FACE_SIDE), (n_images, 10), (n_images,)) or faces.images.dtype != np.uint8:
        raise CorpusError(f"{path}: arrays have the shapes {shapes}, expected (n, 48, 48), (n, 10) and (n,)")
    return faces


def clean_faces(train: Faces, valid: Faces) -> tuple[Faces, Faces]:
    """Remove what is no face, what stands twice, and what stands in both parts.

    Images count as the same when byte-identical or when their 24x24 thumbnails correlate above 0.95
    (at which two crops or watermarks of one photograph still match). Of several the
    first stays. Leaked images leave `valid`, so that a model trained on all of `train` is measured fairly.

    Args:
        train: the training part.
        valid: the part figures are quoted on.

    Returns:
        Both parts, cleaned.

    Raises:
        ValueError: never for faces that `read_ferplus` returns.
    """
    train, valid = _drop_non_faces(train), _drop_non_faces(valid)
    train_marks, valid_marks = _thumbnails(train.images), _thumbnails(valid.images)
    leaked = _matches(valid_marks, train_marks).any(1)
    return train.take(~_repeats(train_marks)), valid.take(~leaked & ~_repeats(valid_marks))


def _drop_non_faces(faces: Faces) -> Faces:
    flat = faces.images.reshape(len(faces), -1)
    blank = flat.min(1, initial=255) == flat.max(1, initial=0)
    return faces.take((faces.votes.argmax(1) != _NOT_A_FACE) & ~blank)


def _thumbnails(images: Array) -> Array:
    """Centred, unit-length thumbnails: float32, shape (n, 576); their inner product is the correlation."""
    step = FACE_SIDE // _THUMBNAIL
    small = images.reshape(len(images), _THUMBNAIL, step, _THUMBNAIL, step).mean((2, 4), dtype=np.float32)
    flat = small.reshape(len(images), -1)
    flat -= flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def _matches(left: Array, right: Array) -> Array:
    """Whether each of `left` shows the same picture as each of `right`: bool, shape (n_left, n_right)."""
    return np.asarray(left @ right.T > _NEAR_IDENTICAL)


def _repeats(marks: Array, chunk: int = 1024) -> Array:
    """Whether each thumbnail matches an earlier one: bool, shape (n,). Works in chunks, for n x n would not fit."""
    repeated = np.zeros(len(marks), bool)
    for start in range(0, len(marks), chunk):
        rows = marks[start : start + chunk]
        same = _matches(rows, marks[: start + len(rows)])
        repeated[start : start + len(rows)] = np.tril(same, start - 1).any(1)
    return repeated


def split_holdout(faces: Faces, share: float, seed: int) -> tuple[Faces, Faces]:
    """Set a random share of the training faces aside, to choose settings on.

    Args:
        faces: cleaned training faces.
        share: of the faces to set aside, 0..1.
        seed: of the shuffle.

    Returns:
        The faces to fit on, and those set aside.

    Raises:
        ValueError: `share` is outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share of the holdout is {share}, expected 0..1")
    order = np.random.default_rng(seed).permutation(len(faces))
    n_aside = round(share * len(faces))
    return faces.take(order[n_aside:]), faces.take(order[:n_aside])


def soft_labels(votes: Array) -> tuple[Array, Array]:
    """Turn FER+ votes into distributions over moodreel's emotions.

    Single votes are taken for slips and dropped, as FER+'s authors do; votes for contempt and unknown are left out.

    Args:
        votes: uint8, shape (n, 10).

    Returns:
        The distributions, float32 (n, 7), rows sum to 1 (or are uniform where nothing is left), and the share of all
        votes they rest on, float32 (n,), range 0..1: how much an image's distribution should count.

    Raises:
        IndexError: `votes` has fewer than ten columns.
    """
    kept = np.where(votes > 1, votes, 0).astype(np.float32)
    seven = kept[:, VOTE_COLUMNS]
    total = seven.sum(1, keepdims=True)
    distributions = np.where(total > 0, seven / np.maximum(total, 1), 1 / N_EMOTIONS).astype(np.float32)
    return distributions, (total[:, 0] / np.maximum(kept.sum(1), 1)).astype(np.float32)


def majority_labels(votes: Array) -> Array:
    """The emotion most raters saw.

    Args:
        votes: uint8, shape (n, 10).

    Returns:
        int64, shape (n,): moodreel's index of the column with strictly the most of all ten columns' votes, or
        `NO_MAJORITY` for ties and for contempt, unknown and not-a-face.

    Raises:
        IndexError: `votes` has fewer than ten columns.
    """
    emotion_of_column = np.full(votes.shape[1], NO_MAJORITY)
    emotion_of_column[list(VOTE_COLUMNS)] = np.arange(N_EMOTIONS)
    tied = (votes == votes.max(1, keepdims=True)).sum(1) > 1
    return np.where(tied, NO_MAJORITY, emotion_of_column[votes.argmax(1)])
