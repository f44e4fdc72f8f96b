"""A library kept in order: checked, made of few large sorted parts, and rid of files that are to be forgotten."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from moodreel.errors import LibraryError
from moodreel.library.describe import from_text, to_text
from moodreel.library.lock import writing
from moodreel.library.parts import (
    WRITING_ORDER,
    PartName,
    list_parts,
    merge_parts,
    read_table,
    remove_part,
    write_part,
)
from moodreel.library.place import Folder, is_url
from moodreel.library.rows import Rows
from moodreel.library.schema import TABLES
from moodreel.library.store import Store
from moodreel.library.thumbnails import forget_thumbnails
from moodreel.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

WINDOWS_A_PART = 500_000
"""Windows that a part of a compacted library holds at most, unless files of one beginning of ids hold more."""
MOST_GONE = 20
DAMAGED = "damaged"

_COMPACTED = "all"
_ID_STEPS = 1 << 16


@dataclass(frozen=True)
class Findings:
    """What a check found.

    Attributes:
        n_parts: parts that count.
        damaged: what is wrong with parts, one line each.
        n_left: files of parts that do not count: what killed runs left.
        n_stale: rows of `files` that were replaced by later ones.
        gone: files of the library that are not where they were.
    """

    n_parts: int
    damaged: tuple[str, ...]
    n_left: int
    n_stale: int
    gone: tuple[str, ...]


def check(store: Store) -> Findings:
    """Read all of a library, and look for its files.

    Raises:
        LibraryError: it cannot be reached.
    """
    parts, damaged = list_parts(store.place), []
    whole: list[PartName] = []
    for part in parts:
        problems = list(_find_damage(store, part))
        damaged += problems
        whole += [] if problems else [part]
    n_rows = sum(_read(store, "files", part).num_rows for part in whole)
    if damaged:
        return Findings(len(parts), tuple(damaged), len(_find_left(store)), 0, ())
    store.refresh()
    paths = [path for (path,) in store.query("SELECT path FROM files WHERE status = 'ok' ORDER BY path")]
    ((n_files,),) = store.query("SELECT count(*) FROM files")
    gone = tuple(path for path in paths if not is_url(path) and not _is_there(path))
    return Findings(len(parts), (), len(_find_left(store)), n_rows - n_files, gone)


def _is_there(path: str) -> bool:
    return any(os.path.lexists(from_text(name)) for name in (path, path.rpartition("#")[0]) if name)


def _find_damage(store: Store, part: PartName) -> Iterator[str]:
    for table in TABLES:
        try:
            _read(store, table, part)
        except LibraryError as error:
            yield str(error)
        except FileNotFoundError:
            yield f"{store.place.shown}/{table}/{part}: is missing"


def _read(store: Store, table: str, part: PartName) -> pa.Table:
    (path,) = store.place.fetch(table, [str(part)])
    return read_table(path, table)


def _find_left(store: Store) -> list[str]:
    """Return what killed runs left: files of parts that do not count, and what was being written."""
    counting = set(map(str, list_parts(store.place)))
    left = [f"{table}/{name}" for table in TABLES for name in store.place.list(table) if name not in counting]
    if isinstance(store.place, Folder):
        folders = [store.place.folder, *(store.place.folder / table for table in TABLES)]
        unfinished = [path for folder in folders for path in folder.glob(".moodreel-*")]
        left += [path.relative_to(store.place.folder).as_posix() for path in unfinished]
    return left


def format_findings(findings: Findings) -> str:
    """Write findings as text."""
    told = [f"{findings.n_parts} parts, {len(findings.damaged) or 'none'} damaged"]
    told += [f"damaged: {problem}" for problem in findings.damaged]
    if findings.n_left or findings.n_stale:
        what = f"{findings.n_left} files of killed runs and {findings.n_stale} replaced rows"
        told.append(f"{what} take up room; --compact removes them")
    told += [f"not where it was: {path}" for path in findings.gone[:MOST_GONE]]
    if len(findings.gone) > MOST_GONE:
        told.append(f"and {len(findings.gone) - MOST_GONE} files more are not where they were")
    if findings.gone:
        told.append("what is gone for good: --forget FILE")
    return "\n".join(map(printable, told))


def compact(store: Store) -> tuple[str, ...]:
    """Write all rows anew into few large sorted parts, without what is stale, and set damaged parts aside.

    Killed at any moment, it has lost nothing.

    Returns:
        What was wrong with the parts that were set aside, one line each; `index` reads anew what stood in them.

    Raises:
        LibraryError: somebody writes the library, or it cannot be reached.
        OutputError: the disk is full; the library is as it was.
    """
    with writing(store.place, None):
        problems = [problem for part in list_parts(store.place) for problem in _set_aside(store, part)]
        for name in _find_left(store):
            store.place.remove(name)
        store.refresh()
        before = list_parts(store.place)
        if len(before) > 1 or any(part.shard != _COMPACTED for part in before):
            written = _write_sorted(store)
            for part in before:
                if part not in written:
                    remove_part(store.place, part)
            store.refresh()
        forget_thumbnails(store)
    return tuple(problems)


def _set_aside(store: Store, part: PartName) -> Sequence[str]:
    problems = list(_find_damage(store, part))
    if problems:
        for table in reversed(WRITING_ORDER):
            data = store.place.read(f"{table}/{part}")
            if data is not None:
                store.place.write_bytes(f"{DAMAGED}/{table}-{part}", data)
            store.place.remove(f"{table}/{part}")
    return problems


def _write_sorted(store: Store) -> set[PartName]:
    ((n_windows,),) = store.query("SELECT count(*) FROM windows")
    n_parts = max(1, math.ceil(n_windows / WINDOWS_A_PART))
    edges = [f"{round(index * _ID_STEPS / n_parts):04x}" for index in range(n_parts)] + ["g"]
    written = set()
    for first, last in pairwise(edges):
        rows = Rows(*(_read_sorted(store, table, first, last) for table in TABLES))
        name = PartName(_COMPACTED, 0, rows.digest)
        write_part(store.place, name, rows)
        written.add(name)
    return written


def _read_sorted(store: Store, table: str, first: str, last: str) -> pa.Table:
    order = {"files": "file_id", "windows": "file_id, person, start_s", "people": "file_id, person"}[table]
    query = f"SELECT * FROM {table} WHERE file_id >= ? AND file_id < ? ORDER BY {order}"
    return store.read_table(table, query, [first, last])


def forget(store: Store, name: str) -> int:
    """Remove what a library holds of a file, of its parts, or of a folder's files, for good.

    Args:
        store: the library.
        name: file, folder or URL.

    Returns:
        How many files were forgotten.

    Raises:
        LibraryError: nothing of it is there, or somebody writes the library.
    """
    path = to_text(name.rstrip("/") if is_url(name) else os.path.abspath(name))  # noqa: PTH100  # as it was indexed
    with writing(store.place, None):
        n_forgotten = len({one for part in list_parts(store.place) for one in _forget_in(store, part, path)})
        store.refresh()
        store.connect().close()  # which fetches, and so forgets what was fetched
        forget_thumbnails(store)
    if not n_forgotten:
        raise LibraryError(f"{store.place.shown}: holds nothing of {path}; `moodreel library LIB` shows what it holds")
    return n_forgotten


def _forget_in(store: Store, part: PartName, path: str) -> Iterable[str]:
    rows = _read(store, "files", part).select(["path", "file_id"]).to_pydict()
    pairs = list(zip(rows["path"], rows["file_id"], strict=True))
    gone = [one for one, _ in pairs if one == path or one.startswith((path + "#", path + "/", path + os.sep))]
    if gone:
        kept = frozenset(file_id for one, file_id in pairs if one not in set(gone))
        if kept:
            merge_parts(store.place, {part: kept}, PartName.of_content(part.shard, part.level, [str(part), *kept]), {})
        remove_part(store.place, part)
    return gone
