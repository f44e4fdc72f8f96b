"""An evaluation as one HTML page: plots inline, no request to anywhere; it opens from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from types import MappingProxyType
from typing import TypeVar

from moodreel.evaluation import plots
from moodreel.evaluation.conditions import Condition
from moodreel.evaluation.report import UAR_MEANS, Evaluation, name_adapted
from moodreel.leaks.guard import Leak
from moodreel.metrics.intervals import Interval

T = TypeVar("T")

STYLE = """
:root { color-scheme: light dark; --ink: #1a202c; --soft: #4a5568; --line: #cbd5e0; --paper: #fff;
  --warn: #fffaf0; --leak: #fff5f5; --link: #2b6cb0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --soft: #a0aec0; --line: #4a5568; --paper: #171c26;
  --warn: #2f2618; --leak: #331d20; --link: #90cdf4 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 66rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { margin: .4rem 0 }
a { color: var(--link) }
.wide { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: normal }
td:nth-child(2) { white-space: nowrap }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
td img { display: block; width: 6.5rem; max-width: none; max-height: 7rem; object-fit: contain; margin: .2rem 0 }
.figures svg, img { max-width: 100%; height: auto; color: var(--ink); fill: currentColor }
.headline { font-size: 2rem; line-height: 1.2; font-weight: 600 } .small { color: var(--soft); font-size: .85rem }
.warning { background: var(--warn); border-left: 4px solid #dd6b20; padding: .3rem .8rem; margin: .3rem 0 }
.leak { background: var(--leak); border-left: 4px solid #c53030; padding: .3rem .8rem; margin: .3rem 0 }
@media (max-width: 40rem) { body { margin: 1rem auto } .headline { font-size: 1.5rem }
  table { font-size: .8rem } th, td { padding-right: .6rem } td:nth-child(2) { white-space: normal } }
"""
"""Colours follow the reader's setting; the plots' lines and letters take the colour of the text (`plots`)."""

MOST_MISTAKES = 100
"""Clips got wrong that the page lists; `report.json` lists them all."""
MOST_PICTURES = 40
"""Clips got wrong, the worst, that are shown by a picture: a third of a megabyte at most."""


def render_html(evaluation: Evaluation, thumbnails: Mapping[str, str] = MappingProxyType({})) -> str:
    """Write an evaluation as a page.

    Args:
        evaluation: what to show.
        thumbnails: pictures of clips that were got wrong, by name of the clip, as `data:` addresses.

    Returns:
        HTML with its style and plots inside; names out of the corpus are escaped.
    """
    sections = (_head, _adaptation, _leaks, _classes, _calibration, _modalities, _conditions)
    parts = [section(evaluation) for section in sections]
    body = "\n".join([*parts, _mistakes(evaluation, thumbnails), _failures(evaluation)])
    title = escape(f"{evaluation.subject.model} on {evaluation.subject.corpus}")
    return wrap_page(title, body)


def wrap_page(title: str, body: str) -> str:
    """Put a body into a page that may load nothing, whatever a name in it says."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def render_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table that scrolls where a screen is narrower; every cell is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("<tr>" + "".join(f"<td>{_render_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><tr>{cells}</tr>{"".join(lines)}</table></div>'


@dataclass(frozen=True)
class Named:
    """A cell that names a clip, leads to its file and shows it, as far as both are known."""

    clip: str
    address: str | None
    picture: str | None


def _render_cell(cell: object) -> str:
    if not isinstance(cell, Named):
        return escape(str(cell))
    picture = "" if cell.picture is None else f'<img src="{escape(cell.picture)}" alt="" loading="lazy">'
    shown = picture + escape(cell.clip)
    return shown if cell.address is None else f'<a href="{escape(cell.address)}">{shown}</a>'


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
        f'<p class="small">UAR, unweighted average recall: {UAR_MEANS}. Guessing gives '
        f"{1 / len(scores.present):.3f}. {_explain_interval(scores.uar)}</p>"
        + render_warnings(evaluation.warnings)
        + render_table(["figure", "value", ""], rows)
    )


def _adaptation(evaluation: Evaluation) -> str:
    adaptation = evaluation.adaptation
    if adaptation is None:
        return ""
    rows = [
        (name, figures.uar, figures.war, figures.nll)
        for name, figures in (("as they are", adaptation.unadapted), (name_adapted(adaptation), adaptation.adapted))
    ]
    note = f"{adaptation.means}. UAR gained: {adaptation.uar_gain}. All other figures are of the adapted answers."
    return (
        f'<h2>With and without adaptation</h2><p class="small">{escape(note[0].upper() + note[1:])}</p>'
        + render_table(["answers", "UAR", "WAR", "negative log-likelihood"], rows)
    )


def _explain_interval(interval: Interval) -> str:
    if interval.low is None:
        return f"{escape(interval.method).capitalize()}."
    return f"Square brackets: {escape(interval.method)}."


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
    table = _leak_table(leaks.leaks)
    none = "" if table or speakers or not leaks.against else "<p>No clip stands on both sides.</p>"
    unread = f"<p>{len(leaks.unread)} clips cannot be read and were not checked.</p>" if leaks.unread else ""
    head = f'<h2>Leaks</h2><p class="small">{escape(against)}</p>'
    return head + none + shared + table + _suspicions(leaks.suspected) + unread


def _leak_table(leaks: Sequence[Leak]) -> str:
    rows = [(one.clip, one.kind, one.twin, one.twin_side, f"{1 - one.wrong:.0%}") for one in leaks]
    return render_table(["clip", "same", "as", "which stands in", "alike"], rows) if rows else ""


def _suspicions(suspected: Sequence[Leak]) -> str:
    if not suspected:
        return ""
    note = (
        "Alike by their picture alone, while their speakers are named apart: drawn figures and one studio look so, and "
        "so does a speaker under two names. Look at them; they count in the figures."
    )
    return f'<h3>Suspicions</h3><p class="small">{note}</p>{_leak_table(suspected)}'


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


def _mistakes(evaluation: Evaluation, thumbnails: Mapping[str, str]) -> str:
    mistakes = evaluation.mistakes
    if not mistakes:
        return ""
    rows = [
        (
            Named(one.clip, one.link, thumbnails.get(one.clip)),
            one.label,
            one.predicted,
            f"{one.of_label:.0%}",
            f"{one.of_predicted:.0%}",
        )
        for one in mistakes[:MOST_MISTAKES]
    ]
    more = f"; the worst {MOST_MISTAKES} of them, all stand in report.json" if len(mistakes) > MOST_MISTAKES else ""
    note = f"{len(mistakes)} of {evaluation.scores.n_clips}, the one whose truth was given the least first{more}."
    head = ["clip", "shows", "was taken for", "given to the truth", "given to the answer"]
    return f'<h2>Clips got wrong</h2><p class="small">{note}</p>{render_table(head, rows)}'


def _failures(evaluation: Evaluation) -> str:
    rows = [(failure.clip, failure.error) for failure in evaluation.failures]
    rows += [(clip, "covered by no fold") for clip in evaluation.not_covered]
    return "<h2>Clips without an answer</h2>" + render_table(["clip", "why"], rows) if rows else ""


def _figures(shown: T, *plotters: Callable[[T], str]) -> str:
    return f'<div class="figures">{"".join(plot(shown) for plot in plotters)}</div>'


def _show(interval: Interval) -> str:
    return "–" if interval.value != interval.value else str(interval)
