"""Media in: a path, bytes or file object becomes a `Clip`, whose frames and sound come as one stream.

Nothing is held whole: a frame is scaled to the analysis size as it leaves the decoder, frames between the sampled ones
are never converted, and sound comes in blocks of at most a second.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, Self

import av
from av.stream import Disposition

from moodreel.errors import MediaError
from moodreel.media.container import (
    KNOWN_KINDS,
    LARGEST_PICTURE_PX,
    Decoder,
    Source,
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
from moodreel.media.sounds import Sound, SoundSampler
from moodreel.media.streams import SoundTrack, VideoTrack, declared_end_s, sane_aspect, sane_rate_hz
from moodreel.text import printable

__all__ = ["Clip", "Frame", "Sound", "SoundTrack", "VideoTrack", "open_clip"]

_DECLARING_FORMATS = frozenset({"mov", "matroska", "avi", "flv", "asf", "wav", "flac", "nut", "caf", "aiff", "mxf"})
_MOST_PEEKED = 500
_PLENTY = 4  # source frames for each sampled one, above which frames may be left out
_LEFT_OUT_S = 0.25  # what such frames at the very end may amount to
_SHORTEST_HOLE_S = 1.0
_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


class Clip:
    """One opened media file: what it holds, and its frames and sound as a stream. Made by `open_clip`.

    Attributes:
        name: the file as the user named it, on one line.
        duration_s: length in seconds as the file declares it; 0 for a still image or when it cannot be known.
        video: the picture, `None` when there is none.
        sound: the sound, `None` when there is none.
        has_picture: whether the file holds a picture, also one whose codec is unknown and that `video` leaves out.
        has_sound: the same of sound.
        decoded_s: end of what has been streamed so far, in seconds; the clip's true length once the stream is over.
        damaged: packets that had to be skipped so far.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.shown
        self.decoded_s = 0.0
        self.damaged = 0
        self._source = source
        self._warnings: list[str] = []
        self._pending: deque[Any] = deque()
        self._streamed = False
        self._container = open_container(source)
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
        self, *, longest_side_px: int, frames_rate_hz: float, sound_rate_hz: int = 16_000
    ) -> Iterator[Frame | Sound]:
        """Decode the clip once, yielding frames and sound as they come in the file; again from the start if repeated.

        Args:
            longest_side_px: frames are scaled down to this long side; smaller ones keep their size.
            frames_rate_hz: frames per second to yield, fewer if the file has fewer; `inf` for all, 0 for no frames.
            sound_rate_hz: rate of the samples; 0 for no sound.

        Yields:
            Frames with rising times and blocks of sound without gaps, in memory that does not grow.

        Raises:
            MediaError: nothing of what was asked for can be decoded, or a second pass over a file that cannot go back.
        """
        self._rewind()
        frames = self._sample_frames(longest_side_px, frames_rate_hz)
        sounds = SoundSampler(sound_rate_hz) if self._voice is not None and sound_rate_hz > 0 else None
        for decoded in self._decode(frames, sounds):
            stamp_s = None if decoded.time is None else decoded.time - self._origin_s
            if isinstance(decoded, av.AudioFrame):
                if sounds is not None:
                    yield from sounds.read(decoded, stamp_s, frames.end_s if frames else 0.0)
            elif frames is not None:
                yield from frames.read(decoded, stamp_s, sounds.end_s if sounds else 0.0)
                self._spare_decoding(frames, frames_rate_hz)
            self._note(frames, sounds)
        if sounds is not None:
            yield from sounds.flush()
        self._note(frames, sounds)
        self._conclude([sampler for sampler in (frames, sounds) if sampler is not None])

    def _choose_streams(self) -> None:
        streams = self._container.streams
        pictures = [stream for stream in streams.video if not stream.disposition & _NOT_PICTURES]
        self.has_picture, self.has_sound = bool(pictures), bool(streams.audio)
        self._picture = self._choose("video", pictures)
        self._voice = self._choose("sound", list(streams.audio))
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
            self._warn(f"{len(known)} {kind} tracks: number {known.index(chosen) + 1} is used")
        return chosen

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)

    def _streams(self) -> list[Any]:
        return [stream for stream in (self._picture, self._voice) if stream is not None]

    def _measure(self) -> None:
        starts = [to_seconds(stream.start_time, stream.time_base) for stream in self._streams()]
        self._origin_s = min((start_s for start_s in starts if start_s is not None), default=0.0)
        end_s = max(map(declared_end_s, self._streams()))
        duration_s = end_s - self._origin_s if end_s else (self._container.duration or 0) / av.time_base
        n_packets = self._picture.frames if self._picture is not None else 0
        if duration_s <= 0 and self._source.seekable():
            end_s, n_packets = measure_packets(self._container, self._streams())
            duration_s = max(0.0, end_s - self._origin_s)
            self._reopen()
        is_picture = self._voice is None and (n_packets == 1 or self._container.format.name.endswith("_pipe"))
        self._is_still = is_picture
        self.duration_s = 0.0 if is_picture else duration_s

    def _reopen(self) -> None:
        indices = [None if stream is None else stream.index for stream in (self._picture, self._voice)]
        self._container.close()
        self._container = open_container(self._source)
        self._picture, self._voice = (None if index is None else self._container.streams[index] for index in indices)

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
        self._decoder = Decoder(self._container, self._streams())
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
        return SoundTrack(codec.sample_rate, codec.channels, codec.name)

    def _sample_frames(self, longest_side_px: int, rate_hz: float) -> FrameSampler | None:
        if self.video is None or rate_hz <= 0:
            return None
        shown_px = (self.video.width_px, self.video.height_px)
        source_rate_hz = math.inf if self.video.is_still else self.video.rate_hz
        return FrameSampler(shown_px, source_rate_hz, longest_side_px, rate_hz, self._read_placement)

    def _decode(self, frames: FrameSampler | None, sounds: SoundSampler | None) -> Iterator[Any]:
        if frames is None and self._picture is not None:
            self._decoder.drop(self._picture)
        if sounds is None and self._voice is not None:
            self._decoder.drop(self._voice)
        while self._pending:
            yield self._pending.popleft()
        yield from self._decoded

    def _spare_decoding(self, frames: FrameSampler, rate_hz: float) -> None:
        """Leave out frames no other frame needs where there are plenty, until samples come too far apart."""
        assert self.video is not None
        plenty = self.video.rate_hz >= _PLENTY * rate_hz and frames.gap_s <= 2 / rate_hz
        self._picture.codec_context.skip_frame = "NONREF" if plenty else "DEFAULT"

    def _note(self, frames: FrameSampler | None, sounds: SoundSampler | None) -> None:
        samplers = [sampler for sampler in (frames, sounds) if sampler is not None]
        self.damaged = self._decoder.damaged + sum(sampler.damaged for sampler in samplers)
        self.decoded_s = max((sampler.end_s for sampler in samplers), default=0.0)

    def _conclude(self, samplers: list[FrameSampler | SoundSampler]) -> None:
        if self._source.failure is not None:
            self._warn(f"reading stopped: {printable(str(self._source.failure))}")
        if samplers and not any(sampler.count for sampler in samplers):
            kinds = " nor ".join(sampler.kind for sampler in samplers)
            raise MediaError(
                f"{self.name}: holds no {kinds} that can be decoded ({self.damaged} damaged packets), "
                "expected at least one; copy or convert the file again"
            )
        if 0 < self.duration_s - self.decoded_s < _LEFT_OUT_S:
            self.decoded_s = self.duration_s
        for sampler in samplers:
            if not sampler.count:
                self._warn(f"the {sampler.kind} track holds nothing that can be decoded")
        if self.damaged:
            self._warn(f"{self.damaged} damaged packet{'s' * (self.damaged > 1)} skipped{_describe_hole(samplers)}")
        if any(sampler.jumps for sampler in samplers):
            self._warn("time stamps jump or run back; the pieces are joined")
        elif samplers and self._container.format.name.split(",")[0] in _DECLARING_FORMATS:
            self._warn_if_short()

    def _warn_if_short(self) -> None:
        if self.decoded_s < self.duration_s - max(0.5, 0.05 * self.duration_s):
            self._warn(f"ends after {self.decoded_s:.1f} s of {self.duration_s:.1f} s: truncated or damaged file")


def _describe_hole(samplers: list[FrameSampler | SoundSampler]) -> str:
    hole_s = max(sampler.gap_s for sampler in samplers)
    return f"; up to {hole_s:.1f} s are missing in one place" if hole_s > _SHORTEST_HOLE_S else ""


def open_clip(media: str | os.PathLike[str] | bytes | IO[bytes], name: str | None = None) -> Clip:
    """Open a media file: video, sound or a still image.

    Args:
        media: a path, the file's bytes, or a binary file object (left open on closing).
        name: how messages call it; default the path, the file object's own name, or `<bytes>`.

    Returns:
        The clip; close it, or use it in a `with`.

    Raises:
        MediaError: missing, a folder, a device, unreadable, empty, not media, too large, or without picture and sound.
    """
    source = open_source(media, name)
    try:
        return Clip(source)
    except BaseException:
        source.close()
        raise
