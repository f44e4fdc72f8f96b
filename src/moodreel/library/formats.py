"""Moments as text: for people, programs, spreadsheets, players and editing programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from moodreel.errors import OutputError
from moodreel.labels import EMOTIONS
from moodreel.library.describe import from_text
from moodreel.library.found import Moment
from moodreel.media.parts import read_part
from moodreel.output.formats import Column
from moodreel.output.formats.rows import Cell, seven_cells, seven_columns, write_rows
from moodreel.output.formats.vtt import format_time
from moodreel.text import printable, suggest

FRAME_RATE_HZ = 25
"""Frames a second of an edit list, where no other rate is named."""
MOST_EVENTS = 999
"""Cuts that a CMX3600 edit list can number."""

COLUMNS = (
    Column("file", "path or URL of the file"),
    Column("start_s", "where the moment begins, in seconds from the file's start"),
    Column("end_s", "where it ends"),
    Column("person", "0 for what is seen and heard then, else the person's number in the file"),
    Column("who", "number of the person in the whole library, with --people; empty where not known"),
    Column("score", "how well it fits what was asked for, 0-1"),
    Column("label", "likeliest emotion"),
    *seven_columns("", "mean probability over the moment"),
)

Write = Callable[[Sequence[Moment], int], str]


@dataclass(frozen=True)
class MomentFormat:
    """A way of writing moments.

    Attributes:
        name: what `moodreel search --format` calls it.
        suffix: of a file in it, with the dot.
        write: moments and frames a second to text.
        describe: what it is, in a few words.
        is_file_each: whether each media file needs a text of its own.
    """

    name: str
    suffix: str
    write: Write
    describe: str
    is_file_each: bool = False


def find_moment_format(name: str) -> MomentFormat:
    """Return a format by its name.

    Raises:
        OutputError: there is none of that name.
    """
    if name not in FORMATS:
        raise OutputError(f"unknown format {name!r}, expected one of {', '.join(FORMATS)}{suggest(name, FORMATS)}")
    return FORMATS[name]


def media_path(file: str) -> str:
    """Return the path or URL under which a file of a library can be opened: its name without a part's fragment."""
    return str(read_part(from_text(file)).path) if "://" not in file else file.partition("#t=")[0]


def _write_table(moments: Sequence[Moment], _: int) -> str:
    lines = [f"{'score':>5}  {'start':>10}  {'end':>10}  {'emotion':<14}  file"]
    return "\n".join([*lines, *map(_write_line, moments)]) + "\n" if moments else "no moment fits\n"


def _write_line(moment: Moment) -> str:
    person = f"  person {moment.person}" if moment.person else ""
    who = f"  who {moment.who}" if moment.who else ""
    emotion = f"{moment.label} {moment.confidence:.0%}"
    times = f"{_clock(moment.start_s):>10}  {_clock(moment.end_s):>10}"
    return f"{moment.score:5.0%}  {times}  {emotion:<14}  {printable(moment.file)}{person}{who}"


def _clock(time_s: float) -> str:
    minutes, tenths = divmod(round(time_s * 10), 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{tenths // 10:02d}.{tenths % 10}"


def _write_json(moments: Sequence[Moment], _: int) -> str:
    return json.dumps([_to_dict(moment) for moment in moments], indent=2) + "\n"


def _to_dict(moment: Moment) -> dict[str, object]:
    shares = {name: round(value, 6) for name, value in zip(EMOTIONS, moment.probabilities, strict=True)}
    return {
        "file": moment.file,
        "start_s": round(moment.start_s, 3),
        "end_s": round(moment.end_s, 3),
        "person": moment.person,
        "who": moment.who or None,
        "score": round(moment.score, 6),
        "label": moment.label,
        "probabilities": shares,
        "file_id": moment.file_id,
    }


def _write_csv(moments: Sequence[Moment], _: int) -> str:
    return write_rows(map(cells_of, moments), COLUMNS, header=True)


def cells_of(moment: Moment) -> list[Cell]:
    """Return a moment as the cells of `COLUMNS`."""
    times = [round(moment.start_s, 3), round(moment.end_s, 3)]
    whose: list[Cell] = [moment.person, moment.who or ""]
    return [moment.file, *times, *whose, round(moment.score, 4), moment.label, *seven_cells(moment.probabilities)]


def _write_vtt(moments: Sequence[Moment], _: int) -> str:
    """Write the moments of one file as subtitles, in the order of time."""
    lines = ["WEBVTT", ""]
    for moment in sorted(moments, key=lambda one: (one.start_s, one.person)):
        begin, end = format_time(moment.start_s), format_time(moment.end_s)
        if begin != end:
            voice = f"<v person {moment.person}>" if moment.person else ""
            lines += [f"{begin} --> {end}", f"{voice}{moment.label} {moment.confidence:.0%}", ""]
    return "\n".join(lines)


def _write_edl(moments: Sequence[Moment], rate_hz: int) -> str:
    """Write a CMX3600 edit list: the moments one after another."""
    if len(moments) > MOST_EVENTS:
        raise OutputError(
            f"an edit list holds at most {MOST_EVENTS} cuts, not {len(moments)}; use --limit {MOST_EVENTS}"
        )
    lines, at = ["TITLE: moodreel", "FCM: NON-DROP FRAME", ""], 0
    for number, moment in enumerate(moments, 1):
        first = round(moment.start_s * rate_hz)
        last = max(first + 1, round(moment.end_s * rate_hz))
        codes = (_timecode(frame, rate_hz) for frame in (first, last, at, at + last - first))
        lines.append(f"{number:03d}  AX       B     C        {' '.join(codes)}")
        lines += [f"* FROM CLIP NAME: {printable(Path(media_path(moment.file)).name)}"]
        lines += [f"* COMMENT: {moment.label} {moment.confidence:.0%}, {printable(media_path(moment.file))}", ""]
        at += last - first
    return "\n".join(lines)


def _timecode(frame: int, rate_hz: int) -> str:
    seconds, frames = divmod(frame, rate_hz)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"


def _write_m3u(moments: Sequence[Moment], _: int) -> str:
    return "\n".join(["#EXTM3U", *(line for moment in moments for line in _play(moment)), ""])


def _play(moment: Moment) -> Iterator[str]:
    """Yield the lines of a playlist for one moment; VLC's options say where it begins and ends."""
    file, length_s = media_path(moment.file), max(1, round(moment.end_s - moment.start_s))
    title = f"{moment.label} {moment.confidence:.0%} {printable(Path(file).name)} {_clock(moment.start_s)}"
    yield f"#EXTINF:{length_s},{title}"
    if moment.end_s > moment.start_s:
        yield f"#EXTVLCOPT:start-time={moment.start_s:.3f}"
        yield f"#EXTVLCOPT:stop-time={moment.end_s:.3f}"
    is_plain = file == printable(file) and not file.startswith("#") and file == file.strip()
    yield file if is_plain or "://" in file else Path(file).absolute().as_uri()


FORMATS = MappingProxyType(
    {
        one.name: one
        for one in (
            MomentFormat("table", ".txt", _write_table, "a line a moment for people"),
            MomentFormat("json", ".json", _write_json, "a list of objects"),
            MomentFormat("csv", ".csv", _write_csv, "a row a moment, for spreadsheets"),
            MomentFormat("vtt", ".vtt", _write_vtt, "subtitles, a text for each file", is_file_each=True),
            MomentFormat("edl", ".edl", _write_edl, "a CMX3600 edit list"),
            MomentFormat("m3u", ".m3u", _write_m3u, "a playlist that plays the moments"),
        )
    }
)
"""Every format by its name."""
