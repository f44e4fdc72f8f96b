"""Where a bundle does well and where it fails: the same scores for groups of clips, and what each modality adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moodreel.corpora import UNKNOWN_SPEAKER, natural_key
from moodreel.evaluation.answers import ClipAnswer, gather_outcomes
from moodreel.metrics.comparison import compare
from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, Resampling
from moodreel.metrics.scores import score

FEWEST_CLIPS = 20
"""A group of fewer clips is shown, but never named the worst: luck alone would choose it."""

LENGTHS_S = (2.0, 4.0, 8.0)
AGES = (30, 45, 60)
BACKGROUNDS_DB = (15.0, 30.0)
"""Ends of the groups; a value on an end belongs to the group above."""


@dataclass(frozen=True)
class Condition:
    """How a group of clips is recognised.

    Attributes:
        dimension: what the groups differ in, e.g. `modalities` or `length`.
        group: which of them.
        n_clips: clips in it.
        n_classes: emotions that these clips show; UAR is averaged over them, so chance is 1 / n_classes.
        uar: unweighted average recall.
        war: accuracy.
    """

    dimension: str
    group: str
    n_clips: int
    n_classes: int
    uar: Interval
    war: Interval


@dataclass(frozen=True)
class Contribution:
    """What a modality adds: both together against the other one alone, on clips where both say something.

    Attributes:
        modality: `face` or `voice`.
        n_clips: clips compared.
        alone: UAR of this modality alone.
        uar: gain in UAR by adding it to the other.
        war: gain in WAR by adding it to the other.
    """

    modality: str
    n_clips: int
    alone: Interval
    uar: Interval
    war: Interval


def score_conditions(
    answers: Sequence[ClipAnswer],
    backgrounds_db: Mapping[str, float | None],
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> tuple[Condition, ...]:
    """Score groups of clips.

    Args:
        answers: of clips; failed ones are left out.
        backgrounds_db: level of the sound over its background by name of the clip; `None` where unknown.
        resampling: how intervals are drawn.

    Returns:
        A condition for each group that holds clips, by dimension; dimensions that the corpus does not tell are absent.
    """
    answered = [answer for answer in answers if answer.probabilities is not None]
    namers: dict[str, Callable[[ClipAnswer], str | None]] = {
        "modalities": lambda answer: answer.modalities,
        "length": lambda answer: _span(answer.duration_s, LENGTHS_S, "s"),
        "level over background": lambda answer: _span(backgrounds_db.get(answer.clip), BACKGROUNDS_DB, "dB"),
        "gender": lambda answer: answer.gender,
        "age": lambda answer: _span(answer.age, AGES, "years"),
        "speaker": lambda answer: None if answer.speaker == UNKNOWN_SPEAKER else answer.speaker,
    }
    return tuple(
        _score_group(dimension, group, clips, resampling)
        for dimension, namer in namers.items()
        for group, clips in _group(answered, namer).items()
    )


def _span(value: float | None, ends: Sequence[float], unit: str) -> str | None:
    if value is None:
        return None
    index = int(np.searchsorted(ends, value, side="right"))
    if index == 0:
        return f"below {ends[0]:g} {unit}"
    if index == len(ends):
        return f"{ends[-1]:g} {unit} or more"
    return f"{ends[index - 1]:g}-{ends[index]:g} {unit}"


def _group(answers: Sequence[ClipAnswer], namer: Callable[[ClipAnswer], str | None]) -> dict[str, list[ClipAnswer]]:
    groups: dict[str, list[ClipAnswer]] = {}
    for answer in answers:
        name = namer(answer)
        if name is not None:
            groups.setdefault(name, []).append(answer)
    return {name: groups[name] for name in sorted(groups, key=_order)}


def _order(name: str) -> tuple[bool, tuple[tuple[int, int, str], ...]]:
    return not name.startswith("below"), natural_key(name)


def _score_group(dimension: str, group: str, answers: Sequence[ClipAnswer], resampling: Resampling) -> Condition:
    scores = score(gather_outcomes(answers), resampling)
    return Condition(dimension, group, scores.n_clips, len(scores.present), scores.uar, scores.war)


def find_worst(conditions: Sequence[Condition]) -> Condition | None:
    """Name the group of the lowest UAR among those with 20 clips or more; `None` where there is none."""
    large = [condition for condition in conditions if condition.n_clips >= FEWEST_CLIPS]
    return min(large, key=lambda condition: condition.uar.value, default=None)


def score_contributions(
    answers: Sequence[ClipAnswer], resampling: Resampling = DEFAULT_RESAMPLING
) -> tuple[Contribution, ...]:
    """Measure what each modality adds, by leaving it out.

    Args:
        answers: of clips; those count where face and voice both gave an answer of their own.
        resampling: how intervals are drawn, paired: both sides see the same draws.

    Returns:
        One for the face and one for the voice; nothing where no clip has both.
    """
    both = [
        a for a in answers if a.probabilities and a.face and a.face.probabilities and a.voice and a.voice.probabilities
    ]
    if not both:
        return ()
    together = gather_outcomes(both)
    alone = {
        "face": gather_outcomes([replace(a, probabilities=a.face.probabilities) for a in both if a.face]),
        "voice": gather_outcomes([replace(a, probabilities=a.voice.probabilities) for a in both if a.voice]),
    }
    contributions = []
    for modality, other in (("face", "voice"), ("voice", "face")):
        gain = compare(alone[other], together, resampling)
        own = score(alone[modality], resampling).uar
        contributions.append(Contribution(modality, len(both), own, gain.uar, gain.war))
    return tuple(contributions)
