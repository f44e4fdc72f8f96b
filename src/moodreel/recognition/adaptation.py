"""Adaptation without labels: how a person looks and sounds at rest is taken out of the answers.

    log p(emotion | stretch, person) = what the networks say - the person's offset + constant

What the networks say of a stranger is shifted by whose face, voice and recording it is. The offset is a random effect
(Laird & Ware 1982): drawn once for a person from a normal prior, and estimated by what is common to all stretches, for
face and voice apart. Yet what is common may be what the person shows: somebody who smiles through the whole film must
not come out neutral. So the offset is taken out only as far as the answers vary as they do when a person shows one
emotion after another; answers that hardly vary are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moodreel.errors import BundleError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.recognition.evidence import Answer, Evidence, SeenPerson
from moodreel.recognition.fusion import FloatArray, log_softmax
from moodreel.recognition.prediction import Adaptation

BLOCK_WINDOWS = 4
"""Windows of the timeline that make a stretch: some four seconds, as long as the clips that were learnt on."""
_INDEPENDENT = 0.5
"""Part of a stretch that counts, for neighbours are alike; the first counts nothing: it may be all expression."""
VARIED = 0.7
"""Answers that vary by this part of what people do who show all emotions alike are half taken for varied."""
_EDGE = 0.05
"""How sharp that edge is, in nats of the variance."""
_ENOUGH = 8
"""Further stretches from which on the variance of the answers is trusted."""
_MOST_COMPARED = 256
"""Stretches that are compared with one another; of more, every so many-th."""
_LEAST_PROBABILITY = 1e-6
NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True, eq=False)
class OffsetModel:
    """How one modality's answers vary. All are of log-probabilities less their mean over the emotions.

    Attributes:
        expressions: how each emotion moves the answer, float64, shape (7, 7): a row for each emotion shown.
        person: covariance of the offsets of people, shape (7, 7).
        within: covariance of a person's answers to one emotion, shape (7, 7).
    """

    expressions: FloatArray
    person: FloatArray
    within: FloatArray

    def estimate(self, answers: FloatArray, known: int | None = None) -> FloatArray:
        """Estimate a person's offset.

        Args:
            answers: log-probabilities of stretches, shape (n, 7), n at least 1.
            known: the emotion that all of them show, 0-6; `None` where it is not known.

        Returns:
            The offset, shape (7,); its mean is 0.
        """
        centred = _centre(answers)
        n = (len(centred) if known is not None else len(centred) - 1) * _INDEPENDENT
        if not n:
            return np.zeros(N_EMOTIONS)
        precision, prior = np.linalg.inv(self.within), np.linalg.inv(self.person)
        expected = self.expressions.mean(axis=0) if known is None else self.expressions[known]
        offset = np.linalg.solve(n * precision + prior, n * precision @ (centred.mean(axis=0) - expected))
        return _centre(offset) * (1.0 if known is not None else self.trust_variety(answers))

    def trust_variety(self, answers: FloatArray) -> float:
        """Tell how surely stretches show one emotion after another, 0-1; what is common to them is then no emotion.

        What counts is how far two stretches lie apart in the median. A variance would be high too where a few stretches
        lie far from all others, as they do when somebody smiles through most of a film.

        Args:
            answers: log-probabilities, shape (n, 7).
        """
        if len(answers) < 2:
            return 0.0
        between = float((self.expressions**2).sum() / N_EMOTIONS)
        varied = _median_distance(_centre(answers)) / (2 * (between + np.trace(self.within)))
        surely = float(1 / (1 + (VARIED / max(varied, _LEAST_PROBABILITY)) ** (1 / _EDGE)))
        return surely * min(1.0, (len(answers) - 1) / _ENOUGH)


@dataclass(frozen=True, eq=False)
class Stretches:
    """What is said of the stretches of a clip: all of it that offsets are estimated from.

    Attributes:
        face: log-probabilities of each stretch by the face of the one spoken for, shape (7,) each.
        voice: the same by the voice.
    """

    face: tuple[FloatArray, ...]
    voice: tuple[FloatArray, ...]


@dataclass(frozen=True)
class Adapter:
    """The models of both modalities; `None` where a bundle has none."""

    face: OffsetModel | None = None
    voice: OffsetModel | None = None


@dataclass(frozen=True, eq=False)
class Offsets:
    """What is common to all that was seen and heard of one person.

    Attributes:
        face: shape (7,), added by the face to each of its log-probabilities.
        voice: the same of the voice.
        n_stretches: how many stretches of the face and of the voice they were estimated from.
    """

    face: FloatArray
    voice: FloatArray
    n_stretches: tuple[int, int] = (0, 0)


NO_ADAPTER = Adapter()


def adapt_to(evidence: Evidence, evidences: Sequence[Evidence], to: str, adapter: Adapter) -> Evidence:
    """Adapt a clip to the person it speaks for, and say so in it.

    Args:
        evidence: what was seen and heard.
        evidences: clips of that person in that kind of recording, this one among them.
        to: what they are, for `Adaptation`.
        adapter: what is known of how answers vary; where it knows nothing, the clip is returned as it is.
    """
    if adapter == NO_ADAPTER:
        return evidence
    offsets = estimate_offsets(adapter, [cut_stretches(one) for one in evidences])
    return apply_offsets(evidence, offsets, to, adapter)


def cut_stretches(evidence: Evidence) -> Stretches:
    """Return what is said of the stretches of a clip; a picture has none, for people pose for it and smile."""
    if not evidence.duration_s:
        return Stretches((), ())
    return Stretches(tuple(_cut_blocks(evidence, "face")), tuple(_cut_blocks(evidence, "voice")))


def estimate_offsets(adapter: Adapter, clips: Sequence[Stretches]) -> Offsets:
    """Estimate the offsets of the person that some clips speak for.

    Args:
        adapter: what is known of how answers vary.
        clips: of one person in one kind of recording, at least one.
    """
    faces, voices = [one for clip in clips for one in clip.face], [one for clip in clips for one in clip.voice]
    face, voice = _estimate(adapter.face, faces), _estimate(adapter.voice, voices)
    return Offsets(face, voice, (len(faces), len(voices)))


def estimate_at_rest(adapter: Adapter, evidence: Evidence) -> Offsets:
    """Estimate a person's offsets from a clip or picture that shows the person at rest: neutral.

    Args:
        adapter: what is known of how answers vary.
        evidence: the person at rest.
    """
    face, voice = list(_cut_blocks(evidence, "face")), list(_cut_blocks(evidence, "voice"))
    offsets = (_estimate(adapter.face, face, NEUTRAL), _estimate(adapter.voice, voice, NEUTRAL))
    return Offsets(*offsets, (len(face), len(voice)))


def apply_offsets(evidence: Evidence, offsets: Offsets, to: str, adapter: Adapter) -> Evidence:
    """Take the offsets out of all answers to a clip; other people on screen are freed of their own.

    Args:
        evidence: what was seen and heard.
        offsets: of the person that the clip speaks for.
        to: what they were estimated from, for `Adaptation`.
        adapter: for the other people.
    """
    whole = shift(evidence.whole, offsets)
    moved = 0.0
    if whole.fused is not None and evidence.whole.fused is not None:
        moved = float(np.abs(whole.fused - evidence.whole.fused).sum()) / 2
    faces: dict[int | None, FloatArray] = {
        seen.tracked.id: _offset_of(seen, evidence, offsets, adapter) for seen in evidence.people
    }
    return replace(
        evidence,
        adaptation=Adaptation(to, *offsets.n_stretches, moved),
        whole=whole,
        windows=[_shift_window(one, evidence, offsets, faces) for one in evidence.windows],
        people=[_adapt_person(seen, faces[seen.tracked.id], evidence.person, offsets) for seen in evidence.people],
    )


def _shift_window(
    answer: Answer, evidence: Evidence, offsets: Offsets, faces: Mapping[int | None, FloatArray]
) -> Answer:
    """Take out what is known of the face that a window shows, and of the voice where it is not somebody else's."""
    is_own = answer.voice_of in (None, evidence.person)
    voice = offsets.voice if is_own else np.zeros(N_EMOTIONS)
    return shift(answer, replace(offsets, face=faces.get(answer.person, offsets.face), voice=voice))


