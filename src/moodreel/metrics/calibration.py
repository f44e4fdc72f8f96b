"""Whether probabilities mean what they say: NLL, Brier score, calibration error, temperature, risk and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.errors import EvaluationError
from moodreel.labels import N_EMOTIONS
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, Resampling, bootstrap, group_clips, sum_by_group
from moodreel.metrics.outcomes import Floats, Ints, Outcomes

N_BINS = 15
SMALLEST_PROBABILITY = 1e-12
"""Floor under the logarithm, so that one clip given probability 0 costs 27.6 nats and not infinity."""

_TEMPERATURES = (0.02, 50.0)
_GOLDEN = (np.sqrt(5.0) - 1) / 2


@dataclass(frozen=True)
class Bin:
    """Clips of about the same confidence, a point of the reliability diagram.

    Attributes:
        n_clips: clips in the bin.
        confidence: mean probability of the likeliest emotion, 0-1.
        accuracy: part of the clips where it was right, 0-1.
    """

    n_clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say.

    Attributes:
        nll: mean negative log-likelihood of the true emotion, in nats; ln 7 = 1.946 for even probabilities.
        brier: mean squared distance of the probabilities from the truth, summed over emotions, 0-2 (Brier 1950).
        ece: expected calibration error, 0-1: mean gap of confidence and accuracy over `bins`, weighted by clips.
        bins: the reliability diagram, in the order of confidence.
    """

    nll: Interval
    brier: Interval
    ece: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class RiskCoverage:
    """What abstaining below a confidence buys (El-Yaniv & Wiener 2010), a point for each confidence that occurs.

    Attributes:
        thresholds: confidences from which a clip is answered, falling.
        coverage: part of the clips answered, rising to 1.
        risk: part of the answered clips that are wrong.
        area: mean risk over coverage (AURC, Geifman & El-Yaniv 2017); the lower the better.
    """

    thresholds: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float

    def at(self, threshold: float) -> tuple[float, float | None]:
        """Give coverage and risk when clips of lower confidence are not answered; risk `None` when none is."""
        n_kept = sum(value >= threshold for value in self.thresholds)
        return (self.coverage[n_kept - 1], self.risk[n_kept - 1]) if n_kept else (0.0, None)


def negative_log_likelihood(truth: Ints, probabilities: Floats) -> Floats:
    """Nats that the truth costs in each clip.

    Args:
        truth: class indices, shape (n_clips,).
        probabilities: shape (n_clips, n_classes), rows adding up to 1.

    Returns:
        0 or more, at most 27.6, shape (n_clips,).
    """
    given = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    costs: Floats = -np.log(np.maximum(given, SMALLEST_PROBABILITY))
    return costs


def brier_scores(truth: Ints, probabilities: Floats) -> Floats:
    """Squared distance of each clip's probabilities from the truth, summed over classes: 0-2, shape (n_clips,)."""
    target = np.eye(probabilities.shape[1])[truth]
    distances: Floats = ((probabilities - target) ** 2).sum(axis=1)
    return distances


