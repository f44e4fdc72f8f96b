"""UAR, WAR, macro F1, recall, precision and the confusion matrix, each figure with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.corpora import UNKNOWN_SPEAKER
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, Resampling, bootstrap, group_clips, sum_by_group
from moodreel.metrics.outcomes import Floats, Ints, Outcomes


@dataclass(frozen=True)
class ClassScores:
    """How one emotion is recognised.

    Attributes:
        label: one of `EMOTIONS`.
        n_clips: clips that truly show it.
        recall: part of these that were found; NaN where there are none.
        precision: part of the clips given this label that truly show it; NaN where none was given it.
    """

    label: str
    n_clips: int
    recall: Interval
    precision: Interval


@dataclass(frozen=True)
class Scores:
    """How well clips were recognised.

    Attributes:
        n_clips: clips scored.
        n_speakers: different known speakers among them.
        uar: unweighted average recall over the classes present: the field's main figure; chance is 1 / classes present.
        war: weighted average recall, that is accuracy.
        macro_f1: mean of F1 over the classes present.
        classes: recall and precision of each of `EMOTIONS`, in their order.
        confusion: clips by true emotion (row) and predicted emotion (column), in the order of `EMOTIONS`.
        absent: emotions that no clip truly shows, which UAR and F1 leave out.
    """

    n_clips: int
    n_speakers: int
    uar: Interval
    war: Interval
    macro_f1: Interval
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]

    @property
    def present(self) -> tuple[str, ...]:
        """The emotions that UAR and F1 are averaged over."""
        return tuple(label for label in EMOTIONS if label not in self.absent)


def confusion_matrix(truth: Ints, predicted: Ints, n_classes: int = N_EMOTIONS) -> Ints:
    """Count clips by true and predicted class.

    Args:
        truth: class indices, shape (n_clips,).
        predicted: class indices, shape (n_clips,).
        n_classes: how many classes there are.

    Returns:
        int64, shape (n_classes, n_classes): true classes in rows, predicted ones in columns.
    """
    counts = np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def recalls(confusion: npt.ArrayLike) -> Floats:
    """Part of each true class that was found.

    Args:
        confusion: counts, shape (..., n_classes, n_classes), as of `confusion_matrix`.

    Returns:
        0-1, shape (..., n_classes); NaN for a class without clips.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    return _divide(_diagonal(counts), counts.sum(axis=-1))


def precisions(confusion: npt.ArrayLike) -> Floats:
    """Part of each predicted class that is right; as `recalls`, NaN for a class never predicted."""
    counts = np.asarray(confusion, dtype=np.float64)
    return _divide(_diagonal(counts), counts.sum(axis=-2))


def f1_scores(confusion: npt.ArrayLike) -> Floats:
    """Harmonic mean of recall and precision, 2 TP / (2 TP + FP + FN); NaN for a class without clips."""
    counts = np.asarray(confusion, dtype=np.float64)
    true_clips = counts.sum(axis=-1)
    f1 = _divide(2 * _diagonal(counts), true_clips + counts.sum(axis=-2))
    return np.where(true_clips > 0, f1, np.nan)


def unweighted_average_recall(confusion: npt.ArrayLike) -> Floats:
    """UAR: mean recall over the classes present (Schuller et al. 2009, INTERSPEECH Emotion Challenge).

    Args:
        confusion: counts, shape (..., n_classes, n_classes).

    Returns:
        0-1, shape (...); NaN where there is no clip at all.
    """
    return _mean_defined(recalls(confusion))


def weighted_average_recall(confusion: npt.ArrayLike) -> Floats:
    """WAR, which is accuracy; as `unweighted_average_recall`."""
    counts = np.asarray(confusion, dtype=np.float64)
    return _divide(_diagonal(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def macro_f1(confusion: npt.ArrayLike) -> Floats:
    """Mean F1 over the classes present; as `unweighted_average_recall`."""
    return _mean_defined(f1_scores(confusion))


def _diagonal(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(part: Floats, whole: Floats) -> Floats:
    result: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return result


def _mean_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def group_confusions(outcomes: Outcomes) -> tuple[Floats, str]:
    """Count the confusion matrix of each speaker.

    Args:
        outcomes: the clips.

    Returns:
        Shape (n_groups, 49), and what the groups are, as `moodreel.metrics.group_clips` says.
    """
    groups, n_groups, kind = group_clips(outcomes)
    cells = np.eye(N_EMOTIONS**2)[outcomes.truth * N_EMOTIONS + outcomes.predicted]
    return sum_by_group(groups, n_groups, cells), kind


def score(outcomes: Outcomes, resampling: Resampling = DEFAULT_RESAMPLING) -> Scores:
    """Score predictions, every figure with an interval from a bootstrap over speakers.

    Args:
        outcomes: the clips, as `make_outcomes` gives them.
        resampling: how intervals are drawn.

    Returns:
        The scores. Classes without clips are left out of averages and listed in `Scores.absent`; in a draw of speakers
        that happens to miss a class, the averages go over the classes it holds.
    """
    totals, kind = group_confusions(outcomes)
    intervals = bootstrap(totals, _all_figures, kind, resampling)
    confusion = confusion_matrix(outcomes.truth, outcomes.predicted)
    clips = confusion.sum(axis=1)
    return Scores(
        n_clips=len(outcomes),
        n_speakers=len(set(outcomes.speakers) - {UNKNOWN_SPEAKER}),
        uar=intervals[0],
        war=intervals[1],
        macro_f1=intervals[2],
        classes=_class_scores(clips, intervals[3 : 3 + N_EMOTIONS], intervals[3 + N_EMOTIONS :]),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        absent=tuple(label for label, n_clips in zip(EMOTIONS, clips, strict=True) if not n_clips),
    )


def _all_figures(totals: Floats) -> Floats:
    """UAR, WAR, macro F1, then recall and precision of each class; shape (n, 17) of sums (n, 49)."""
    counts = totals.reshape(-1, N_EMOTIONS, N_EMOTIONS)
    averages = [unweighted_average_recall(counts), weighted_average_recall(counts), macro_f1(counts)]
    return np.concatenate([np.stack(averages, axis=1), recalls(counts), precisions(counts)], axis=1)


def _class_scores(clips: Ints, recall: Sequence[Interval], precision: Sequence[Interval]) -> tuple[ClassScores, ...]:
    rows = zip(EMOTIONS, clips, recall, precision, strict=True)
    return tuple(ClassScores(label, int(n_clips), *figures) for label, n_clips, *figures in rows)
