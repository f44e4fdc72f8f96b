"""Clips that are parts of a file: named as media fragments, `film.mp4#t=10,14` (W3C), or `call.wav#channel=left`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from moodreel.errors import MediaError
from moodreel.media.find import Finder, is_folder
from moodreel.media.sounds import Channel, check_channel
from moodreel.text import printable

_FRAGMENT = re.compile(r"(?P<file>.+)#(?P<fields>(?:t|channel)=.*)", re.DOTALL)
_TIMES = re.compile(r"(?:npt:)?(?P<start>[^,]*)(?:,(?P<end>.*))?", re.DOTALL)
_TIME = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d{1,2}):)?(?P<seconds>\d+(?:\.\d*)?)", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A file, or a part of it.

    Attributes:
        path: the file.
        start_s: where the part begins, in seconds from the file's start.
        end_s: where it ends; `None` for the file's end.
        channel: what is heard of it.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    channel: Channel = "mix"

    def __str__(self) -> str:
        """Name the file, with its fragment where it is a part."""
        return str(self.path) + format_fragment(self.start_s, self.end_s, self.channel)

    def __fspath__(self) -> str:
        """Name the file alone."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name without its folder, with its fragment."""
        return self.path.name + format_fragment(self.start_s, self.end_s, self.channel)

    @property
    def stem(self) -> str:
        """The file's name without its ending, with its channel where it is one."""
        return self.path.stem if self.channel == "mix" else f"{self.path.stem}-{self.channel}"


def check_part(name: str, start_s: float, end_s: float | None) -> None:
    """Refuse a part that is none.

    Raises:
        MediaError: its times are negative or no numbers, or it ends before it begins.
    """
    last_s = math.inf if end_s is None else end_s
    if not 0 <= start_s < last_s or math.isinf(start_s):
        shown = f"{start_s:g} s to {'the end' if end_s is None else f'{end_s:g} s'}"
        raise MediaError(f"{name}: no part lies from {shown}; expected 0 <= start < end, in seconds")


def read_time(text: str) -> float:
    """Read a time: seconds, or `[h:]m:s`.

    Raises:
        MediaError: it is neither.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise MediaError(f"{printable(text)!r} is no time; expected seconds such as 12.5, or [h:]m:s such as 1:02:03.5")
    return 3600 * int(match["hours"] or 0) + 60 * int(match["minutes"] or 0) + float(match["seconds"])


def format_fragment(start_s: float, end_s: float | None, channel: Channel = "mix") -> str:
    """Name a part as a media fragment, such as `#t=10,14` or `#channel=left`; empty for a whole file."""
    fields = []
    if start_s or end_s is not None:
        fields.append(f"t={_plain(start_s) if start_s else ''}{'' if end_s is None else f',{_plain(end_s)}'}")
    if channel != "mix":
        fields.append(f"channel={channel}")
    return f"#{'&'.join(fields)}" if fields else ""


def _plain(time_s: float) -> str:
    return f"{time_s:.6f}".rstrip("0").rstrip(".")


def find_parts(
    names: Iterable[str], start_s: float = 0.0, end_s: float | None = None, finder: Finder | None = None
) -> list[Part]:
    """Replace folders by the media in them, and names with a fragment by parts.

    Args:
        names: as for `find_media`; a file whose real name ends like a fragment is that file.
        start_s: where to begin in each file, in seconds.
        end_s: where to end; `None` for each file's end.
        finder: what looks into folders; it remembers what it left out.

    Returns:
        The parts in the order given, each once.

    Raises:
        MediaError: a folder holds no media, a time cannot be read, or a fragment stands beside `start_s` or `end_s`.
    """
    finder = finder or Finder()
    found: dict[Part, Part] = {}
    for name in names:
        part = read_part(name)
        if format_fragment(part.start_s, part.end_s) and format_fragment(start_s, end_s):
            raise MediaError(f"{printable(name)}: names its part already; leave out --from and --to")
        for path in finder.find([part.path]):
            one = replace(
                part, path=path, start_s=part.start_s or start_s, end_s=end_s if part.end_s is None else part.end_s
            )
            check_part(printable(str(path)), one.start_s, one.end_s)
            found.setdefault(replace(one, path=Path(os.path.realpath(path))), one)
    return list(found.values())


def read_part(name: str) -> Part:
    """Read the name of a file, with or without a fragment.

    Raises:
        MediaError: the fragment's times cannot be read.
    """
    match = _FRAGMENT.fullmatch(name)
    if match is None or os.path.lexists(name) or is_folder(Path(name)):
        return Part(Path(name))
    part = Part(Path(match["file"]))
    try:
        for field in match["fields"].split("&"):
            part = _read_field(part, *field.partition("=")[::2])
    except MediaError as error:
        raise MediaError(f"{printable(name)}: {error}") from None
    return part


def _read_field(part: Part, key: str, value: str) -> Part:
    if key == "channel":
        check_channel("channel", value)
        return replace(part, channel=cast(Channel, value))
    times = _TIMES.fullmatch(value)
    if key != "t" or times is None:
        raise MediaError(f"{printable(key)!r} names no part, expected t=START,END or channel=left")
    start_s = read_time(times["start"]) if times["start"] else 0.0
    return replace(part, start_s=start_s, end_s=read_time(times["end"]) if times["end"] is not None else None)
