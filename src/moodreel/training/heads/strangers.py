"""What people whom nobody trained on get: each corpus, answered with what all the others teach.

Alone and adapted to the person, over a telephone line, by people who show one emotion nearly all the time, and how
often answers given with some 60 % are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moodreel.labels import EMOTIONS
from moodreel.media.find import PICTURE_SUFFIXES
from moodreel.metrics import (
    Interval,
    Outcomes,
    bootstrap,
    compare_balanced_nll,
    group_clips,
    make_outcomes,
    measure_calibration,
    score,
)
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, sum_by_group
from moodreel.recognition.adaptation import Adapter
from moodreel.recognition.fusion import FloatArray, Fusion
from moodreel.training.calibration.choose import AskedClip
from moodreel.training.calibration.offsets import adapt_clips, answer_clips, learn_adapter

SURE = (0.55, 0.70)
"""Answers of about 60 %."""
MOSTLY = 0.8
"""Share of one emotion in the clips of somebody who hardly shows another."""
_LEAST_OF_ONE = 4

Held = Mapping[str, tuple[AskedClip, ...]]
Asked = Sequence[AskedClip]


@dataclass(frozen=True)
class Stranger:
    """What the people of one corpus get.

    Attributes:
        n_clips: clips that were answered.
        n_people: people in them.
        emotions: how many of the seven they show; chance is one in so many.
        uar: unweighted average recall, the answer being any of the seven.
        uar_shown: the same with the likeliest of the emotions that the corpus shows.
        nll: negative log-likelihood of the truth in nats, every emotion counting alike.
        ece: expected calibration error, 0-1.
        sure: share of answers of 55 to 70 % that are right; `None` where there is none.
        n_sure: how many these are.
        telephone: `uar_shown` over a telephone line; `None` where nobody speaks.
        adapted: `uar_shown` when adapted to all clips of each person; `None` for pictures, which are not adapted.
        adapted_nll: likewise.
        mostly_before: accuracy on people with one emotion in 80 % of their clips; `None` for pictures or too few clips.
        mostly_after: the same, adapted to all of these clips.
    """

    n_clips: int
    n_people: int
    emotions: int
    uar: Interval
    uar_shown: Interval
    nll: Interval
    ece: float
    sure: Interval | None
    n_sure: int
    telephone: Interval | None
    adapted: Interval | None
    adapted_nll: Interval | None
    mostly_before: Interval | None
    mostly_after: Interval | None


def measure_stranger(name: str, clips: Held, telephone: Held, fusion: Fusion) -> Stranger:
    """Measure what the people of one corpus get.

    Args:
        name: of the corpus.
        clips: held-out answers by corpus, this one among them.
        telephone: the same with the voice over a telephone line.
        fusion: chosen on the other corpora.
    """
    own = clips[name]
    alone = _outcomes(own, _fused(own, fusion))
    moves = [clip.sample.path.suffix.lower() not in PICTURE_SUFFIXES for clip in own]
    adapted = _outcomes(own, _adapt_each(name, own, clips, fusion)) if all(moves) else None
    nll, adapted_nll, _ = compare_balanced_nll(alone, adapted or alone)
    sure = _pick_sure(alone)
    mostly = _measure_mostly(name, own, clips, fusion) if all(moves) else None
    called = [replace(one, logits=replace(one.logits, face=None)) for one in telephone.get(name, ()) if _speaks(one)]
    return Stranger(
        n_clips=len(own),
        n_people=len({clip.sample.speaker for clip in own}),
        emotions=len(np.unique(alone.truth)),
        uar=score(alone).uar,
        uar_shown=score(_among_shown(alone)).uar,
        nll=nll,
        ece=measure_calibration(alone).ece,
        sure=_share_right(sure) if len(sure) else None,
        n_sure=len(sure),
        telephone=score(_among_shown(_outcomes(called, _fused(called, fusion)))).uar if called else None,
        adapted=score(_among_shown(adapted)).uar if adapted else None,
        adapted_nll=adapted_nll if adapted else None,
        mostly_before=mostly[0] if mostly else None,
        mostly_after=mostly[1] if mostly else None,
    )


def _speaks(clip: AskedClip) -> bool:
    return clip.logits.voice is not None


def _fused(clips: Asked, fusion: Fusion) -> FloatArray:
    return np.array([fusion.answer(clip.logits) for clip in clips], np.float64)


def _outcomes(clips: Asked, answers: FloatArray, names: Sequence[str] | None = None) -> Outcomes:
    ids = names or [clip.sample.clip_id for clip in clips]
    return make_outcomes(ids, [one.sample.speaker for one in clips], [one.sample.label for one in clips], answers)


def _among_shown(outcomes: Outcomes) -> Outcomes:
    shown = np.bincount(outcomes.truth, minlength=len(EMOTIONS)) > 0
    left = outcomes.probabilities * shown
    return replace(outcomes, probabilities=left / left.sum(axis=1, keepdims=True))


def _pick_sure(outcomes: Outcomes) -> Outcomes:
    top = outcomes.probabilities.max(axis=1)
    return outcomes.select((top >= SURE[0]) & (top < SURE[1]))


def _share_right(outcomes: Outcomes) -> Interval:
    return _shares(outcomes, [outcomes.predicted == outcomes.truth])[0]


def _shares(outcomes: Outcomes, right: Sequence[npt.NDArray[np.bool_]]) -> list[Interval]:
    groups, n_groups, kind = group_clips(outcomes)
    totals = sum_by_group(groups, n_groups, np.stack([*right, np.ones(len(outcomes))], axis=1).astype(np.float64))
    return bootstrap(totals, lambda sums: sums[:, :-1] / np.maximum(sums[:, -1:], 1), kind, DEFAULT_RESAMPLING)


def _adapt_each(name: str, own: Asked, clips: Held, fusion: Fusion) -> FloatArray:
    """Answers adapted to each person by all of that person's clips."""
    answers = np.zeros((len(own), len(EMOTIONS)))
    people = np.array([clip.sample.speaker for clip in own])
    for person, adapter in _adapters(name, own, clips, fusion).items():
        rows = np.flatnonzero(people == person)
        answers[rows] = adapt_clips([own[int(row)] for row in rows], fusion, adapter)
    return answers


