"""Media in: a path, bytes, file object or arrays become a `Clip`, whose frames and sound come as one stream.

Nothing is held whole: a frame is scaled to the analysis size as it leaves the decoder, frames between the sampled ones
are never converted, and sound comes in blocks of at most a second.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

import av

from moodreel.errors import MediaError
from moodreel.media.arrays import Arrays, OpenedArrays
from moodreel.media.container import open_source
from moodreel.media.frames import Frame, FrameSampler
from moodreel.media.opened import Opened
from moodreel.media.opened_file import OpenedFile
from moodreel.media.parts import check_part
from moodreel.media.sounds import Channel, Sound, SoundSampler, check_channel, cut_sound, make_silence
from moodreel.media.streams import Kind, SoundTrack, VideoTrack
from moodreel.text import printable

__all__ = ["Clip", "Frame", "Media", "Sound", "SoundTrack", "VideoTrack", "open_clip"]

Media = str | os.PathLike[str] | bytes | IO[bytes] | Arrays
"""What a clip is made of: a file's path, its bytes, an open binary file, or arrays in memory."""

_PLENTY = 4  # source frames for each sampled one, above which frames may be left out
_LEFT_OUT_S = 0.25  # what such frames at the very end may amount to
_SHORTEST_HOLE_S = 1.0


