"""Long films read by several: the picture stretch by stretch, the sound by one, joined to what one go over it gives.

Neighbours both look at the first two seconds of the later stretch. Where they did not see the same there, to the last
bit, or anything was damaged, nothing is joined: the film is then to be read in one go. The sound is a fifteenth of the
work and read in one go in any case, since decoders such as AAC's make up noise by what they decoded before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from moodreel.face.expression import Expressions
from moodreel.face.shots import is_other_shot
from moodreel.face.tracking import FaceTrack
from moodreel.media.clip import Frame, Sound
from moodreel.voice.listener import Voice

SEAM_S = 2.0
"""What neighbours both look at."""
NOT_HEARD = Voice(heard_s=0.0, is_silent=True, utterances=(), windows=())
"""The voice of a stretch of which the picture alone was read."""


@dataclass(frozen=True, eq=False)
class SceneStretch:
    """What the networks made of one stretch of a clip, or of its sound; times count from the clip's start.

    Attributes:
        duration_s: end of what could be read, in seconds.
        has_video: whether the clip holds a picture.
        has_sound: whether it holds sound.
        frame_count: how many pictures could be read.
        detection_count: in how many of them faces were looked for.
        tracks: faces followed.
        expressions: what the face network said of each track.
        shot: number of the last shot, from 0.
        thumbs: thumbnails of the first and the last picture; none where there is no picture.
        voice: what the voice network said.
        warnings: of the media, one line each.
        damaged: packets that had to be skipped.
        seams: digests of what was read at the start, and of what the next stretch should begin with.
        picture_px: width and height of the upright picture; `None` without.
        recorded_s: when the file says it was recorded; `None` where it does not say.
    """

    duration_s: float
    has_video: bool
    has_sound: bool
    frame_count: int
    detection_count: int
    tracks: Sequence[FaceTrack]
    expressions: Mapping[int, Expressions]
    shot: int
    thumbs: tuple[npt.NDArray[np.float32], ...]
    voice: Voice
    warnings: Sequence[str]
    damaged: int = 0
    seams: tuple[str, str] = ("", "")
    picture_px: tuple[int, int] | None = None
    recorded_s: float | None = None


def fit_together(pictures: Sequence[SceneStretch], sound: SceneStretch) -> bool:
    """Return whether the stretches of a film, in order, and its sound are sure to give what one go over it does."""
    if any(one.seams[1] != other.seams[0] for one, other in pairwise(pictures)):
        return False
    return all(not one.damaged and list(one.warnings) == list(sound.warnings) for one in (*pictures, sound))


def join_stretches(pictures: Sequence[SceneStretch], sound: SceneStretch) -> SceneStretch:
    """Join the stretches of a film, which fit together, and its sound."""
    whole = reduce(_join, pictures)
    return replace(whole, voice=sound.voice, duration_s=max(whole.duration_s, sound.duration_s))


def _join(one: SceneStretch, other: SceneStretch) -> SceneStretch:
    n_tracks = len(one.tracks)
    is_cut = bool(one.thumbs and other.thumbs) and is_other_shot(one.thumbs[-1], other.thumbs[0])
    n_shots = one.shot + is_cut
    tracks = [replace(track, id=track.id + n_tracks, shot=track.shot + n_shots) for track in other.tracks]
    said = {track + n_tracks: expressions for track, expressions in other.expressions.items()}
    return replace(
        one,
        duration_s=other.duration_s,
        frame_count=one.frame_count + other.frame_count,
        detection_count=one.detection_count + other.detection_count,
        tracks=[*one.tracks, *tracks],
        expressions={**one.expressions, **said},
        shot=n_shots + other.shot,
        thumbs=(*one.thumbs[:1], *other.thumbs[-1:]) if one.thumbs and other.thumbs else one.thumbs or other.thumbs,
    )


@dataclass
class SeamReader:
    """Notes what a stretch begins with, and what it leaves to the next one, on the way to whoever reads it.

    Attributes:
        start_s: where the stretch begins, in seconds from the clip's start.
        end_s: where it ends; `inf` for the clip's end.
    """

    start_s: float
    end_s: float
    _first: _Seam = field(init=False)
    _next: _Seam = field(init=False)

    def __post_init__(self) -> None:
        self._first, self._next = _Seam(self.start_s), _Seam(self.end_s)

    def watch(self, items: Iterable[Frame | Sound]) -> Iterator[Frame | Sound]:
        """Pass on all but the frames of the next stretch."""
        for item in items:
            if not isinstance(item, Frame):
                yield item
                continue
            self._first.note(item)
            self._next.note(item)
            if item.time_s < self.end_s:
                yield item

    @property
    def digests(self) -> tuple[str, str]:
        """What neighbours are compared by; the ends of a clip have no neighbours."""
        return self._first.digest, self._next.digest


@dataclass
class _Seam:
    """Digest of the pictures of the first seconds from an instant on."""

    start_s: float
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16), init=False)

    def note(self, frame: Frame) -> None:
        """Note a frame if it is one of them."""
        if self.start_s <= frame.time_s < self.start_s + SEAM_S:
            self._hash.update(np.float64(frame.time_s).tobytes() + frame.pixels.tobytes())

    @property
    def digest(self) -> str:
        """In hexadecimal digits."""
        return self._hash.hexdigest()
