"""What a search of settings came to: table, JSON, plots and a page."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from moodreel.evaluation.html import render_table, wrap_page
from moodreel.evaluation.ranking import NO_EVIDENCE
from moodreel.evaluation.report import UAR_MEANS
from moodreel.metrics.comparison import Comparison
from moodreel.metrics.plain import to_plain
from moodreel.storage.whole_files import whole_file, write_text
from moodreel.training.search.tune import Tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_BLUE, _GREY, _RED = "#2b6cb0", "#a0aec0", "#c53030"


def write_tune_report(tuned: Tuned, out: Path) -> None:
    """Write `tune.json`, `history.png`, `importance.png`, `slices.png` and `report.html`.

    Args:
        tuned: what the search came to.
        out: folder of the search.

    Raises:
        OutputError: the folder cannot be written.
    """
    trials = _complete(tuned.study)
    importance = measure_importance(tuned.study)
    plots = {"history": _plot_history(tuned.study), "slices": _plot_slices(trials)}
    if importance:
        plots["importance"] = _plot_importance(importance)
    for name, figure in plots.items():
        with whole_file(out / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=110)
    write_text(out / "tune.json", json.dumps(_to_json(tuned, importance), indent=2, allow_nan=False) + "\n")
    write_text(out / "report.html", _render_page(tuned, importance, {name: out / f"{name}.png" for name in plots}))


def format_tuned(tuned: Tuned, out: Path) -> str:
    """Write what a search came to in a few lines for a terminal."""
    gain = tuned.gain
    lines = [
        _count(tuned.study),
        f"best trial: {tuned.study.best_trial.number}, UAR {tuned.study.best_value:.3f} on speakers of the search",
        *(f"  {name}: {value}" for name, value in tuned.study.best_params.items()),
        f"on speakers that the search never saw: {judge_gain(gain)}",
        f"gain over the recipe as it is: UAR {gain.uar}, WAR {gain.war}",
        f"intervals: {gain.uar.method}, differences paired",
        f"recipe: {out / 'best.yaml'}   report: {out / 'report.html'}",
    ]
    return "\n".join(lines)


def headline(gain: Comparison) -> str:
    """Say what came of the search: a gain only where there is evidence of one."""
    return f"gain in UAR {gain.uar}" if gain.differs else judge_gain(gain)


def judge_gain(gain: Comparison) -> str:
    """Say in words whether the settings found are better than the recipe as it is."""
    if gain.uar.low is None:
        return f"{NO_EVIDENCE} ({gain.uar.method})"
    if not gain.differs:
        return NO_EVIDENCE
    return "the settings found are better" if gain.uar.value > 0 else "the settings found are WORSE"


def _count(study: optuna.Study) -> str:
    counts = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
    return f"{sum(counts.values())} trials: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))


def measure_importance(study: optuna.Study) -> dict[str, float]:
    """Tell how much of the variance between trials each setting explains, 0-1 (fANOVA, Hutter et al. 2014).

    Returns:
        Shares by setting, largest first; empty where trials are too few or all alike.
    """
    values = {trial.value for trial in _complete(study)}
    if len(values) < 4:
        return {}
    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # settings that never varied
        return {}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _to_json(tuned: Tuned, importance: dict[str, float]) -> dict[str, Any]:
    trials = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "uar": trial.value,
            "settings": trial.params,
            "failure": trial.user_attrs.get("failure"),
        }
        for trial in tuned.study.get_trials(deepcopy=False)
    ]
    best = tuned.study.best_trial
    return {
        "best": {"number": best.number, "uar": best.value, "settings": best.params},
        "gain": to_plain(tuned.gain),
        "differs": tuned.gain.differs,
        "importance": importance,
        "trials": trials,
    }


def _plot_history(study: optuna.Study) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _start(7, 3.5)
    trials = _complete(study)
    axes.plot([t.number for t in trials], [t.value or 0 for t in trials], "o", color=_BLUE, label="trial")
    best: list[float] = []
    for trial in trials:
        best.append(max([*best[-1:], trial.value or 0]))
    axes.step([t.number for t in trials], best, where="post", color=_RED, label="best so far")
    pruned = study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
    last = [list(t.intermediate_values.values())[-1:] or [0.0] for t in pruned]
    axes.plot([t.number for t in pruned], [value[0] for value in last], "x", color=_GREY, label="pruned")
    axes.set(xlabel="trial", ylabel="UAR")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def _plot_importance(importance: dict[str, float]) -> Figure:
    figure, axes = _start(7, 1 + 0.28 * len(importance))
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names], color=_BLUE)
    axes.set_xlabel("share of the variance between trials (fANOVA)")
    return figure


def _plot_slices(trials: list[FrozenTrial]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = sorted({name for trial in trials for name in trial.params})
    n_rows = max(1, math.ceil(len(names) / _COLUMNS))
    figure = Figure(figsize=(2.8 * _COLUMNS, 2.4 * n_rows), layout="constrained")
    for index, name in enumerate(names, 1):
        axes = figure.add_subplot(n_rows, _COLUMNS, index)
        known = [trial for trial in trials if name in trial.params]
        values, uars = [trial.params[name] for trial in known], [trial.value or 0 for trial in known]
        axes.scatter(values, uars, s=14, color=_BLUE)
        if getattr(known[0].distributions[name], "log", False):
            axes.set_xscale("log")
        elif all(isinstance(value, int) for value in values):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=name, ylabel="UAR")
    return figure


def _start(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _render_page(tuned: Tuned, importance: dict[str, float], plots: dict[str, Path]) -> str:
    gain, best = tuned.gain, tuned.study.best_trial
    states = [
        (t.number, t.user_attrs["failure"]) for t in tuned.study.get_trials(deepcopy=False) if "failure" in t.user_attrs
    ]
    body = [
        f"<h1>Search: {escape(tuned.recipe.name)}</h1><p>{escape(_count(tuned.study))}</p>",
        f'<p class="headline">{escape(headline(gain))}</p>',
        f'<p class="small">The settings found against the recipe as it is, on speakers that the search never saw: '
        f"{escape(judge_gain(gain))}. Difference in UAR {escape(str(gain.uar))}, in WAR {escape(str(gain.war))}. "
        f"UAR, unweighted average recall: {UAR_MEANS}. {escape(gain.uar.method)}, differences paired.</p>",
        f"<h2>Best trial: {best.number}, UAR {best.value or 0:.3f} on speakers of the search</h2>",
        render_table(
            ["setting", "value", "importance"], [_setting_row(k, v, importance) for k, v in best.params.items()]
        ),
        *(f"<h2>{name}</h2>{_inline(path)}" for name, path in plots.items()),
        "<h2>Failed trials</h2>" + render_table(["trial", "why"], states) if states else "",
    ]
    return wrap_page(escape(tuned.recipe.name), "\n".join(body))


def _setting_row(name: str, value: object, importance: dict[str, float]) -> tuple[str, object, str]:
    return name, value, f"{importance[name]:.2f}" if name in importance else ""


def _inline(path: Path) -> str:
    coded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{path.stem}" style="max-width:100%" src="data:image/png;base64,{coded}">'
