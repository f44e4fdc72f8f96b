"""An opened media file: its streams chosen and measured, decoded from any place, over damage and into what follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

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
    read_recorded_s,
    to_seconds,
)
from moodreel.media.frames import NAMING_CODECS, UPRIGHT, Placement, read_placement, read_turn, shown_size
from moodreel.media.opened import Decoded, Opened
from moodreel.media.orientation import read_orientation
from moodreel.media.programmes import LEAST_S, Programme, look_behind
from moodreel.media.seeking import INDEXED_FORMATS, MARGIN_S, Landing, Skimmer
from moodreel.media.streams import Kind, SoundTrack, VideoTrack, declared_end_s, sane_aspect, sane_rate_hz

_DECLARING_FORMATS = frozenset({"mov", "matroska", "avi", "flv", "asf", "wav", "flac", "nut", "caf", "aiff", "mxf"})
_MOST_PEEKED = 500
_NEAR_S = 2.0
"""Up to here decoding from the start costs less than opening the file anew."""
_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails


class OpenedFile(Opened):
    """One media file. Times count from its start."""

    def __init__(self, source: Source) -> None:
        """Open it and look at its first frame.

        Args:
            source: the file; closed with this.

        Raises:
            MediaError: it is not media, too large, or without picture and sound.
        """
        self.name = source.shown
        self.warnings = []
        self._source = source
        self._tell_of_others: list[str] = []
        self._pending: deque[Any] = deque()
        self._is_begun = False
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

    def close(self) -> None:
        """Close the file; a caller's own file is left open."""
        self._pending.clear()
        self._decoded.close()
        self._container.close()
        self._source.close()

    @property
    def damaged(self) -> int:
        """Packets that could not be read or decoded so far."""
        return self._decoder.damaged

    @property
    def failure(self) -> Exception | None:
        """The first exception that reading the file raised, if any."""
        return self._source.failure

    @property
    def sound_begins_s(self) -> float:
        """When the sound begins, in seconds from the start."""
        start_s = to_seconds(self._voice.start_time, self._voice.time_base) if self._voice is not None else None
        return 0.0 if start_s is None else max(0.0, start_s - self._origin_s)

    @property
    def recorded_s(self) -> float | None:
        """When it was recorded, as the container says."""
        return read_recorded_s(self._container)

    def read_placement(self, frame: av.VideoFrame) -> Placement:
        """Tell how a frame is placed."""
        return self._read_placement(frame)

    def begin(self, start_s: float, frames_rate_hz: float, wanted: frozenset[Kind]) -> tuple[float, float]:
        """Get ready to decode from shortly before an instant; as `Opened` says."""
        self._rewind()
        return self._go_to(start_s, frames_rate_hz, wanted)

    def decode(self, wanted: frozenset[Kind], reached_s: Callable[[], float]) -> Iterator[Decoded]:
        """Yield frames and sound in the order of the file; as `Opened` says."""
        for decoded in self._decode(wanted, reached_s):
            yield decoded, None if decoded.time is None else decoded.time - self._origin_s

    def spare(self, *, is_plenty: bool) -> None:
        """Decode no frames that no other needs, while there are plenty."""
        if self._picture is not None:
            self._picture.codec_context.skip_frame = "NONREF" if is_plenty else "DEFAULT"

    def finish(self, kind: Kind, end_s: float) -> None:
        """Decode no more of what has come up to an instant, but wait a little for the other."""
        if self.holds(kind):
            self._decoder.finish(self._stream_of(kind), end_s + self._origin_s + LONGEST_GAP_S)

    def holds(self, kind: Kind) -> bool:
        """Return whether more of what was asked for may come: another programme may lack it."""
        return self._stream_of(kind) is not None

    def _choose_streams(self) -> None:
        streams = self._container.streams
        pictures = [stream for stream in streams.video if not stream.disposition & _NOT_PICTURES]
        self.has_picture, self.has_sound = bool(pictures), bool(streams.audio)
        self._picture = self._choose("video", pictures)
        self._voice = self._choose("sound", list(streams.audio))
        self._indices = [None if stream is None else stream.index for stream in (self._picture, self._voice)]
        if self._picture is None and self._voice is None:
            held = ", ".join(sorted({str(stream.type) for stream in streams})) or "nothing"
            reason = "; ".join(self.warnings) or f"it holds {held}"
            raise MediaError(f"{self.name}: no picture nor sound can be read ({reason}); expected {KNOWN_KINDS}")

    def _choose(self, kind: str, streams: list[Any]) -> Any:
        known = [stream for stream in streams if stream.codec_context is not None]
        if streams and not known:
            self.warn(f"unknown codec of the {kind} track; convert the file, e.g. with ffmpeg")
        if not known:
            return None
        chosen = max(known, key=lambda stream: bool(stream.disposition & Disposition.default))
        if len(known) > 1:
            self._tell_of_others.append(f"{len(known)} {kind} tracks: number {known.index(chosen) + 1} is used")
            self.warn(self._tell_of_others[-1])
        return chosen

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
        self._holds_still = is_picture
        self.duration_s = 0.0 if is_picture else duration_s
        self.declares_length = self._container.format.name.split(",")[0] in _DECLARING_FORMATS

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
        if self._is_begun:
            if not self._source.seekable():
                raise MediaError(f"{self.name}: can be read only once, it cannot go back; save it to a file first")
            self._reopen()
            self._start_decoder()
        self._is_begun = True

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
        return VideoTrack(width_px, height_px, sane_rate_hz(self._picture), self._holds_still, codec.name)

    def _choose_placing(self, codec: str) -> Callable[[av.VideoFrame], Placement]:
        held = read_orientation(self._source) if self._holds_still else None
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

    def _stream_of(self, kind: Kind) -> Any:
        return self._picture if kind == "picture" else self._voice

    def _go_to(self, start_s: float, rate_hz: float, wanted: frozenset[Kind]) -> tuple[float, float]:
        """Let decoding begin shortly before an instant; returns when picture and sound begin."""
        if start_s <= _NEAR_S or self.is_still or not self._source.seekable():
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

    def _try_to_land(self, start_s: float, rate_hz: float, wanted: frozenset[Kind], *, seeks: bool) -> Landing | None:
        self._reopen()
        self._start_decoder()
        picture = self._picture if "picture" in wanted else None
        voice = self._voice if "sound" in wanted else None
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

    def _decode(self, wanted: frozenset[Kind], reached_s: Callable[[], float]) -> Iterator[Any]:
        if "picture" not in wanted and self._picture is not None:
            self._decoder.drop(self._picture)
        if "sound" not in wanted and self._voice is not None:
            self._decoder.drop(self._voice)
        while self._pending:
            yield self._pending.popleft()
        yield from self._decoded
        while not self._decoder.is_given_up and self._follow(wanted, reached_s):
            yield from self._decoded

    def _may_be_followed(self) -> bool:
        return self._container.format.name == "mpegts" and self._source.seekable()

    def _follow(self, wanted: frozenset[Kind], reached_s: Callable[[], float]) -> bool:
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
                self.warn("another programme that begins midway is left out")
            return False
        if len(there) == len(read):
            self.warnings = [warning for warning in self.warnings if warning not in self._tell_of_others]
        self._go_over(programme, wanted, reached_s())
        return True

    def _go_over(self, programme: Programme, wanted: frozenset[Kind], joined_s: float) -> None:
        damaged = self._decoder.damaged
        self._container.close()
        self._container = programme.container
        found = programme.find("video"), programme.find("audio")
        left_out = [
            kind
            for kind, stream, had in zip(("picture", "sound"), found, self._indices, strict=True)
            if stream is not None and had is None
        ]
        self._picture = found[0] if "picture" in wanted else None
        self._voice = found[1] if "sound" in wanted else None
        starts = [to_seconds(stream.start_time, stream.time_base) for stream in self._streams()]
        self._origin_s = min((start_s for start_s in starts if start_s is not None), default=0.0) - joined_s
        self._start_decoder()
        self._decoder.damaged = damaged
        said = f", its {left_out[0]} left out" if left_out else ""
        self.warn(f"another programme begins after {joined_s:.1f} s; it is read as the same clip{said}")
