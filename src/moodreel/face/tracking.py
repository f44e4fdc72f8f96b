"""Faces over time: detected some times per second, followed in between, handed on as aligned crops.

The stream is read once and nothing of it is kept but a few numbers per frame. A face is carried from detection to
detection by the cheapest assignment (Kuhn 1955) over motion and looks; a cut ends every track. Which tracks are the
same person is decided afterwards, in `people.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from moodreel.face.alignment import align_face
from moodreel.face.appearance import NO_APPEARANCE, AppearanceReader
from moodreel.face.assignment import assign_pairs
from moodreel.face.detector import Face, Floats, Pixels
from moodreel.face.looks import Vector, describe_face, normalise
from moodreel.face.shots import ShotDetector
from moodreel.timeline import stretch_at

if TYPE_CHECKING:
    from moodreel.media.frames import Frame

ANALYSIS_LONG_SIDE_PX = 640
"""Long side of the frames to track in: twice what the detector sees, so that crops are cut from the finer picture."""

ANALYSIS_RATE_HZ = 5.0
"""Frames a second to track in: expressions are read from each of them, faces are detected in every second one."""

Box = tuple[float, float, float, float]


class Detector(Protocol):
    """What finds faces in a picture: `FaceDetector`, or a stand-in."""

    def detect(self, pixels: Pixels) -> tuple[Face, ...]:
        """Return the faces of an RGB uint8 picture."""


def _align(pixels: Pixels, face: Face, side_px: int) -> Pixels:
    return align_face(pixels, face.landmarks_px, side_px, box_px=face.box_px)


@dataclass(frozen=True)
class TrackingOptions:
    """How faces are followed.

    Attributes:
        detect_every_s: time between detections in seconds; frames in between get their faces by interpolation. Where
            faces move fast or are about to pass each other, each frame is detected.
        side_px: side of the crops.
        cut: cuts a face out of an analysed frame: pixels, face, side in pixels -> crop.
        gap_s: how long a face may stay unseen before its track ends.
        max_tracks: most faces followed at once, the largest.
        least_similarity: looks less alike than this (cosine) are never one track; more is asked of a face that is
            not where it was expected.
        sure_similarity: looks more alike than this are one face without asking whose it is; below, a cut that was
            not noticed may have put somebody else in the same place.
        least_appearance: faces less alike than this (average cosine) are then two people.
    """

    detect_every_s: float = 1 / 3
    side_px: int = 96
    cut: Callable[[Pixels, Face, int], Pixels] = _align
    gap_s: float = 1.0
    max_tracks: int = 16
    least_similarity: float = 0.45
    sure_similarity: float = 0.92
    least_appearance: float = 0.45


@dataclass(frozen=True)
class TrackedFace:
    """One face in one frame, ready for the expression network.

    Attributes:
        track_id: number of the track, from 1; `group_people` tells whose track it is.
        time_s: the frame's time in seconds.
        box_px: left, top, right, bottom in pixels of the upright source picture.
        landmarks_px: the five points of `Face` in pixels of the source picture, shape (5, 2).
        score: the detector's confidence, 0-1; between detections the lower of the two.
        crop: the aligned face, RGB uint8, shape (side_px, side_px, 3).
    """

    track_id: int
    time_s: float
    box_px: Box
    landmarks_px: Floats
    score: float
    crop: Pixels


@dataclass(frozen=True)
class FaceTrack:
    """A face followed without a break, within one shot.

    Attributes:
        id: number of the track, from 1 in the order of appearance.
        shot: number of the shot, from 0.
        times_s: time of each frame that shows the face, shape (n,).
        boxes_px: the boxes there in pixels of the source picture, shape (n, 4).
        detections: how many of the frames the face was really detected in.
        score: mean confidence of these detections, 0-1.
        looks: what `describe` says of the face, mean over the detections, of length one.
        appearance: whose face it is, mean over some detections, of length one; empty where nothing tells.
        glances: how many detections that is a mean of.
    """

    id: int
    shot: int
    times_s: Floats
    boxes_px: Floats
    detections: int
    score: float
    looks: Vector
    appearance: Vector = field(default_factory=lambda: NO_APPEARANCE)
    glances: int = 0


class FaceTracker:
    """Follows the faces of one stream of frames.

    Attributes:
        frame_count: frames read so far.
        detection_count: detections run so far.
        appearance: what tells whose face it is.
        shots: notices cuts.
        shot: number of the shot that is being followed, from 0.
    """

    def __init__(
        self,
        detector: Detector,
        options: TrackingOptions | None = None,
        *,
        describe: Callable[[Pixels, Face], Vector] = describe_face,
        appearance: AppearanceReader | None = None,
    ) -> None:
        """Prepare for one clip.

        Args:
            detector: finds the faces of a picture.
            options: how faces are followed.
            describe: gives the looks of a face as a vector of length one, to follow it by from frame to frame.
            appearance: tells whose face it is, by which tracks are joined afterwards; `None` where nothing does.
        """
        self.options = options or TrackingOptions()
        self.frame_count = 0
        self.detection_count = 0
        self._detector = detector
        self._describe = describe
        self.appearance = appearance
        self.shots = ShotDetector()
        self.shot = 0
        self._stretch = 0
        self._pending: list[Frame] = []
        self._detected_at_s: float | None = None
        self._active: list[_Track] = []
        self._ended: list[_Track] = []
        self._next_id = 1

    def track(self, frames: Iterable[Frame]) -> Iterator[TrackedFace]:
        """Follow the faces of a clip.

        Holds only the frames since the last detection; memory grows by some 40 bytes a face and frame.

        Args:
            frames: the clip's frames, times rising, best at `ANALYSIS_RATE_HZ` and `ANALYSIS_LONG_SIDE_PX`.

        Yields:
            The faces in the order of time, at most a detection interval after their frame was read.

        Raises:
            Whatever `frames` raises; what came before it stays valid.
        """
        for frame in frames:
            self.frame_count += 1
            is_cut, stretch = self.shots.is_cut(frame.pixels), stretch_at(frame.time_s)
            if is_cut or stretch != self._stretch:  # the other stretch may be read by somebody else
                yield from self._end_tracks()
            self.shot, self._stretch = self.shot + is_cut, stretch
            self._pending.append(frame)
            if self._is_due(frame.time_s):
                yield from self._detect()
        yield from self._end_tracks()

    def tracks(self) -> tuple[FaceTrack, ...]:
        """Return the tracks so far, in the order of appearance."""
        both = sorted([*self._ended, *self._active], key=lambda track: track.id)
        return tuple(track.freeze() for track in both)

    def _is_due(self, time_s: float) -> bool:
        if self._detected_at_s is None or len(self._pending) >= _MOST_PENDING:
            return True
        elapsed_s = time_s - self._detected_at_s
        return elapsed_s >= self.options.detect_every_s - _TIME_SLACK_S or self._is_lively()

    def _is_lively(self) -> bool:
        """Tell whether faces move fast or pass each other: then each frame is worth a detection."""
        faces = [track.last.face for track in self._active if track.last and track.last_s == self._detected_at_s]
        if any(abs(track.velocity) > _FAST_HEADS_PER_S * track.height_px for track in self._active):
            return True
        for index, face in enumerate(faces):
            for other in faces[:index]:
                apart = abs(_centre(face.box_px) - _centre(other.box_px))
                if apart < _CLOSE_HEADS * max(face.height_px, other.height_px):
                    return True
        return False

    def _end_tracks(self) -> Iterator[TrackedFace]:
        if self._pending:
            yield from self._detect()
        self._ended += self._active
        self._active = []
        self._detected_at_s = None

    def _detect(self) -> Iterator[TrackedFace]:
        """Detect in the last pending frame, carry the tracks on, and hand out the faces of all pending frames."""
        *between, frame = self._pending
        self._pending = []
        faces = self._detector.detect(frame.pixels)[: self.options.max_tracks]
        self.detection_count += 1
        looks = [self._describe(frame.pixels, face) for face in faces]
        steps = self._carry_on(faces, looks, frame)
        self._detected_at_s = frame.time_s
        for track, _, face in steps:
            if self.appearance is not None and track.wants_a_glance():
                track.glance(self.appearance.describe(frame.pixels, face))
        moving = [(track, before, face) for track, before, face in steps if before is not None]
        for earlier in between:
            for track, before, face in moving:
                part = (earlier.time_s - before.time_s) / max(frame.time_s - before.time_s, 1e-6)
                yield self._hand_out(track, blend_faces(before.face, face, part), earlier)
        for track, _, face in steps:
            yield self._hand_out(track, face, frame)

    def _carry_on(
        self, faces: Sequence[Face], looks: Sequence[Vector], frame: Frame
    ) -> list[tuple[_Track, _Sighting | None, Face]]:
        """Give each face a track; return track, what it was at the detection before this one (if seen), and face."""
        time_s = frame.time_s
        pairs = {
            row: column
            for row, column in self._match(faces, looks, time_s)
            if self._goes_on(self._active[column], faces[row], looks[row], frame.pixels)
        }
        steps: list[tuple[_Track, _Sighting | None, Face]] = []
        for index, face in enumerate(faces):
            track = self._active[pairs[index]] if index in pairs else self._start_track()
            before = track.last if track.last and track.last.time_s == self._detected_at_s else None
            track.see(face, looks[index], time_s)
            steps.append((track, before, face))
        self._retire({track.id for track, _, _ in steps}, time_s)
        return steps

    def _match(self, faces: Sequence[Face], looks: Sequence[Vector], time_s: float) -> list[tuple[int, int]]:
        costs = np.full((len(faces), len(self._active)), _UNLIKELY)
        for row, (face, vector) in enumerate(zip(faces, looks, strict=True)):
            for column, track in enumerate(self._active):
                alike, away = float(np.dot(vector, track.looks)), track.distance(face, time_s)
                if alike >= self.options.least_similarity + _FAR_SIMILARITY * away:
                    costs[row, column] = away + (1 - alike) * _LOOKS_WEIGHT
        return assign_pairs(costs, _UNLIKELY)

    def _goes_on(self, track: _Track, face: Face, looks: Vector, pixels: Pixels) -> bool:
        """Tell whether a face that fits a track is still that person's."""
        options = self.options
        is_sure = track.glances < _FEWEST_GLANCES or float(np.dot(looks, track.looks)) >= options.sure_similarity
        if self.appearance is None or is_sure:
            return True
        seen = self.appearance.describe(pixels, face)
        return not len(seen) or float(np.dot(track.appearance, seen)) >= options.least_appearance * track.glances

    def _start_track(self) -> _Track:
        track = _Track(self._next_id, self.shot)
        self._next_id += 1
        self._active.append(track)
        return track

    def _retire(self, seen: set[int], time_s: float) -> None:
        """End the tracks unseen for too long; with too many, those unseen the longest."""
        late = [track for track in self._active if track.id not in seen]
        late.sort(key=lambda track: -track.last_s)
        room = self.options.max_tracks - len(seen)
        gone = [t for i, t in enumerate(late) if i >= room or time_s - t.last_s > self.options.gap_s]
        self._active = [track for track in self._active if track not in gone]
        self._ended += gone

    def _hand_out(self, track: _Track, face: Face, frame: Frame) -> TrackedFace:
        options = self.options
        crop = options.cut(frame.pixels, face, options.side_px)
        left, top, right, bottom = (edge / frame.scale for edge in face.box_px)
        track.times_s.append(frame.time_s)
        track.boxes_px.extend((left, top, right, bottom))
        landmarks_px = face.landmarks_px / frame.scale
        return TrackedFace(track.id, frame.time_s, (left, top, right, bottom), landmarks_px, face.score, crop)


