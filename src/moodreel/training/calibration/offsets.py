"""Learn how answers vary from person to person, so that strangers can be adapted to without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import Interval, make_outcomes, score
from moodreel.recognition.adaptation import Adapter, OffsetModel, Offsets, shift
from moodreel.recognition.evidence import Answer
from moodreel.recognition.fusion import FloatArray, Fusion
from moodreel.training.calibration.choose import AskedClip, Calibration
from moodreel.training.calibration.fit import Labels

LEAST_EMOTIONS = 4
"""Somebody who shows fewer emotions tells little of what is common to them."""
LEAST_CLIPS = 2
_FEW_PEOPLE = 10
_FLOOR = 0.01
_WITHIN_FLOOR = 0.05


def fit_offsets(answers: FloatArray, labels: Labels, people: Sequence[str]) -> OffsetModel | None:
    """Learn from clips of people who show several emotions each.

    Args:
        answers: calibrated log-probabilities of networks that were not trained on these people, shape (n, 7).
        labels: emotions shown, shape (n,), 0-6.
        people: who shows them, n names.

    Returns:
        The model; `None` where nobody shows `LEAST_EMOTIONS` emotions in `LEAST_CLIPS` clips each. An emotion that
        nobody shows is taken to move answers as the others do on average.
    """
    centred = answers - answers.mean(axis=1, keepdims=True)
    names = np.asarray(people)
    found = [_split_person(centred[names == name], labels[names == name]) for name in np.unique(names)]
    known = [one for one in found if one is not None]
    if not known:
        return None
    offsets, moved, rests = (list(parts) for parts in zip(*known, strict=True))
    return OffsetModel(
        expressions=_average_moves(moved),
        person=_spread_of_offsets(np.array(offsets)),
        within=np.cov(np.concatenate(rests).T) + _WITHIN_FLOOR * np.eye(N_EMOTIONS),
    )


def _split_person(answers: FloatArray, labels: Labels) -> tuple[FloatArray, dict[int, FloatArray], FloatArray] | None:
    """Return a person's offset, how each emotion moves the answers from there, and what remains."""
    shown = [k for k in range(N_EMOTIONS) if (labels == k).sum() >= LEAST_CLIPS]
    if len(shown) < LEAST_EMOTIONS:
        return None
    means = {k: answers[labels == k].mean(axis=0) for k in shown}
    offset = np.mean(list(means.values()), axis=0)
    rests = np.concatenate([answers[labels == k] - mean for k, mean in means.items()])
    return offset, {k: mean - offset for k, mean in means.items()}, rests


def _average_moves(moved: Sequence[dict[int, FloatArray]]) -> FloatArray:
    rows: dict[int, FloatArray] = {}
    for emotion in range(N_EMOTIONS):
        seen = [one[emotion] for one in moved if emotion in one]
        if seen:
            rows[emotion] = np.mean(seen, axis=0)
    own = float(np.mean([row[emotion] for emotion, row in rows.items()]))
    for emotion in range(N_EMOTIONS):
        alike = np.full(N_EMOTIONS, -own / (N_EMOTIONS - 1))
        alike[emotion] = own
        rows.setdefault(emotion, alike)
    moves = np.stack([rows[emotion] for emotion in range(N_EMOTIONS)])
    return np.asarray(moves - moves.mean(axis=0))


def _spread_of_offsets(offsets: FloatArray) -> FloatArray:
    """Covariance around zero, made rounder where few people are known."""
    spread = offsets.T @ offsets / len(offsets)
    roundness = 0.5 if len(offsets) < _FEW_PEOPLE else 0.1
    even = np.trace(spread) / N_EMOTIONS * np.eye(N_EMOTIONS)
    return np.asarray((1 - roundness) * spread + roundness * even + _FLOOR * np.eye(N_EMOTIONS))


@dataclass(frozen=True)
class Adapted:
    """What adapting to a person by all of that person's clips is worth, on people left out of the fit.

    Attributes:
        n_clips: clips that were answered.
        n_people: people who showed enough to learn from.
        uar_before: unweighted average recall without adapting.
        uar_after: with it.
        nll_before: negative log-likelihood of the true emotion in nats, without adapting.
        nll_after: with it.
    """

    n_clips: int
    n_people: int
    uar_before: Interval
    uar_after: Interval
    nll_before: float
    nll_after: float


def learn_adapter(clips: Sequence[AskedClip], calibration: Calibration) -> Adapter:
    """Learn how answers to the people of a corpus vary; `None` for a modality that too few show."""
    return Adapter(*(_learn(clips, calibration, modality) for modality in ("face", "voice")))


