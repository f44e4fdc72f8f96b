"""Media in: a path, bytes or file object becomes a `Clip`, whose frames and sound come as one stream.

Nothing is held whole: a frame is scaled to the analysis size as it leaves the decoder, frames between the sampled ones
are never converted, and sound comes in blocks of at most a second.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import IO, Any, Self

import av
from av.stream import Disposition

from moodreel.errors import MediaError
from moodreel.media.clock import LONGEST_GAP_S
from moodreel.media.container import (
    KNOWN_KINDS,
    LARGEST_PICTURE_PX,
    DecodeError,
    Decoder,
    Source,
    may_hold_more,
    measure_packets,
    open_container,
    open_source,
    to_seconds,
)
from moodreel.media.frames import (
    NAMING_CODECS,
    UPRIGHT,
    Frame,
    FrameSampler,
    Placement,
    read_placement,
    read_turn,
    shown_size,
)
from moodreel.media.orientation import read_orientation
from moodreel.media.parts import check_part
from moodreel.media.programmes import LEAST_S, Programme, look_behind
from moodreel.media.seeking import INDEXED_FORMATS, MARGIN_S, Landing, Skimmer
from moodreel.media.sounds import Channel, Sound, SoundSampler, check_channel, cut_sound, make_silence
from moodreel.media.streams import SoundTrack, VideoTrack, declared_end_s, sane_aspect, sane_rate_hz
from moodreel.text import printable

__all__ = ["Clip", "Frame", "Sound", "SoundTrack", "VideoTrack", "open_clip"]

_DECLARING_FORMATS = frozenset({"mov", "matroska", "avi", "flv", "asf", "wav", "flac", "nut", "caf", "aiff", "mxf"})
_MOST_PEEKED = 500
_PLENTY = 4  # source frames for each sampled one, above which frames may be left out
_LEFT_OUT_S = 0.25  # what such frames at the very end may amount to
_SHORTEST_HOLE_S = 1.0
_NEAR_S = 2.0
"""Up to here decoding from the start costs less than opening the file anew."""
_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


class Clip:
    """One opened media file, or a part of it: what it holds, and its frames and sound as a stream. Made by `open_clip`.

    All times count from the clip's start: of a part, from where it begins in the file.

    Attributes:
        name: the file as the user named it, on one line.
        duration_s: length in seconds as the file declares it; 0 for a still image or when it cannot be known. Of a part
            of known ends their distance, where the file declares nothing.
        video: the picture, `None` when there is none.
        sound: the sound, `None` when there is none.
        has_picture: whether the file holds a picture, also one whose codec is unknown and that `video` leaves out.
        has_sound: the same of sound.
        decoded_s: end of what has been streamed so far, in seconds; the clip's true length once the stream is over.
        damaged: packets that had to be skipped so far.
    """

    def __init__(
        self, source: Source, start_s: float = 0.0, end_s: float | None = None, channel: Channel = "mix"
    ) -> None:
        check_part(source.shown, start_s, end_s)
        check_channel(source.shown, channel)
        self._channel: Channel = channel
        self.name = source.shown
        self._from_s = start_s
        self._to_s = math.inf if end_s is None else end_s
        self.decoded_s = 0.0
        self.damaged = 0
        self._source = source
        self._warnings: list[str] = []
        self._tell_of_others: list[str] = []
        self._pending: deque[Any] = deque()
        self._streamed = False
        self._is_thorough = False
        self._container = open_container(source)
        if source.seekable() and may_hold_more(self._container):
            self._is_thorough = True
            self._open_anew()
        self._choose_streams()
        self._measure()
        self._start_decoder()
        self.video = self._describe_video()
        self.sound = self._describe_sound()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; streaming is over."""
        self._pending.clear()
        self._decoded.close()
        self._container.close()
        self._source.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the file, one line each; complete once the stream is exhausted."""
        return tuple(self._warnings)

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
        is_asked = any(self._are_wanted(frames_rate_hz, sound_rate_hz))
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
        self._rewind()
        wanted = self._are_wanted(frames_rate_hz, sound_rate_hz)
        picture_s, sound_s = self._go_to(start_s, frames_rate_hz, wanted)
        frames = self._sample_frames(longest_side_px, frames_rate_hz, picture_s) if wanted[0] else None
        sounds = self._sample_sound(sound_rate_hz, sound_s) if wanted[1] else None
        for decoded in self._decode(frames, sounds):
            stamp_s = None if decoded.time is None else decoded.time - self._origin_s
            if isinstance(decoded, av.AudioFrame):
                if sounds is not None:
                    yield from sounds.read(decoded, stamp_s, frames.end_s if frames else 0.0)
            elif frames is not None:
                yield from frames.read(decoded, stamp_s, sounds.end_s if sounds else 0.0)
                self._spare_decoding(frames, frames_rate_hz)
            self._note(frames, sounds, end_s)
            if self._is_past(end_s, frames, sounds):
                break
        if sounds is not None:
            yield from sounds.flush()
        self._note(frames, sounds, end_s)
        self._conclude([sampler for sampler in (frames, sounds) if sampler is not None], start_s, end_s)

    def _are_wanted(self, frames_rate_hz: float, sound_rate_hz: int) -> tuple[bool, bool]:
        """Return whether picture and sound are there and asked for."""
        return self.video is not None and frames_rate_hz > 0, self.sound is not None and sound_rate_hz > 0

    def _go_to(self, start_s: float, rate_hz: float, wanted: tuple[bool, bool]) -> tuple[float, float]:
        """Let decoding begin shortly before an instant; returns when picture and sound begin."""
        if start_s <= _NEAR_S or self._is_still or not self._source.seekable():
            return 0.0, 0.0
        is_indexed = self._container.format.name.split(",")[0] in INDEXED_FORMATS
        for seeks in (True, False) if is_indexed and start_s > MARGIN_S else (False,):
            landing = self._try_to_land(start_s, rate_hz, wanted, seeks=seeks)
            if landing is not None:
                self._decoded = self._decoder.decode(landing.packets)
                return landing.picture_s, landing.sound_s
        self._reopen()
        self._start_decoder()
        return 0.0, 0.0

    def _try_to_land(self, start_s: float, rate_hz: float, wanted: tuple[bool, bool], *, seeks: bool) -> Landing | None:
        self._reopen()
        self._start_decoder()
        picture, voice = (
            stream if is_wanted else None
            for stream, is_wanted in zip((self._picture, self._voice), wanted, strict=True)
        )
        for stream in self._streams():
            if stream not in (picture, voice):
                self._decoder.drop(stream)
        anchor = picture or voice
        if anchor is None or (seeks and not self._seek(anchor, start_s - MARGIN_S)):
            return None
        lead_s = 0.0 if self.video is None else 1 / self.video.rate_hz + (1 / rate_hz if rate_hz > 0 else 0.0)
        skimmer = Skimmer(self._origin_s, start_s, lead_s, picture, voice)
        return skimmer.skim(self._decoder.packets, from_start=not seeks)

    def _seek(self, stream: Any, time_s: float) -> bool:
        try:
            self._container.seek(int((time_s + self._origin_s) / stream.time_base), stream=stream)
        except DecodeError:
            return False
        return True

    def _is_past(self, end_s: float, frames: FrameSampler | None, sounds: SoundSampler | None) -> bool:
        """Say whether all that was asked for has come up to an instant, and decode no more of what has."""
        is_past = True
        for stream, sampler in ((self._picture, frames), (self._voice, sounds)):
            if sampler is not None and stream is not None:
                if sampler.time_s >= end_s:
                    self._decoder.finish(stream, end_s + self._origin_s + LONGEST_GAP_S)
                else:
                    is_past = False
        return is_past

    def _choose_streams(self) -> None:
        streams = self._container.streams
        pictures = [stream for stream in streams.video if not stream.disposition & _NOT_PICTURES]
        self.has_picture, self.has_sound = bool(pictures), bool(streams.audio)
        self._picture = self._choose("video", pictures)
        self._voice = self._choose("sound", list(streams.audio))
        self._indices = [None if stream is None else stream.index for stream in (self._picture, self._voice)]
        if self._picture is None and self._voice is None:
            held = ", ".join(sorted({str(stream.type) for stream in streams})) or "nothing"
            reason = "; ".join(self._warnings) or f"it holds {held}"
            raise MediaError(f"{self.name}: no picture nor sound can be read ({reason}); expected {KNOWN_KINDS}")

    def _choose(self, kind: str, streams: list[Any]) -> Any:
        known = [stream for stream in streams if stream.codec_context is not None]
        if streams and not known:
            self._warn(f"unknown codec of the {kind} track; convert the file, e.g. with ffmpeg")
        if not known:
            return None
        chosen = max(known, key=lambda stream: bool(stream.disposition & Disposition.default))
        if len(known) > 1:
            self._tell_of_others.append(f"{len(known)} {kind} tracks: number {known.index(chosen) + 1} is used")
            self._warn(self._tell_of_others[-1])
        return chosen

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)

    def _streams(self) -> list[Any]:
        return [stream for stream in (self._picture, self._voice) if stream is not None]

    def _measure(self) -> None:
        starts = [to_seconds(stream.start_time, stream.time_base) for stream in self._streams()]
        self._first_origin_s = min((start_s for start_s in starts if start_s is not None), default=0.0)
        self._origin_s = self._first_origin_s
        end_s = max(map(declared_end_s, self._streams()))
        duration_s = end_s - self._origin_s if end_s else (self._container.duration or 0) / av.time_base
        n_packets = self._picture.frames if self._picture is not None else 0
        if duration_s <= 0 and self._source.seekable():
            end_s, n_packets = measure_packets(self._container, self._streams())
            duration_s = max(0.0, end_s - self._origin_s)
            self._reopen()
        is_picture = self._voice is None and (n_packets == 1 or self._container.format.name.endswith("_pipe"))
        self._is_still = is_picture
        self.duration_s = self._measure_part(0.0 if is_picture else duration_s)

    def _measure_part(self, file_s: float) -> float:
        is_sure = self._is_still or self._container.format.name.split(",")[0] in _DECLARING_FORMATS
        if self._from_s and is_sure and (file_s or self._is_still) and self._from_s >= file_s:
            raise MediaError(
                f"{self.name}: a part from {self._from_s:g} s on was asked for, but the file ends at {file_s:.1f} s; "
                "expected an earlier start"
            )
        if self._is_still or (not file_s and math.isinf(self._to_s)):
            return 0.0
        return max(0.0, (min(file_s, self._to_s) if file_s else self._to_s) - self._from_s)

    def _open_anew(self) -> None:
        self._container.close()
        self._source.begin_at(0)
        self._container = open_container(self._source, thorough=self._is_thorough)

    def _reopen(self) -> None:
        self._open_anew()
        self._picture, self._voice = (
            None if index is None else self._container.streams[index] for index in self._indices
        )
        self._origin_s = self._first_origin_s

    def _rewind(self) -> None:
        if self._streamed:
            if not self._source.seekable():
                raise MediaError(f"{self.name}: can be read only once, it cannot go back; save it to a file first")
            self._reopen()
            self._start_decoder()
        self._streamed = True

    def _start_decoder(self) -> None:
        for stream in self._streams():
            stream.codec_context.options = {"max_pixels": str(LARGEST_PICTURE_PX)}
        if self._picture is not None:
            self._picture.codec_context.thread_type = "AUTO"
        others = [*self._container.streams.video, *self._container.streams.audio] if self._may_be_followed() else []
        self._decoder = Decoder(self._container, self._streams(), others)
        self._decoded = self._decoder.decode()
        self._pending.clear()

    def _describe_video(self) -> VideoTrack | None:
        if self._picture is None:
            return None
        codec = self._picture.codec_context
        if codec.width * codec.height > LARGEST_PICTURE_PX:
            size = f"{codec.width}x{codec.height}"
            raise MediaError(
                f"{self.name}: {size} pixels are too many, expected at most 8192x8192; scale it down first"
            )
        frame = self._peek_frame()
        stored = (codec.width, codec.height) if frame is None else (frame.width, frame.height)
        self._read_placement = self._choose_placing(codec.name)
        placement = UPRIGHT if frame is None else self._read_placement(frame)
        width_px, height_px = shown_size(*stored, sane_aspect(self._picture.sample_aspect_ratio), placement)
        return VideoTrack(width_px, height_px, sane_rate_hz(self._picture), self._is_still, codec.name)

    def _choose_placing(self, codec: str) -> Callable[[av.VideoFrame], Placement]:
        held = read_orientation(self._source) if self._is_still else None
        if held is not None:
            return lambda _: held
        return read_turn if codec in NAMING_CODECS else read_placement

    def _peek_frame(self) -> Any:
        """Decode up to the first frame: its size and placement are surer than the header's."""
        for decoded in self._decoded:
            self._pending.append(decoded)
            if isinstance(decoded, av.VideoFrame):
                return decoded
            if len(self._pending) >= _MOST_PEEKED:
                break
        return None

    def _describe_sound(self) -> SoundTrack | None:
        if self._voice is None:
            return None
        codec = self._voice.codec_context
        if self._channel != "mix" and codec.channels < 2:
            self._warn(f"the {self._channel} channel was asked for; the sound has but one, which is read")
        return SoundTrack(codec.sample_rate, codec.channels, codec.name)

    def _sample_frames(self, longest_side_px: int, rate_hz: float, begin_s: float) -> FrameSampler:
        assert self.video is not None
        shown_px = (self.video.width_px, self.video.height_px)
        source_rate_hz = math.inf if self.video.is_still else self.video.rate_hz
        return FrameSampler(shown_px, source_rate_hz, longest_side_px, rate_hz, self._read_placement, begin_s)

    def _sample_sound(self, rate_hz: int, begin_s: float) -> SoundSampler:
        start_s = to_seconds(self._voice.start_time, self._voice.time_base)
        origin_s = 0.0 if start_s is None else max(0.0, start_s - self._origin_s)
        return SoundSampler(rate_hz, begin_s, origin_s, self._channel)

    def _decode(self, frames: FrameSampler | None, sounds: SoundSampler | None) -> Iterator[Any]:
        if frames is None and self._picture is not None:
            self._decoder.drop(self._picture)
        if sounds is None and self._voice is not None:
            self._decoder.drop(self._voice)
        while self._pending:
            yield self._pending.popleft()
        yield from self._decoded
        while not self._decoder.is_given_up and self._follow(frames, sounds):
            yield from self._decoded

    def _may_be_followed(self) -> bool:
        return self._container.format.name == "mpegts" and self._source.seekable()

    def _follow(self, frames: FrameSampler | None, sounds: SoundSampler | None) -> bool:
        """Go over to the programme that begins in a transport stream where the one read has ended, if there is one."""
        places = self._decoder.places
        ends = [places[stream.index][1] for stream in self._streams() if stream.index in places]
        if not self._may_be_followed() or not ends or not max(ends):
            return False
        read, end = self._streams(), max(ends)
        there = [s for s in self._container.streams if s in read or places.get(s.index, (end, 0))[0] < end]
        listed = {stream.id for stream in self._container.streams}
        programme = look_behind(self._source, end, {stream.id for stream in there})
        if programme is None:
            return False
        if programme.lasts_s < LEAST_S:
            programme.container.close()
            if not listed.issuperset(stream.id for stream in programme.streams):
                self._warn("another programme that begins midway is left out")
            return False
        if len(there) == len(read):
            self._warnings = [warning for warning in self._warnings if warning not in self._tell_of_others]
        self._go_over(programme, frames, sounds)
        return True

    def _go_over(self, programme: Programme, frames: FrameSampler | None, sounds: SoundSampler | None) -> None:
        damaged, joined_s = self._decoder.damaged, max(s.end_s for s in (frames, sounds) if s is not None)
        self._container.close()
        self._container = programme.container
        found = programme.find("video"), programme.find("audio")
        left_out = [
            kind
            for kind, stream, had in zip(("picture", "sound"), found, self._indices, strict=True)
            if stream is not None and had is None
        ]
        self._picture = found[0] if frames is not None else None
        self._voice = found[1] if sounds is not None else None
        starts = [to_seconds(stream.start_time, stream.time_base) for stream in self._streams()]
        self._origin_s = min((start_s for start_s in starts if start_s is not None), default=0.0) - joined_s
        self._start_decoder()
        self._decoder.damaged = damaged
        said = f", its {left_out[0]} left out" if left_out else ""
        self._warn(f"another programme begins after {joined_s:.1f} s; it is read as the same clip{said}")

    def _spare_decoding(self, frames: FrameSampler, rate_hz: float) -> None:
        """Leave out frames no other frame needs where there are plenty, until samples come too far apart."""
        assert self.video is not None
        plenty = self.video.rate_hz >= _PLENTY * rate_hz and frames.gap_s <= 2 / rate_hz
        self._picture.codec_context.skip_frame = "NONREF" if plenty else "DEFAULT"

    def _note(self, frames: FrameSampler | None, sounds: SoundSampler | None, end_s: float) -> None:
        samplers = [sampler for sampler in (frames, sounds) if sampler is not None]
        self.damaged = self._decoder.damaged + sum(sampler.damaged for sampler in samplers)
        decoded_s = min(end_s, max((sampler.end_s for sampler in samplers), default=0.0))
        self.decoded_s = max(0.0, decoded_s - self._from_s)

    def _conclude(self, samplers: list[FrameSampler | SoundSampler], start_s: float, end_s: float) -> None:
        if self._source.failure is not None:
            self._warn(f"reading stopped: {printable(str(self._source.failure))}")
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
                self._warn(f"the {sampler.kind} track holds nothing that can be decoded")
        if self.damaged:
            self._warn(f"{self.damaged} damaged packet{'s' * (self.damaged > 1)} skipped{_describe_hole(samplers)}")
        if any(sampler.jumps for sampler in samplers):
            self._warn("time stamps jump or run back; the pieces are joined")
        elif end_s == math.inf and samplers and self._container.format.name.split(",")[0] in _DECLARING_FORMATS:
            self._warn_if_short()

    def _warn_if_short(self) -> None:
        if self.decoded_s < self.duration_s - max(0.5, 0.05 * self.duration_s):
            self._warn(f"ends after {self.decoded_s:.1f} s of {self.duration_s:.1f} s: truncated or damaged file")


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


def open_clip(
    media: str | os.PathLike[str] | bytes | IO[bytes],
    name: str | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    channel: Channel = "mix",
) -> Clip:
    """Open a media file: video, sound or a still image.

    Args:
        media: a path, the file's bytes, or a binary file object (left open on closing).
        name: how messages call it; default the path, the file object's own name, or `<bytes>`.
        start_s: where the clip begins in the file, in seconds.
        end_s: where it ends in the file; `None` for the file's end.
        channel: what is heard of a sound with several channels: all added, or the first (`left`) or second alone.

    Returns:
        The clip; close it, or use it in a `with`.

    Raises:
        MediaError: missing, a folder, a device, unreadable, empty, not media, too large, without picture and sound, or
            without the part asked for.
    """
    source = open_source(media, name)
    try:
        return Clip(source, start_s, end_s, channel)
    except BaseException:
        source.close()
        raise
