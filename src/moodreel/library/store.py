"""A library's tables, as one sees them: each file once, as it was last read, whatever was written how often."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.errors import LibraryError
from moodreel.library.parts import (
    Kept,
    PartName,
    list_parts,
    looks_whole,
    merge_parts,
    read_part,
    read_table,
    remove_part,
    tell_damage,
    write_part,
)
from moodreel.library.place import Place, open_place
from moodreel.library.rows import Rows, check_installed
from moodreel.library.schema import COLUMNS, SCHEMA_VERSION, TABLES, VECTOR, Column, arrow_schema
from moodreel.text import first_line, printable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MANIFEST = "library.json"
FAN = 64
"""So many parts of a level become one of the next, so that a million files are a few hundred parts."""
TOP_LEVEL = 2

_GONE = ("No files found", "Cannot open file", "No such file")
"""What DuckDB says of a file that was there when its query was planned."""
_MOST_TRIES = 3
_MOST_HELD = 2000
"""Windows of a part whose rows stay in memory until it is merged: some MB for all of them."""

_SQL_TYPES = {
    "text": "VARCHAR",
    "bool": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "float[]": "FLOAT[]",
    VECTOR: VECTOR.upper(),
}


@dataclass
class Store:
    """The tables of one library.

    Attributes:
        place: where its files lie.
    """

    place: Place
    _own: dict[str, list[PartName]] = field(default_factory=dict, init=False)
    _held: dict[PartName, Rows] = field(default_factory=dict, init=False)
    _connection: duckdb.DuckDBPyConnection | None = field(default=None, init=False)

    @classmethod
    def open(cls, location: str | os.PathLike[str], *, create: bool = False) -> Store:
        """Open a library.

        Args:
            location: its folder, or a URL that fsspec opens.
            create: make an empty one where there is none.

        Raises:
            LibraryError: there is none, or it is of another version; or DuckDB or pyarrow is not installed.
            OutputError: it cannot be made there.
        """
        check_installed()
        place = open_place(location)
        manifest = place.read(MANIFEST)
        if manifest is not None:
            _check_manifest(manifest, place.shown)
        elif create:
            _check_empty(place)
            place.write_bytes(MANIFEST, json.dumps({"moodreel_library": SCHEMA_VERSION}).encode() + b"\n")
        else:
            raise LibraryError(f"{place.shown}: holds no library; make one with moodreel index MEDIA --library")
        return cls(place)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Open a DuckDB connection with the views `files`, `windows` and `people` over what is there now.

        Raises:
            LibraryError: a part is damaged, or the place cannot be reached.
        """
        import duckdb

        connection = duckdb.connect(config={"autoinstall_known_extensions": False, "parquet_metadata_cache": True})
        connection.execute("SET enable_progress_bar = false")  # it would stand among answers on stdout
        for _ in range(_MOST_TRIES):  # a writer may merge parts between listing and opening them
            try:
                with self.guard():
                    self._make_views(connection, list_parts(self.place))
                return connection
            except FileNotFoundError:
                continue
        raise self._tell_gone()

    def query(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query over what was there when it was first asked, or over something newer.

        Raises:
            LibraryError: a part is damaged, or the place cannot be reached.
        """
        rows: list[tuple[Any, ...]] = self._ask(lambda asked: asked.execute(query, parameters).fetchall())
        return rows

    def read_file(self, file_id: str) -> Rows | None:
        """Return the rows of one file; `None` where there is none of that id."""
        query = "SELECT * FROM {} WHERE file_id = ?"
        rows = Rows(*(self.read_table(table, query.format(table), [file_id]) for table in TABLES))
        return rows if rows.files.num_rows else None

    def read_table(self, table: str, query: str, parameters: Sequence[Any]) -> pa.Table:
        """Return what a query gives that has the columns of a table."""
        found = self._ask(lambda asked: asked.sql(query, params=parameters).to_arrow_table())
        return found.cast(arrow_schema(table))

    def _ask(self, ask: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        for _ in range(_MOST_TRIES):  # a writer may merge the parts that a connection was made over
            self._connection = self._connection or self.connect()
            try:
                with self.guard():
                    return ask(self._connection)
            except FileNotFoundError:
                self._connection = None
        raise self._tell_gone()

    def _tell_gone(self) -> LibraryError:
        return LibraryError(f"{self.place.shown}: parts have gone; `moodreel library LIB --check` says which")

    def refresh(self) -> None:
        """Look anew at what is there, as others may have written it."""
        self._own.clear()
        self._held.clear()
        self._connection = None

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what DuckDB raises over files that are damaged or gone into one line.

        Raises:
            FileNotFoundError: a writer has merged parts since the connection was made; make a new one.
            LibraryError: a part is damaged.
        """
        import duckdb

        try:
            yield
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):  # a mistake in the query
            raise
        except duckdb.InterruptException:  # no part's fault
            raise
        except duckdb.Error as error:
            if any(sign in str(error) for sign in _GONE) or not all(path.exists() for path in self.paths()):
                raise FileNotFoundError(first_line(error)) from None
            for path in self.paths():
                read_table(path, path.parent.name)
            raise

    def write(self, shard: str, rows: Rows) -> None:
        """Add rows; they are there once this returns, and not at all if it does not.

        Args:
            shard: of the run, such as `3of16`; `WHOLE` for one that is not shared out.
            rows: of files whose earlier rows, if any, they replace.

        Raises:
            OutputError: the disk is full.
            LibraryError: the place cannot be reached.
        """
        name = PartName(shard, 0, rows.digest)
        write_part(self.place, name, rows)
        if rows.windows.num_rows <= _MOST_HELD:
            self._held[name] = rows
        if shard not in self._own:
            self._own[shard] = [part for part in list_parts(self.place) if part.shard == shard]
        elif name not in self._own[shard]:
            self._own[shard].append(name)
        for level in range(TOP_LEVEL):
            self._merge_level(shard, level)

    def _merge_level(self, shard: str, level: int) -> None:
        parts = [part for part in self._own[shard] if part.level == level]
        if len(parts) < FAN:
            return
        target = PartName.of_content(shard, level + 1, map(str, parts))
        merge_parts(self.place, self._find_latest(parts), target, self._held)
        for part in parts:
            remove_part(self.place, part)
            self._held.pop(part, None)
        self._own[shard] = [part for part in self._own[shard] if part not in parts] + [target]

    def _find_latest(self, parts: Sequence[PartName]) -> Kept:
        """Return which files of each part were not read again later."""
        latest: dict[str, tuple[float, PartName, str]] = {}
        for part in parts:
            rows = read_part(self.place, part, "files", self._held).select(["path", "indexed_s", "file_id"]).to_pydict()
            for name, indexed_s, file_id in zip(rows["path"], rows["indexed_s"], rows["file_id"], strict=True):
                latest[name] = max(latest.get(name, (0.0, part, file_id)), (indexed_s, part, file_id))
        kept: dict[PartName, set[str]] = {part: set() for part in parts}
        for _, part, file_id in latest.values():
            kept[part].add(file_id)
        return {part: frozenset(ids) for part, ids in kept.items()}

    def _make_views(self, connection: duckdb.DuckDBPyConnection, parts: Sequence[PartName]) -> None:
        names = list(map(str, parts))
        paths = {table: list(self.place.fetch(table, names)) for table in TABLES}
        for table in TABLES:
            for path in paths[table]:
                if not looks_whole(path):
                    raise tell_damage(path, "it is cut off")
        stale = _find_stale(connection, paths["files"]) if names else set()
        for table in TABLES:
            connection.execute(f"CREATE OR REPLACE VIEW {table} AS {_select(table, paths[table], stale)}")

    def paths(self) -> Iterable[Path]:
        """Yield where the parts lie on this machine."""
        names = list(map(str, list_parts(self.place)))
        for table in TABLES:
            yield from self.place.fetch(table, names)


