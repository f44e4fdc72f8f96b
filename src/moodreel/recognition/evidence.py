"""From what was seen and heard to the answer: states, label, abstention, people, timeline and warnings.

Every kind of bundle ends here, so that an answer means the same whatever networks it comes from. What the networks say
of a stretch is an `Answer`; `late_fusion` and `joint_network` differ in how they come by it, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from moodreel.face.appearance import NO_APPEARANCE
from moodreel.face.looks import Vector
from moodreel.face.people import TrackedPerson
from moodreel.labels import EMOTIONS
from moodreel.recognition.abstention import is_weak
from moodreel.recognition.fusion import FloatArray, log_softmax
from moodreel.recognition.prediction import UNIFORM, Adaptation, Box, Modality, Person, Prediction, Turn, Window
from moodreel.recognition.prediction_parts import MOST_PRESENT, MOST_SPEAKING
from moodreel.timeline import window_times
from moodreel.voice.listener import MIN_CHUNK_S

CARRIES = 0.5
"""Least part of all face time by which one person carries a clip."""


@dataclass(frozen=True)
class Answer:
    """What the networks say of one stretch: probabilities, shape (7,), `None` where there is nothing to go by.

    Attributes:
        face: by the face alone.
        voice: by the voice alone.
        fused: by both.
        weights: weight of the face and of the voice in `fused`, from 0.
        person: id of the person whose face it is; `None` without a face.
        sounds: probability by name of what sounds; `None` in silence, and where the bundle does not tell sounds apart.
        voice_of: whose the voice is: a person's id or `off_screen`; `None` where it is not sure.
        overlap: in which part of the speech two speak at once, 0-1.
    """

    face: FloatArray | None = None
    voice: FloatArray | None = None
    fused: FloatArray | None = None
    weights: tuple[float, float] = (0.0, 0.0)
    person: int | None = None
    sounds: Mapping[str, float] | None = None
    voice_of: int | str | None = None
    overlap: float = 0.0


@dataclass(frozen=True)
class Own:
    """What a person's own voice says of a stretch, where it is told apart.

    Attributes:
        speaking: which part of the speech is the person's, 0-1.
        answer: by the person's own face and voice; `None` where that voice is not heard.
    """

    speaking: float
    answer: Answer | None = None


@dataclass(frozen=True)
class SeenPerson:
    """One person, and what the person's face shows.

    Attributes:
        tracked: where and when the person was seen.
        face: probabilities over the whole clip, shape (7,).
        windows: probabilities by number of the window, for those in which the face was seen.
        own: by number of these windows what the person's own voice says; none where nothing tells whose it is.
        whole: by the person's own face and voice over the whole clip; `None` where that voice is not heard.
        speaking_s: for how long the person is heard to speak, in seconds; `None` where nothing tells.
    """

    tracked: TrackedPerson
    face: FloatArray
    windows: Mapping[int, FloatArray]
    own: Mapping[int, Own] = field(default_factory=dict)
    whole: Answer | None = None
    speaking_s: float | None = None


@dataclass(frozen=True)
class Evidence:
    """All that was seen and heard in one clip.

    Attributes:
        clip: the clip as the user named it.
        duration_s: its length in seconds.
        model: name and version of the bundle.
        reads: whether the bundle looks at the picture, and whether it listens to the sound.
        has_video: whether the clip holds a picture.
        has_sound: whether it holds sound.
        frame_count: how many of its pictures could be read.
        heard_s: seconds of sound that could be read.
        is_silent: whether nothing was loud enough to be speech.
        people: the people seen, most present first.
        person: id of the one that the answer speaks for; `None` without.
        whole: the answer to the whole clip.
        windows: the answer to each window of the timeline.
        abstain_below: an answer whose top probability lies below this is marked as abstained.
        warnings: of the media, one line each.
        start_s: where the clip begins in its file; all other times count from there.
        adaptation: what the answers were adapted to; `None` where they were not.
        turns: who speaks when.
        speakers: one of `SPEAKER_STATES`.
        why: why the answer speaks for `person`: one of `WHYS`.
        scope: what the answer is told as; `None` where the time on screen decides.
        picture_px: width and height of the upright picture; `None` without.
        recorded_s: when the file says it was recorded, seconds since 1970 (UTC); `None` where it does not say.
    """

    clip: str
    duration_s: float
    model: str
    reads: tuple[bool, bool]
    has_video: bool
    has_sound: bool
    frame_count: int
    heard_s: float
    is_silent: bool
    people: Sequence[SeenPerson]
    person: int | None
    whole: Answer
    windows: Sequence[Answer]
    abstain_below: float
    warnings: Sequence[str]
    start_s: float = 0.0
    adaptation: Adaptation | None = None
    turns: Sequence[Turn] = ()
    speakers: str = "not_told"
    why: str = MOST_PRESENT
    scope: Literal["person", "crowd"] | None = None
    picture_px: tuple[int, int] | None = None
    recorded_s: float | None = None

    @property
    def appearance(self) -> Vector:
        """Whose face it is that the answer speaks for; empty where nothing tells."""
        own = [seen.tracked.appearance for seen in self.people if seen.tracked.id == self.person]
        return own[0] if own else NO_APPEARANCE


def compose(evidence: Evidence) -> Prediction:
    """Put together what one clip shows.

    Args:
        evidence: what was seen and heard.
    """
    whole = evidence.whole
    return Prediction(
        clip=evidence.clip,
        duration_s=evidence.duration_s,
        model=evidence.model,
        label=_label(whole.fused),
        probabilities=UNIFORM if whole.fused is None else _as_tuple(whole.fused),
        abstained=is_weak(_top(whole.fused), evidence.abstain_below),
        person=evidence.person,
        face=_modality(_face_state(evidence), whole, 0),
        voice=_modality(_voice_state(evidence), whole, 1),
        people=tuple(_describe_person(seen, evidence) for seen in evidence.people),
        timeline=tuple(_window(index, one, evidence) for index, one in enumerate(evidence.windows)),
        warnings=tuple(_warnings(evidence)),
        adaptation=evidence.adaptation,
        scope=_scope(evidence),
        abstain_below=evidence.abstain_below,
        turns=tuple(evidence.turns),
        speakers=evidence.speakers,
        why=evidence.why,
    )


def _scope(evidence: Evidence) -> Literal["person", "crowd"]:
    return evidence.scope or find_scope([seen.tracked for seen in evidence.people], evidence.person)


def find_scope(people: Sequence[TrackedPerson], person: int | None) -> Literal["person", "crowd"]:
    """Tell whether one person carries a clip, or whether it is a crowd: nobody has half of all face time.

    Args:
        people: everybody seen.
        person: id of the one spoken for.
    """
    total = sum(one.share_on_screen for one in people)
    own = sum(one.share_on_screen for one in people if one.id == person)
    return "crowd" if len(people) > 1 and own < CARRIES * total else "person"


def pool_log_probabilities(frames: FloatArray, weights: Sequence[float] | None = None) -> FloatArray:
    """Pool calibrated log-probabilities over time: their mean, normalised (a geometric mean of probabilities).

    Args:
        frames: shape (n, 7), n at least 1.
        weights: one for each row, not all 0; alike by default.

    Returns:
        Log-probabilities, shape (7,).
    """
    return log_softmax(np.average(frames, axis=0, weights=weights))


def _top(probabilities: FloatArray | None) -> float | None:
    return None if probabilities is None else float(probabilities.max())


def _label(probabilities: FloatArray | None) -> str | None:
    return None if probabilities is None else EMOTIONS[int(np.argmax(probabilities))]


def _window(index: int, answer: Answer, evidence: Evidence) -> Window:
    start_s, end_s = window_times(index, evidence.duration_s)
    return Window(
        start_s=start_s,
        end_s=end_s,
        label=_label(answer.fused),
        probabilities=UNIFORM if answer.fused is None else _as_tuple(answer.fused),
        face=None if answer.face is None else _as_tuple(answer.face),
        voice=None if answer.voice is None else _as_tuple(answer.voice),
        person=answer.person,
        weights=_shares(answer),
        abstained=is_weak(_top(answer.fused), evidence.abstain_below),
        sounds=answer.sounds,
        voice_of=answer.voice_of,
        overlap=answer.overlap,
    )


def _describe_person(seen: SeenPerson, evidence: Evidence) -> Person:
    tracked = seen.tracked
    answers = {index: Answer(face, None, face, (1.0, 0.0), tracked.id) for index, face in seen.windows.items()}
    return Person(
        id=tracked.id,
        share_on_screen=tracked.share_on_screen,
        label=EMOTIONS[int(np.argmax(seen.face))],
        probabilities=_as_tuple(seen.face),
        windows=tuple(
            _add_own(_window(index, answer, evidence), seen.own.get(index)) for index, answer in sorted(answers.items())
        ),
        boxes=tuple(Box(float(t), _as_box(box)) for t, box in zip(tracked.times_s, tracked.boxes_px, strict=True)),
        abstained=is_weak(_top(seen.face), evidence.abstain_below),
        speaking_s=seen.speaking_s,
        voice=_known(seen.whole.voice if seen.whole else None),
        fused=_known(seen.whole.fused if seen.whole else None),
    )


def _add_own(window: Window, own: Own | None) -> Window:
    """Put what a person's own voice says beside what the face says."""
    if own is None:
        return window
    voice, fused = (own.answer.voice, own.answer.fused) if own.answer else (None, None)
    return replace(window, voice=_known(voice), fused=_known(fused), speaking=own.speaking)


