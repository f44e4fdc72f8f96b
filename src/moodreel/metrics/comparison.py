"""Whether one network is better than another on the same clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moodreel.errors import EvaluationError
from moodreel.labels import N_EMOTIONS
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, Resampling, bootstrap
from moodreel.metrics.outcomes import Floats, Outcomes
from moodreel.metrics.scores import group_confusions, unweighted_average_recall, weighted_average_recall


@dataclass(frozen=True)
class Comparison:
    """The second network against the first, on the same clips.

    Attributes:
        uar: gain in UAR, second minus first.
        war: gain in WAR.
        n_only_first: clips that only the first gets right.
        n_only_second: clips that only the second gets right.
        mcnemar_p: McNemar's exact p-value, two-sided; it takes clips as independent, which clips of a speaker are not,
            so that the intervals are the safer guide.
    """

    uar: Interval
    war: Interval
    n_only_first: int
    n_only_second: int
    mcnemar_p: float

    @property
    def differs(self) -> bool:
        """Whether the interval of the gain in UAR leaves out 0."""
        return self.uar.low is not None and self.uar.high is not None and not self.uar.low <= 0 <= self.uar.high


def compare(first: Outcomes, second: Outcomes, resampling: Resampling = DEFAULT_RESAMPLING) -> Comparison:
    """Compare two networks by a paired bootstrap over speakers and McNemar's test.

    Args:
        first: what the one predicts.
        second: what the other predicts, for the same clips in any order.
        resampling: how intervals are drawn; both networks see the same draws.

    Returns:
        Gains of the second over the first.

    Raises:
        EvaluationError: the clips, their labels or speakers differ; the message names one.
    """
    second = _align(first, second)
    (totals, kind), (others, _) = group_confusions(first), group_confusions(second)
    uar, war = bootstrap(np.concatenate([totals, others], axis=1), _gains, kind, resampling)
    right = first.predicted == first.truth
    also_right = second.predicted == second.truth
    n_only_first, n_only_second = int((right & ~also_right).sum()), int((also_right & ~right).sum())
    return Comparison(uar, war, n_only_first, n_only_second, mcnemar_p_value(n_only_first, n_only_second))


def _gains(totals: Floats) -> Floats:
    first, second = totals.reshape(-1, 2, N_EMOTIONS, N_EMOTIONS).swapaxes(0, 1)
    figures = (unweighted_average_recall, weighted_average_recall)
    return np.stack([figure(second) - figure(first) for figure in figures], axis=1)


def _align(first: Outcomes, second: Outcomes) -> Outcomes:
    rows = {clip_id: row for row, clip_id in enumerate(second.clip_ids)}
    lacking = [clip_id for clip_id in first.clip_ids if clip_id not in rows]
    extra = set(second.clip_ids) - set(first.clip_ids)
    if lacking or extra:
        example = lacking[0] if lacking else min(extra)
        counts = f"{len(lacking)} only in the first, {len(extra)} only in the second"
        raise EvaluationError(f"not the same clips: {counts}, such as {example!r}; score both on one corpus and split")
    aligned = second.select([rows[clip_id] for clip_id in first.clip_ids])
    pairs = zip(first.truth, aligned.truth, first.speakers, aligned.speakers, strict=True)
    differing = [row for row, (a, b, who, other) in enumerate(pairs) if a != b or who != other]
    if differing:
        raise EvaluationError(f"clip {first.clip_ids[differing[0]]!r} has another label or speaker in the second run")
    return aligned


def mcnemar_p_value(n_only_first: int, n_only_second: int) -> float:
    """McNemar's test in its exact form: twice the binomial tail of the rarer kind of disagreement (McNemar 1947).

    Args:
        n_only_first: clips that only the first network gets right.
        n_only_second: clips that only the second gets right.

    Returns:
        Two-sided p-value, 0-1; 1 where they never disagree.
    """
    n, n_rarer = n_only_first + n_only_second, min(n_only_first, n_only_second)
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n_rarer + 1)]
    return min(1.0, 2 * math.exp(float(np.logaddexp.reduce(logs)) - n * math.log(2)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for several comparisons (Holm 1979).

    Args:
        p_values: 0-1, one a comparison.

    Returns:
        Corrected p-values in the same order, 0-1, none smaller than given.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors), 1.0)
    result = np.empty_like(corrected)
    result[order] = corrected
    return tuple(map(float, result))
