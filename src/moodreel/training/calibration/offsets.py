"""Learn how answers vary from person to person, so that strangers can be adapted to without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moodreel.labels import N_EMOTIONS
from moodreel.recognition.adaptation import OffsetModel
from moodreel.recognition.fusion import FloatArray
from moodreel.training.calibration.fit import Labels

LEAST_EMOTIONS = 4
"""Somebody who shows fewer emotions tells little of what is common to them."""
LEAST_CLIPS = 2
_FEW_PEOPLE = 10
_FLOOR = 0.01
_WITHIN_FLOOR = 0.05


def fit_offsets(answers: FloatArray, labels: Labels, people: Sequence[str]) -> OffsetModel | None:
    """Learn from clips of people who show several emotions each.

    Args:
        answers: calibrated log-probabilities of networks that were not trained on these people, shape (n, 7).
        labels: emotions shown, shape (n,), 0-6.
        people: who shows them, n names.

    Returns:
        The model; `None` where nobody shows `LEAST_EMOTIONS` emotions in `LEAST_CLIPS` clips each. An emotion that
        nobody shows is taken to move answers as the others do on average.
    """
    centred = answers - answers.mean(axis=1, keepdims=True)
    names = np.asarray(people)
    found = [_split_person(centred[names == name], labels[names == name]) for name in np.unique(names)]
    known = [one for one in found if one is not None]
    if not known:
        return None
    offsets, moved, rests = (list(parts) for parts in zip(*known, strict=True))
    return OffsetModel(
        expressions=_average_moves(moved),
        person=_spread_of_offsets(np.array(offsets)),
        within=np.cov(np.concatenate(rests).T) + _WITHIN_FLOOR * np.eye(N_EMOTIONS),
    )


def _split_person(answers: FloatArray, labels: Labels) -> tuple[FloatArray, dict[int, FloatArray], FloatArray] | None:
    """Return a person's offset, how each emotion moves the answers from there, and what remains."""
    shown = [k for k in range(N_EMOTIONS) if (labels == k).sum() >= LEAST_CLIPS]
    if len(shown) < LEAST_EMOTIONS:
        return None
    means = {k: answers[labels == k].mean(axis=0) for k in shown}
    offset = np.mean(list(means.values()), axis=0)
    rests = np.concatenate([answers[labels == k] - mean for k, mean in means.items()])
    return offset, {k: mean - offset for k, mean in means.items()}, rests


def _average_moves(moved: Sequence[dict[int, FloatArray]]) -> FloatArray:
    rows: dict[int, FloatArray] = {}
    for emotion in range(N_EMOTIONS):
        seen = [one[emotion] for one in moved if emotion in one]
        if seen:
            rows[emotion] = np.mean(seen, axis=0)
    own = float(np.mean([row[emotion] for emotion, row in rows.items()]))
    for emotion in range(N_EMOTIONS):
        alike = np.full(N_EMOTIONS, -own / (N_EMOTIONS - 1))
        alike[emotion] = own
        rows.setdefault(emotion, alike)
    moves = np.stack([rows[emotion] for emotion in range(N_EMOTIONS)])
    return np.asarray(moves - moves.mean(axis=0))


def _spread_of_offsets(offsets: FloatArray) -> FloatArray:
    """Covariance around zero, made rounder where few people are known."""
    spread = offsets.T @ offsets / len(offsets)
    roundness = 0.5 if len(offsets) < _FEW_PEOPLE else 0.1
    even = np.trace(spread) / N_EMOTIONS * np.eye(N_EMOTIONS)
    return np.asarray((1 - roundness) * spread + roundness * even + _FLOOR * np.eye(N_EMOTIONS))