def _known(probabilities: FloatArray | None) -> tuple[float, ...] | None:
    return None if probabilities is None else _as_tuple(probabilities)


def _shares(answer: Answer) -> tuple[float, float]:
    """Return the shares of face and voice in an answer, summing to 1 unless both are absent."""
    face, voice = answer.weights
    total = face + voice
    return (face / total, voice / total) if total else (0.0, 0.0)


def _modality(state: str, whole: Answer, which: int) -> Modality:
    probabilities = (whole.face, whole.voice)[which]
    return Modality(state, None if probabilities is None else _as_tuple(probabilities), _shares(whole)[which])


def _face_state(evidence: Evidence) -> str:
    if not evidence.reads[0]:
        return "unused"
    if not evidence.has_video:
        return "no_video_track"
    if not evidence.frame_count:
        return "undecodable"
    return "no_face" if evidence.whole.face is None else "ok"


def _voice_state(evidence: Evidence) -> str:
    if not evidence.reads[1]:
        return "unused"
    if not evidence.has_sound:
        return "no_audio_track"
    if evidence.whole.voice is not None:
        return "ok"
    if not evidence.heard_s:
        return "undecodable"
    return "silent" if evidence.is_silent and evidence.heard_s >= MIN_CHUNK_S else "no_speech"


def _warnings(evidence: Evidence) -> list[str]:
    warnings = list(evidence.warnings)
    if evidence.whole.fused is None:
        warnings.append("no face seen and no voice heard: nothing to tell an emotion from")
    spoken_for = [seen.tracked for seen in evidence.people if seen.tracked.id == evidence.person]
    if len(evidence.people) > 1 and spoken_for:
        share = spoken_for[0].share_on_screen
        presence = f"on screen {share:.0%} of the time" if evidence.duration_s else "the largest face"
        if evidence.why == MOST_SPEAKING:
            presence = "who speaks most"
        whole = "the label speaks" if _scope(evidence) == "crowd" else "the answer speaks"
        warnings.append(f"{len(evidence.people)} people seen: {whole} for person {evidence.person}, {presence}")
    return warnings


def _as_tuple(probabilities: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in probabilities)


def _as_box(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom
