"""`moodreel evaluate`: a bundle and a corpus to answers, figures and a report in one folder."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from moodreel.corpora import Sample
from moodreel.evaluation.answers import ANSWERS_FILE
from moodreel.evaluation.html import render_html
from moodreel.evaluation.report import Evaluation, Subject, evaluate_answers, format_json
from moodreel.evaluation.run import Plan, run_plan
from moodreel.output import check_writable, write_text

JSON_FILE = "report.json"
HTML_FILE = "report.html"


def evaluate(plan: Plan, out: Path, threads: int = 2) -> Evaluation:
    """Ask the bundles about the clips, and write answers and reports.

    Args:
        plan: what to ask of which bundle.
        out: folder of `predictions.jsonl`, `report.json` and `report.html`; an interrupted evaluation in it goes on.
        threads: processor threads that a network may use.

    Returns:
        What the reports say.

    Raises:
        BundleError: a bundle cannot be used.
        EvaluationError: every clip failed, or answers in the folder are damaged or of another corpus.
        OutputError: the folder cannot be written, or holds another evaluation.
    """
    import matplotlib  # noqa: F401  # whoever lacks it hears so before hours of predicting

    for name in (JSON_FILE, HTML_FILE):
        check_writable(out / name)
    answers = run_plan(plan, out / ANSWERS_FILE, threads, show_progress)
    corpus = plan.corpus
    subject = Subject(plan.model, corpus.name, str(corpus.root), corpus.layout, plan.protocol)
    evaluation = evaluate_answers(subject, answers)
    write_text(out / JSON_FILE, format_json(evaluation))
    write_text(out / HTML_FILE, render_html(evaluation))
    return evaluation


def show_progress(samples: Sequence[Sample]) -> Iterable[Sample]:
    """Pass clips on, with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return samples
    from rich.console import Console
    from rich.progress import track

    return track(samples, "reading clips", console=Console(stderr=True), transient=True)
