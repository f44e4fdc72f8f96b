"""An evaluation as one HTML page: plots inline, no request to anywhere; it opens from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TypeVar

from moodreel.evaluation import plots
from moodreel.evaluation.conditions import Condition
from moodreel.evaluation.report import Evaluation
from moodreel.metrics.intervals import Interval

T = TypeVar("T")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a202c; max-width: 66rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { margin: .4rem 0 }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e2e8f0; vertical-align: top }
td:nth-child(2) { white-space: nowrap }
.figures { display: flex; flex-wrap: wrap; gap: 1rem } .figures svg { max-width: 100%; height: auto }
.headline { font-size: 2rem; font-weight: 600 } .small { color: #4a5568; font-size: .85rem }
.warning { background: #fffaf0; border-left: 4px solid #dd6b20; padding: .3rem .8rem; margin: .3rem 0 }
.leak { background: #fff5f5; border-left: 4px solid #c53030; padding: .3rem .8rem; margin: .3rem 0 }
"""


def render_html(evaluation: Evaluation) -> str:
    """Write an evaluation as a page.

    Args:
        evaluation: what to show.

    Returns:
        HTML with its style and plots inside; names out of the corpus are escaped.
    """
    sections = (_head, _leaks, _classes, _calibration, _modalities, _conditions, _failures)
    body = "\n".join(section(evaluation) for section in sections)
    title = escape(f"{evaluation.subject.model} on {evaluation.subject.corpus}")
    return wrap_page(title, body)