def _check_manifest(manifest: bytes, shown: str) -> None:
    try:
        version = json.loads(manifest)["moodreel_library"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise LibraryError(
            f"{shown}/{MANIFEST}: is damaged or no library's; restore it, or name another place"
        ) from None
    if version != SCHEMA_VERSION:
        raise LibraryError(
            f"{shown}: is a library of version {printable(str(version))[:20]}, expected {SCHEMA_VERSION}; "
            "use the moodreel that made it, or index into a new place"
        )


def _check_empty(place: Place) -> None:
    if any(map(place.list, TABLES)):
        raise LibraryError(
            f"{place.shown}: holds parts of a library but no {MANIFEST}; restore it, or name another place"
        )


Stale = set[tuple[str, str]]
"""Files of parts, by the part's file name and the file's id, that were read again later."""


def _find_stale(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Stale:
    rows = f"SELECT path, indexed_s, file_id, parse_filename(filename) part FROM {_read(paths, is_named=True)}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE _rows AS {rows}")
    found = connection.execute(
        "SELECT part, file_id FROM (SELECT *, row_number() OVER"
        " (PARTITION BY path ORDER BY indexed_s DESC, part DESC, file_id DESC) place FROM _rows WHERE path IN"
        " (SELECT path FROM _rows GROUP BY path HAVING count(*) > 1)) WHERE place > 1"
    ).fetchall()
    connection.execute("DROP TABLE _rows")
    if found:
        connection.execute("CREATE OR REPLACE TEMP TABLE _stale (part VARCHAR, file_id VARCHAR)")
        connection.executemany("INSERT INTO _stale VALUES (?, ?)", found)
    return set(found)


def _select(table: str, paths: Sequence[Path], stale: Stale) -> str:
    """Return the query that a view is: of all parts, but for what is stale."""
    columns = COLUMNS[table]
    if not paths:
        return f"SELECT {', '.join(f'NULL::{_SQL_TYPES[one.type]} AS {one.name}' for one in columns)} WHERE false"
    touched = {part for part, _ in stale}
    clean = [path for path in paths if path.name not in touched]
    other = [path for path in paths if path.name in touched]
    selects = [f"SELECT {', '.join(map(_view_column, columns))} FROM {_read(clean)}"] if clean else []
    if other:
        is_stale = "SELECT 1 FROM _stale WHERE _stale.part = parse_filename(filename) AND _stale.file_id = rows.file_id"
        source = f"{_read(other, is_named=True)} rows WHERE NOT EXISTS ({is_stale})"
        selects.append(f"SELECT {', '.join(map(_view_column, columns))} FROM {source}")
    return " UNION ALL ".join(selects)


def _view_column(column: Column) -> str:
    return f"{column.name}::{_SQL_TYPES[VECTOR]} AS {column.name}" if column.type == VECTOR else column.name


def _read(paths: Sequence[Path], *, is_named: bool = False) -> str:
    return f"read_parquet([{', '.join(map(_quote, paths))}]{', filename = true' if is_named else ''})"


def _quote(path: Path) -> str:
    """Write a path as SQL's text, in which DuckDB takes none of its characters for a wildcard."""
    name = str(path)
    for mark in "[*?":
        name = name.replace(mark, "\0" if mark == "[" else f"[{mark}]")
    return "'" + name.replace("\0", "[[]").replace("'", "''") + "'"
