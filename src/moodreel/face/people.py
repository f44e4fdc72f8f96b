"""Whose face is whose: tracks of several shots joined into people, only where their looks say so clearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from moodreel.face.detector import Floats
from moodreel.face.looks import Vector, normalise
from moodreel.face.tracking import FaceTrack


@dataclass(frozen=True)
class GroupingOptions:
    """When two tracks are one person. To join wrongly is worse than to count somebody twice.

    Attributes:
        similarity: least cosine of the looks across shots.
        margin: by how much the best person must beat the next.
        near_similarity: least cosine within a shot, where the face comes back to the place it left.
        near_s: longest absence that counts as coming back, in seconds.
        long_clip_detections: detections run from which a clip is long enough to leave anybody out: some 2 s.
        brief_frames: somebody seen in no more frames than these is left out if detected once only, or with less than
            `brief_score`, or beside somebody seen `brief_ratio` times as long: 0.5 s at 6 Hz.
        brief_score: mean confidence, 0-1.
        brief_ratio: at least 1.
    """

    similarity: float = 0.85
    margin: float = 0.05
    near_similarity: float = 0.70
    near_s: float = 5.0
    long_clip_detections: int = 6
    brief_frames: int = 3
    brief_score: float = 0.60
    brief_ratio: float = 5.0


@dataclass(frozen=True)
class TrackedPerson:
    """One person of a clip.

    Attributes:
        id: number of the person, from 1 in the order of appearance.
        track_ids: the person's tracks.
        share_on_screen: part of the analysed frames that show the face, 0-1.
        times_s: times of these frames, rising, shape (n,).
        boxes_px: boxes there in pixels of the source picture, shape (n, 4).
        score: mean confidence of the detections, 0-1.
    """

    id: int
    track_ids: tuple[int, ...]
    share_on_screen: float
    times_s: Floats
    boxes_px: Floats
    score: float


def group_people(
    tracks: Sequence[FaceTrack],
    frame_count: int,
    detection_count: int,
    *,
    looks: Mapping[int, Vector] | None = None,
    options: GroupingOptions | None = None,
) -> tuple[TrackedPerson, ...]:
    """Join tracks into people and leave out what was hardly there.

    Args:
        tracks: what `FaceTracker.tracks` returned.
        frame_count: frames analysed.
        detection_count: detections run.
        looks: another vector of length one per track id, such as the mean of a network's embeddings; with it, give
            `options` that fit. A track without one keeps its own looks only if none has one.
        options: when tracks are joined.

    Returns:
        The people, most present first.
    """
    options = options or GroupingOptions()
    vectors = {track.id: track.looks if looks is None else looks.get(track.id, _NO_LOOKS) for track in tracks}
    gathering = _Gathering(len(tracks), max((len(vector) for vector in vectors.values()), default=0))
    for track in sorted(tracks, key=lambda track: (track.times_s[0], track.id)):
        gathering.add(track, vectors[track.id], options)
    groups = gathering.groups
    most = max((group.frame_count for group in groups), default=0)
    is_short = detection_count < options.long_clip_detections
    kept = [group for group in groups if is_short or group.is_person(most, options)]
    people = [group.freeze(number, frame_count) for number, group in enumerate(kept, start=1)]
    return tuple(sorted(people, key=lambda person: (-person.share_on_screen, person.id)))


_NO_LOOKS: Vector = np.zeros(1, np.float32)


class _Gathering:
    """People while tracks are being joined, in the order of their starts.

    Looks and ends of all people stand in arrays, so that a track is compared with thousands of people at once.
    """

    def __init__(self, most: int, width: int) -> None:
        self.groups: list[_Group] = []
        self._looks = np.zeros((most, width), np.float32)
        self._ends_s = np.full(most, -np.inf)

    def add(self, track: FaceTrack, vector: Vector, options: GroupingOptions) -> None:
        """Join a track to the person it clearly is, or to a new one."""
        number = self._find(track, vector, options)
        if number is None:
            number = len(self.groups)
            self.groups.append(_Group())
        group = self.groups[number]
        group.add(track, vector)
        self._looks[number, : len(group.looks)] = group.looks
        self._ends_s[number] = max(self._ends_s[number], track.times_s[-1])

    def _find(self, track: FaceTrack, vector: Vector, options: GroupingOptions) -> int | None:
        n_groups = len(self.groups)
        alike = self._looks[:n_groups, : len(vector)] @ vector
        # Nobody is in two places: who was last seen before this track starts may be its person.
        free = np.flatnonzero(self._ends_s[:n_groups] < track.times_s[0])
        if not free.size:
            return None
        best = int(free[np.argmax(alike[free])])
        next_best = float(np.delete(alike, best).max(initial=-1.0))
        is_clear = float(alike[best]) - next_best >= options.margin
        near = self.groups[best].left_near(track, options.near_s)
        enough = options.near_similarity if near else options.similarity
        return best if is_clear and alike[best] >= enough else None


@dataclass(eq=False)
class _Group:
    """A person while tracks are being joined."""

    tracks: list[FaceTrack] = field(default_factory=list)
    looks: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    weight: int = 0

    def add(self, track: FaceTrack, vector: Vector) -> None:
        """Join a track; looks are averaged by the number of detections."""
        mixed = vector * track.detections if not self.tracks else self.looks * self.weight + vector * track.detections
        self.tracks.append(track)
        self.looks = normalise(mixed)
        self.weight += track.detections

    def left_near(self, track: FaceTrack, near_s: float) -> bool:
        """Tell whether the person vanished in the same shot, lately, where the track begins."""
        last = max(self.tracks, key=lambda other: other.times_s[-1])
        if last.shot != track.shot or track.times_s[0] - last.times_s[-1] > near_s:
            return False
        old, new = last.boxes_px[-1], track.boxes_px[0]
        away = np.hypot(*(new[:2] + new[2:] - old[:2] - old[2:]) / 2)
        return bool(away < old[3] - old[1])

    @property
    def frame_count(self) -> int:
        """In how many frames the person was seen."""
        return sum(len(track.times_s) for track in self.tracks)

    def is_person(self, most: int, options: GroupingOptions) -> bool:
        """Tell whether the face was there long or clearly enough to be one; `most` is the most present one's frames."""
        if self.frame_count > options.brief_frames:
            return True
        is_beside = most >= options.brief_ratio * self.frame_count
        return self.weight > 1 and self._score() >= options.brief_score and not is_beside

    def _score(self) -> float:
        return sum(track.score * track.detections for track in self.tracks) / max(self.weight, 1)

    def freeze(self, number: int, frame_count: int) -> TrackedPerson:
        """Return what is known of the person."""
        times_s = np.concatenate([track.times_s for track in self.tracks])
        boxes_px = np.concatenate([track.boxes_px for track in self.tracks])
        order = np.argsort(times_s, kind="stable")
        share = min(1.0, len(times_s) / max(frame_count, 1))
        ids = tuple(track.id for track in self.tracks)
        return TrackedPerson(number, ids, share, times_s[order], boxes_px[order], self._score())