def reliability(truth: Ints, probabilities: Floats, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Bin clips by confidence, about as many clips in each bin (adaptive bins, Nguyen & O'Connor 2015).

    Args:
        truth: class indices, shape (n_clips,).
        probabilities: shape (n_clips, n_classes).
        n_bins: most bins; clips of one confidence share a bin, so there may be fewer.

    Returns:
        Bins that hold clips, in the order of confidence.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], method="lower"))
    bins = np.searchsorted(edges, confidence, side="left")
    return tuple(
        Bin(int((bins == b).sum()), float(confidence[bins == b].mean()), float(right[bins == b].mean()))
        for b in np.unique(bins)
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean gap of confidence and accuracy, weighted by clips, 0-1 (Naeini et al. 2015)."""
    gaps = sum(b.n_clips * abs(b.confidence - b.accuracy) for b in bins)
    return gaps / sum(b.n_clips for b in bins)


def measure_calibration(
    outcomes: Outcomes, n_bins: int = N_BINS, resampling: Resampling = DEFAULT_RESAMPLING
) -> Calibration:
    """Measure whether probabilities mean what they say.

    Args:
        outcomes: the clips.
        n_bins: most bins of the reliability diagram.
        resampling: how intervals are drawn.

    Returns:
        The measures. The calibration error has no interval: its bootstrap is biased upwards, since noise in small bins
        counts as error.
    """
    groups, n_groups, kind = group_clips(outcomes)
    costs = negative_log_likelihood(outcomes.truth, outcomes.probabilities)
    squares = brier_scores(outcomes.truth, outcomes.probabilities)
    totals = sum_by_group(groups, n_groups, np.stack([costs, squares, np.ones(len(outcomes))], axis=1))
    nll, brier = bootstrap(totals, lambda sums: sums[:, :2] / sums[:, 2:], kind, resampling)
    bins = reliability(outcomes.truth, outcomes.probabilities, n_bins)
    return Calibration(nll, brier, expected_calibration_error(bins), bins)


def log_probabilities(probabilities: npt.ArrayLike) -> Floats:
    """Return the logarithm of probabilities, those below 1e-12 raised to it; same shape."""
    logarithms: Floats = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))
    return logarithms


def balance_classes(truth: Ints) -> Floats:
    """Weigh clips so that every class that occurs counts alike, as it does in UAR.

    Args:
        truth: class indices, shape (n_clips,).

    Returns:
        Above 0, adding up to 1, shape (n_clips,).
    """
    counts = np.bincount(truth)
    weights: Floats = 1 / counts[truth] / np.count_nonzero(counts)
    return weights


def compare_balanced_nll(
    before: Outcomes, after: Outcomes, resampling: Resampling = DEFAULT_RESAMPLING
) -> tuple[Interval, Interval, Interval]:
    """Measure the negative log-likelihood of two answers to the same clips, every class that occurs counting alike.

    Args:
        before: the clips as they were answered first.
        after: the same clips, in the same order, as they were answered then.
        resampling: how intervals are drawn, paired: both sides see the same draws.

    Returns:
        Nats before, after, and the gain: how many fewer there are after.
    """
    groups, n_groups, kind = group_clips(before)
    member = np.eye(N_EMOTIONS)[before.truth]
    costs = [negative_log_likelihood(one.truth, one.probabilities)[:, None] * member for one in (before, after)]
    totals = sum_by_group(groups, n_groups, np.concatenate([*costs, member], axis=1))
    first, second, gain = bootstrap(totals, _balanced_costs, kind, resampling)
    return first, second, gain


def _balanced_costs(sums: Floats) -> Floats:
    """Nats of two answers and their difference, shape (n, 3), of sums by class, shape (n, 3 * 7)."""
    first, second, n_clips = np.split(sums, 3, axis=1)
    there = n_clips > 0
    parts = [np.divide(part, n_clips, out=np.zeros_like(part), where=there) for part in (first, second)]
    means = [part.sum(axis=1) / np.maximum(there.sum(axis=1), 1) for part in parts]
    return np.stack([*means, means[0] - means[1]], axis=1)


def apply_temperature(probabilities: npt.ArrayLike, temperature: float) -> Floats:
    """Soften (above 1) or sharpen (below 1) probabilities: p^(1/T), scaled to add up to 1.

    Args:
        probabilities: shape (..., n_classes).
        temperature: above 0.

    Returns:
        Same shape; the order of the classes stays.
    """
    logits = log_probabilities(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scaled


def fit_temperature(
    truth: Ints, logits: Floats, weights: Floats | None = None, *, present: float = 1.0, pull: float = 0.0
) -> float:
    """Find the temperature with the least NLL (Guo et al. 2017, section 4.2).

    By golden-section search over its logarithm: NLL is convex in 1/T, and so is what pulls towards the present
    temperature, so that there is one dip. Fit it on clips of speakers that neither trained the network nor are tested.

    Args:
        truth: class indices, shape (n_clips,).
        logits: or log-probabilities, shape (n_clips, n_classes).
        weights: of the clips, shape (n_clips,), in any scale; alike by default.
        present: temperature that the search is pulled to, above 0.
        pull: how strongly: nats that are added to the mean NLL where 1/T has moved by as much as 1 / `present`.

    Returns:
        Between 0.02 and 50; an end of this range where no clip, or every clip, is recognised and nothing pulls.

    Raises:
        EvaluationError: no clips, or a logit that is NaN or infinite.
    """
    if not len(truth) or not np.isfinite(logits).all():
        raise EvaluationError(f"cannot fit a temperature: {'a logit is NaN or infinite' if len(truth) else 'no clips'}")
    low, high = np.log(_TEMPERATURES)
    while high - low > 1e-6:
        inner = (high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        costs = [_mean_cost(truth, logits / np.exp(x), weights) + pull * (present / np.exp(x) - 1) ** 2 for x in inner]
        low, high = (low, inner[1]) if costs[0] <= costs[1] else (inner[0], high)
    return float(np.exp((low + high) / 2))


def _mean_cost(truth: Ints, logits: Floats, weights: Floats | None) -> float:
    """Mean NLL of logits, without a floor: with one, it would have a second dip at low temperatures."""
    given = np.take_along_axis(logits, truth[:, None], axis=1)[:, 0]
    return float(np.average(np.logaddexp.reduce(logits, axis=1) - given, weights=weights))


def risk_coverage(outcomes: Outcomes) -> RiskCoverage:
    """Trace risk over coverage as the confidence asked for falls.

    Args:
        outcomes: the clips.

    Returns:
        One point for each confidence that occurs: clips of one confidence are answered together.
    """
    confidence = outcomes.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (outcomes.predicted != outcomes.truth)[order].cumsum()
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    coverage = (ends + 1) / len(outcomes)
    risk = wrong[ends] / (ends + 1)
    area = float((risk * np.diff(coverage, prepend=0.0)).sum())
    thresholds = confidence[order][ends]
    return RiskCoverage(tuple(thresholds.tolist()), tuple(coverage.tolist()), tuple(risk.tolist()), area)
