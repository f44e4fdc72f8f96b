"""What a joint network reads of a clip while it passes by: pictures, sound, and the people in it.

Frames are read a stretch at a time, as in training, and kept as small as the network takes them, so that picture and
sound need not come in step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.face.detector import Face
from moodreel.face.people import TrackedPerson, find_people
from moodreel.face.tracking import FaceTracker, TrackedFace, TrackingOptions
from moodreel.media.frames import Frame
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import SeenPerson, pool_log_probabilities
from moodreel.recognition.fusion import FloatArray
from moodreel.recognition.inputs import (
    NOT_READ,
    Features,
    FrameSpec,
)
from moodreel.recognition.reading import Pictures, cut_face, face_detector, join_pictures, read_pictures, read_sound
from moodreel.timeline import TAIL_S, WINDOW_S, count_windows, window_times
from moodreel.voice.listener import MIN_CHUNK_S
from moodreel.voice.speech import RATE_HZ, extract_speech
from moodreel.voice.speech_signs import holds_speech, measure_signs

if TYPE_CHECKING:
    pass

from moodreel.recognition.joint_network import JointNetwork

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Chunk:
    """What was seen from one instant to another; `pictures` has a time for each of its rows."""

    end_s: float
    pictures: Pictures


class PictureTrack:
    """The pictures of a clip: frames are read a stretch at a time, as in training, and kept as what a network reads."""

    def __init__(self, network: JointNetwork, *, has_video: bool) -> None:
        self.frame_count = 0
        self.places: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []
        self._network = network
        self._has_video = has_video
        self._frames: list[Frame] = []
        self._chunks: deque[_Chunk] = deque()
        self._end_s = 0.0

    @property
    def covered_s(self) -> float:
        """Up to when the pictures are read; they may be cut until then."""
        return self._end_s if self._has_video and self._network.reads[0] else np.inf

    def take(self, frame: Frame) -> None:
        """Take the next frame; times rise."""
        self.frame_count += 1
        while frame.time_s >= self._end_s + self._network.spec.longest_s:
            self._read(self._end_s + self._network.spec.longest_s)
        self._frames.append(frame)

    def end(self, duration_s: float) -> None:
        """Read what is left; a frame of a still picture stands at the very end."""
        self._read(max(duration_s, self._end_s + self._network.spec.longest_s))

    def forget(self, before_s: float) -> None:
        """Drop what was seen before an instant."""
        while self._chunks and self._chunks[0].end_s <= before_s:
            self._chunks.popleft()

    def cut(self, start_s: float, end_s: float) -> Pictures:
        """Return what was seen from one instant to another; of a still picture, all."""
        end_s = end_s if end_s > start_s else np.inf
        parts = [chunk.pictures.between(start_s, end_s) for chunk in self._chunks]
        return join_pictures(parts or [self._read_none()])

    def _read(self, end_s: float) -> None:
        network, frames = self._network, self._frames
        pictures = read_pictures(frames, network.spec, network.encoders, has_video=self._has_video)
        self.places.append((pictures.times_s[: len(pictures.places_px)], pictures.places_px))
        self._chunks.append(_Chunk(end_s, pictures))
        self._frames, self._end_s = [], end_s

    def _read_none(self) -> Pictures:
        return read_pictures([], self._network.spec, self._network.encoders, has_video=self._has_video)


class SoundBuffer:
    """The sound of a clip, of which no more is kept than what is not answered yet."""

    def __init__(self, network: JointNetwork, *, has_sound: bool) -> None:
        self.is_silent = True
        self._network = network
        self._has_sound = has_sound
        self._samples = np.zeros(0, np.float32)
        self._first = 0
        self._has_ended = False

    @property
    def heard_s(self) -> float:
        """Seconds of sound so far."""
        return (self._first + len(self._samples)) / RATE_HZ

    @property
    def covered_s(self) -> float:
        """Up to when the sound may be cut."""
        return self.heard_s if self._has_sound and self._network.reads[1] else np.inf

    def take(self, sound: Sound) -> None:
        """Take the next block, which follows the one before without a gap; before the first it was silent."""
        if not self.heard_s:
            self._samples = np.zeros(max(0, round(sound.start_s * RATE_HZ)), np.float32)
        self._samples = np.concatenate([self._samples, sound.samples])

    def forget(self, before_s: float) -> None:
        """Drop what was heard before an instant."""
        n_gone = min(max(0, round(before_s * RATE_HZ) - self._first), len(self._samples))
        self._samples, self._first = self._samples[n_gone:], self._first + n_gone

    def hear(self, start_s: float, end_s: float) -> Features:
        """Return what was heard from one instant to another."""
        first, last = (max(0, round(time_s * RATE_HZ) - self._first) for time_s in (start_s, end_s))
        features, is_silent = hear_speech(self._samples[first:last], self._network, has_sound=self._has_sound)
        self.is_silent = self.is_silent and is_silent
        return features


def hear_speech(sound: Samples, network: JointNetwork, *, has_sound: bool) -> tuple[Features, bool]:
    """Read the sound of a stretch; returns also whether it is silent. What is plainly no speech is not listened to."""
    if not network.reads[1]:
        return NOT_READ, True
    if len(sound) < MIN_CHUNK_S * RATE_HZ:
        return replace(NOT_READ, voice_state="silent"), True
    speech = extract_speech(sound)
    if not speech.active.any():
        return replace(NOT_READ, voice_state="silent"), True
    length_s = len(sound) / RATE_HZ
    starts_s = np.arange(0.0, max(length_s - TAIL_S, TAIL_S), 1.0)
    whole, *signs = measure_signs(speech, [(0.0, length_s), *((s, min(s + WINDOW_S, length_s)) for s in starts_s)])
    if not holds_speech(whole, signs):
        return replace(NOT_READ, voice_state="no_speech"), False
    return read_sound(sound, network.spec, network.encoders, has_sound=has_sound), False


def join_modalities(seen: Pictures, heard: Features) -> Features:
    """Put what is seen and heard of one stretch together."""
    return replace(heard, frames=seen.frames, expressions=seen.expressions, face_state=seen.state)


@dataclass(eq=False)
class _Glimpses:
    """The latest crops of one track, with the features that an encoder gives of them once they are needed."""

    times_s: deque[float] = field(default_factory=deque)
    crops: deque[npt.NDArray[np.uint8]] = field(default_factory=deque)

    def forget(self, before_s: float) -> None:
        while self.times_s and self.times_s[0] < before_s:
            self.times_s.popleft()
            self.crops.popleft()


class People:
    """The people of a clip, followed while its frames pass by, and what each face shows with the sound hidden."""

    def __init__(self, network: JointNetwork) -> None:
        follows = network.follows
        assert follows is not None
        self._network = network
        options = TrackingOptions(side_px=follows.side_px, cut=_cutter(follows))
        detector = face_detector(follows.face_threshold)
        self._tracker = FaceTracker(detector, options, appearance=network.appearance)
        self._glimpses: dict[int, _Glimpses] = {}
        self._answers: dict[int, dict[int, FloatArray]] = {}
        self._n_windows = 0

    def follow(self, frames: Iterable[Frame]) -> None:
        """Follow the faces of all frames of the clip."""
        for face in self._tracker.track(frames):
            while face.time_s >= self._n_windows + WINDOW_S + TAIL_S:
                self._answer_window(self._n_windows, self._n_windows + WINDOW_S)
            self._keep(face)

    def conclude(self, duration_s: float) -> list[SeenPerson]:
        """Return the people, most present first."""
        while self._n_windows < count_windows(duration_s):
            self._answer_window(*window_times(self._n_windows, duration_s))
        return [seen for seen in map(self._describe, find_people(self._tracker)) if seen is not None]

    def _keep(self, face: TrackedFace) -> None:
        glimpses = self._glimpses.setdefault(face.track_id, _Glimpses())
        glimpses.times_s.append(face.time_s)
        glimpses.crops.append(face.crop)

    def _answer_window(self, start_s: float, end_s: float) -> None:
        for track, glimpses in self._glimpses.items():
            glimpses.forget(start_s)
            seen = [
                crop
                for time_s, crop in zip(glimpses.times_s, glimpses.crops, strict=True)
                if time_s < end_s or not end_s
            ]
            if seen:
                self._answers.setdefault(track, {})[self._n_windows] = self._read(np.stack(seen))
        self._glimpses = {track: one for track, one in self._glimpses.items() if one.times_s}
        self._n_windows += 1

    def _read(self, crops: npt.NDArray[np.uint8]) -> FloatArray:
        spec, encoders = self._network.spec, self._network.encoders
        expressions = encoders.describe_faces(crops) if spec.expressions else np.zeros((0, 0), np.float32)
        frames = crops if spec.keeps_frames else crops[:0]
        return self._network.run(replace(NOT_READ, frames=frames, expressions=expressions, face_state="ok"))

    def _describe(self, tracked: TrackedPerson) -> SeenPerson | None:
        rows: dict[int, list[FloatArray]] = {}
        for track in tracked.track_ids:
            for index, answer in self._answers.get(track, {}).items():
                rows.setdefault(index, []).append(np.log(answer))
        if not rows:
            return None
        windows = {index: pool_log_probabilities(np.stack(found)) for index, found in rows.items()}
        whole = pool_log_probabilities(np.stack(list(windows.values())))
        return SeenPerson(tracked, np.exp(whole), {index: np.exp(one) for index, one in windows.items()})


def _cutter(spec: FrameSpec) -> Callable[[npt.NDArray[np.uint8], Face, int], npt.NDArray[np.uint8]]:
    return lambda pixels, face, _: cut_face(pixels, face.landmarks_px, spec)