def wrap_page(title: str, body: str) -> str:
    """Put a body into a page that may load nothing, whatever a name in it says."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def render_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; every cell is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


def render_warnings(warnings: Iterable[str]) -> str:
    """Write warnings, one paragraph each."""
    return "".join(f'<p class="warning">{escape(warning)}</p>' for warning in warnings)


def _head(evaluation: Evaluation) -> str:
    subject, scores = evaluation.subject, evaluation.scores
    asked = f"{evaluation.n_clips} clips asked about, {scores.n_clips} scored, {len(evaluation.failures)} failed"
    if evaluation.not_covered:
        asked += f", {len(evaluation.not_covered)} covered by no fold"
    rows = [
        ("UAR", scores.uar, f"over {len(scores.present)} emotions; chance {1 / len(scores.present):.3f}"),
        ("WAR (accuracy)", scores.war, ""),
        ("macro F1", scores.macro_f1, ""),
        *_leaky_rows(evaluation),
        *(
            (f"people, {one.modalities}", f"{one.accuracy:.3f}", f"{one.protocol} ({one.source})")
            for one in evaluation.human
        ),
    ]
    return (
        f"<h1>{escape(subject.model)} on {escape(subject.corpus)}</h1>"
        f'<p class="small">{escape(subject.protocol)}; read from {escape(subject.root)} as {escape(subject.layout)}; '
        f"{asked}; {scores.n_speakers} known speakers</p>"
        f'<p class="headline">{"" if evaluation.honest else "NOT HONEST: "}UAR {escape(str(scores.uar))}</p>'
        f'<p class="small">Square brackets: {escape(scores.uar.method)}.</p>'
        + render_warnings(evaluation.warnings)
        + render_table(["figure", "value", ""], rows)
    )


def _leaky_rows(evaluation: Evaluation) -> list[tuple[object, ...]]:
    scores = evaluation.scores_with_leaks
    if scores is None:
        return []
    note = f"with {scores.n_clips - evaluation.scores.n_clips} clips that the bundle knows"
    return [("UAR, leaks counted in", scores.uar, note), ("WAR, leaks counted in", scores.war, note)]


def _leaks(evaluation: Evaluation) -> str:
    leaks = evaluation.leaks
    against = f"Held against {leaks.against}." if leaks.against else "There was nothing to hold the clips against."
    speakers = ", ".join(leaks.shared_speakers)
    shared = f'<p class="leak">speakers on both sides: {escape(speakers)}</p>' if speakers else ""
    rows = [(one.clip, one.kind, one.twin, one.twin_side, f"{1 - one.wrong:.0%}") for one in leaks.leaks]
    table = render_table(["clip", "same", "as", "which stands in", "alike"], rows) if rows else ""
    none = "" if rows or speakers or not leaks.against else "<p>No clip stands on both sides.</p>"
    unread = f"<p>{len(leaks.unread)} clips cannot be read and were not checked.</p>" if leaks.unread else ""
    return f'<h2>Leaks</h2><p class="small">{escape(against)}</p>' + none + shared + table + unread


def _classes(evaluation: Evaluation) -> str:
    rows = [(one.label, one.n_clips, _show(one.recall), _show(one.precision)) for one in evaluation.scores.classes]
    return (
        "<h2>By emotion</h2>"
        + _figures(evaluation, plots.plot_confusion, plots.plot_recalls)
        + render_table(["emotion", "clips", "recall", "precision"], rows)
    )


def _calibration(evaluation: Evaluation) -> str:
    measured, abstention = evaluation.calibration, evaluation.abstention
    answered = "none is answered" if abstention.risk is None else f"{abstention.risk:.3f} of the answered are wrong"
    rows = [
        ("negative log-likelihood, nats", measured.nll, "even probabilities cost 1.946"),
        ("Brier score, 0-2", measured.brier, "even probabilities cost 0.857"),
        ("expected calibration error", f"{measured.ece:.3f}", f"{len(measured.bins)} bins of about as many clips each"),
        ("area under risk over coverage", f"{evaluation.risk_coverage.area:.3f}", "the lower the better"),
        (
            "the bundle abstains on",
            f"{abstention.n_abstained} clips",
            f"{answered}, against {abstention.risk_of_all:.3f} had it answered all",
        ),
    ]
    return (
        "<h2>Do the probabilities mean what they say?</h2>"
        + _figures(evaluation, plots.plot_reliability, plots.plot_risk)
        + render_table(["measure", "value", ""], rows)
    )


def _modalities(evaluation: Evaluation) -> str:
    if not evaluation.contributions:
        return ""
    rows = [(one.modality, one.alone, one.uar, one.war, one.n_clips) for one in evaluation.contributions]
    head = ["modality", "UAR alone", "UAR it adds to the other", "WAR it adds", "clips"]
    note = '<p class="small">Measured by leaving it out, on clips where both say something.</p>'
    return "<h2>What each modality adds</h2>" + note + render_table(head, rows)


def _conditions(evaluation: Evaluation) -> str:
    worst = evaluation.worst
    named = (
        f"<p>Worst group of 20 clips or more: <b>{escape(worst.dimension)} {escape(worst.group)}</b>, "
        f"UAR {escape(str(worst.uar))}.</p>"
        if worst is not None
        else ""
    )
    note = '<p class="small">UAR goes over the emotions that a group holds, so that chance differs between groups.</p>'
    parts = groupby(evaluation.conditions, key=lambda one: one.dimension)
    return "<h2>By condition</h2>" + named + note + "".join(_dimension(name, list(group)) for name, group in parts)


def _dimension(name: str, conditions: Sequence[Condition]) -> str:
    rows = [(one.group, one.n_clips, one.n_classes, one.uar, one.war) for one in conditions]
    table = render_table([name, "clips", "emotions", "UAR", "WAR"], rows)
    folded = f"<details><summary>{len(rows)} groups</summary>{table}</details>" if len(rows) > 12 else table
    return f"<h3>{escape(name)}</h3>" + _figures(conditions, plots.plot_conditions) + folded


def _failures(evaluation: Evaluation) -> str:
    rows = [(failure.clip, failure.error) for failure in evaluation.failures]
    rows += [(clip, "covered by no fold") for clip in evaluation.not_covered]
    return "<h2>Clips without an answer</h2>" + render_table(["clip", "why"], rows) if rows else ""


def _figures(shown: T, *plotters: Callable[[T], str]) -> str:
    return f'<div class="figures">{"".join(plot(shown) for plot in plotters)}</div>'


def _show(interval: Interval) -> str:
    return "–" if interval.value != interval.value else str(interval)
