"""How many clips and speakers are worth what: a bundle tuned to few, and asked about people whom it never heard.

    python benchmarks/tuning_curve.py CORPUS --speakers 1,2,4,8 --clips 6,0 --draws 6 --apart statement

Speakers are drawn, the bundle is tuned to them as `moodreel train --recipe tuned` does (kept as it is where that is no
better on its own folds), and it answers the clips of all other speakers. The answers of all draws are pooled; intervals
are drawn over the speakers asked about. With `--apart COLUMN` of a manifest no sentence is both learned from and asked
about: of each emotion's sentences a half is drawn to learn from. Figures `of its classes` have both bundles choose
among the emotions that the corpus holds, so that learning which do not occur counts for nothing.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from moodreel.corpora import Sample, read_corpus
from moodreel.labels import EMOTIONS
from moodreel.metrics import compare
from moodreel.recognition.fusion import FloatArray, Fusion, read_fusion
from moodreel.storage.cache import default_cache
from moodreel.training.progress import hide_bars
from moodreel.training.tuned.clips import TunedClip, open_late, read_described
from moodreel.training.tuned.networks import NETWORK_LEVELS
from moodreel.training.tuned.recipe import load_tuned
from moodreel.training.tuned.train import choose_levels, make_tuner
from moodreel.training.tuned.tune import Judged, Tuner, answer_as_is, compare_answers, gather, tune_where_better

LEAST_CLIPS = 20
"""Speakers with fewer are asked about, never learned from."""


def main() -> None:
    """Print a row for each number of speakers and clips."""
    given = _read_arguments()
    hide_bars()
    samples = read_corpus(given.corpus, allow_outside=True).samples
    keeps_given = given.level in NETWORK_LEVELS
    cache, base = default_cache(), open_late(given.model)
    done = read_described(samples, given.model, cache, given.workers, allow_unreadable=True, keeps_given=keeps_given)
    clips = [clip for _, clip in done.kept if not clip.is_empty]
    sentence_of = _read_column(given.corpus, given.apart) if given.apart else {}
    tuner = make_tuner(base, cache, load_tuned("tuned", [f"model={given.model}"]))
    tools = _Tools(read_fusion(base.section("fusion")), given.level, given.always, tuner)
    print(
        "| speakers | clips | UAR | gain | gain, of its classes | gain in NLL | kept |\n|---|---|---|---|---|---|---|"
    )
    for n_speakers in given.speakers:
        for n_clips in given.clips:
            rng = np.random.default_rng(given.seed)
            groups = _draw_speakers(clips, n_speakers, given.draws, rng)
            drawn = [_draw(clips, chosen, n_clips, sentence_of, rng) for chosen in groups]
            print(_format_row(n_speakers, drawn, tools), flush=True)


@dataclass(frozen=True)
class _Tools:
    """The bundle's fusion, the level that is asked for and whether it is taken unseen, and what tunes."""

    fusion: Fusion
    level: str
    always: bool
    tuner: Tuner


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--level", default="auto", choices=("auto", "fusion", "heads", "last-block", "all"))
    parser.add_argument("--always", action="store_true", help="take what was tuned without a look at its own folds")
    parser.add_argument("--speakers", type=_numbers, default=[1, 2, 4, 8])
    parser.add_argument("--clips", type=_numbers, default=[0], help="clips a speaker; 0 for all")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--apart", help="column of the manifest that names what is said")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _read_column(manifest: Path, column: str) -> dict[str, str]:
    delimiter = "\t" if manifest.suffix == ".tsv" else ","
    with manifest.open(encoding="utf-8") as file:
        return {row.get("clip_id") or row["path"]: row[column] for row in csv.DictReader(file, delimiter=delimiter)}


Drawn = tuple[list[TunedClip], list[TunedClip]]
"""Clips to learn from, and clips to ask about."""


def _draw_speakers(
    clips: Sequence[TunedClip], n_speakers: int, n_draws: int, rng: np.random.Generator
) -> list[set[str]]:
    """Draw groups of speakers; all groups there are where they are few."""
    speakers = [clip.sample.speaker for clip in clips]
    eligible = [one for one in dict.fromkeys(speakers) if speakers.count(one) >= LEAST_CLIPS]
    if math.comb(len(eligible), n_speakers) <= n_draws:
        return [set(group) for group in combinations(eligible, n_speakers)]
    return [set(rng.permutation(eligible)[:n_speakers].tolist()) for _ in range(n_draws)]


