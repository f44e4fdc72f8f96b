"""Answers adapted to each person without labels, beside the same answers as they were.

What adapting needs to know of a clip is kept with its answer, so that no clip is read twice: not to adapt it when all
clips of its speaker are known, and not when an interrupted evaluation goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moodreel.corpora import UNKNOWN_SPEAKER
from moodreel.evaluation.answers import ClipAnswer, ModalityAnswer, Row, Unadapted, gather_outcomes
from moodreel.metrics import Interval, Resampling, compare, measure_calibration, score
from moodreel.metrics.intervals import DEFAULT_RESAMPLING
from moodreel.recognition.abstention import is_weak
from moodreel.recognition.adaptation import Adapter, Stretches, cut_stretches, estimate_offsets, shift
from moodreel.recognition.evidence import Answer, Evidence
from moodreel.recognition.fusion import FloatArray

NONE, CLIP, FOLDER = "none", "clip", "folder"
MEANS: Mapping[str, str] = {
    CLIP: "each clip is adapted to itself alone: its own windows are looked at, never its label",
    FOLDER: "adaptation is transductive: to answer a clip, all clips of its speaker (by the corpus's labels) are "
    "looked at, never their emotions; a figure for people of whom many clips are at hand",
}
"""What is looked at when answers are adapted, in a sentence for reports."""


@dataclass(frozen=True)
class Figures:
    """What answers are worth: unweighted and weighted average recall, and negative log-likelihood in nats."""

    uar: Interval
    war: Interval
    nll: Interval


@dataclass(frozen=True)
class AdaptedScores:
    """Answers as they were and adapted, on the same clips.

    Attributes:
        to: `clip` or `folder`.
        means: what is looked at, in a sentence.
        n_clips: clips that both are scored on.
        n_people: groups of clips that were adapted together.
        unadapted: figures of the answers as they were.
        adapted: figures of the adapted answers.
        uar_gain: UAR of these less UAR of those, paired.
    """

    to: str
    means: str
    n_clips: int
    n_people: int
    unadapted: Figures
    adapted: Figures
    uar_gain: Interval


def keep_unadapted(evidence: Evidence) -> Unadapted:
    """Keep of a clip what adapting its answer needs."""
    whole, stretches = evidence.whole, cut_stretches(evidence)
    return Unadapted(
        fused=_as_row(whole.fused),
        face=_as_row(whole.face),
        voice=_as_row(whole.voice),
        weights=(float(whole.weights[0]), float(whole.weights[1])),
        face_stretches=tuple(map(_to_row, stretches.face)),
        voice_stretches=tuple(map(_to_row, stretches.voice)),
        abstain_below=float(evidence.abstain_below),
    )


def adapt_answers(answers: Sequence[ClipAnswer], adapter: Adapter, to: str) -> tuple[ClipAnswer, ...]:
    """Adapt the answers of one bundle.

    Args:
        answers: of its clips, adapted before or not; those that failed stay as they are.
        adapter: what the bundle knows of how answers vary.
        to: `clip`: each by itself; `folder`: the clips of one speaker together, those of unknown ones each by itself.
    """
    groups: dict[str, list[ClipAnswer]] = {}
    for answer in answers:
        groups.setdefault(_name_group(answer, to), []).append(answer)
    adapted = {one.clip: one for group in groups.values() for one in _adapt_group(group, adapter)}
    return tuple(adapted[answer.clip] for answer in answers)


def score_adapted(
    answers: Iterable[ClipAnswer], to: str, resampling: Resampling = DEFAULT_RESAMPLING
) -> AdaptedScores | None:
    """Score adapted answers beside the same as they were; `None` where none was adapted.

    Args:
        answers: those that count.
        to: `none`, `clip` or `folder`.
        resampling: how intervals are drawn, alike for both.
    """
    both = [answer for answer in answers if answer.probabilities is not None and answer.unadapted is not None]
    if not both or to == NONE:
        return None
    after, before = gather_outcomes(both), gather_outcomes([restore_unadapted(answer) for answer in both])
    first, second = (
        Figures(scores.uar, scores.war, measure_calibration(outcomes, resampling=resampling).nll)
        for outcomes in (before, after)
        for scores in [score(outcomes, resampling)]
    )
    return AdaptedScores(
        to=to,
        means=MEANS[to],
        n_clips=len(both),
        n_people=len({_name_group(answer, to) for answer in both}),
        unadapted=first,
        adapted=second,
        uar_gain=compare(before, after, resampling).uar,
    )


def restore_unadapted(answer: ClipAnswer) -> ClipAnswer:
    """Return an answer as it was before it was adapted."""
    return answer if answer.unadapted is None else _answer_with(answer, _read_answer(answer.unadapted))


def _name_group(answer: ClipAnswer, to: str) -> str:
    is_alone = to == CLIP or answer.speaker == UNKNOWN_SPEAKER
    return f"clip {answer.clip}" if is_alone else f"speaker {answer.speaker}"


def _adapt_group(answers: Sequence[ClipAnswer], adapter: Adapter) -> Iterable[ClipAnswer]:
    kept = [answer.unadapted for answer in answers if answer.unadapted is not None]
    offsets = estimate_offsets(adapter, [_read_stretches(one) for one in kept]) if kept else None
    for answer in answers:
        if offsets is None or answer.unadapted is None:
            yield answer
        else:
            yield _answer_with(answer, shift(_read_answer(answer.unadapted), offsets))


def _answer_with(answer: ClipAnswer, whole: Answer) -> ClipAnswer:
    """Put what the networks say into a clip's answer; one with nothing to go by stays even."""
    assert answer.unadapted is not None
    top = None if whole.fused is None else float(whole.fused.max())
    return replace(
        answer,
        probabilities=answer.probabilities if whole.fused is None else _to_row(whole.fused),
        abstained=is_weak(top, answer.unadapted.abstain_below),
        face=_with_row(answer.face, whole.face),
        voice=_with_row(answer.voice, whole.voice),
    )


def _with_row(modality: ModalityAnswer | None, row: FloatArray | None) -> ModalityAnswer | None:
    return None if modality is None else ModalityAnswer(modality.state, _as_row(row))


def _read_answer(kept: Unadapted) -> Answer:
    face, voice, fused = (None if one is None else np.array(one) for one in (kept.face, kept.voice, kept.fused))
    return Answer(face, voice, fused, kept.weights)


def _read_stretches(kept: Unadapted) -> Stretches:
    return Stretches(tuple(map(np.array, kept.face_stretches)), tuple(map(np.array, kept.voice_stretches)))


def _as_row(values: FloatArray | None) -> Row | None:
    return None if values is None else _to_row(values)


def _to_row(values: FloatArray) -> Row:
    return tuple(map(float, values))
