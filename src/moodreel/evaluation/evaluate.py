"""`moodreel evaluate`: a bundle and a corpus to answers, figures and a report in one folder."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from moodreel.bundle import load_bundle
from moodreel.corpora import Corpus, Sample
from moodreel.evaluation.answers import ANSWERS_FILE
from moodreel.evaluation.html import MOST_PICTURES, render_html
from moodreel.evaluation.mistakes import link_clip
from moodreel.evaluation.plan import Plan, PlanPart, run_plan
from moodreel.evaluation.report import Evaluation, Subject, evaluate_answers, format_json
from moodreel.evaluation.run_folders import REPORT_FILE
from moodreel.evaluation.thumbnails import make_thumbnails
from moodreel.leaks.fingerprints import Fingerprint, read_fingerprints
from moodreel.leaks.guard import TESTED, LeakReport, corpus_sides, find_leaks, join_reports, other_sides
from moodreel.leaks.training_clips import know_clips, read_training_clips
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import check_writable, write_text

HTML_FILE = "report.html"


def evaluate(
    plan: Plan, out: Path, threads: int = 2, cache: Cache | None = None, *, pictures: bool = True
) -> Evaluation:
    """Ask the bundles about the clips, and write answers and reports.

    Args:
        plan: what to ask of which bundle.
        out: folder of `predictions.jsonl`, `report.json` and `report.html`; an interrupted evaluation in it goes on.
        threads: processor threads that a network may use.
        cache: where fingerprints of clips are kept; the user's cache by default.
        pictures: whether the page shows a frame of the clips got wrong.

    Returns:
        What the reports say.

    Raises:
        BundleError: a bundle cannot be used.
        EvaluationError: every clip failed, or answers in the folder are damaged or of another corpus.
        OutputError: the folder cannot be written, or holds another evaluation.
    """
    import matplotlib  # noqa: F401  # whoever lacks it hears so before hours of predicting

    for name in (REPORT_FILE, HTML_FILE):
        check_writable(out / name)
    answers = run_plan(plan, out / ANSWERS_FILE, threads, show_progress)
    corpus = plan.corpus
    subject = Subject(plan.model, corpus.name, str(corpus.root), corpus.layout, plan.protocol, corpus.class_map)
    prints = dict(zip(plan.samples, _read_prints(plan.samples, cache), strict=True))
    leaks = join_reports([_check_part(part, corpus, prints, cache) for part in plan.parts])
    backgrounds_db = {sample.clip_id: _background_db(one) for sample, one in prints.items()}
    links = {sample.clip_id: link_clip(sample) for sample in plan.samples}
    evaluation = evaluate_answers(
        subject, answers, leaks, backgrounds_db, not_covered=plan.not_covered, links=links, adapt=plan.adapt
    )
    write_text(out / REPORT_FILE, format_json(evaluation))
    thumbnails = _picture_worst(evaluation, plan.samples) if pictures else {}
    write_text(out / HTML_FILE, render_html(evaluation, thumbnails))
    return evaluation


def _picture_worst(evaluation: Evaluation, samples: Sequence[Sample]) -> dict[str, str]:
    by_name = {sample.clip_id: sample for sample in samples}
    return make_thumbnails(show_progress([by_name[one.clip] for one in evaluation.mistakes[:MOST_PICTURES]]))


def check_corpus(corpus: Corpus, cache: Cache | None = None) -> LeakReport:
    """Find what stands on both sides of a corpus: of its own split, else of its speakers.

    Args:
        corpus: the corpus.
        cache: where fingerprints of clips are kept; the user's cache by default.

    Raises:
        OutputError: the cache cannot be written.
    """
    sides, against = corpus_sides(corpus.samples)
    return find_leaks(know_clips(corpus.samples, _read_prints(corpus.samples, cache), sides), against)


def _check_part(
    part: PlanPart, corpus: Corpus, prints: Mapping[Sample, Fingerprint | None], cache: Cache | None
) -> LeakReport:
    """Hold tested clips against those the bundle was trained on, and against the other sides of the corpus."""
    others = other_sides(part.samples, corpus.samples)
    trained = read_training_clips(load_bundle(part.model))
    known = know_clips(others, _read_prints(others, cache), [other.split or "" for other in others])
    tested = know_clips(part.samples, [prints[sample] for sample in part.samples], [TESTED] * len(part.samples))
    against = [f"{len(others)} clips of the corpus's other sides"] if others else []
    against += [f"{len(trained)} clips that the bundle lists as its training data"] if trained is not None else []
    return find_leaks([*tested, *known, *(trained or ())], " and ".join(against))


def _read_prints(samples: Sequence[Sample], cache: Cache | None) -> tuple[Fingerprint | None, ...]:
    return read_fingerprints(samples, cache or default_cache(), track=show_progress)


def _background_db(one: Fingerprint | None) -> float | None:
    return None if one is None or math.isnan(one.background_db) else one.background_db


def show_progress(samples: Sequence[Sample]) -> Iterable[Sample]:
    """Pass clips on, with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return samples
    from rich.console import Console
    from rich.progress import track

    return track(samples, "reading clips", console=Console(stderr=True), transient=True)