class Clip:
    """What was opened, or a part of it: what it holds, and its frames and sound as a stream. Made by `open_clip`.

    All times count from the clip's start: of a part, from where it begins in the file.

    Attributes:
        name: the file as the user named it, on one line.
        duration_s: length in seconds as the file declares it; 0 for a still image or when it cannot be known. Of a part
            of known ends their distance, where the file declares nothing.
        video: the picture, `None` when there is none.
        sound: the sound, `None` when there is none.
        has_picture: whether the file holds a picture, also one whose codec is unknown and that `video` leaves out.
        has_sound: the same of sound.
        recorded_s: when the file says it was recorded, seconds since 1970 (UTC); `None` where it does not say.
        decoded_s: end of what has been streamed so far, in seconds; the clip's true length once the stream is over.
        damaged: packets that had to be skipped so far.
    """

    def __init__(
        self, opened: Opened, start_s: float = 0.0, end_s: float | None = None, channel: Channel = "mix"
    ) -> None:
        self._opened = opened
        self._channel: Channel = channel
        self._from_s = start_s
        self._to_s = math.inf if end_s is None else end_s
        self.name = opened.name
        self.video, self.sound = opened.video, opened.sound
        self.has_picture, self.has_sound = opened.has_picture, opened.has_sound
        self.duration_s = self._measure()
        self.recorded_s = opened.recorded_s
        self.decoded_s = 0.0
        self.damaged = 0
        if channel != "mix" and self.sound is not None and self.sound.channels < 2:
            opened.warn(f"the {channel} channel was asked for; the sound has but one, which is read")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; streaming is over."""
        self._opened.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the file, one line each; complete once the stream is exhausted."""
        return tuple(self._opened.warnings)

    def stream(
        self,
        *,
        longest_side_px: int,
        frames_rate_hz: float,
        sound_rate_hz: int = 16_000,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> Iterator[Frame | Sound]:
        """Decode the clip or a stretch of it once, yielding frames and sound as they come in the file.

        Repeated, it begins again. What lies before the stretch is read past and not decoded where the file can go back.

        Args:
            longest_side_px: frames are scaled down to this long side; smaller ones keep their size.
            frames_rate_hz: frames per second to yield, fewer if the file has fewer; `inf` for all, 0 for no frames.
            sound_rate_hz: rate of the samples; 0 for no sound.
            start_s: where the stretch begins, in seconds from the clip's start.
            end_s: where it ends; `None` for the clip's end.

        Yields:
            Frames with rising times, `start_s` <= `time_s` < `end_s`, and blocks of sound without gaps, in memory that
            does not grow. The sound of a stretch is exactly what lies between its ends, zeros where the track begins
            late or has a hole; that of a whole clip begins where the track does.

        Raises:
            MediaError: nothing of what was asked for can be decoded, or a second pass over a file that cannot go back.
            ValueError: the stretch ends before it begins.
        """
        last_s = math.inf if end_s is None else end_s
        if not 0 <= start_s < last_s:
            raise ValueError(f"expected 0 <= start_s < end_s, got {start_s} and {end_s}")
        first_s, last_s = start_s + self._from_s, min(last_s + self._from_s, self._to_s)
        items = self._stream(longest_side_px, frames_rate_hz, sound_rate_hz, first_s, last_s)
        if first_s == 0 and math.isinf(self._to_s) and end_s is None:
            yield from items
            return
        is_asked = bool(self._choose_wanted(frames_rate_hz, sound_rate_hz))
        for item in self._cut(items, sound_rate_hz, first_s, last_s, is_asked=is_asked):
            yield move(item, -self._from_s)

    def _cut(
        self, items: Iterator[Frame | Sound], rate_hz: int, start_s: float, end_s: float, *, is_asked: bool
    ) -> Iterator[Frame | Sound]:
        count, is_heard = 0, False
        for item in items:
            if isinstance(item, Frame):
                if start_s <= item.time_s < end_s:
                    count += 1
                    yield item
                continue
            if not is_heard and item.start_s + len(item.samples) / rate_hz <= start_s:
                continue
            part = cut_sound(item, rate_hz, start_s, end_s)
            lead = [] if is_heard else list(make_silence(rate_hz, start_s, min(item.start_s, end_s)))
            is_heard = True
            for block in (*lead, part):
                count += len(block.samples)
                if len(block.samples):
                    yield block
        if not count and is_asked:
            raise MediaError(f"{self.name}: holds nothing that can be decoded {_between(start_s, end_s)}")

    def _stream(
        self, longest_side_px: int, frames_rate_hz: float, sound_rate_hz: int, start_s: float, end_s: float
    ) -> Iterator[Frame | Sound]:
        wanted = self._choose_wanted(frames_rate_hz, sound_rate_hz)
        picture_s, sound_s = self._opened.begin(start_s, frames_rate_hz, wanted)
        frames = self._sample_frames(longest_side_px, frames_rate_hz, picture_s) if "picture" in wanted else None
        sounds = self._sample_sound(sound_rate_hz, sound_s) if "sound" in wanted else None
        samplers = [sampler for sampler in (frames, sounds) if sampler is not None]
        for decoded, stamp_s in self._opened.decode(wanted, lambda: max(sampler.end_s for sampler in samplers)):
            if isinstance(decoded, av.AudioFrame):
                if sounds is not None:
                    yield from sounds.read(decoded, stamp_s, frames.end_s if frames else 0.0)
            elif frames is not None:
                yield from frames.read(decoded, stamp_s, sounds.end_s if sounds else 0.0)
                self._spare_decoding(frames, frames_rate_hz)
            self._note(samplers, end_s)
            if self._is_past(end_s, samplers):
                break
        if sounds is not None:
            yield from sounds.flush()
        self._note(samplers, end_s)
        self._conclude(samplers, start_s, end_s)

    def _choose_wanted(self, frames_rate_hz: float, sound_rate_hz: int) -> frozenset[Kind]:
        """Return what is there and asked for."""
        there: dict[Kind, bool] = {
            "picture": self.video is not None and frames_rate_hz > 0,
            "sound": self.sound is not None and sound_rate_hz > 0,
        }
        return frozenset(kind for kind, is_wanted in there.items() if is_wanted)

    def _is_past(self, end_s: float, samplers: list[FrameSampler | SoundSampler]) -> bool:
        """Say whether all that was asked for has come up to an instant, and decode no more of what has."""
        behind = [sampler for sampler in samplers if sampler.time_s < end_s]
        for sampler in samplers:
            if sampler not in behind:
                self._opened.finish(sampler.kind, end_s)
        return not any(self._opened.holds(sampler.kind) for sampler in behind)

    def _measure(self) -> float:
        opened, whole_s = self._opened, self._opened.duration_s
        is_sure = opened.is_still or opened.declares_length
        if self._from_s and is_sure and (whole_s or opened.is_still) and self._from_s >= whole_s:
            raise MediaError(
                f"{self.name}: a part from {self._from_s:g} s on was asked for, but the file ends at {whole_s:.1f} s; "
                "expected an earlier start"
            )
        if opened.is_still or (not whole_s and math.isinf(self._to_s)):
            return 0.0
        return max(0.0, (min(whole_s, self._to_s) if whole_s else self._to_s) - self._from_s)

    def _sample_frames(self, longest_side_px: int, rate_hz: float, begin_s: float) -> FrameSampler:
        assert self.video is not None
        shown_px = (self.video.width_px, self.video.height_px)
        source_rate_hz = math.inf if self.video.is_still else self.video.rate_hz
        return FrameSampler(shown_px, source_rate_hz, longest_side_px, rate_hz, self._opened.read_placement, begin_s)

    def _sample_sound(self, rate_hz: int, begin_s: float) -> SoundSampler:
        return SoundSampler(rate_hz, begin_s, self._opened.sound_begins_s, self._channel)

    def _spare_decoding(self, frames: FrameSampler, rate_hz: float) -> None:
        """Leave out frames no other frame needs where there are plenty, until samples come too far apart."""
        assert self.video is not None
        plenty = self.video.rate_hz >= _PLENTY * rate_hz and frames.gap_s <= 2 / rate_hz
        self._opened.spare(is_plenty=plenty)

    def _note(self, samplers: list[FrameSampler | SoundSampler], end_s: float) -> None:
        self.damaged = self._opened.damaged + sum(sampler.damaged for sampler in samplers)
        decoded_s = min(end_s, max((sampler.end_s for sampler in samplers), default=0.0))
        self.decoded_s = max(0.0, decoded_s - self._from_s)

    def _conclude(self, samplers: list[FrameSampler | SoundSampler], start_s: float, end_s: float) -> None:
        if self._opened.failure is not None:
            self._opened.warn(f"reading stopped: {printable(str(self._opened.failure))}")
        if samplers and not any(sampler.count for sampler in samplers):
            kinds = " nor ".join(sampler.kind for sampler in samplers)
            raise MediaError(
                f"{self.name}: holds no {kinds} that can be decoded ({self.damaged} damaged packets), "
                "expected at least one; copy or convert the file again"
            )
        if end_s >= self._to_s and 0 < self.duration_s - self.decoded_s < _LEFT_OUT_S:
            self.decoded_s = self.duration_s
        for sampler in samplers if start_s == 0 else ():
            if not sampler.count:
                self._opened.warn(f"the {sampler.kind} track holds nothing that can be decoded")
        if self.damaged:
            self._opened.warn(
                f"{self.damaged} damaged packet{'s' * (self.damaged > 1)} skipped{_describe_hole(samplers)}"
            )
        if any(sampler.jumps for sampler in samplers):
            self._opened.warn("time stamps jump or run back; the pieces are joined")
        elif end_s == math.inf and samplers and self._opened.declares_length:
            self._warn_if_short()

    def _warn_if_short(self) -> None:
        if self.decoded_s < self.duration_s - max(0.5, 0.05 * self.duration_s):
            self._opened.warn(
                f"ends after {self.decoded_s:.1f} s of {self.duration_s:.1f} s: truncated or damaged file"
            )


def _between(start_s: float, end_s: float) -> str:
    return f"from {start_s:g} s on" if end_s == math.inf else f"between {start_s:g} and {end_s:g} s"


def _describe_hole(samplers: list[FrameSampler | SoundSampler]) -> str:
    hole_s = max(sampler.gap_s for sampler in samplers)
    return f"; up to {hole_s:.1f} s are missing in one place" if hole_s > _SHORTEST_HOLE_S else ""


def move(item: Frame | Sound, by_s: float) -> Frame | Sound:
    """Return a frame or a block of sound with other times."""
    if not by_s:
        return item
    if isinstance(item, Frame):
        return replace(item, time_s=item.time_s + by_s)
    return replace(item, start_s=item.start_s + by_s)


def _check(name: str, start_s: float, end_s: float | None, channel: Channel) -> None:
    check_part(name, start_s, end_s)
    check_channel(name, channel)


def open_clip(
    media: Media,
    name: str | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    channel: Channel = "mix",
) -> Clip:
    """Open a media file: video, sound or a still image.

    Args:
        media: a path, the file's bytes, a binary file object (left open on closing), or arrays.
        name: how messages call it; default the path, the file object's own name, `<bytes>` or `<arrays>`.
        start_s: where the clip begins in the file, in seconds.
        end_s: where it ends in the file; `None` for the file's end.
        channel: what is heard of a sound with several channels: all added, or the first (`left`) or second alone.

    Returns:
        The clip; close it, or use it in a `with`.

    Raises:
        MediaError: missing, a folder, a device, unreadable, empty, not media, too large, without picture and sound, or
            without the part asked for.
    """
    if isinstance(media, Arrays):
        shown = printable(name or "<arrays>")
        _check(shown, start_s, end_s, channel)
        return Clip(OpenedArrays(media, shown), start_s, end_s, channel)
    source = open_source(media, name)
    try:
        _check(source.shown, start_s, end_s, channel)
        return Clip(OpenedFile(source), start_s, end_s, channel)
    except BaseException:
        source.close()
        raise
