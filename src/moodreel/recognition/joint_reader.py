"""Predicting with a joint network: clips are answered stretch by stretch and window by window, live streams too.

The answer speaks for the face that the network follows; the faces of all people are read with the sound hidden.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.face.people import TrackedPerson
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead, report_progress
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import Answer, Evidence, SeenPerson, pool_log_probabilities
from moodreel.recognition.fusion import ClipLogits, FloatArray
from moodreel.recognition.inputs import (
    ANALYSIS_SIDE_PX,
)
from moodreel.recognition.prediction import Box
from moodreel.recognition.prediction_parts import MOST_PRESENT
from moodreel.recognition.reading import face_detector, read_pictures
from moodreel.timeline import HOP_S, TAIL_S, WINDOW_S, count_windows, window_times
from moodreel.voice.speech import RATE_HZ

if TYPE_CHECKING:
    pass

from moodreel.recognition.joint_network import JointCalibration, JointNetwork
from moodreel.recognition.joint_tracks import People, PictureTrack, SoundBuffer, hear_speech, join_modalities

Samples = npt.NDArray[np.float32]

LEAST_STRETCH_S = 0.5
"""A rest shorter than this at the end of a clip is left out of the clip's answer, unless it is all there is."""
_LEAST_PROBABILITY = 1e-300
"""So that a logarithm stays finite."""
_MOST_BEHIND_S = 30.0
"""Picture or sound that lags further behind the other is not waited for."""


class JointReader:
    """Reads a clip once: each stretch as the network was trained, each window of the timeline, and each person."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Open the network of a joint bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that the network may use.

        Raises:
            BundleError: the bundle lacks the network, or what it reads is not stated soundly.
        """
        self._network = JointNetwork.open(bundle, threads=threads)

    def observe(
        self,
        clip: Clip,
        name: str,
        progress: Callable[[float], None] | None,
        speaks_for: str = MOST_PRESENT,  # noqa: ARG002  # it follows one face
    ) -> Evidence:
        """Tell what an opened clip shows.

        Args:
            clip: the clip.
            name: the clip as the user named it.
            progress: called now and then with the share done, 0-1.
            speaks_for: whom the answer speaks for: always the face that it follows.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        return self._gather(clip, name, progress)

    @property
    def calibration(self) -> JointCalibration:
        """How sure the network may be."""
        return self._network.calibration

    def read_logits(self, clip: Clip) -> ClipLogits:
        """Tell what the network says of an opened clip before it is calibrated.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        whole, temperature = self._gather(clip, clip.name, None).whole, self.calibration.temperature
        face, voice, joint = (
            None if one is None else temperature * np.log(np.maximum(one, _LEAST_PROBABILITY))
            for one in (whole.face, whole.voice, whole.fused)
        )
        return ClipLogits(face, voice, joint)

    def _gather(self, clip: Clip, name: str, progress: Callable[[float], None] | None) -> Evidence:
        network, spec = self._network, self._network.spec
        reading = ClipReading(network, clip)
        rate_hz = spec.frames.rate_hz if spec.frames else 0.0
        stream = clip.stream(
            longest_side_px=ANALYSIS_SIDE_PX, frames_rate_hz=rate_hz, sound_rate_hz=RATE_HZ if spec.reads_sound else 0
        )
        with read_ahead(stream) as items:
            reading.take_all(report_progress(items, clip.duration_s, progress))
        return reading.conclude(name, clip.decoded_s)

    def start_live(self) -> JointLive:
        """Begin a live stream."""
        return JointLive(self._network)


