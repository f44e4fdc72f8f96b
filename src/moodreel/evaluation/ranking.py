"""`moodreel compare`: several runs on the same clips, each against the first, as a table that can stand in a paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from moodreel.errors import EvaluationError
from moodreel.metrics.comparison import Comparison, compare, holm
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, Resampling
from moodreel.metrics.outcomes import Outcomes
from moodreel.metrics.scores import Scores, score

NO_EVIDENCE = "no evidence of a difference"


@dataclass(frozen=True)
class Rival:
    """A run against the first one.

    Attributes:
        name: of the run.
        scores: its own.
        comparison: its gain over the first.
        holm_p: McNemar's p-value, corrected by Holm for the number of rivals, 0-1.
        verdict: `better`, `worse` or `no evidence of a difference`: whether the interval of the gain in UAR leaves out
            0, drawn at 1 - 0.05 / rivals, so that several comparisons together err as rarely as one.
    """

    name: str
    scores: Scores
    comparison: Comparison
    holm_p: float
    verdict: str


@dataclass(frozen=True)
class Ranking:
    """Runs on the same clips.

    Attributes:
        name: of the first run, which the others are held against.
        scores: its own.
        rivals: the others, in the order given.
        n_failed: clips that each run could not read, by name of the run; they are left out.
    """

    name: str
    scores: Scores
    rivals: tuple[Rival, ...]
    n_failed: Mapping[str, int]


def rank_runs(
    runs: Mapping[str, Outcomes],
    resampling: Resampling = DEFAULT_RESAMPLING,
    n_failed: Mapping[str, int] = MappingProxyType({}),
) -> Ranking:
    """Hold runs against the first of them.

    Args:
        runs: outcomes by name, two or more, of the same clips.
        resampling: how intervals are drawn.
        n_failed: clips that each run could not read, by name of the run; outcomes lack them.

    Raises:
        EvaluationError: there are fewer than two runs, or their clips, labels or speakers differ; names a clip.
    """
    if len(runs) < 2:
        raise EvaluationError("nothing to compare: name two runs or more")
    (first, base), *others = runs.items()
    comparisons = {name: _compare(first, base, name, outcomes, resampling) for name, outcomes in others}
    strict = replace(resampling, level=1 - (1 - resampling.level) / len(others))
    gains = {name: compare(base, outcomes, strict).uar for name, outcomes in others}
    corrected = holm([comparison.mcnemar_p for comparison in comparisons.values()])
    rivals = tuple(
        Rival(name, score(outcomes, resampling), comparisons[name], p, _judge(gains[name]))
        for (name, outcomes), p in zip(others, corrected, strict=True)
    )
    return Ranking(first, score(base, resampling), rivals, {name: n_failed.get(name, 0) for name in runs})


def _compare(first: str, base: Outcomes, name: str, outcomes: Outcomes, resampling: Resampling) -> Comparison:
    try:
        return compare(base, outcomes, resampling)
    except EvaluationError as error:
        raise EvaluationError(f"{first} and {name}: {error}") from None


def _judge(gain: Interval) -> str:
    if gain.low is None or gain.high is None:
        return f"{NO_EVIDENCE} (one speaker: no interval)"
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else NO_EVIDENCE


def format_ranking(ranking: Ranking) -> str:
    """Write a Markdown table, with a note on its methods; ends in a newline."""
    head = ["run", "UAR", "WAR", "ΔUAR", "ΔWAR", "McNemar p (Holm)", "against the first"]
    rows = [[ranking.name, str(ranking.scores.uar), str(ranking.scores.war), "", "", "", ""]]
    for rival in ranking.rivals:
        gain = rival.comparison
        deltas = [_signed(gain.uar), _signed(gain.war), f"{rival.holm_p:.3g}"]
        rows.append([rival.name, str(rival.scores.uar), str(rival.scores.war), *deltas, rival.verdict])
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return f"{table}\n\n{_describe(ranking)}\n"


def _signed(interval: Interval) -> str:
    ends = (
        "no interval" if interval.low is None or interval.high is None else f"{interval.low:+.3f}, {interval.high:+.3f}"
    )
    return f"{interval.value:+.3f} [{ends}]"


def _describe(ranking: Ranking) -> str:
    scores = ranking.scores
    note = (
        f"{scores.n_clips} clips of {scores.n_speakers} known speakers, UAR over {', '.join(scores.present)}. "
        f"Brackets: {ranking.rivals[0].comparison.uar.method}, differences paired. "
        "The last column goes by the interval of ΔUAR"
    )
    if len(ranking.rivals) > 1:
        note += f", drawn at {1 - 0.05 / len(ranking.rivals):.1%} for {len(ranking.rivals)} comparisons"
    note += ". McNemar's test takes clips as independent, which clips of one speaker are not."
    failed = [f"{n} of {name}" for name, n in ranking.n_failed.items() if n]
    return f"{note} Clips that failed are left out: {', '.join(failed)}." if failed else note
