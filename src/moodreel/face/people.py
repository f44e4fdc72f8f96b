"""Whose face is whose: tracks of several shots joined into people, only where it is clear.

By a network's vectors (`appearance.py`) where there are any: they hold across framing and light. Else by looks, which
tell people apart under one light only. Who comes back within a shot to the place just left is taken by looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moodreel.face.appearance import NO_APPEARANCE, UNKNOWN, AppearanceGroups
from moodreel.face.detector import Floats
from moodreel.face.looks import Vector, normalise
from moodreel.face.tracking import FaceTrack, FaceTracker


@dataclass(frozen=True)
class GroupingOptions:
    """When two tracks are one person. To join wrongly is worse than to count somebody twice.

    Attributes:
        similarity: least cosine of the looks across shots, where nothing else tells.
        margin: by how much the best person must beat the next; of two by appearance, if they were seen at one time.
        near_similarity: least cosine of the looks within a shot, where the face comes back to the place it left.
        near_appearance: least average cosine of the appearance there, for a cut may have gone unnoticed.
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
    near_appearance: float = 0.50
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
        appearance: whose face it is, of length one; empty where nothing tells.
    """

    id: int
    track_ids: tuple[int, ...]
    share_on_screen: float
    times_s: Floats
    boxes_px: Floats
    score: float
    appearance: Vector = field(default_factory=lambda: NO_APPEARANCE)


def find_people(tracker: FaceTracker) -> tuple[TrackedPerson, ...]:
    """Join the tracks of a clip that was followed to its end, as `group_people` does."""
    reader = tracker.appearance
    same_person = None if reader is None else reader.same_person
    return group_people(tracker.tracks(), tracker.frame_count, tracker.detection_count, same_person=same_person)


def group_people(
    tracks: Sequence[FaceTrack],
    frame_count: int,
    detection_count: int,
    *,
    same_person: float | None = None,
    options: GroupingOptions | None = None,
) -> tuple[TrackedPerson, ...]:
    """Join tracks into people and leave out what was hardly there.

    Args:
        tracks: what `FaceTracker.tracks` returned.
        frame_count: frames analysed.
        detection_count: detections run.
        same_person: least average cosine of the appearance of one person; `None` where looks decide.
        options: when tracks are joined.

    Returns:
        The people, most present first.
    """
    options = options or GroupingOptions()
    gathering = _Gathering(len(tracks), max((len(track.looks) for track in tracks), default=0), same_person, options)
    for track in sorted(tracks, key=lambda track: (track.times_s[0], track.id)):
        gathering.add(track)
    groups = gathering.groups
    most = max((group.frame_count for group in groups), default=0)
    is_short = detection_count < options.long_clip_detections
    kept = [group for group in groups if is_short or group.is_person(most, options)]
    people = [group.freeze(number, frame_count) for number, group in enumerate(kept, start=1)]
    return tuple(sorted(people, key=lambda person: (-person.share_on_screen, person.id)))


class _Gathering:
    """People while tracks are being joined, in the order of their starts.

    Looks, appearance and ends of all people stand in arrays, so that a track is compared with thousands at once.
    """

    def __init__(self, most: int, width: int, same_person: float | None, options: GroupingOptions) -> None:
        self.groups: list[_Group] = []
        self._looks = np.zeros((most, width), np.float32)
        self._ends_s = np.full(most, -np.inf)
        self._appearances = AppearanceGroups()
        self._same_person = same_person
        self._options = options

    def add(self, track: FaceTrack) -> None:
        """Join a track to the person it clearly is, or to a new one."""
        number = self._find(track)
        if number is None:
            number = len(self.groups)
            self.groups.append(_Group())
        group = self.groups[number]
        group.met.update(np.flatnonzero(self._ends_s[: len(self.groups)] >= track.times_s[0]).tolist())
        group.add(track)
        self._looks[number, : len(group.looks)] = group.looks
        self._ends_s[number] = max(self._ends_s[number], track.times_s[-1])
        self._appearances.add(number, track.appearance, track.glances)

    def _find(self, track: FaceTrack) -> int | None:
        n_groups = len(self.groups)
        # Nobody is in two places: who was last seen before this track starts may be its person.
        free = np.flatnonzero(self._ends_s[:n_groups] < track.times_s[0])
        if not free.size:
            return None
        alike = self._appearances.compare(track.appearance, n_groups)
        knows = alike > UNKNOWN if self._same_person is not None else np.zeros(n_groups, bool)
        by_looks = self._find_by_looks(track, free, alike, knows)
        return self._find_by_appearance(free, alike) if by_looks is None and knows.any() else by_looks

    def _find_by_looks(
        self, track: FaceTrack, free: npt.NDArray[np.intp], appearance: Vector, knows: npt.NDArray[np.bool_]
    ) -> int | None:
        """Find who left near by and looks alike; across shots only where nothing better than looks tells."""
        options = self._options
        alike = self._looks[: len(self.groups), : len(track.looks)] @ track.looks
        best = int(free[np.argmax(alike[free])])
        next_best = float(np.delete(alike, best).max(initial=-1.0))
        if float(alike[best]) - next_best < options.margin:
            return None
        if self.groups[best].left_near(track, options.near_s) and alike[best] >= options.near_similarity:
            return best if not knows[best] or appearance[best] >= options.near_appearance else None
        return best if not knows[best] and alike[best] >= options.similarity else None

    def _find_by_appearance(self, free: npt.NDArray[np.intp], alike: Vector) -> int | None:
        best = int(free[np.argmax(alike[free])])
        if self._same_person is None or alike[best] < self._same_person:
            return None
        # Two that were seen at one time are two people: where either may be meant, neither is taken.
        rivals = np.flatnonzero(alike > alike[best] - self._options.margin)
        met = self.groups[best].met
        is_unclear = any(one in met or best in self.groups[one].met for one in rivals.tolist() if one != best)
        return None if is_unclear else best


@dataclass(eq=False)
class _Group:
    """A person while tracks are being joined; `met` are the numbers of those seen at the same time."""

    tracks: list[FaceTrack] = field(default_factory=list)
    looks: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    weight: int = 0
    met: set[int] = field(default_factory=set)

    def add(self, track: FaceTrack) -> None:
        """Join a track; looks are averaged by the number of detections."""
        mixed = track.looks * track.detections
        if self.tracks:
            mixed = self.looks * self.weight + mixed
        self.tracks.append(track)
        self.looks = normalise(mixed)
        self.weight += track.detections

    def left_near(self, track: FaceTrack, near_s: float) -> bool:
        """Tell whether the person vanished in the same shot, lately, where the track begins."""
        last = self.tracks[-1]  # they follow one another
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
        return TrackedPerson(
            number, ids, share, times_s[order], boxes_px[order], self._score(), self._mean_appearance()
        )

    def _mean_appearance(self) -> Vector:
        known = [track.appearance * np.float32(track.glances) for track in self.tracks if len(track.appearance)]
        return normalise(np.sum(known, axis=0)) if known else NO_APPEARANCE
