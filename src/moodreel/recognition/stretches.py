"""Long clips read stretch by stretch, by whomever, and joined again to what reading them in one go gives.

Neighbours both read the first two seconds of the later one. Where they did not see and hear the same there, to the last
bit, or a stretch was damaged, nothing is joined: the clip is then to be read in one go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from moodreel.face.expression import Expressions
from moodreel.face.shots import is_other_shot
from moodreel.face.tracking import FaceTrack
from moodreel.media.clip import Frame, Sound
from moodreel.voice.listener import ADVANCE_S, Voice
from moodreel.voice.speech import CHUNK_S, RATE_HZ

SEAM_S = 2.0
"""What neighbours both read: the end of the last chunk of sound that begins in the earlier one."""

assert SEAM_S >= CHUNK_S - ADVANCE_S, "the last chunk of a stretch must end in the seam"


@dataclass(frozen=True, eq=False)
class SceneStretch:
    """What the networks made of one stretch of a clip; times count from the clip's start.

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
        voice_goes_on: whether there is sound for the stretch after.
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
    voice_goes_on: bool
    warnings: Sequence[str]
    damaged: int = 0
    seams: tuple[str, str] = ("", "")
    picture_px: tuple[int, int] | None = None
    recorded_s: float | None = None


def fit_together(stretches: Sequence[SceneStretch]) -> bool:
    """Return whether stretches, in order, are sure to give what one go over the clip does."""
    first = stretches[0]
    return all(one.seams[1] == other.seams[0] for one, other in pairwise(stretches)) and all(
        not one.damaged and list(one.warnings) == list(first.warnings) for one in stretches
    )


def join_stretches(stretches: Sequence[SceneStretch]) -> SceneStretch:
    """Join consecutive stretches that fit together to one of the whole clip."""
    whole = stretches[0]
    for stretch in stretches[1:]:
        whole = _join(whole, stretch)
    return whole


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
        voice=_join_voices(one.voice, other.voice) if one.voice_goes_on else one.voice,
        voice_goes_on=one.voice_goes_on and other.voice_goes_on,
    )


def _join_voices(one: Voice, other: Voice) -> Voice:
    return Voice(
        heard_s=other.heard_s,
        is_silent=one.is_silent and other.is_silent,
        utterances=(*one.utterances, *other.utterances),
        windows=(*one.windows, *other.windows),
        sounds=(*one.sounds, *other.sounds),
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

    def watch(self, items: Iterator[Frame | Sound]) -> Iterator[Frame | Sound]:
        """Pass on what belongs to the stretch, and the sound behind it that its last chunk needs."""
        for item in items:
            self._first.note(item)
            self._next.note(item)
            if isinstance(item, Sound) or item.time_s < self.end_s:
                yield item

    @property
    def digests(self) -> tuple[str, str]:
        """What neighbours are compared by; the ends of a clip have no neighbours."""
        return self._first.digest, self._next.digest


@dataclass
class _Seam:
    """Digest of the first seconds from an instant on."""

    start_s: float
    _frames: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16), init=False)
    _samples: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16), init=False)

    def note(self, item: Frame | Sound) -> None:
        """Note what of a frame or block of sound lies in them."""
        if isinstance(item, Frame):
            if self.start_s <= item.time_s < self.start_s + SEAM_S:
                self._frames.update(np.float64(item.time_s).tobytes() + item.pixels.tobytes())
            return
        if item.start_s < self.start_s + SEAM_S and item.start_s + len(item.samples) / RATE_HZ > self.start_s:
            first, last = (round((time_s - item.start_s) * RATE_HZ) for time_s in (self.start_s, self._end_s))
            self._samples.update(item.samples[max(0, first) : max(0, last)].tobytes())

    @property
    def _end_s(self) -> float:
        return self.start_s + SEAM_S

    @property
    def digest(self) -> str:
        """Of pictures and sound."""
        return self._frames.hexdigest() + self._samples.hexdigest()
