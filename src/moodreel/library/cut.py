"""Moments cut out of their files: packets are copied as they are, from the key frame before the moment on."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from moodreel.errors import LibraryError, MediaError
from moodreel.library.formats import media_path
from moodreel.library.found import Moment
from moodreel.library.place import is_url, open_system, reaching
from moodreel.media.clip import open_clip
from moodreel.media.container import DecodeError, Source, open_container, open_source, to_seconds
from moodreel.media.defence import name_clip
from moodreel.media.frames import Frame
from moodreel.media.seeking import INDEXED_FORMATS
from moodreel.storage.whole_files import whole_file
from moodreel.text import printable

THUMBNAIL_PX = 320
"""Longer side of a thumbnail."""

_SUFFIXES = {
    "mov": ".mp4",
    "wav": ".wav",
    "mp3": ".mp3",
    "ogg": ".ogg",
    "avi": ".avi",
}
"""What a cut-out of a container is called; others become Matroska, which holds nearly every codec."""
_MUXERS = {".mp4": "mp4", ".mkv": "matroska"}
_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
_EARLY_S = 0.05
"""A cut-out that begins no earlier than this begins with its moment, for a reader's purposes."""
_LATE_S = 2.0
"""How much later in the file what belongs to an instant may stand."""
_MOST_WAITING_BYTES = 64 * 2**20
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Cut:
    """A cut-out that was written.

    Attributes:
        path: the file.
        moment: what it shows.
        start_s: where it begins in the source, in seconds; before the moment where no key frame stands there.
    """

    path: Path
    moment: Moment
    start_s: float

    @property
    def early_s(self) -> float:
        """How much earlier than its moment it begins; 0 where nobody would notice."""
        early_s = self.moment.start_s - self.start_s
        return early_s if early_s > _EARLY_S else 0.0


def name_cut(number: int, moment: Moment, suffix: str) -> str:
    """Return what a file made of a moment is called: its place in the list, its file's name, its times."""
    return f"{number:04d} {name_source(moment)} {moment.start_s:.1f}-{moment.end_s:.1f}{suffix}"


def name_source(moment: Moment) -> str:
    """Return the name of a moment's file as it can stand in the name of another file on every system."""
    stem = Path(media_path(moment.file).rpartition("/")[2]).stem
    return re.sub(r'[/\\:*?"<>|\s]+', " ", printable(stem)).strip(" .")[:_LONGEST_NAME]


def cut_out(moment: Moment, folder: Path, number: int) -> Cut:
    """Write a moment as a file of its own, without encoding it anew.

    Args:
        moment: what to cut out.
        folder: where to.
        number: its place in the list of moments, from 1.

    Returns:
        What was written; it begins at the key frame before the moment, or with it.

    Raises:
        MediaError: the file is gone, holds nothing there, or its codec fits no container.
        OutputError: the cut-out cannot be written.
    """
    with name_clip(media_path(moment.file)), open_media(moment) as source:
        if moment.end_s <= moment.start_s:
            return _copy_picture(source, moment, folder, number)
        container = open_container(source)
        try:
            native = _SUFFIXES.get(container.format.name.split(",")[0], ".mkv")
            for suffix in dict.fromkeys([native, ".mkv"]):
                path = folder / name_cut(number, moment, suffix)
                try:
                    return Cut(path, moment, _write(source, container, moment, path))
                except DecodeError as error:
                    problem = printable(str(error))
        finally:
            container.close()
    raise MediaError(
        f"{source.shown}: cannot be cut without encoding it anew ({problem}); convert it, e.g. with ffmpeg"
    )


@contextmanager
def open_media(moment: Moment) -> Iterator[Source]:
    """Open the file of a moment, here or far away.

    Raises:
        MediaError: it cannot be opened.
        LibraryError: it is out of reach.
    """
    file = media_path(moment.file)
    if is_url(file):
        system, path = open_system(file)
        with reaching(printable(file)):
            opened = _open_far(system, path, printable(file))
        source = Source(opened, printable(file), owned=True)
    else:
        source = open_source(file)
    try:
        yield source
    finally:
        source.close()


