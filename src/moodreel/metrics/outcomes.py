"""What is scored: the true and the predicted emotion of every clip, and who speaks in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.corpora import UNKNOWN_SPEAKER
from moodreel.errors import EvaluationError
from moodreel.labels import EMOTIONS, N_EMOTIONS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUM_TOLERANCE = 1e-3
"""How far a clip's probabilities may be from adding up to 1, as they come from float32 or from rounded text."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Clips that were predicted, beside their true labels. Made by `make_outcomes`.

    Attributes:
        clip_ids: names of the clips, each once.
        speakers: who speaks, or the film; what intervals are drawn over.
        truth: index into `EMOTIONS`, int64, shape (n_clips,).
        probabilities: float64, shape (n_clips, 7), rows add up to 1.
    """

    clip_ids: tuple[str, ...]
    speakers: tuple[str, ...]
    truth: Ints
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def predicted(self) -> Ints:
        """Index of the likeliest emotion, the first of equals; int64, shape (n_clips,)."""
        indices: Ints = self.probabilities.argmax(axis=1).astype(np.int64)
        return indices

    @property
    def speakers_known(self) -> bool:
        """Whether every clip tells its speaker."""
        return UNKNOWN_SPEAKER not in self.speakers

    def select(self, wanted: npt.ArrayLike) -> Outcomes:
        """Keep some of the clips.

        Args:
            wanted: booleans, shape (n_clips,), or indices in the order wanted.

        Returns:
            The clips chosen.
        """
        indices = np.arange(len(self))[np.asarray(wanted)]
        return Outcomes(
            clip_ids=tuple(self.clip_ids[i] for i in indices),
            speakers=tuple(self.speakers[i] for i in indices),
            truth=self.truth[indices],
            probabilities=self.probabilities[indices],
        )


def make_outcomes(
    clip_ids: Sequence[str], speakers: Sequence[str], labels: Sequence[str], probabilities: npt.ArrayLike
) -> Outcomes:
    """Check predictions and put them beside the truth.

    Args:
        clip_ids: names of the clips, each once.
        speakers: who speaks in each; `moodreel.corpora.UNKNOWN_SPEAKER` where unknown.
        labels: the true emotion of each, out of `EMOTIONS`.
        probabilities: shape (n_clips, 7) in the order of `EMOTIONS`, each row 0-1 and adding up to 1 within 1e-3.

    Returns:
        The outcomes, rows scaled to add up to 1 exactly.

    Raises:
        EvaluationError: no clips, lengths that differ, a clip named twice, an unknown label, or probabilities that are
            NaN, negative or do not add up to 1; the message names the clip.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if not clip_ids:
        raise EvaluationError("no clips to score")
    if not len(clip_ids) == len(speakers) == len(labels) == len(values) or values.shape[1:] != (N_EMOTIONS,):
        sizes = f"{len(clip_ids)} clips, {len(speakers)} speakers, {len(labels)} labels, probabilities {values.shape}"
        raise EvaluationError(f"sizes differ: {sizes}; expected probabilities ({len(clip_ids)}, {N_EMOTIONS})")
    _check_names(clip_ids)
    _check_labels(clip_ids, labels)
    _check_probabilities(clip_ids, values)
    truth = np.array([EMOTIONS.index(label) for label in labels], dtype=np.int64)
    return Outcomes(tuple(clip_ids), tuple(speakers), truth, values / values.sum(axis=1, keepdims=True))


def _check_names(clip_ids: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(clip_ids).items() if count > 1]
    if repeated:
        raise EvaluationError(f"two clips of one name: {repeated[0]!r} ({len(repeated)} such names)")


def _check_labels(clip_ids: Sequence[str], labels: Sequence[str]) -> None:
    for clip_id, label in zip(clip_ids, labels, strict=True):
        if label not in EMOTIONS:
            raise EvaluationError(f"clip {clip_id!r}: unknown label {label!r}, expected one of {', '.join(EMOTIONS)}")


def _check_probabilities(clip_ids: Sequence[str], values: Floats) -> None:
    faults = {
        "a probability is NaN or infinite": ~np.isfinite(values).all(axis=1),
        "a probability is negative": (values < 0).any(axis=1),
        "the probabilities do not add up to 1": np.abs(values.sum(axis=1) - 1) > SUM_TOLERANCE,
    }
    for fault, found in faults.items():
        if found.any():
            first = clip_ids[int(found.argmax())]
            raise EvaluationError(f"clip {first!r}: {fault} ({int(found.sum())} of {len(clip_ids)} clips)")
