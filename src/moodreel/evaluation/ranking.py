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


@dataclass(frozen=True)
class HonestRanking:
    """Runs on the clips that leak for none of them, and on all.

    Attributes:
        clean: on clips whose speaker and recording no run's bundle knows; `None` where none is left.
        whole: on all clips.
        n_leaked: clips that leak for a run.
        unchecked: runs of which nothing is known about leaks.
    """

    clean: Ranking | None
    whole: Ranking
    n_leaked: int
    unchecked: tuple[str, ...]


def rank_honestly(
    runs: Mapping[str, Outcomes],
    leaked: Mapping[str, frozenset[str] | None],
    resampling: Resampling = DEFAULT_RESAMPLING,
    n_failed: Mapping[str, int] = MappingProxyType({}),
) -> HonestRanking:
    """Hold runs against the first of them, first on the clips that leak for none.

    Args:
        runs: as for `rank_runs`.
        leaked: clips that each run's bundle knows, by name of the run; `None` where nothing is known.
        resampling: how intervals are drawn.
        n_failed: as for `rank_runs`.

    Raises:
        EvaluationError: as from `rank_runs`.
    """
    whole = rank_runs(runs, resampling, n_failed)
    known = frozenset().union(*(clips for clips in leaked.values() if clips is not None))
    asked = next(iter(runs.values())).clip_ids
    n_leaked = len(known.intersection(asked))
    unchecked = tuple(name for name in runs if leaked.get(name) is None)
    if n_leaked in (0, len(asked)):
        return HonestRanking(None if n_leaked else whole, whole, n_leaked, unchecked)
    kept = {name: one.select([clip not in known for clip in one.clip_ids]) for name, one in runs.items()}
    return HonestRanking(rank_runs(kept, resampling, n_failed), whole, n_leaked, unchecked)


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
        return f"{NO_EVIDENCE} ({gain.method})"
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else NO_EVIDENCE


def format_honest_ranking(ranking: HonestRanking) -> str:
    """Write one Markdown table, or two where clips leak: without those and with all; ends in a newline."""
    parts = [format_ranking(ranking.whole)]
    if ranking.n_leaked:
        parts.insert(0, f"All clips, {ranking.n_leaked} that leak counted in:\n")
        clean = ranking.clean
        parts[:0] = (
            ["NO HONEST FIGURE: every clip leaks; a run's bundle knows its speaker or recording.\n"]
            if clean is None
            else [f"Clean clips: the {clean.scores.n_clips} that leak for no run:\n", format_ranking(clean)]
        )
    if ranking.unchecked:
        parts.append(f"Leaks unknown, for the run keeps no report of them: {', '.join(ranking.unchecked)}.\n")
    return "\n".join(parts)


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
    if interval.low is None or interval.high is None:
        return f"{interval.value:+.3f} [no interval]"
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


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
