"""The plots of an evaluation, as SVG text that stands inside a page. Needs matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moodreel.evaluation.conditions import Condition
from moodreel.evaluation.report import Evaluation
from moodreel.labels import EMOTIONS
from moodreel.metrics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _GREY, _RED = "#3182ce", "#a0aec0", "#e53e3e"
"""Seen on white as on black."""
_INK = "#000000"
"""What becomes the colour of the page's text."""
_DARK = "#111111"
"""On a light cell of a matrix, whatever the page's text is."""
_MOST_GROUPS = 40
"""Groups of one dimension that are drawn; a corpus may have a thousand speakers, and the page lists them all."""


def plot_confusion(evaluation: Evaluation) -> str:
    """Draw the confusion matrix: part of each true emotion given each label."""
    figure, axes = _start(5.2, 4.6)
    counts = np.array(evaluation.scores.confusion, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if counts[row].any():
            colour = "white" if share > 0.55 else _DARK
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(7), EMOTIONS, rotation=45, ha="right")
    axes.set_yticks(range(7), EMOTIONS)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _finish(figure, "confusion")


def plot_recalls(evaluation: Evaluation) -> str:
    """Draw recall of each emotion with its interval, and chance."""
    classes = [one for one in evaluation.scores.classes if one.n_clips]
    figure, axes = _start(5.2, 3.2)
    _draw_intervals(axes, [one.label for one in classes], [one.recall for one in classes])
    axes.axvline(1 / len(classes), color=_GREY, linestyle=":", label="chance")
    axes.set_xlabel("recall")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return _finish(figure, "recalls")


def plot_reliability(evaluation: Evaluation) -> str:
    """Draw the reliability diagram: accuracy over confidence, a point a bin, as large as its clips are many."""
    bins = evaluation.calibration.bins
    figure, axes = _start(4.4, 4.2)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="honest")
    sizes = [300 * one.n_clips / evaluation.scores.n_clips for one in bins]
    axes.plot([one.confidence for one in bins], [one.accuracy for one in bins], color=_BLUE, linewidth=1)
    axes.scatter([one.confidence for one in bins], [one.accuracy for one in bins], s=sizes, color=_BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    axes.legend(loc="upper left", frameon=False)
    return _finish(figure, "reliability")


def plot_risk(evaluation: Evaluation) -> str:
    """Draw risk over coverage, with what the bundle's own threshold buys."""
    curve, abstention = evaluation.risk_coverage, evaluation.abstention
    figure, axes = _start(4.4, 4.2)
    axes.plot(curve.coverage, curve.risk, color=_BLUE)
    if abstention.risk is not None:
        axes.plot([abstention.coverage], [abstention.risk], "o", color=_RED, label="the bundle's threshold")
        axes.legend(loc="upper left", frameon=False)
    axes.set(xlim=(0, 1.02), ylim=(0, max(*curve.risk, 0.05) * 1.1))
    axes.set(xlabel="coverage: part of the clips answered", ylabel="risk: part of these that are wrong")
    return _finish(figure, "risk")


def plot_conditions(conditions: Sequence[Condition]) -> str:
    """Draw the UAR of each group of one dimension, of the lowest 40 where there are more."""
    shown = (
        sorted(conditions, key=lambda one: one.uar.value)[:_MOST_GROUPS]
        if len(conditions) > _MOST_GROUPS
        else conditions
    )
    figure, axes = _start(5.2, 1.1 + 0.26 * len(shown))
    names = [_plain_text(f"{one.group} ({one.n_clips})") for one in shown]
    _draw_intervals(axes, names, [one.uar for one in shown])
    axes.set_xlabel("UAR")
    return _finish(figure, conditions[0].dimension)


def _draw_intervals(axes: Axes, names: Sequence[str], intervals: Sequence[Interval]) -> None:
    for row, interval in enumerate(intervals):
        if interval.low is not None and interval.high is not None:
            axes.plot([interval.low, interval.high], [row, row], color=_BLUE, linewidth=2)
        axes.plot([interval.value], [row], "o", color=_BLUE)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.02), ylim=(len(names) - 0.5, -0.5))
    axes.grid(axis="x", color=_INK, alpha=0.15)
    axes.set_axisbelow(True)


def _plain_text(text: str) -> str:
    """Keep matplotlib from reading a name as a formula."""
    return text.replace("$", r"\$")


def _start(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure: Figure, name: str) -> str:
    """Write a figure as an `<svg>` element without ground, drawn in the colour of the text around it.

    Its name stands in every id, so that several stand on one page.
    """
    import matplotlib

    text, unsaid = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", transparent=True, metadata=unsaid)
    drawn = text.getvalue()
    own = re.sub(r'( id="|href="#|url\(#)', rf"\1{name.replace(' ', '-')}-", drawn[drawn.index("<svg") :])
    return own.replace(_INK, "currentColor")