def _open_far(system: Any, path: str, shown: str) -> Any:
    try:
        return system.open(path, "rb")
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file") from None


def _copy_picture(source: Source, moment: Moment, folder: Path, number: int) -> Cut:
    path = folder / name_cut(number, moment, Path(media_path(moment.file)).suffix)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)
    return Cut(path, moment, moment.start_s)


def _write(source: Source, container: av.container.InputContainer, moment: Moment, path: Path) -> float:
    """Copy the packets of a moment into a file; returns where it begins, in seconds."""
    streams = _choose_streams(container)
    if not streams:
        raise MediaError(f"{source.shown}: no picture nor sound can be copied")
    with whole_file(path) as temporary:
        with av.open(str(temporary), "w", format=_MUXERS.get(path.suffix, path.suffix[1:])) as out:
            copier = _Copier(out, streams, moment)
            copier.copy(container)
        if copier.begin_s is None:
            raise MediaError(f"{source.shown}: nothing from {moment.start_s:g} to {moment.end_s:g} s can be copied")
    return copier.begin_s


def _choose_streams(container: av.container.InputContainer) -> list[Any]:
    """Return the picture, first, and the sound."""
    chosen = []
    for streams in (container.streams.video, container.streams.audio):
        known = [one for one in streams if one.codec_context is not None and not one.disposition & _NOT_PICTURES]
        if known:
            chosen.append(max(known, key=lambda stream: bool(stream.disposition & Disposition.default)))
    return chosen


