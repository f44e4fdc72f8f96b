"""A library as its page shows it: files go by their names within what was indexed, and never by where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.errors import QueryError
from moodreel.library.alike import Example, find_vector
from moodreel.library.describe import from_text
from moodreel.library.finding import Search
from moodreel.library.found import Found
from moodreel.library.place import is_url
from moodreel.library.search import Library
from moodreel.media.parts import Part, read_part

if TYPE_CHECKING:
    import duckdb

_SPLIT_ABOVE = 2
"""What lies in one folder this near to the top, such as `/home`, has only that in common."""

_SERVED = (
    "SELECT file_id, path, name, size_bytes, modified_s, duration_s, width_px IS NOT NULL AS has_picture"
    " FROM whole_files WHERE status = 'ok'"
)

_PART_ALIKE = 10
"""One window of so many, at most, is found to be like a moment."""

Parts = tuple[str, ...]


@dataclass(frozen=True)
class ServedFile:
    """A file that stands in a library.

    Attributes:
        id: the file in the library's tables.
        path: where it lies: a path of this machine, or a URL.
        name: its name, without the folder.
        size_bytes: its size when it was read.
        modified_s: when it was last changed then, seconds since 1970.
        offset_s: where what was read of it begins, in seconds: of a part of a file, not 0.
        duration_s: how long what was read is.
        has_picture: whether it holds a picture.
    """

    id: str
    path: str
    name: str
    size_bytes: int
    modified_s: float
    offset_s: float
    duration_s: float
    has_picture: bool


class ShownLibrary(Library):
    """A library in which `file` and `folder` are relative to the folder that all files lie in.

    Queries see the same names, so that nobody can find out by asking where the files lie.
    """

    def find_files(self, file_ids: Sequence[str]) -> dict[str, ServedFile]:
        """Return files that were read by their ids; what stands not in the library is left out.

        Raises:
            LibraryError: the library cannot be read.
        """
        query = "SELECT * FROM served_files WHERE file_id IN (SELECT unnest($ids::VARCHAR[]))"
        rows = self.read(lambda connection: connection.execute(query, {"ids": list(file_ids)}).fetchall())
        return {row[0]: _describe_file(*row) for row in rows}

    def find_alike(self, file_id: str, times_s: tuple[float, float], wanted: Search) -> Found:
        """Find moments that look and sound like one of this library, most alike first.

        Args:
            file_id: its file in the library's tables.
            times_s: where it begins and ends there.
            wanted: what else moments must fit.

        Raises:
            QueryError: nobody is seen or heard there.
            LibraryError: the library cannot be read.
        """
        query = "SELECT path FROM found_files WHERE id = $id"
        row = self.read(lambda connection: connection.execute(query, {"id": file_id}).fetchone())
        name = "" if row is None else row[0]
        example = Example(Part(Path(name), *times_s), name)
        vector = self.read(lambda connection: find_vector(connection, example))
        if vector is None:
            raise QueryError("like: nobody is seen or heard in that moment; choose another")
        return self.read(
            lambda connection: self._finder.search_alike(_hold_back(connection, times_s, wanted), example, vector)
        )

    def interrupt(self) -> None:
        """Break off what another thread is reading."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = super()._open()
        hide_places(connection)
        connection.execute(f"CREATE VIEW served_files AS {_SERVED}")
        return connection

    def _warm(self, connection: duckdb.DuckDBPyConnection) -> bool:
        fits = super()._warm(connection)
        if fits:
            connection.execute("DROP VIEW IF EXISTS served_files")
            connection.execute(f"CREATE TABLE IF NOT EXISTS served_files AS {_SERVED}")
        return fits


def _describe_file(file_id: str, path: str, name: str, *rest: Any) -> ServedFile:
    size_bytes, modified_s, duration_s, has_picture = rest
    part = read_part(from_text(path))
    file = path.partition("#")[0] if is_url(path) else str(part.path)
    return ServedFile(file_id, file, name, size_bytes, modified_s, part.start_s, duration_s, has_picture)


def _hold_back(connection: duckdb.DuckDBPyConnection, times_s: tuple[float, float], wanted: Search) -> Search:
    """Ask for so few moments that they are a small part of the library: else all windows are near, and become one."""
    ((n_windows,),) = connection.execute("SELECT count(*) FROM found_windows WHERE person = 0").fetchall()
    n_own = max(1, math.ceil(times_s[1] - times_s[0]))
    return replace(wanted, limit=max(1, min(wanted.limit or n_windows, n_windows // (_PART_ALIKE * n_own))))


def hide_places(connection: duckdb.DuckDBPyConnection) -> None:
    """Replace the view `files` by one of relative names; `whole_files` holds what it was made of."""
    import pyarrow as pa

    folders = [folder for (folder,) in connection.execute("SELECT DISTINCT folder FROM files").fetchall()]
    shown = shorten(folders)
    table = pa.table({"folder": pa.array(shown, pa.string()), "shown": pa.array(shown.values(), pa.string())})
    connection.register("shortened", table)
    connection.execute("CREATE TEMP TABLE shown_folders AS SELECT * FROM shortened")
    connection.unregister("shortened")
    connection.execute("ALTER VIEW files RENAME TO whole_files")
    connection.execute(
        "CREATE VIEW files AS SELECT whole_files.* REPLACE ("
        "CASE WHEN shown = '' THEN name ELSE shown || '/' || name END AS path, shown AS folder,"
        " NULL::VARCHAR AS reason) FROM whole_files JOIN shown_folders USING (folder)"
    )


def shorten(folders: Iterable[str]) -> dict[str, str]:
    """Return for each folder what it is called.

    Args:
        folders: absolute paths and URLs, each once.

    Returns:
        By folder its name relative to the folder that all lie in, empty for that one. Where they have no such folder
        but the top of a disk, they are told apart by the last name of each tree's own.
    """
    split = {folder: _split(folder) for folder in sorted(folders)}
    roots = _find_roots(sorted(set(split.values())))
    names = dict(zip(roots, _name_roots(roots), strict=True))
    shown = {}
    for folder, parts in split.items():
        root = max((one for one in roots if parts[: len(one)] == one), key=len)
        shown[folder] = "/".join([*names[root], *parts[len(root) :]])
    return shown


def _split(folder: str) -> Parts:
    """Cut a folder into its names; what comes before the first one, such as `s3://`, is one of them."""
    if is_url(folder):
        scheme, _, rest = folder.partition("://")
        return (scheme + "://", *filter(None, rest.split("/")))
    return Path(folder).parts


def _find_roots(folders: Sequence[Parts]) -> list[Parts]:
    """Return the folders that the trees begin at.

    Args:
        folders: sorted.
    """
    if not folders:
        return []
    ends = zip(folders[0], folders[-1], strict=False)
    common = tuple(one for one, _ in takewhile(lambda both: both[0] == both[1], ends))
    if len(common) > _SPLIT_ABOVE or len(folders) == 1:
        return [common]
    depth = len(common) + 1
    return [root for _, group in groupby(folders, lambda one: one[:depth]) for root in _find_roots(list(group))]


def _name_roots(roots: Sequence[Parts]) -> list[Parts]:
    """Return what stands before the names in each tree: nothing where there is one, else its last name, once."""
    if len(roots) == 1:
        return [()]
    names: list[Parts] = []
    for root in roots:
        name, number = (root[-1].strip(":/") or "top",), 1
        while name in names:
            number += 1
            name = (f"{root[-1]} ({number})",)
        names.append(name)
    return names