class JointLive:
    """The last frames of a live stream, kept as pictures: the network sees them together."""

    def __init__(self, network: JointNetwork) -> None:
        self._network = network
        self._frames: deque[Frame] = deque()
        self._next_s = 0.0

    def watch(self, frame: Frame) -> None:
        """Take the next frame, if it is due at the rate that the network was trained at."""
        frames = self._network.spec.frames
        if frames is not None and frame.time_s >= self._next_s:
            self._frames.append(frame)
            self._next_s = max(self._next_s + 1 / frames.rate_hz, frame.time_s)

    def read(self, start_s: float, end_s: float, sound: Samples) -> tuple[Evidence, Box | None]:
        """Tell what the frames since `start_s` and the sound show, and where the face stood last."""
        while self._frames and self._frames[0].time_s < start_s:
            self._frames.popleft()
        network, frames = self._network, list(self._frames)
        seen = read_pictures(frames, network.spec, network.encoders, has_video=bool(frames))
        heard, is_silent = hear_speech(sound, network, has_sound=len(sound) > 0)
        whole = network.answer(join_modalities(seen, heard))
        people, box = self._people(frames, whole, start_s)
        evidence = Evidence(
            clip="live",
            duration_s=end_s - start_s,
            model=network.title,
            reads=network.reads,
            has_video=bool(frames),
            has_sound=len(sound) > 0,
            frame_count=len(frames),
            heard_s=len(sound) / RATE_HZ,
            is_silent=is_silent,
            people=people,
            person=people[0].tracked.id if people else None,
            whole=whole,
            windows=[replace(whole, person=people[0].tracked.id if people else None)] * count_windows(end_s - start_s),
            abstain_below=network.calibration.abstain_below,
            warnings=(),
        )
        return evidence, box

    def _people(self, frames: list[Frame], whole: Answer, start_s: float) -> tuple[list[SeenPerson], Box | None]:
        """Return whoever is followed as one person, as seen in the last frame."""
        follows = self._network.follows
        if follows is None or whole.face is None:
            return [], None
        found = face_detector(follows.face_threshold).detect(frames[-1].pixels)
        if not found:
            return [], None
        left, top, right, bottom = (edge / frames[-1].scale for edge in found[0].box_px)
        box = Box(frames[-1].time_s, (left, top, right, bottom))
        time_s = np.array([box.time_s - start_s])
        tracked = TrackedPerson(1, (1,), 1.0, time_s, np.array([box.box_px]), score=found[0].score)
        return [SeenPerson(tracked, whole.face, {0: whole.face})], box


class ClipReading:
    """One clip while it is being read: stretches and windows are answered as soon as picture and sound cover them."""

    def __init__(self, network: JointNetwork, clip: Clip) -> None:
        self._network = network
        self._pictures = PictureTrack(network, has_video=clip.has_picture)
        self._sounds = SoundBuffer(network, has_sound=clip.has_sound)
        self._people = People(network) if network.follows is not None and clip.has_picture else None
        self._clip = clip
        self._stretches: list[tuple[float, Answer]] = []
        self._windows: list[Answer] = []

    def take_all(self, items: Iterable[Frame | Sound]) -> None:
        """Read a clip's stream to its end, in whatever order picture and sound come."""
        frames = self._take_in_passing(items)
        if self._people is None:
            for _ in frames:
                pass
        else:
            self._people.follow(frames)

    def conclude(self, name: str, duration_s: float) -> Evidence:
        """Answer what is left, and return all that was seen and heard."""
        self._pictures.end(duration_s)
        while len(self._stretches) < self._count_stretches(duration_s):
            start_s = self._stretch_start_s
            longest_s = self._network.spec.longest_s
            is_last = len(self._stretches) == self._count_stretches(duration_s) - 1
            self._answer_stretch(duration_s if is_last and duration_s - start_s <= longest_s else start_s + longest_s)
        while len(self._windows) < count_windows(duration_s):
            self._answer_window(*window_times(len(self._windows), duration_s))
        people = [] if self._people is None else self._people.conclude(duration_s)
        clip, network = self._clip, self._network
        return Evidence(
            clip=name,
            duration_s=duration_s,
            model=network.title,
            reads=network.reads,
            has_video=clip.has_picture,
            has_sound=clip.has_sound,
            frame_count=self._pictures.frame_count,
            heard_s=self._sounds.heard_s,
            is_silent=self._sounds.is_silent,
            people=people,
            person=_find_followed(self._pictures, people),
            whole=_pool(self._stretches),
            windows=[self._name_person(index, one, people) for index, one in enumerate(self._windows)],
            abstain_below=network.calibration.abstain_below,
            warnings=clip.warnings,
        )

    def _name_person(self, index: int, answer: Answer, people: list[SeenPerson]) -> Answer:
        """Say whose face a window was answered by: of those seen in it, the one that was followed."""
        present = [seen for seen in people if index in seen.windows]
        if answer.face is None or not present:
            return answer
        person = _find_followed(self._pictures, present, index * HOP_S, index * HOP_S + WINDOW_S + TAIL_S)
        return replace(answer, person=person)

    @property
    def held_s(self) -> float:
        """Seconds of the clip that are held because they are not answered yet."""
        return self._latest_s - self._answered_s

    @property
    def _latest_s(self) -> float:
        seen_s = self._pictures.covered_s
        return max(seen_s if np.isfinite(seen_s) else 0.0, self._sounds.heard_s)

    @property
    def _answered_s(self) -> float:
        return min(self._stretch_start_s, float(len(self._windows)))

    @property
    def _stretch_start_s(self) -> float:
        return len(self._stretches) * self._network.spec.longest_s

    def _count_stretches(self, duration_s: float) -> int:
        longest_s = self._network.spec.longest_s
        return 1 + max(0, int(np.ceil((duration_s - longest_s - LEAST_STRETCH_S) / longest_s)))

    def _take_in_passing(self, items: Iterable[Frame | Sound]) -> Iterator[Frame]:
        for item in items:
            if isinstance(item, Frame):
                self._pictures.take(item)
                yield item
            else:
                self._sounds.take(item)
            self._advance()

    def _advance(self) -> None:
        """Answer what both picture and sound have passed; what may yet turn out to be the last waits."""
        waited_for_s = self._latest_s - _MOST_BEHIND_S
        covered_s = max(min(self._pictures.covered_s, self._sounds.covered_s), waited_for_s)
        longest_s = self._network.spec.longest_s
        while covered_s > self._stretch_start_s + longest_s + LEAST_STRETCH_S:
            self._answer_stretch(self._stretch_start_s + longest_s)
        while covered_s > len(self._windows) + WINDOW_S + TAIL_S:
            self._answer_window(len(self._windows), len(self._windows) + WINDOW_S)
        self._pictures.forget(self._answered_s)
        self._sounds.forget(self._answered_s)

    def _answer_stretch(self, end_s: float) -> None:
        start_s = self._stretch_start_s
        self._stretches.append((end_s - start_s, self._answer(start_s, end_s)))

    def _answer_window(self, start_s: float, end_s: float) -> None:
        self._windows.append(self._answer(start_s, end_s))

    def _answer(self, start_s: float, end_s: float) -> Answer:
        seen = self._pictures.cut(start_s, end_s)
        return self._network.answer(join_modalities(seen, self._sounds.hear(start_s, end_s)))