_MOST_PENDING = 12
_TIME_SLACK_S = 0.05
_UNLIKELY = 1.6
_LOOKS_WEIGHT = 2.0
_LOOKS_RATE = 0.2
_FAR_SIMILARITY = 0.3
_REACH, _REACH_PER_S, _MOST_REACH = 0.5, 1.5, 1.75
_MOST_GROWTH = 0.5
_FAST_HEADS_PER_S = 1.0
_CLOSE_HEADS = 1.5
_FIRST_GLANCES = 4
_FEWEST_GLANCES = 2  # the first may be of a face that fades in


@dataclass(frozen=True)
class _Sighting:
    """A face as detected at one instant."""

    face: Face
    time_s: float


@dataclass(eq=False)
class _Track:
    """A track while it grows."""

    id: int
    shot: int
    last: _Sighting | None = None
    velocity: complex = 0j
    looks: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    times_s: array[float] = field(default_factory=lambda: array("d"))
    boxes_px: array[float] = field(default_factory=lambda: array("f"))
    detections: int = 0
    score_sum: float = 0.0
    appearance: Vector = field(default_factory=lambda: NO_APPEARANCE)
    glances: int = 0

    @property
    def last_s(self) -> float:
        """When the face was last detected."""
        return self.last.time_s if self.last else -np.inf

    @property
    def height_px(self) -> float:
        """Height of the face when last detected, in pixels of the analysed frame."""
        return self.last.face.height_px if self.last else 0.0

    def distance(self, face: Face, time_s: float) -> float:
        """Return how far a face lies from where this one should be by now: 0 there, 1 just in reach, else huge."""
        assert self.last is not None
        old, elapsed_s = self.last.face, max(time_s - self.last.time_s, 0.0)
        size = max(old.height_px, 1e-6)
        reach = min(_REACH + _REACH_PER_S * elapsed_s, _MOST_REACH)
        away = abs(_centre(face.box_px) - _centre(old.box_px) - self.velocity * elapsed_s) / size / reach
        growth = abs(np.log(max(face.height_px, 1e-6) / size)) / _MOST_GROWTH
        return float(away + 0.3 * growth) if max(away, growth) <= 1 else _UNLIKELY

    def see(self, face: Face, looks: Vector, time_s: float) -> None:
        """Take the next detection of this face."""
        if self.last is None:
            self.looks = looks
        else:
            elapsed_s = max(time_s - self.last.time_s, 1e-3)
            step = (_centre(face.box_px) - _centre(self.last.face.box_px)) / elapsed_s
            self.velocity = step if self.detections == 1 else 0.5 * (self.velocity + step)
            self.looks = normalise((1 - _LOOKS_RATE) * self.looks + _LOOKS_RATE * looks)
        self.last = _Sighting(face, time_s)
        self.detections += 1
        self.score_sum += face.score

    def wants_a_glance(self) -> bool:
        """Tell whether to look whose face it is: at the first four detections, and whenever their number doubles."""
        return self.detections <= _FIRST_GLANCES or self.detections & (self.detections - 1) == 0

    def glance(self, appearance: Vector) -> None:
        """Take whose face it is at this detection; an empty vector says nothing."""
        if len(appearance):
            self.appearance = self.appearance + appearance if self.glances else appearance
            self.glances += 1

    def freeze(self) -> FaceTrack:
        """Return what is known of the track."""
        boxes_px: npt.NDArray[np.float32] = np.array(self.boxes_px, dtype=np.float32).reshape(-1, 4)
        score = self.score_sum / max(self.detections, 1)
        return FaceTrack(
            id=self.id,
            shot=self.shot,
            times_s=np.array(self.times_s),
            boxes_px=boxes_px,
            detections=self.detections,
            score=score,
            looks=self.looks,
            appearance=normalise(self.appearance),
            glances=self.glances,
        )


def _centre(box_px: Box) -> complex:
    return complex(box_px[0] + box_px[2], box_px[1] + box_px[3]) / 2


def blend_faces(before: Face, after: Face, part: float) -> Face:
    """Interpolate a face between two detections.

    Args:
        before: the earlier detection.
        after: the later one.
        part: how far in between, 0-1.
    """
    left, top, right, bottom = (a + (b - a) * part for a, b in zip(before.box_px, after.box_px, strict=True))
    landmarks_px = before.landmarks_px + (after.landmarks_px - before.landmarks_px) * np.float32(part)
    return Face((left, top, right, bottom), min(before.score, after.score), landmarks_px)
