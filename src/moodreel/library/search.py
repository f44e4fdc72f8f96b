"""A library as its readers use it: moments found by a query, and tables asked in SQL."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from moodreel.errors import LibraryError, QueryError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.library.found import Found
from moodreel.library.grammar import parse_query
from moodreel.library.moments import Array, Joining, MomentJoiner, OrderError, Runs, keep_best
from moodreel.library.query import Statement, write_score
from moodreel.library.store import Store
from moodreel.library.tables import BYTES_A_WINDOW, copy_tables, view_tables
from moodreel.library.tree import Query, names_in
from moodreel.text import first_line, printable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY_MB = 600
"""Memory that DuckDB may take; what does not fit goes to temporary files."""
_ROWS_A_PIECE = 122_880
_MOST_ATTEMPTS = 3
_PROBABILITIES = tuple(f"p_{emotion}" for emotion in EMOTIONS)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        query: the tree.
        joining: how windows become moments.
        limit: how many moments at most; `None` for all.
    """

    query: Query
    joining: Joining
    limit: int | None

    @property
    def is_of_anybody(self) -> bool:
        """Whether single people are looked at, not only what is seen and heard at each moment."""
        return "person" in names_in(self.query)


@dataclass
class Library:
    """An indexed library, to be searched. Made by `Library.open`; several threads may use one.

    Attributes:
        store: its tables.
        memory_mb: memory that DuckDB may take, in MiB.
    """

    store: Store
    memory_mb: int = MEMORY_MB
    _connection: duckdb.DuckDBPyConnection | None = field(default=None, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    # A folder of its own, for SQL may read whatever lies where DuckDB puts temporary files.
    _temporary: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="moodreel-"), init=False, repr=False
    )

    @classmethod
    def open(cls, location: str | os.PathLike[str], *, memory_mb: int = MEMORY_MB) -> Self:
        """Open a library.

        Args:
            location: its folder, or a URL that fsspec opens.
            memory_mb: memory that DuckDB may take, in MiB.

        Raises:
            LibraryError: there is none, or it cannot be read.
        """
        return cls(Store.open(location), memory_mb)

    def search(
        self,
        query: str,
        *,
        min_s: float = 0.0,
        gap_s: float = 0.0,
        hysteresis: float = 0.0,
        limit: int | None = None,
    ) -> Found:
        """Find moments.

        Args:
            query: such as `happy > .7 and face`; docs/search.md has the language. Where it names no `person`, what is
                seen and heard at each moment is looked at, so that no instant is found twice.
            min_s: how long a moment must be, in seconds.
            gap_s: how far windows that match may lie apart and still be one moment.
            hysteresis: by how much a probability may fall short of what is asked for around a window that matches.
            limit: how many moments at most; `None` for all.

        Returns:
            The moments, best first: by the least of the probabilities that were asked for, averaged over the moment.

        Raises:
            QueryError: the query cannot be understood.
            LibraryError: the library cannot be read.
        """
        if limit is not None and limit < 1:
            raise QueryError(f"limit is {limit}, expected at least 1")
        return self.find(Search(parse_query(query), Joining(min_s, gap_s, hysteresis), limit))

    def find(self, wanted: Search) -> Found:
        """Find the moments of a query that has been read.

        Raises:
            LibraryError: the library cannot be read.
        """
        return self.read(lambda connection: _search(connection, wanted))

    def sql(self, statement: str) -> pa.Table:
        """Ask the tables `files`, `windows` and `people` in SQL.

        Nothing but the library can be read, and nothing written.

        Args:
            statement: one SELECT of DuckDB's SQL.

        Raises:
            QueryError: it is no SELECT, or DuckDB refuses it.
            LibraryError: the library cannot be read.
        """
        return self.read(lambda connection: _ask(connection, statement), self._open_locked)

    def read(
        self,
        function: Callable[[duckdb.DuckDBPyConnection], Result],
        connect: Callable[[], duckdb.DuckDBPyConnection] | None = None,
    ) -> Result:
        """Call a function with a connection, again where a writer has merged files meanwhile.

        Args:
            function: what to do with it.
            connect: what gives a connection; by default the one that is kept.

        Raises:
            LibraryError: the library cannot be read, or not in so much memory.
        """
        import duckdb

        with self._lock:
            for _ in range(_MOST_ATTEMPTS):
                try:
                    with self.store.guard():
                        return function((connect or self._connect)())
                except FileNotFoundError:
                    self.refresh()
                except duckdb.OutOfMemoryException:
                    problem = f"this needs more than {self.memory_mb} MiB of memory; ask for less, or allow more"
                    raise LibraryError(f"{self.store.place.shown}: {problem}") from None
                except duckdb.Error as error:
                    problem = printable(first_line(error))
                    raise LibraryError(f"{self.store.place.shown}: cannot be read ({problem})") from None
        raise LibraryError(f"{self.store.place.shown}: changes faster than it can be read; try again")

    def warm(self) -> bool:
        """Hold what searches read in memory, so that the next ones take some hundredths of a second.

        Returns:
            Whether it fits into half of `memory_mb`; where it does not, searches go on reading files.
        """
        return self.read(self._warm)

    def _warm(self, connection: duckdb.DuckDBPyConnection) -> bool:
        found = connection.execute("SELECT count(*) FROM windows").fetchone()
        fits = found is not None and found[0] * BYTES_A_WINDOW <= self.memory_mb * 2**20 // 2
        if fits:
            copy_tables(connection)
        return fits

    def refresh(self) -> None:
        """Look at what is in the library now: what came since it was opened is found afterwards."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._open()
            view_tables(self._connection)
        return self._connection

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = self.store.connect()
        connection.execute(f"SET memory_limit = '{int(self.memory_mb)}MiB'")
        connection.execute("SET temp_directory = $folder", {"folder": self._temporary.name})
        connection.execute("SET python_enable_replacements = false")
        return connection

    def _open_locked(self) -> duckdb.DuckDBPyConnection:
        connection = self._open()
        folders = sorted({os.path.dirname(path) for path in self.store.paths()})  # noqa: PTH120
        connection.execute("SET allowed_directories = $folders", {"folders": folders})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection


def _search(connection: duckdb.DuckDBPyConnection, wanted: Search) -> Found:
    """Find moments; where few are asked for by their score alone, the rest is then looked up of the best."""
    if wanted.limit is None:
        return _describe(connection, _find(connection, wanted, _PROBABILITIES))
    best = _find(connection, wanted, ())
    if best is None:
        return Found.nothing()
    full = _find(connection, replace(wanted, limit=None), _PROBABILITIES, best.key)
    return _describe(connection, None if full is None else _match(best, full))


def _find(
    connection: duckdb.DuckDBPyConnection, wanted: Search, columns: Sequence[str], files: Array | None = None
) -> Runs | None:
    """Find moments.

    Args:
        connection: to the library.
        wanted: what is looked for.
        columns: what to average over each moment beside the score.
        files: the numbers of the files to look into; `None` for all.
    """
    for is_sorted in (False, True):  # parts are written in order: sorting is needed for foreign ones alone
        statement, text = _write(wanted, columns, files, is_sorted=is_sorted)
        # Rows come in the order of the files, unless several threads look something up of each file.
        connection.execute("SET threads = 1" if statement.files and not is_sorted else "RESET threads")
        relation = connection.sql(text, params=statement.parameters)
        try:
            return keep_best(MomentJoiner(wanted.joining).join(_read_runs(relation)), wanted.limit)
        except OrderError:
            continue
    raise LibraryError("the library's windows overlap; `moodreel library LIB --check` says which")


def _write(wanted: Search, columns: Sequence[str], files: Array | None, *, is_sorted: bool) -> tuple[Statement, str]:
    """Write the SELECT of `_find`; returns its parameters and what it joins, and its text."""
    statement, slack = Statement(), wanted.joining.hysteresis
    conditions = [statement.condition(wanted.query, slack)]
    is_match = statement.condition(wanted.query) if slack else "true"
    if not wanted.is_of_anybody:
        conditions.append("person = 0")
    if files is not None:
        keys = statement.bind(np.unique(files).tolist())
        named = f"SELECT file_id FROM found_files WHERE number IN (SELECT unnest({keys}::UBIGINT[]))"
        conditions.append(f"file_id IN ({named})")
    values = ", ".join([write_score(wanted.query), *columns])
    text = f"SELECT number, person, start_s, end_s, {is_match}, {values} FROM {statement.source()} WHERE "
    order = " ORDER BY file_id, person, start_s" if is_sorted else ""
    return statement, text + " AND ".join(conditions) + order


def _read_runs(relation: duckdb.DuckDBPyRelation) -> Iterator[Runs]:
    for batch in relation.to_arrow_reader(_ROWS_A_PIECE):
        key, person, start_s, end_s, is_match, *values = (
            column.to_numpy(zero_copy_only=False) for column in batch.columns
        )
        yield Runs.of_windows(key, person, (start_s, end_s), is_match, np.stack(values, axis=1))


def _match(best: Runs, full: Runs) -> Runs:
    """Return of the moments with all values those that are the best, in their order."""
    places = {where: place for place, where in enumerate(_places(full))}
    return full.take(np.array([places[where] for where in _places(best) if where in places], np.int64))


def _places(runs: Runs) -> Iterator[tuple[int, int, float]]:
    return zip(runs.key.tolist(), runs.person.tolist(), runs.start_s.tolist(), strict=True)


def _name_files(connection: duckdb.DuckDBPyConnection, keys: Array) -> dict[int, tuple[str, str]]:
    """Return id and path of each file by its number."""
    wanted = np.unique(keys).tolist()
    rows = connection.execute(
        "SELECT number, id, path FROM found_files WHERE number IN (SELECT unnest($keys::UBIGINT[]))",
        {"keys": wanted},
    ).fetchall()
    return {key: (file_id, path) for key, file_id, path in rows}


def _describe(connection: duckdb.DuckDBPyConnection, runs: Runs | None) -> Found:
    if runs is None:
        return Found.nothing()
    names = _name_files(connection, runs.key)
    file_ids, files = zip(*(names[key] for key in runs.key.tolist()), strict=True)
    means = runs.means
    return Found(file_ids, files, runs.start_s, runs.end_s, runs.person, means[:, 0], means[:, 1 : 1 + N_EMOTIONS])


def _ask(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    import duckdb

    try:
        found = connection.extract_statements(statement)
        if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
            raise QueryError("sql: expected one SELECT; a library is only read")
        return connection.sql(statement).to_arrow_table()
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise QueryError(f"sql: {printable(first_line(error))}") from None
