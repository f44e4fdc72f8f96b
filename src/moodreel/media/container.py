"""Opening and decoding of files nobody vouches for: what PyAV may read, how much, and what to say when it fails.

The decoder sees one stream of bytes, never a name: no playlist, protocol or reference inside a file can make it open
another file or the network.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO, Any

import av
import av.container
import av.error
from av.stream import Discard

from moodreel.errors import MediaError
from moodreel.text import printable

FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,flv,asf,ogg,mxf,nut,dv,rm,3gp,yuv4mpegpipe,"
    "wav,w64,mp3,aac,loas,flac,ac3,eac3,aiff,au,caf,amr,amrnb,amrwb,ape,wv,tta,dts,gif,apng,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,pam_pipe,j2k_pipe,jpegxl_pipe,jpegxl_anim"
)
"""Demuxers that may read a file: containers of picture and sound. Left out: playlists, subtitles, text art, devices."""

LARGEST_PICTURE_PX = 8192 * 8192
"""Pictures with more pixels are refused; 8K (7680 x 4320) fits."""

KNOWN_KINDS = "a video, sound or picture such as MP4, MOV, MKV, WebM, AVI, WAV, MP3, FLAC, JPEG or PNG"

_MOST_READ_FAILURES = 8

DecodeError = (av.error.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)
"""What PyAV raises on damaged data."""

_THOROUGH_BYTES = 32 * 2**20
_THOROUGH_US = 600 * 1_000_000
_HEADERLESS_FORMATS = frozenset({"mpegts", "mpeg", "flv"})


class Source:
    """A file as the decoder sees it: bytes to read and seek in, without a name, whose failures are kept, not raised.

    Attributes:
        shown: printable name for messages; not called `name`, which PyAV would show to the decoder.
        failure: the first exception the underlying file raised, if any.
        first_byte: where the file begins as the decoder sees it, in bytes.
    """

    def __init__(self, file: IO[bytes], name: str, *, owned: bool) -> None:
        self.shown = name
        self.failure: Exception | None = None
        self._file = file
        self._owned = owned
        self.first_byte = 0

    def seekable(self) -> bool:
        """Return whether the file can go back."""
        return hasattr(self._file, "tell") and getattr(self._file, "seekable", lambda: hasattr(self._file, "seek"))()

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end or when the file fails."""
        try:
            return bytes(memoryview(self._file.read(size)))[:size]
        except Exception as failure:
            self.failure = self.failure or failure
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset` bytes and return the new position, or -1 when that is impossible."""
        try:
            is_absolute = whence & 3 == os.SEEK_SET
            return self._file.seek(offset + self.first_byte * is_absolute, whence & 3) - self.first_byte
        except Exception:
            return -1

    def tell(self) -> int:
        """Return the position in bytes, or -1 when unknown."""
        try:
            return self._file.tell() - self.first_byte
        except Exception:
            return -1

    def begin_at(self, byte: int) -> None:
        """Show the file from a byte on, as if nothing stood before it; it must be able to go back."""
        self.first_byte = byte

    def peek_start(self) -> bytes:
        """Return the first bytes of the file, up to 32, and go back to its start; nothing if it cannot go back."""
        if not self.seekable():
            return b""
        self.seek(0)
        start = self.read(32)
        self.seek(0)
        return start

    def close(self) -> None:
        """Close the file if it was opened here; a caller's own file is left open."""
        if self._owned:
            self._file.close()


def open_source(media: str | os.PathLike[str] | bytes | IO[bytes], name: str | None = None) -> Source:
    """Open a path, bytes, or a binary file object (read from its start where it can seek).

    Args:
        media: what to read.
        name: how messages call it; default the path, the file object's own name, or `<bytes>`.

    Raises:
        MediaError: nothing there, a folder, a device or pipe, no permission, or not a binary file object.
    """
    if isinstance(media, bytes | bytearray | memoryview):
        return Source(io.BytesIO(media), printable(name or "<bytes>"), owned=True)
    if isinstance(media, str | os.PathLike):
        path = os.fspath(media)
        shown = printable(name or os.fsdecode(path))
        return Source(_open_file(path, shown), shown, owned=True)
    if not hasattr(media, "read"):
        raise MediaError(f"{type(media).__name__} is not media: expected a path, bytes or a binary file object")
    return Source(media, printable(name or str(getattr(media, "name", "<stream>"))), owned=False)


def _open_file(path: str, shown: str) -> IO[bytes]:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"{shown}: is a folder, expected a media file; name the files in it")
        if not stat.S_ISREG(mode):
            raise MediaError(f"{shown}: is a pipe, socket or device, expected a regular file; save it to a file first")
        return Path(path).open("rb", buffering=0)
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file; check the spelling and the folder") from None
    except PermissionError:
        raise MediaError(f"{shown}: may not be read; give yourself permission, e.g. chmod u+r") from None
    except (OSError, ValueError) as error:
        reason = printable(getattr(error, "strerror", None) or str(error))
        raise MediaError(f"{shown}: cannot be opened ({reason}); expected a readable media file") from None


def _refuse_other_files(*_: Any) -> None:
    raise ValueError("a media file may not open other files")


def open_container(source: Source, *, thorough: bool = False) -> av.container.InputContainer:
    """Open a source with the demuxer its content asks for, from its start.

    Args:
        source: the file.
        thorough: look through up to 32 MB and ten minutes for its streams, not through 5 MB and a few seconds.

    Raises:
        MediaError: empty, not media, of a kind that cannot be decoded, or its index is missing.
    """
    start = source.peek_start()
    if source.seekable() and not start and not source.failure:
        raise MediaError(f"{source.shown}: is empty (0 bytes), expected {KNOWN_KINDS}; copy or record it again")
    if _is_animated_webp(start):
        raise MediaError(
            f"{source.shown}: is an animated WebP, which cannot be decoded, expected {KNOWN_KINDS}; "
            "convert it, e.g. to GIF or MP4"
        )
    options = {"format_whitelist": FORMATS, "max_pixels": str(LARGEST_PICTURE_PX), "protocol_whitelist": "none"}
    if thorough:
        options |= {"probesize": str(_THOROUGH_BYTES), "analyzeduration": str(_THOROUGH_US)}
    try:
        return av.open(source, "r", options=options, metadata_errors="replace", io_open=_refuse_other_files)
    except DecodeError:
        raise MediaError(_explain_refusal(source, start)) from None


def may_hold_more(container: av.container.InputContainer) -> bool:
    """Return whether streams may show up later than opening has looked: the file names none before they come."""
    streams = container.streams
    return container.format.name in _HEADERLESS_FORMATS and not (streams.video and streams.audio)


def _is_animated_webp(start: bytes) -> bool:
    return start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X" and len(start) > 20 and bool(start[20] & 2)


def _explain_refusal(source: Source, start: bytes) -> str:
    if source.failure is not None:
        reason = printable(str(source.failure)) or type(source.failure).__name__
        return f"{source.shown}: cannot be read ({reason}); expected {KNOWN_KINDS}"
    if start[4:8] == b"ftyp":
        return (
            f"{source.shown}: its index is missing or damaged, expected a whole MP4 or MOV; "
            "the recording or copy was cut off: copy it again, or repair it with a tool such as untrunc"
        )
    return f"{source.shown}: is not media that moodreel reads, expected {KNOWN_KINDS}; convert it, e.g. with ffmpeg"


class Decoder:
    """Decodes some streams of a container in one pass, over damage.

    Attributes:
        damaged: packets that could not be read or decoded so far.
        is_given_up: whether decoding ended before the file did, because nothing more was to be expected.
        packets: those still to be read, each with bytes.
        places: by number of the stream, where in the file its first and its last packet begin, in bytes; where the
            container tells.
    """

    def __init__(self, container: av.container.InputContainer, streams: list[Any], watched: Sequence[Any] = ()) -> None:
        """Prepare.

        Args:
            container: what to read.
            streams: those to decode.
            watched: further ones that are read, for `places`, and not decoded.
        """
        self.damaged = 0
        self.is_given_up = False
        self.places: dict[int, tuple[int, int]] = {}
        self._container = container
        self._streams = list(streams)
        self._past: list[Any] = []
        self._latest_s = math.inf
        self._read = list(dict.fromkeys((*streams, *watched)))
        for stream in container.streams:
            stream.discard = Discard.default if stream in self._read else Discard.all
        self.packets = self._read_packets()

    def drop(self, stream: Any) -> None:
        """Decode nothing more of `stream`."""
        if stream in self._streams:
            self._streams.remove(stream)
            stream.discard = Discard.all

    def finish(self, stream: Any, latest_s: float) -> None:
        """Decode nothing more of `stream`, but watch it: decoding ends when it gets to an instant.

        Args:
            stream: what has got far enough.
            latest_s: on the file's clock, in seconds; how long the other stream is waited for.
        """
        if stream in self._streams:
            self._streams.remove(stream)
            self._past.append(stream)
            self._latest_s = latest_s

    def decode(self, first: Iterable[Any] = ()) -> Generator[Any, None, None]:
        """Yield each `av.VideoFrame` and `av.AudioFrame` in the order of the file.

        Args:
            first: packets taken from `packets` that are to be decoded before those left in it.
        """
        for packet in chain(first, self.packets):
            if packet.stream in self._streams:
                yield from self._decode_packet(packet.stream, packet)
            elif packet.stream in self._past and (to_seconds(packet.pts, packet.time_base) or 0.0) > self._latest_s:
                self.is_given_up = True
                return
        for stream in self._streams:
            yield from self._decode_packet(stream, None)

    def _read_packets(self) -> Iterator[Any]:
        failures = 0
        while failures < _MOST_READ_FAILURES:
            try:
                for packet in self._container.demux(self._read):
                    if packet.size:
                        self._note_place(packet)
                        yield packet
                return
            except IndexError:  # PyAV stumbles, behind the last packet, over a stream that showed up on the way
                return
            except DecodeError:
                failures += 1
                self.damaged += 1

    def _note_place(self, packet: Any) -> None:
        if packet.pos is not None:
            first, _ = self.places.get(packet.stream_index, (packet.pos, 0))
            self.places[packet.stream_index] = first, packet.pos

    def _decode_packet(self, stream: Any, packet: Any) -> Iterator[Any]:
        self.damaged += packet is not None and packet.is_corrupt
        try:
            frames = stream.codec_context.decode(packet)
        except EOFError:
            return
        except DecodeError:
            self.damaged += packet is None or not packet.is_corrupt
            return
        for frame in frames:
            frame.time_base = stream.time_base  # PyAV leaves it out of frames that come at the end
            yield frame


def measure_packets(
    container: av.container.InputContainer, streams: list[Any], enough_s: float = math.inf
) -> tuple[float, int]:
    """Read through a container without decoding, for files that do not say how long they are.

    Args:
        container: what to read.
        streams: those to measure.
        enough_s: stop when packets this far from the first one have come.

    Returns:
        The end of the last packet in seconds from the streams' own zero (with `enough_s` from the first packet), and
        the number of packets of the first stream.
    """
    end_s, count = 0.0, 0
    first_s = None if math.isfinite(enough_s) else 0.0
    with contextlib.suppress(IndexError, *DecodeError):  # IndexError: see `Decoder`
        for packet in container.demux(streams):
            count += packet.stream is streams[0] and packet.size > 0
            if packet.pts is not None:
                begin_s = to_seconds(packet.pts, packet.time_base) or 0.0
                first_s = begin_s if first_s is None else first_s
                end_s = max(end_s, begin_s - first_s + (to_seconds(packet.duration or 0, packet.time_base) or 0.0))
            if end_s >= enough_s:
                break
    return end_s, count


def to_seconds(ticks: int | None, time_base: Fraction | None) -> float | None:
    """Return a time stamp in seconds, `None` where the file has none or counts in nothing."""
    return None if ticks is None or not time_base else float(ticks * time_base)


def read_recorded_s(container: av.container.InputContainer) -> float | None:
    """Return when a file says it was recorded, seconds since 1970 (UTC); `None` where it says nothing that can be."""
    try:
        told = datetime.fromisoformat(container.metadata.get("creation_time", ""))
    except ValueError:
        return None
    recorded_s = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    return recorded_s if recorded_s > 0 else None  # encoders without a clock write 1904 or 1970