def shift(answer: Answer, offsets: Offsets) -> Answer:
    """Take the offsets out of the answer to one stretch."""
    face_weight, voice_weight = answer.weights
    common = face_weight * offsets.face + voice_weight * offsets.voice
    return replace(
        answer,
        face=_take_out(answer.face, offsets.face),
        voice=_take_out(answer.voice, offsets.voice),
        fused=_take_out(answer.fused, common),
    )


def read_adapter(section: Mapping[str, Any] | None) -> Adapter:
    """Read the `adaptation` section of `bundle.json`; a bundle without it adapts nothing.

    Raises:
        BundleError: a number is missing or malformed, or a covariance is none.
    """
    if section is None:
        return Adapter()
    return Adapter(*(_read_model(section.get(modality), modality) for modality in ("face", "voice")))


def _read_model(section: Any, modality: str) -> OffsetModel | None:
    if section is None:
        return None
    try:
        parts = [np.asarray(section[name], np.float64) for name in ("expressions", "person", "within")]
        sound = all(part.shape == (N_EMOTIONS, N_EMOTIONS) and np.isfinite(part).all() for part in parts)
        sound = sound and all(np.linalg.eigvalsh((part + part.T) / 2).min() > 0 for part in parts[1:])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle.json: adaptation: {modality}: missing or malformed {error}") from None
    if not sound:
        raise BundleError(f"bundle.json: adaptation: {modality}: expected 7x7 finite numbers, covariances positive")
    return OffsetModel(*parts)


