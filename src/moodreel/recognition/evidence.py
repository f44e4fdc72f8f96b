"""From what was seen and heard to the answer: pooling over time, fusion of face and voice, the timeline, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moodreel.face.expression import Expressions
from moodreel.face.people import TrackedPerson
from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import FloatArray, Fusion, log_softmax
from moodreel.recognition.prediction import UNIFORM, Box, Modality, Person, Prediction, Window
from moodreel.timeline import count_windows, window_times, windows_between
from moodreel.voice.listener import MIN_CHUNK_S, Voice, VoiceWindow


@dataclass(frozen=True)
class SeenPerson:
    """One person, and what the face network said of each frame.

    Attributes:
        tracked: where and when the person was seen.
        expressions: the face network's answers, in the order of time.
    """

    tracked: TrackedPerson
    expressions: Expressions


@dataclass(frozen=True)
class Evidence:
    """All that was seen and heard in one clip.

    Attributes:
        clip: the clip as the user named it.
        duration_s: its length in seconds.
        model: name and version of the bundle.
        has_video: whether it holds a picture.
        has_sound: whether it holds sound.
        frame_count: how many of its pictures could be read.
        people: the people seen, most present first.
        voice: the voice network's answers.
        no_speech_below_db: below this estimated speech-to-background ratio nobody is taken to speak.
        warnings: of the media, one line each.
    """

    clip: str
    duration_s: float
    model: str
    has_video: bool
    has_sound: bool
    frame_count: int
    people: Sequence[SeenPerson]
    voice: Voice
    no_speech_below_db: float
    warnings: Sequence[str]


@dataclass(frozen=True)
class _Heard:
    """The voice over some stretch: calibrated log-probabilities, shape (7,), and the background ratio in dB."""

    log_probabilities: FloatArray
    snr_db: float


def answer(evidence: Evidence, fusion: Fusion) -> Prediction:
    """Put together what one clip shows.

    Args:
        evidence: what was seen and heard.
        fusion: how it is calibrated and added.

    Returns:
        The prediction; its label speaks for the most present person.
    """
    faces = [fusion.face_log_probabilities(seen.expressions.logits) for seen in evidence.people]
    face = pool_log_probabilities(faces[0]) if faces else None
    heard = _hear(_spoken(evidence, evidence.voice.utterances), fusion)
    speaker_share = _speaker_share(evidence)
    fused = _fuse(face, heard, fusion, speaker_share)
    snr_db = heard.snr_db if heard else None
    weights = fusion.weights(snr_db, has_face=face is not None, speaker_share=speaker_share)
    people = tuple(_describe_person(seen, face, evidence) for seen, face in zip(evidence.people, faces, strict=True))
    return Prediction(
        clip=evidence.clip,
        duration_s=evidence.duration_s,
        model=evidence.model,
        label=None if fused is None else EMOTIONS[int(np.argmax(fused))],
        probabilities=UNIFORM if fused is None else _as_tuple(fused),
        abstained=fused is None or float(fused.max()) < fusion.abstain_below,
        person=people[0].id if people else None,
        face=_modality(_face_state(evidence), face, weights, 0),
        voice=_modality(_voice_state(evidence, heard), heard.log_probabilities if heard else None, weights, 1),
        people=people,
        timeline=_timeline(evidence, faces[0] if faces else None, fusion),
        warnings=tuple(_warnings(evidence, fused)),
    )


def pool_log_probabilities(frames: FloatArray, weights: Sequence[float] | None = None) -> FloatArray:
    """Pool calibrated log-probabilities over time: their mean, normalised (a geometric mean of probabilities).

    Args:
        frames: shape (n, 7), n at least 1.
        weights: one for each row, not all 0; alike by default.

    Returns:
        Log-probabilities, shape (7,).
    """
    return log_softmax(np.average(frames, axis=0, weights=weights))


def _spoken(evidence: Evidence, windows: Sequence[VoiceWindow]) -> list[VoiceWindow]:
    return [window for window in windows if window.snr_db >= evidence.no_speech_below_db]


def _hear(windows: Sequence[VoiceWindow], fusion: Fusion) -> _Heard | None:
    if not windows:
        return None
    speech_s = [window.speech_s for window in windows]
    frames = fusion.voice_log_probabilities(np.stack([window.logits for window in windows]))
    snr_db = float(np.average([window.snr_db for window in windows], weights=speech_s))
    return _Heard(pool_log_probabilities(frames, speech_s), snr_db)


def _speaker_share(evidence: Evidence) -> float:
    """How likely the voice is the most present person's: that person's part of all faces' time on screen, 0-1."""
    shares = [seen.tracked.share_on_screen for seen in evidence.people]
    return shares[0] / sum(shares) if shares else 1.0


