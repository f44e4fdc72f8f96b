"""A library as its readers use it: moments found by a query, and tables asked in SQL."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

from moodreel.errors import LibraryError, QueryError
from moodreel.library.alike import Example, find_vector, read_vector
from moodreel.library.finding import Finder, Search
from moodreel.library.found import Found
from moodreel.library.grammar import parse_query
from moodreel.library.moments import Joining
from moodreel.library.people import tell_people
from moodreel.library.store import Store
from moodreel.library.tables import BYTES_A_WINDOW, add_people, copy_tables, view_tables
from moodreel.text import first_line, printable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY_MB = 600
"""Memory that DuckDB may take; what does not fit goes to temporary files."""
_SHARE_FOR_COPY = 0.6
_MOST_ATTEMPTS = 3
_OF_ALL = "person = 0"
"""The query that all windows fit in which not single people are looked at."""

Result = TypeVar("Result")


@dataclass
class Library:
    """An indexed library, to be searched. Made by `Library.open`; several threads may use one.

    Attributes:
        store: its tables.
        memory_mb: memory that DuckDB may take, in MiB.
        model: the bundle that reads examples from elsewhere, and says from when on two faces are one person's.
    """

    store: Store
    memory_mb: int = MEMORY_MB
    model: str = "default"
    _connection: duckdb.DuckDBPyConnection | None = field(default=None, init=False, repr=False)
    _finder: Finder = field(init=False, repr=False)
    _people: pa.Table | None = field(default=None, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    # A folder of its own, for SQL may read whatever lies where DuckDB puts temporary files.
    _temporary: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="moodreel-"), init=False, repr=False
    )

    @classmethod
    def open(cls, location: str | os.PathLike[str], *, memory_mb: int = MEMORY_MB, model: str = "default") -> Self:
        """Open a library.

        Args:
            location: its folder, or a URL that fsspec opens.
            memory_mb: memory that DuckDB may take, in MiB.
            model: name or folder of the bundle that reads examples from elsewhere, and tells people apart.

        Raises:
            LibraryError: there is none, or it cannot be read.
        """
        return cls(Store.open(location), memory_mb, model)

    def search(
        self,
        query: str,
        *,
        min_s: float = 0.0,
        gap_s: float = 0.0,
        hysteresis: float = 0.0,
        limit: int | None = None,
        people: bool = False,
    ) -> Found:
        """Find moments.

        Args:
            query: such as `happy > .7 and face`; docs/search.md has the language. Where it names no `person`, what is
                seen and heard at each moment is looked at, so that no instant is found twice.
            min_s: how long a moment must be, in seconds.
            gap_s: how far windows that match may lie apart and still be one moment.
            hysteresis: by how much a probability may fall short of what is asked for around a window that matches.
            limit: how many moments at most; `None` for all.
            people: whether to look at single people, told apart in the whole library by the look of their faces. These
                are biometric data: ask those who are shown, and whoever the law of your country names.

        Returns:
            The moments, best first: by the least of the probabilities that were asked for, averaged over the moment.

        Raises:
            QueryError: the query cannot be understood.
            LibraryError: the library cannot be read.
        """
        return self.find(Search(parse_query(query), Joining(min_s, gap_s, hysteresis), limit, people))

    def find(self, wanted: Search) -> Found:
        """Find the moments of a query that has been read.

        Raises:
            LibraryError: the library cannot be read.
        """
        return self.read(lambda connection: self._search(connection, wanted))

    def like(
        self, example: str, query: str | None = None, *, min_s: float = 0.0, gap_s: float = 0.0, limit: int = 20
    ) -> Found:
        """Find moments that look and sound like an example.

        Args:
            example: a file, or `film.mp4#t=61,65` for a part of it; in the library, or else it is read now.
            query: what else the moments must fit.
            min_s: how long a moment must be, in seconds.
            gap_s: how far windows may lie apart and still be one moment.
            limit: how many moments at most.

        Returns:
            The moments, most alike first: the score is 1 where nothing differs. The example itself is left out.

        Raises:
            MediaError: the example cannot be read.
            QueryError: the query cannot be understood.
            LibraryError: the library cannot be read, or nobody is seen or heard in the example.
        """
        named = Example.read(example)
        wanted = Search(parse_query(query or _OF_ALL), Joining(min_s, gap_s), limit)
        vector = self.read(lambda connection: find_vector(connection, named))
        if vector is None:
            vector = read_vector(named, self.model)
        return self.read(lambda _: self._finder.search_alike(wanted, named, vector))

    def _search(self, connection: duckdb.DuckDBPyConnection, wanted: Search) -> Found:
        if wanted.has_people:
            if self._people is None:
                self._people = tell_people(connection, self.model)
            add_people(connection, self._people)
        return self._finder.search(wanted)

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
            Whether it fits into three fifths of `memory_mb`; where it does not, searches go on reading files.
        """
        return self.read(self._warm)

    def _warm(self, connection: duckdb.DuckDBPyConnection) -> bool:
        ((n_windows,),) = connection.execute("SELECT count(*) FROM windows").fetchall()
        fits = bool(n_windows * BYTES_A_WINDOW <= self.memory_mb * 2**20 * _SHARE_FOR_COPY)
        if fits:
            copy_tables(connection)
            self._finder = Finder(connection)
        return fits

    def refresh(self) -> None:
        """Look at what is in the library now: what came since it was opened is found afterwards."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._people = None

    def close(self) -> None:
        """Let go what is open, and remove temporary files; used again, the library opens anew."""
        self.refresh()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._open()
            view_tables(self._connection)
            self._finder = Finder(self._connection)
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