def _offset_of(seen: SeenPerson, evidence: Evidence, offsets: Offsets, adapter: Adapter) -> FloatArray:
    if seen.tracked.id == evidence.person:
        return offsets.face
    rows = [np.log(np.maximum(one, _LEAST_PROBABILITY)) for one in seen.windows.values()]
    return _estimate(adapter.face, list(_pool_blocks(rows)))


def _adapt_person(seen: SeenPerson, face: FloatArray, spoken_for: int | None, offsets: Offsets) -> SeenPerson:
    """Take a person's offset out; that of the voice is known of the one spoken for alone."""
    windows = {index: _shifted(one, face) for index, one in seen.windows.items()}
    voice = offsets.voice if seen.tracked.id == spoken_for else np.zeros(N_EMOTIONS)
    both = Offsets(face, voice)
    own = {
        index: replace(one, answer=None if one.answer is None else shift(one.answer, both))
        for index, one in seen.own.items()
    }
    whole = None if seen.whole is None else shift(seen.whole, both)
    return replace(seen, face=_shifted(seen.face, face), windows=windows, own=own, whole=whole)


def _cut_blocks(evidence: Evidence, modality: str) -> Iterator[FloatArray]:
    """Yield log-probabilities of the stretches of a clip; a clip of one stretch is its whole answer."""
    # In a crowd windows show other faces too, which say nothing of this person.
    own = [(one.voice_of if modality == "voice" else one.person) in (None, evidence.person) for one in evidence.windows]
    rows = [getattr(one, modality) if is_own else None for one, is_own in zip(evidence.windows, own, strict=True)]
    whole = getattr(evidence.whole, modality)
    if len(rows) <= BLOCK_WINDOWS:
        yield from [] if whole is None else [np.log(np.maximum(whole, _LEAST_PROBABILITY))]
        return
    yield from _pool_blocks([None if row is None else np.log(np.maximum(row, _LEAST_PROBABILITY)) for row in rows])


def _pool_blocks(rows: Sequence[FloatArray | None]) -> Iterator[FloatArray]:
    for start in range(0, len(rows), BLOCK_WINDOWS):
        known = [row for row in rows[start : start + BLOCK_WINDOWS] if row is not None]
        if known:
            yield np.mean(known, axis=0)


def _estimate(model: OffsetModel | None, answers: Sequence[FloatArray], known: int | None = None) -> FloatArray:
    return np.zeros(N_EMOTIONS) if model is None or not answers else model.estimate(np.stack(answers), known)


def _take_out(probabilities: FloatArray | None, offset: FloatArray) -> FloatArray | None:
    return None if probabilities is None else _shifted(probabilities, offset)


def _shifted(probabilities: FloatArray, offset: FloatArray) -> FloatArray:
    if not offset.any():
        return probabilities
    return np.asarray(np.exp(log_softmax(np.log(np.maximum(probabilities, _LEAST_PROBABILITY)) - offset)))


def _median_distance(rows: FloatArray) -> float:
    """Median of the squared distances of all pairs of rows."""
    some = rows[:: -(-len(rows) // _MOST_COMPARED)]
    squared = ((some[:, None] - some[None]) ** 2).sum(axis=2)
    return float(np.median(squared[np.triu_indices(len(some), 1)]))


def _centre(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean(axis=-1, keepdims=True))