def _fuse(face: FloatArray | None, heard: _Heard | None, fusion: Fusion, speaker_share: float) -> FloatArray | None:
    voice, snr_db = (heard.log_probabilities, heard.snr_db) if heard else (None, None)
    return fusion.fuse(face, voice, snr_db, speaker_share)


def _timeline(evidence: Evidence, face: FloatArray | None, fusion: Fusion) -> tuple[Window, ...]:
    times_s = evidence.people[0].expressions.times_s if evidence.people else np.zeros(0)
    speaker_share = _speaker_share(evidence)
    spoken = {round(window.start_s, 3): window for window in _spoken(evidence, evidence.voice.windows)}
    windows = []
    for index in range(count_windows(evidence.duration_s)):
        start_s, end_s = window_times(index, evidence.duration_s)
        seen = _pool_between(times_s, face, start_s, end_s)
        heard = _hear([spoken[round(start_s, 3)]] if round(start_s, 3) in spoken else [], fusion)
        windows.append(_window(start_s, end_s, _fuse(seen, heard, fusion, speaker_share), seen, heard))
    return tuple(windows)


def _pool_between(
    times_s: np.ndarray[tuple[int], np.dtype[np.float64]], frames: FloatArray | None, start_s: float, end_s: float
) -> FloatArray | None:
    first, last = np.searchsorted(times_s, [start_s, end_s if end_s > start_s else np.inf])
    return None if frames is None or first == last else pool_log_probabilities(frames[first:last])


def _window(
    start_s: float, end_s: float, fused: FloatArray | None, seen: FloatArray | None, heard: _Heard | None
) -> Window:
    return Window(
        start_s=start_s,
        end_s=end_s,
        label=None if fused is None else EMOTIONS[int(np.argmax(fused))],
        probabilities=UNIFORM if fused is None else _as_tuple(fused),
        face=None if seen is None else _as_tuple(np.exp(seen)),
        voice=None if heard is None else _as_tuple(np.exp(heard.log_probabilities)),
    )


def _describe_person(seen: SeenPerson, face: FloatArray, evidence: Evidence) -> Person:
    pooled = pool_log_probabilities(face)
    tracked = seen.tracked
    windows = []
    for index in windows_between(tracked.times_s[0], tracked.times_s[-1], evidence.duration_s):
        start_s, end_s = window_times(index, evidence.duration_s)
        inside = _pool_between(seen.expressions.times_s, face, start_s, end_s)
        if inside is not None:
            windows.append(_window(start_s, end_s, np.exp(inside), inside, None))
    return Person(
        id=tracked.id,
        share_on_screen=tracked.share_on_screen,
        label=EMOTIONS[int(np.argmax(pooled))],
        probabilities=_as_tuple(np.exp(pooled)),
        windows=tuple(windows),
        boxes=tuple(Box(float(t), _as_box(box)) for t, box in zip(tracked.times_s, tracked.boxes_px, strict=True)),
    )


def _modality(state: str, log_probabilities: FloatArray | None, weights: tuple[float, float], which: int) -> Modality:
    total = sum(weights)
    share = weights[which] / total if total else 0.0
    return Modality(state, None if log_probabilities is None else _as_tuple(np.exp(log_probabilities)), share)


def _face_state(evidence: Evidence) -> str:
    if not evidence.has_video:
        return "no_video_track"
    if not evidence.frame_count:
        return "undecodable"
    return "ok" if evidence.people else "no_face"


def _voice_state(evidence: Evidence, heard: _Heard | None) -> str:
    if not evidence.has_sound:
        return "no_audio_track"
    if heard is not None:
        return "ok"
    if not evidence.voice.heard_s:
        return "undecodable"
    return "silent" if evidence.voice.is_silent and evidence.voice.heard_s >= MIN_CHUNK_S else "no_speech"


def _warnings(evidence: Evidence, fused: FloatArray | None) -> list[str]:
    warnings = list(evidence.warnings)
    if fused is None:
        warnings.append("no face seen and no voice heard: nothing to tell an emotion from")
    if len(evidence.people) > 1:
        first = evidence.people[0].tracked
        presence = f"on screen {first.share_on_screen:.0%} of the time" if evidence.duration_s else "the largest face"
        warnings.append(f"{len(evidence.people)} people seen: the answer speaks for person {first.id}, {presence}")
    return warnings


def _as_tuple(probabilities: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in probabilities)


def _as_box(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom
