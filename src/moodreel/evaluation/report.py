"""An evaluation: everything that is said of a bundle on a corpus, as one frozen tree; as JSON and as a short table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from moodreel.errors import EvaluationError
from moodreel.evaluation.adapted import FOLDER, NONE, AdaptedScores, score_adapted
from moodreel.evaluation.answers import ClipAnswer, gather_outcomes
from moodreel.evaluation.conditions import (
    Condition,
    Contribution,
    find_worst,
    score_conditions,
    score_contributions,
)
from moodreel.evaluation.human import HUMAN_FIGURES, HumanFigure
from moodreel.evaluation.mistakes import Mistake, list_mistakes
from moodreel.leaks.guard import LeakReport, format_leaks
from moodreel.metrics.calibration import Calibration, RiskCoverage, measure_calibration, risk_coverage
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Resampling
from moodreel.metrics.outcomes import Outcomes
from moodreel.metrics.plain import to_plain
from moodreel.metrics.scores import Scores, score
from moodreel.text import printable

SCHEMA_VERSION = 2
MOST_POINTS = 200
"""Points of the risk-coverage curve that a report keeps."""
UAR_MEANS = "the part of each emotion's clips that were recognised, averaged over the emotions, each counting alike"
_MOST_LISTED = 10


@dataclass(frozen=True)
class Subject:
    """What was evaluated.

    Attributes:
        model: the bundle's title, or the folder of folds.
        corpus: name of the corpus.
        root: where it was read from.
        layout: how it was understood.
        protocol: which of its clips, in words.
        class_map: what the user said of the corpus's own classes: class -> emotion, or `ignore`.
    """

    model: str
    corpus: str
    root: str
    layout: str
    protocol: str
    class_map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A clip that could not be predicted: its name and why."""

    clip: str
    error: str


@dataclass(frozen=True)
class Abstention:
    """What the bundle's own threshold of abstention buys.

    Attributes:
        n_abstained: clips where it took the evidence for too weak.
        coverage: part of the clips that it answered, 0-1.
        risk: part of the answered clips that are wrong; `None` where it answered none.
        risk_of_all: part of all clips that are wrong, had it answered them all.
    """

    n_abstained: int
    coverage: float
    risk: float | None
    risk_of_all: float


@dataclass(frozen=True)
class Evaluation:
    """What a bundle is worth on a corpus.

    Attributes:
        schema_version: of this form.
        subject: what was evaluated.
        n_clips: clips asked about, failed ones included.
        failures: the clips that failed; they count in no figure.
        not_covered: clips of the corpus that no fold left out, by name; they were not asked about.
        n_without_evidence: clips with nothing to go by; they are dealt an emotion by the hash of their name.
        leaks: what the guard against leaks found.
        honest: whether leaked clips are out of all figures; not so where every clip leaks.
        scores: the main figures, leaked clips left out.
        scores_with_leaks: the same with them; `None` where none leaks.
        calibration: whether probabilities mean what they say.
        risk_coverage: what abstaining below other thresholds would buy, at most 200 points.
        abstention: what the bundle's own threshold buys.
        conditions: the same by groups of clips.
        worst: the group of the lowest UAR among those of 20 clips or more.
        contributions: what each modality adds.
        human: what people reach on this corpus, where published.
        mistakes: clips got wrong, the one whose truth was given the least probability first.
        adaptation: the answers beside the same before they were adapted; `None` where nothing was adapted.
        warnings: what a reader of the figures must know, one line each.
    """

    schema_version: int
    subject: Subject
    n_clips: int
    failures: tuple[Failure, ...]
    not_covered: tuple[str, ...]
    n_without_evidence: int
    leaks: LeakReport
    honest: bool
    scores: Scores
    scores_with_leaks: Scores | None
    calibration: Calibration
    risk_coverage: RiskCoverage
    abstention: Abstention
    conditions: tuple[Condition, ...]
    worst: Condition | None
    contributions: tuple[Contribution, ...]
    human: tuple[HumanFigure, ...]
    mistakes: tuple[Mistake, ...]
    adaptation: AdaptedScores | None
    warnings: tuple[str, ...]