def _pool(stretches: list[tuple[float, Answer]]) -> Answer:
    """Pool the answers to the stretches, each by its length."""
    face, voice, fused = (
        _pool_one([(length_s, getattr(answer, kind)) for length_s, answer in stretches])
        for kind in ("face", "voice", "fused")
    )
    there = (face is not None, voice is not None)
    return Answer(face, voice, fused, (there[0] / max(sum(there), 1), there[1] / max(sum(there), 1)))


def _pool_one(parts: list[tuple[float, FloatArray | None]]) -> FloatArray | None:
    known = [(length_s + 1e-3, np.log(one)) for length_s, one in parts if one is not None]
    if not known:
        return None
    lengths_s, rows = zip(*known, strict=True)
    return np.asarray(np.exp(pool_log_probabilities(np.stack(rows), lengths_s)))


def _find_followed(
    pictures: PictureTrack, people: list[SeenPerson], start_s: float = 0.0, end_s: float = np.inf
) -> int | None:
    """Return the id of the person in whose boxes the followed face stood most often, of what lies between two times."""
    if not people or not pictures.places:
        return None
    times_s, places_px = (np.concatenate(parts) for parts in zip(*pictures.places, strict=True))
    inside = (times_s >= start_s) & (times_s < end_s)
    times_s, places_px = times_s[inside], places_px[inside]
    hits = {seen.tracked.id: _count_hits(seen.tracked, times_s, places_px) for seen in people}
    best = max(hits, key=lambda person: hits[person])
    return best if hits[best] else people[0].tracked.id


def _count_hits(tracked: TrackedPerson, times_s: npt.NDArray[np.float64], places_px: npt.NDArray[np.float64]) -> int:
    _, ours, theirs = np.intersect1d(tracked.times_s, times_s, return_indices=True)
    boxes_px, places_px = tracked.boxes_px[ours], places_px[theirs]
    inside = (boxes_px[:, :2] <= places_px) & (places_px <= boxes_px[:, 2:])
    return int(inside.all(axis=1).sum())
