"""The files that a user wants in a library: found once, noted on disk, taken from there a few at a time."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from moodreel.batch.shards import Shard
from moodreel.errors import MediaError, MoodreelError
from moodreel.library.place import is_url, open_system, reaching
from moodreel.media.find import SUFFIXES, Finder, is_folder
from moodreel.media.parts import Part, check_part, format_fragment, read_part
from moodreel.text import printable


@dataclass(frozen=True)
class Source:
    """A file that is wanted, or a part of one.

    Attributes:
        file: its absolute path, or its URL.
        start_s: where the part begins, in seconds from the file's start.
        end_s: where it ends; `None` for the file's end.
        channel: what is heard of it.
        size_bytes: its size in bytes, when looked at.
        modified_s: when it was last changed, seconds since 1970; 0 where that is not known.
    """

    file: str
    start_s: float = 0.0
    end_s: float | None = None
    channel: Any = "mix"
    size_bytes: int = -1
    modified_s: float = 0.0

    @property
    def path(self) -> str:
        """Name it as the library does."""
        return self.file + format_fragment(self.start_s, self.end_s, self.channel)

    @property
    def is_url(self) -> bool:
        """Whether it is to be fetched."""
        return is_url(self.file)

    def look(self) -> Source:
        """Return it with size and time as they are now; -1 bytes where there is no such file."""
        try:
            found = _look_far(self.file) if self.is_url else _look_here(self.file)
        except (OSError, ValueError, MoodreelError):
            return replace(self, size_bytes=-1, modified_s=0.0)
        return replace(self, size_bytes=found[0], modified_s=found[1])


def _look_here(file: str) -> tuple[int, float]:
    status = Path(file).stat()
    return status.st_size, status.st_mtime_ns / 1e9


def _look_far(url: str) -> tuple[int, float]:
    system, path = open_system(url)
    with reaching(printable(url)):
        return _read_listing(system.info(path))


def _read_listing(entry: Any) -> tuple[int, float]:
    """Return size and time of change as a listing states them; every kind of file system has its own words."""
    changed = entry.get("LastModified") or entry.get("mtime") or entry.get("created") or entry.get("updated") or 0.0
    changed_s = changed.timestamp() if hasattr(changed, "timestamp") else changed
    whole_s = (
        math.floor(changed_s) if isinstance(changed_s, int | float) else 0
    )  # listings are finer than other answers
    return int(entry.get("size") or 0), float(whole_s)


@dataclass
class Spool:
    """Wanted files, on disk.

    Attributes:
        count: how many there are.
        skipped: how many files of which kind were left out of folders.
        problems: what could not be found, one line each.
    """

    count: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _file: IO[str] | None = None

    def add(self, source: Source) -> None:
        """Note a file."""
        assert self._file is not None
        self._file.write(json.dumps(asdict(source)) + "\n")
        self.count += 1

    def read(self, n: int) -> Iterator[list[Source]]:
        """Yield the files in the order found, `n` at a time."""
        assert self._file is not None
        self._file.seek(0)
        while lines := list(islice(self._file, n)):
            yield [Source(**json.loads(line)) for line in lines]


@contextmanager
def find_sources(names: Iterable[str], shard: Shard, *, takes_covers: bool = False) -> Iterator[Spool]:
    """Find the files that are meant, in memory that does not grow with their number.

    Args:
        names: files, folders, parts of files, URLs of files or of prefixes.
        shard: which share of them is wanted.
        takes_covers: whether covers and thumbnails beside clips are files too.

    Yields:
        The files; what cannot be found is among its problems.
    """
    with tempfile.TemporaryFile("w+", encoding="ascii", prefix="moodreel-") as file:
        spool = Spool(_file=file)
        for name in _leave_out_doubles(names):
            try:
                for source in _walk_far(name) if is_url(name) else _walk_here(name, spool, takes_covers):
                    if shard.takes(source.path):
                        spool.add(source)
            except MoodreelError as error:
                spool.problems.append(str(error))
        yield spool


def _leave_out_doubles(names: Iterable[str]) -> list[str]:
    """Leave out what is named twice, and what lies in a folder that is named too."""
    given = list(dict.fromkeys(names))
    folders = [os.path.realpath(name) for name in given if not is_url(name) and is_folder(Path(name))]
    return [name for name in given if is_url(name) or not _lies_in(os.path.realpath(name), folders)]


def _lies_in(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) and "#" not in path for folder in folders)


def _walk_here(name: str, spool: Spool, takes_covers: bool) -> Iterator[Source]:
    part = read_part(name)
    check_part(printable(name), part.start_s, part.end_s)
    if not is_folder(part.path):
        yield _make(part, part.path)
        return
    finder, is_empty = Finder(takes_covers=takes_covers), True
    for files in finder.walk(part.path):
        spool.skipped.update(finder.skipped.values())
        finder.skipped.clear()
        for file in files:
            is_empty = False
            yield _make(part, file)
    if is_empty:
        raise MediaError(f"{printable(name)}: folder without media; expected files such as .mp4, .wav or .jpg")


def _make(part: Part, file: Path) -> Source:
    absolute = os.path.abspath(file)  # noqa: PTH100  # links stay what they are called
    return Source(absolute, part.start_s, part.end_s, part.channel)


def _walk_far(url: str) -> Iterator[Source]:
    system, root = open_system(url)
    scheme = url.partition("://")[0]
    is_empty = True
    with reaching(printable(url)), suppress(FileNotFoundError):
        if system.isfile(root):
            yield Source(url, size_bytes=0)
            return
        for _, _, entries in system.walk(root, detail=True):
            for path, entry in sorted((str(one["name"]), one) for one in entries.values()):
                if Path(path).suffix.lower() in SUFFIXES:
                    is_empty = False
                    size_bytes, modified_s = _read_listing(entry)
                    yield Source(f"{scheme}://{path.lstrip('/')}", size_bytes=size_bytes, modified_s=modified_s)
    if is_empty:
        raise MediaError(f"{printable(url)}: nothing with media; expected files such as .mp4, .wav or .jpg")