def evaluate_answers(
    subject: Subject,
    answers: Sequence[ClipAnswer],
    leaks: LeakReport,
    backgrounds_db: Mapping[str, float | None] | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
    not_covered: Sequence[str] = (),
    links: Mapping[str, str] = MappingProxyType({}),
    adapt: str = NONE,
) -> Evaluation:
    """Work out every figure of an evaluation.

    Args:
        subject: what was evaluated.
        answers: one for each clip asked about.
        leaks: what the guard against leaks found among them.
        backgrounds_db: level of each clip's sound over its background, by name, where measured.
        resampling: how intervals are drawn.
        not_covered: clips of the corpus that no fold left out, by name.
        links: addresses of the clips' files, by name, where known.
        adapt: what the answers were to be adapted to: `none`, `clip` or `folder`.

    Raises:
        EvaluationError: every clip failed, or an answer is damaged; names the clip.
    """
    failures = tuple(Failure(a.clip, a.error or "") for a in answers if a.probabilities is None)
    if len(failures) == len(answers):
        first = f"; the first: {failures[0].error}" if failures else ""
        raise EvaluationError(f"none of {len(answers)} clips could be predicted{first}")
    answered = [answer for answer in answers if answer.probabilities is not None]
    leaked = set(leaks.leaked)
    kept = [answer for answer in answered if answer.clip not in leaked] or answered
    honest = not leaked or not leaked & {answer.clip for answer in kept}
    outcomes = gather_outcomes(kept)
    scores = score(outcomes, resampling)
    conditions = score_conditions(kept, backgrounds_db or {}, resampling)
    contributions = score_contributions(kept, resampling)
    adaptation = score_adapted(kept, adapt, resampling)
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        subject=subject,
        n_clips=len(answers),
        failures=failures,
        not_covered=tuple(not_covered),
        n_without_evidence=sum(answer.modalities == "neither" for answer in kept),
        leaks=leaks,
        honest=honest,
        scores=scores,
        scores_with_leaks=score(gather_outcomes(answered), resampling) if len(kept) < len(answered) else None,
        calibration=measure_calibration(outcomes, resampling=resampling),
        risk_coverage=_thin(risk_coverage(outcomes)),
        abstention=_measure_abstention(outcomes, kept),
        conditions=conditions,
        worst=find_worst(conditions),
        contributions=contributions,
        human=HUMAN_FIGURES.get(subject.corpus, ()),
        mistakes=list_mistakes(outcomes, links),
        adaptation=adaptation,
        warnings=(
            *_warn_of_leaks(leaks, honest, len(answered) - len(kept)),
            *_warn_of_not_covered(not_covered),
            *_warn_of_adaptation(adapt, adaptation),
            *_warn(scores, outcomes, failures, contributions),
        ),
    )


def _measure_abstention(outcomes: Outcomes, answered: Sequence[ClipAnswer]) -> Abstention:
    wrong = outcomes.predicted != outcomes.truth
    kept = np.array([not answer.abstained for answer in answered])
    risk = float(wrong[kept].mean()) if kept.any() else None
    return Abstention(int((~kept).sum()), float(kept.mean()), risk, float(wrong.mean()))


def _thin(curve: RiskCoverage) -> RiskCoverage:
    rows = np.unique(np.linspace(0, len(curve.coverage) - 1, MOST_POINTS).round().astype(int))
    lines = ([line[row] for row in rows] for line in (curve.thresholds, curve.coverage, curve.risk))
    thresholds, coverage, risk = map(tuple, lines)
    return replace(curve, thresholds=thresholds, coverage=coverage, risk=risk)


def _warn_of_leaks(leaks: LeakReport, honest: bool, n_left_out: int) -> list[str]:
    if not honest:
        return ["NO HONEST FIGURE: the bundle knows every clip, by speaker or recording"]
    if n_left_out:
        return [f"{n_left_out} clips leak and are left out: the bundle knows their speaker or recording"]
    if not leaks.against:
        return ["the bundle lists no training clips: whether it was trained on these cannot be checked"]
    return []


def _warn_of_not_covered(clips: Sequence[str]) -> list[str]:
    if not clips:
        return []
    return [
        f"{len(clips)} clips stand in no fold's test clips and count in no figure: a fold lacks or could not read them"
    ]


def _warn_of_adaptation(adapt: str, adaptation: AdaptedScores | None) -> list[str]:
    if adapt != FOLDER:
        return []
    if adaptation is None:
        return ["nothing was adapted: the bundle was not taught how answers vary between people"]
    if adaptation.n_people == adaptation.n_clips:
        return ["no two clips of one speaker are known: each clip was adapted to itself alone"]
    return []


def _warn(
    scores: Scores, outcomes: Outcomes, failures: Sequence[Failure], contributions: Sequence[Contribution]
) -> list[str]:
    warnings = []
    if failures:
        warnings.append(f"{len(failures)} clips failed and count in no figure")
    if scores.absent:
        warnings.append(f"no clip of {', '.join(scores.absent)}: UAR and F1 go over {', '.join(scores.present)} only")
    if not outcomes.speakers_known:
        warnings.append("speakers unknown: intervals are drawn over clips and likely too narrow (see --speakers)")
    elif scores.n_speakers == 1:
        warnings.append("one speaker only: nothing can be said of other people, and there are no intervals")
    if not contributions:
        warnings.append("no clip has an answer of face and voice each: what a modality adds cannot be told")
    return warnings


