"""Evaluation: a bundle asked about labelled clips, and the reports of its answers."""

from __future__ import annotations

from moodreel.evaluation.evaluate import evaluate
from moodreel.evaluation.plan import Plan, plan_folds, plan_split
from moodreel.evaluation.ranking import rank_runs
from moodreel.evaluation.report import Evaluation

__all__ = [
    "Evaluation",
    "Plan",
    "evaluate",
    "plan_folds",
    "plan_split",
    "rank_runs",
]