def measure_adapter(clips: Sequence[AskedClip], calibration: Calibration) -> Adapted | None:
    """Adapt to each person with what is learnt of all others, by all clips of that person together.

    Returns:
        What it is worth; `None` where fewer than two people show enough to learn from.
    """
    people = np.array([clip.sample.speaker for clip in clips])
    teachers = [one for one in np.unique(people) if _shows_enough(clips, people == one)]
    if len(teachers) < 2:
        return None
    everybody = learn_adapter(clips, calibration)  # who shows too little has taught it nothing
    others = {
        person: learn_adapter([clip for clip in clips if clip.sample.speaker != person], calibration)
        for person in teachers
    }
    return _adapt_people(clips, calibration, lambda person: others.get(person, everybody), len(teachers))


def measure_given(clips: Sequence[AskedClip], calibration: Calibration, adapter: Adapter) -> Adapted:
    """Adapt to each person with an adapter that was learnt elsewhere, by all clips of that person together."""
    return _adapt_people(clips, calibration, lambda _: adapter, len({clip.sample.speaker for clip in clips}))


def answer_clips(clips: Sequence[AskedClip], calibration: Calibration) -> list[Answer]:
    """Answer clips as they are, face and voice apart and together."""
    return [_answer(clip, calibration) for clip in clips]


def adapt_clips(clips: Sequence[AskedClip], calibration: Calibration, adapter: Adapter) -> FloatArray:
    """Answer the clips of one person adapted to all of them: probabilities, shape (n, 7)."""
    answers = answer_clips(clips, calibration)
    offsets = Offsets(_offset(adapter.face, answers, "face"), _offset(adapter.voice, answers, "voice"))
    return np.array([shift(one, offsets).fused for one in answers], np.float64)


def _adapt_people(
    clips: Sequence[AskedClip], calibration: Calibration, adapter_of: Callable[[str], Adapter], n_people: int
) -> Adapted:
    before, after, ordered = [], [], []
    for person in sorted({clip.sample.speaker for clip in clips}):
        own = [clip for clip in clips if clip.sample.speaker == person]
        before += [one.fused for one in answer_clips(own, calibration)]
        after += list(adapt_clips(own, calibration, adapter_of(person)))
        ordered += own
    return Adapted(len(ordered), n_people, *_compare(ordered, np.array(before), np.array(after)))


def _compare(
    clips: Sequence[AskedClip], before: FloatArray, after: FloatArray
) -> tuple[Interval, Interval, float, float]:
    samples = [clip.sample for clip in clips]
    names, people, emotions = zip(*((s.clip_id, s.speaker, s.label) for s in samples), strict=True)
    labels = np.array([EMOTIONS.index(emotion) for emotion in emotions])
    scores = [score(make_outcomes(names, people, emotions, rows)).uar for rows in (before, after)]
    nll = [float(-np.log(rows[np.arange(len(labels)), labels]).mean()) for rows in (before, after)]
    return scores[0], scores[1], nll[0], nll[1]


def _shows_enough(clips: Sequence[AskedClip], chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    labels = [clip.sample.label for clip, is_chosen in zip(clips, chosen, strict=True) if is_chosen]
    return sum(labels.count(emotion) >= LEAST_CLIPS for emotion in EMOTIONS) >= LEAST_EMOTIONS


def _learn(clips: Sequence[AskedClip], calibration: Calibration, modality: str) -> OffsetModel | None:
    known = [(clip.sample, getattr(_answer(clip, calibration), modality)) for clip in clips]
    known = [(sample, answer) for sample, answer in known if answer is not None]
    if not known:
        return None
    samples, answers = zip(*known, strict=True)
    labels = np.array([EMOTIONS.index(sample.label) for sample in samples])
    return fit_offsets(np.log(np.stack(answers)), labels, [f"{one.corpus}/{one.speaker}" for one in samples])


def _answer(clip: AskedClip, calibration: Calibration) -> Answer:
    logits = clip.logits
    face, voice = calibration.face_answer(logits), calibration.voice_answer(logits)
    if isinstance(calibration, Fusion):
        snr_db = None if voice is None else logits.snr_db
        weights = calibration.weights(snr_db, has_face=face is not None, speaker_share=logits.speaker_share)
    else:
        n_there = max((face is not None) + (voice is not None), 1)
        weights = ((face is not None) / n_there, (voice is not None) / n_there)
    return Answer(face, voice, calibration.answer(logits), weights)


def _offset(model: OffsetModel | None, answers: Sequence[Answer], modality: str) -> FloatArray:
    rows = [np.log(getattr(answer, modality)) for answer in answers if getattr(answer, modality) is not None]
    return np.zeros(N_EMOTIONS) if model is None or not rows else model.estimate(np.stack(rows))