@dataclass
class _Copier:
    """Copies packets from the key frame before a moment up to its end.

    Attributes:
        out: where to.
        streams: what to copy; where the first one has a key frame, the cut-out begins.
        moment: what to copy of them.
        begin_s: where the cut-out begins in the source, in seconds; `None` before anything was copied.
    """

    out: av.container.OutputContainer
    streams: Sequence[Any]
    moment: Moment
    begin_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make a stream for each."""
        self._targets = {one.index: self.out.add_stream_from_template(one) for one in self.streams}
        starts = (to_seconds(one.start_time, one.time_base) for one in self.streams)
        self._origin_s = min((start for start in starts if start is not None), default=0.0)
        self._waiting: list[Any] = []
        self._held_bytes = 0
        self._key: Any = None
        self._reached_s = 0.0

    def copy(self, container: av.container.InputContainer) -> None:
        """Copy what belongs to the moment."""
        anchor = self.streams[0]
        if container.format.name.split(",")[0] in INDEXED_FORMATS:
            with suppress(*DecodeError):  # what cannot go to a place is read from where it is
                container.seek(int((self.moment.start_s + self._origin_s) / anchor.time_base), stream=anchor)
        finished: set[int] = set()
        for packet in container.demux(list(self.streams)):
            time_s = self._time_of(packet)
            if time_s is None:
                continue
            if time_s >= self.moment.end_s:
                finished.add(packet.stream_index)
            if len(finished) == len(self.streams) or time_s >= self.moment.end_s + _LATE_S:
                break
            self._reached_s = time_s + (to_seconds(packet.duration, packet.time_base) or 0.0)
            if time_s < self.moment.end_s:
                self._take(packet, time_s, is_anchor=packet.stream is anchor)
        if self._reached_s > self.moment.start_s - _LATE_S:  # else the file has become shorter
            self._begin()

    def _time_of(self, packet: Any) -> float | None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        time_s = to_seconds(stamp, packet.time_base) if packet.size else None
        return None if time_s is None else time_s - self._origin_s

    def _take(self, packet: Any, time_s: float, *, is_anchor: bool) -> None:
        """Copy a packet, or hold it back until it is known at which key frame the cut-out begins."""
        if self.begin_s is None:
            is_begin = is_anchor and packet.is_keyframe
            if is_anchor and time_s > self.moment.start_s:
                self._begin()
            elif is_begin:
                self._restart(packet, time_s)
        if self.begin_s is None:
            self._hold(packet)
        elif is_anchor or time_s >= self.begin_s:
            self._mux(packet)

    def _restart(self, key: Any, time_s: float) -> None:
        """Begin with a later key frame, and let go what comes before it."""
        others = [one for one in self._waiting if one.stream is not key.stream]
        self._waiting = [one for one in others if (self._time_of(one) or 0.0) >= time_s]
        self._held_bytes = sum(packet.size for packet in self._waiting)
        self._key = key

    def _hold(self, packet: Any) -> None:
        self._waiting.append(packet)
        self._held_bytes += packet.size
        if self._held_bytes > _MOST_WAITING_BYTES:
            self._begin()

    def _begin(self) -> None:
        """Begin with the last key frame before the moment; where there is none, with the next one."""
        if self.begin_s is not None or self._key is None:
            return
        shown_s = to_seconds(self._key.pts, self._key.time_base)
        self.begin_s = self._time_of(self._key) if shown_s is None else shown_s - self._origin_s
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            if packet.stream is self.streams[0] or (self._time_of(packet) or 0.0) >= (self.begin_s or 0.0):
                self._mux(packet)

    def _mux(self, packet: Any) -> None:
        assert self.begin_s is not None
        shift = math.floor((self.begin_s + self._origin_s) / packet.time_base)
        for stamp in ("pts", "dts"):
            ticks = getattr(packet, stamp)
            if ticks is not None:
                setattr(packet, stamp, ticks - shift)
        packet.stream = self._targets[packet.stream.index]
        self.out.mux(packet)


def draw_thumbnail(moment: Moment, side_px: int = THUMBNAIL_PX) -> bytes | None:
    """Return a small JPEG of the middle of a moment; `None` where there is no picture.

    Args:
        moment: what to show.
        side_px: its longer side at most.

    Raises:
        MediaError: the file cannot be read.
    """
    from PIL import Image

    middle_s = (moment.start_s + moment.end_s) / 2
    file = media_path(moment.file)
    with name_clip(file), _open_clip(moment, middle_s) as clip:
        if clip.video is None:
            return None
        stream = clip.stream(longest_side_px=side_px, frames_rate_hz=5.0, sound_rate_hz=0, end_s=_LATE_S)
        frame = next((item for item in stream if isinstance(item, Frame)), None)
        if frame is None:
            return None
        held = io.BytesIO()
        Image.fromarray(frame.pixels).save(held, "JPEG", quality=80)
        return held.getvalue()


@contextmanager
def _open_clip(moment: Moment, start_s: float) -> Iterator[Any]:
    with open_media(moment) as source, open_clip(source, media_path(moment.file), start_s=start_s) as clip:  # type: ignore[arg-type]
        yield clip


@dataclass(frozen=True)
class Export:
    """What became of the moments that were to be cut out.

    Attributes:
        cuts: those that were written.
        problems: one line for each that could not be.
    """

    cuts: tuple[Cut, ...]
    problems: tuple[str, ...]


def export_moments(moments: Sequence[Moment], folder: Path, *, thumbnails: bool = False) -> Export:
    """Write moments as files of their own; one that cannot be cut out costs itself alone.

    Args:
        moments: what to cut out, in order.
        folder: where to.
        thumbnails: whether a picture of each stands beside it.

    Raises:
        OutputError: the folder cannot be written.
    """
    cuts, problems = [], []
    for number, moment in enumerate(moments, 1):
        try:
            cuts.append(cut_out(moment, folder, number))
            picture = draw_thumbnail(moment) if thumbnails else None
            if picture is not None:
                with whole_file(folder / name_cut(number, moment, ".jpg")) as temporary:
                    temporary.write_bytes(picture)
        except (MediaError, LibraryError) as error:
            problems.append(str(error))
    return Export(tuple(cuts), tuple(problems))