def _adapters(name: str, own: Asked, clips: Held, fusion: Fusion) -> dict[str, Adapter]:
    """What is known of how answers vary: from other corpora, else from the corpus's other people."""
    elsewhere = learn_adapter([clip for other, rows in clips.items() if other != name for clip in rows], fusion)
    found = {}
    for person in sorted({clip.sample.speaker for clip in own}):
        if elsewhere.face is not None and elsewhere.voice is not None:
            found[person] = elsewhere
            continue
        beside = learn_adapter([clip for clip in own if clip.sample.speaker != person], fusion)
        found[person] = Adapter(elsewhere.face or beside.face, elsewhere.voice or beside.voice)
    return found


def _measure_mostly(name: str, own: Asked, clips: Held, fusion: Fusion) -> list[Interval] | None:
    """Accuracy on made people of one emotion, before and after adapting to them."""
    adapters = _adapters(name, own, clips, fusion)
    drawn, before, after = [], [], []
    for person, some in _draw_mostly(own):
        drawn += some
        before.append(np.array([one.fused for one in answer_clips(some, fusion)], np.float64))
        after.append(adapt_clips(some, fusion, adapters[person]))
    if not drawn:
        return None
    names = [f"{place}" for place in range(len(drawn))]
    ways = [_outcomes(drawn, np.concatenate(rows), names) for rows in (before, after)]
    return _shares(ways[0], [one.predicted == one.truth for one in ways])


def _draw_mostly(clips: Asked) -> list[tuple[str, list[AskedClip]]]:
    """All of a person's clips of one emotion, and so many others that they are one in five; for each emotion."""
    rng = np.random.default_rng(0)
    found = []
    for person in sorted({clip.sample.speaker for clip in clips}):
        own = [clip for clip in clips if clip.sample.speaker == person]
        for emotion in EMOTIONS:
            one = [clip for clip in own if clip.sample.label == emotion]
            rest = [clip for clip in own if clip.sample.label != emotion]
            n_rest = round(len(one) * (1 - MOSTLY) / MOSTLY)
            if len(one) >= _LEAST_OF_ONE and len(rest) >= n_rest:
                found.append((person, one + [rest[int(place)] for place in rng.permutation(len(rest))[:n_rest]]))
    return found


def format_strangers(strangers: Mapping[str, Stranger]) -> list[str]:
    """Write one line per corpus, and what they come to."""
    lines = ["strangers: alone | by telephone | adapted to the person; UAR among the emotions shown"]
    for name, one in strangers.items():
        telephone = "-" if one.telephone is None else str(one.telephone)
        adapted = "-" if one.adapted is None else f"{one.adapted} NLL {one.adapted_nll}"
        lines.append(
            f"{name:<12}{one.n_clips:>5} clips {one.n_people:>4} people {one.emotions} emotions  {one.uar_shown} "
            f"NLL {one.nll} ECE {one.ece:.3f} | {telephone} | {adapted}"
        )
    for name, one in strangers.items():
        sure = "none" if one.sure is None else f"{one.sure} of {one.n_sure} are right"
        mostly = (
            "" if one.mostly_before is None else f"; one emotion in 80 %: {one.mostly_before} -> {one.mostly_after}"
        )
        lines.append(f"{name:<12}answers of 55 to 70 %: {sure}{mostly}")
    return lines