def format_json(evaluation: Evaluation) -> str:
    """Write an evaluation as strict JSON, as `evaluation.schema.json` describes it."""
    return json.dumps(to_json(evaluation), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Give an evaluation as plain JSON types."""
    plain: dict[str, Any] = to_plain(evaluation)
    return plain


def format_summary(evaluation: Evaluation) -> str:
    """Write the short table for a terminal: plain text, ending in a newline."""
    subject, scores, worst = evaluation.subject, evaluation.scores, evaluation.worst
    lines = [
        printable(f"{subject.model} on {subject.corpus}, {subject.protocol}"),
        f"{scores.n_clips} clips of {scores.n_speakers} known speakers, {_count_missing(evaluation)}",
        "",
        f"  UAR       {scores.uar}   over {len(scores.present)} emotions, chance {1 / len(scores.present):.3f}",
        f"  WAR       {scores.war}",
        f"  macro F1  {scores.macro_f1}",
        f"  (UAR: {UAR_MEANS})",
        *_leaky_rows(evaluation),
        f"  NLL       {evaluation.calibration.nll}   ECE {evaluation.calibration.ece:.3f}",
        *(_human_row(figure) for figure in evaluation.human),
        *_adaptation_rows(evaluation.adaptation),
        "",
        *_class_rows(scores),
        "",
        *(f"  {one.modality} adds   UAR {one.uar}" for one in evaluation.contributions),
        _abstention_row(evaluation.abstention),
    ]
    if worst is not None:
        lines.append(
            f"  worst group: {worst.dimension} {printable(worst.group)}, UAR {worst.uar}, {worst.n_clips} clips"
        )
    lines += ["", f"intervals: {scores.uar.method}"]
    lines += [format_leaks(evaluation.leaks)] + [f"warning: {warning}" for warning in evaluation.warnings]
    lines += [printable(f"not covered: {clip}") for clip in evaluation.not_covered[:_MOST_LISTED]]
    if len(evaluation.not_covered) > _MOST_LISTED:
        lines.append(f"not covered: {len(evaluation.not_covered) - _MOST_LISTED} more, all listed in the report")
    return "\n".join(lines + _failure_rows(evaluation.failures)) + "\n"


def _adaptation_rows(adaptation: AdaptedScores | None) -> list[str]:
    if adaptation is None:
        return []
    rows = [
        f"  {name:<16}UAR {figures.uar}   WAR {figures.war}   NLL {figures.nll}"
        for name, figures in (("as they are", adaptation.unadapted), (name_adapted(adaptation), adaptation.adapted))
    ]
    return ["", *rows, f"  {'gain':<16}UAR {adaptation.uar_gain}", f"  ({adaptation.means})"]


def name_adapted(adaptation: AdaptedScores) -> str:
    """Say in a word or two what answers were adapted to."""
    return f"{adaptation.n_people} speakers" if adaptation.to == FOLDER else "adapted by clip"


def _count_missing(evaluation: Evaluation) -> str:
    not_covered = f", {len(evaluation.not_covered)} covered by no fold" if evaluation.not_covered else ""
    return f"{len(evaluation.failures)} failed{not_covered}"


def _leaky_rows(evaluation: Evaluation) -> list[str]:
    scores = evaluation.scores_with_leaks
    return (
        []
        if scores is None
        else [f"  with {scores.n_clips - evaluation.scores.n_clips} leaked clips: UAR {scores.uar}"]
    )


def _human_row(figure: HumanFigure) -> str:
    return f"  people    {figure.accuracy:.3f} of answers right, {figure.modalities} ({figure.source.split(',')[0]})"


def _class_rows(scores: Scores) -> list[str]:
    rows = [f"  {'emotion':<10}{'clips':>6}  {'recall':<24}precision"]
    for one in scores.classes:
        if one.n_clips:
            rows.append(f"  {one.label:<10}{one.n_clips:>6}  {one.recall!s:<24}{one.precision}")
    return rows


def _abstention_row(abstention: Abstention) -> str:
    if abstention.risk is None:
        return "  abstained on every clip"
    return (
        f"  abstained on {abstention.n_abstained} clips: {abstention.risk:.3f} of the others are wrong, "
        f"{abstention.risk_of_all:.3f} of all"
    )


def _failure_rows(failures: Sequence[Failure]) -> list[str]:
    rows = [printable(f"failed: {failure.clip}: {failure.error}") for failure in failures[:_MOST_LISTED]]
    more = len(failures) - _MOST_LISTED
    return [*rows, f"failed: {more} more, all listed in the report"] if more > 0 else rows