def _draw(
    clips: Sequence[TunedClip],
    chosen: set[str],
    n_clips: int,
    sentence_of: dict[str, str],
    rng: np.random.Generator,
) -> Drawn:
    learnable = _draw_sentences([clip.sample for clip in clips], sentence_of, rng)
    known = [clip for clip in clips if clip.sample.speaker in chosen and _says(clip, sentence_of) in learnable]
    asked = [
        clip
        for clip in clips
        if clip.sample.speaker not in chosen and (not sentence_of or _says(clip, sentence_of) not in learnable)
    ]
    learned = [clip for speaker in sorted(chosen) for clip in _thin(known, speaker, n_clips, rng)]
    return learned, asked


def _says(clip: TunedClip, sentence_of: dict[str, str]) -> tuple[str, str]:
    return clip.sample.label, sentence_of.get(clip.sample.clip_id, "")


def _draw_sentences(
    samples: Sequence[Sample], sentence_of: dict[str, str], rng: np.random.Generator
) -> set[tuple[str, str]]:
    """Draw half of the sentences of each emotion, the same ones in all emotions where they are the same."""
    sentences = sorted(set(sentence_of.values())) or [""]
    drawn: set[str] = set()
    for group in _group_sentences(samples, sentence_of, sentences):
        drawn |= set(rng.permutation(group)[: (len(group) + 1) // 2].tolist())
    return {(emotion, one) for emotion in EMOTIONS for one in drawn}


def _group_sentences(
    samples: Sequence[Sample], sentence_of: dict[str, str], sentences: Sequence[str]
) -> Iterator[list[str]]:
    """Yield sentences that occur in the same emotions, so that each emotion keeps some on both sides."""
    found: dict[frozenset[str], list[str]] = {}
    for one in sentences:
        emotions = frozenset(s.label for s in samples if sentence_of.get(s.clip_id, "") == one)
        found.setdefault(emotions, []).append(one)
    yield from found.values()


def _thin(clips: Sequence[TunedClip], speaker: str, n_clips: int, rng: np.random.Generator) -> list[TunedClip]:
    """Take some clips of a speaker, emotion after emotion; all of them for 0."""
    own = [clip for clip in clips if clip.sample.speaker == speaker]
    order = rng.permutation(len(own))
    seen: dict[str, int] = {}
    ranks = []
    for row in order:
        label = own[row].sample.label
        seen[label] = seen.get(label, 0) + 1
        ranks.append((seen[label], row))
    return [own[row] for _, row in sorted(ranks, key=lambda rank: rank[0])[: n_clips or None]]


def _format_row(n_speakers: int, drawn: Sequence[Drawn], tools: _Tools) -> str:
    fusion = tools.fusion
    asked, before, after, kept = [], [], [], 0
    for number, (learned, others) in enumerate(drawn):
        tuned = _tune(learned, tools)
        kept += tuned is None
        asked += [_mark(clip, number) for clip in others]
        before += list(answer_as_is(others, fusion))
        after += [tuned.answer(clip) for clip in others] if tuned else list(answer_as_is(others, fusion))
    judged = compare_answers(asked, np.array(before), np.array(after), "draws")
    among = _compare_among(asked, np.array(before), np.array(after))
    n_clips = round(float(np.mean([len(learned) for learned, _ in drawn])))
    uar = f"{_uar(judged):.3f} -> {_uar(judged) + judged.gain.uar.value:.3f}"
    gains = (str(judged.gain.uar), str(among), str(judged.nll_gain))
    return f"| {n_speakers} | {n_clips} | {uar} | {' | '.join(gains)} | {kept} of {len(drawn)} |"


def _tune(learned: Sequence[TunedClip], tools: _Tools):  # noqa: ANN202  # a Tuned or None
    speakers = [clip.sample.speaker for clip in learned]
    groups = speakers if len(set(speakers)) > 1 else [clip.sample.clip_id for clip in learned]
    levels, _ = choose_levels(tools.level, len(learned), len(set(speakers)))  # type: ignore[arg-type]
    if tools.always:
        return tools.tuner(learned, groups, tools.fusion, levels[0])
    return tune_where_better(learned, groups, tools.fusion, levels, tools.tuner)[0]


def _mark(clip: TunedClip, number: int) -> TunedClip:
    """Name a clip by its draw too, for it is asked about in several."""
    return replace(clip, sample=replace(clip.sample, clip_id=f"{number}/{clip.sample.clip_id}"))


def _compare_among(clips: Sequence[TunedClip], before: FloatArray, after: FloatArray) -> object:
    there = sorted({clip.label for clip in clips})
    held = [np.zeros_like(rows) for rows in (before, after)]
    for rows, one in zip((before, after), held, strict=True):
        one[:, there] = rows[:, there] / rows[:, there].sum(axis=1, keepdims=True)
    return compare(*(gather(clips, rows) for rows in held)).uar


def _uar(judged: Judged) -> float:
    truth, said = judged.before.truth, judged.before.predicted
    return float(np.mean([(said[truth == emotion] == emotion).mean() for emotion in np.unique(truth)]))


if __name__ == "__main__":
    main()
