"""Metrics: what predictions are worth, with intervals over speakers.

outcomes = make_outcomes(clip_ids, speakers, labels, probabilities)
score(outcomes).uar        # Interval(value=…, low=…, high=…, method="95% …")
"""

from __future__ import annotations

from moodreel.metrics.calibration import (
    Bin,
    Calibration,
    RiskCoverage,
    apply_temperature,
    balance_classes,
    brier_scores,
    compare_balanced_nll,
    expected_calibration_error,
    fit_temperature,
    log_probabilities,
    measure_calibration,
    negative_log_likelihood,
    reliability,
    risk_coverage,
)
from moodreel.metrics.comparison import Comparison, compare, holm, mcnemar_p_value
from moodreel.metrics.intervals import Interval, Resampling, bootstrap, group_clips, student_quantile
from moodreel.metrics.outcomes import Outcomes, make_outcomes
from moodreel.metrics.plain import to_plain
from moodreel.metrics.scores import (
    ClassScores,
    Scores,
    confusion_matrix,
    f1_scores,
    macro_f1,
    precisions,
    recalls,
    score,
    unweighted_average_recall,
    weighted_average_recall,
)

__all__ = [
    "Bin",
    "Calibration",
    "ClassScores",
    "Comparison",
    "Interval",
    "Outcomes",
    "Resampling",
    "RiskCoverage",
    "Scores",
    "apply_temperature",
    "balance_classes",
    "bootstrap",
    "brier_scores",
    "compare",
    "compare_balanced_nll",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_scores",
    "fit_temperature",
    "group_clips",
    "holm",
    "log_probabilities",
    "macro_f1",
    "make_outcomes",
    "mcnemar_p_value",
    "measure_calibration",
    "negative_log_likelihood",
    "precisions",
    "recalls",
    "reliability",
    "risk_coverage",
    "score",
    "student_quantile",
    "to_plain",
    "unweighted_average_recall",
    "weighted_average_recall",
]
