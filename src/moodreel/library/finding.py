"""How a search reads the tables: windows that fit come in the order of time, become moments, and the best are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from moodreel.errors import LibraryError, QueryError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.library.alike import Example, Vector, find_numbers
from moodreel.library.found import Found
from moodreel.library.moments import Array, Joining, MomentJoiner, OrderError, Runs, keep_best
from moodreel.library.query import Statement, write_score
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.library.tree import Query, names_in

if TYPE_CHECKING:
    import duckdb

_ROWS_A_PIECE = 122_880
_MOST_NAMES = 100_000
"""Names of files that are remembered from search to search."""
_MOST_WINDOWS = 10
"""Windows, at most, that are looked at for each moment that is alike."""
_PROBABILITIES = tuple(f"p_{emotion}" for emotion in EMOTIONS)


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        query: the tree.
        joining: how windows become moments.
        limit: how many moments at most; `None` for all.
        has_people: whether people are told apart in the whole library.
    """

    query: Query
    joining: Joining
    limit: int | None
    has_people: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be looked for.

        Raises:
            QueryError: the limit is out of range, or `who` is asked for where nobody is told apart.
        """
        if self.limit is not None and self.limit < 1:
            raise QueryError(f"limit is {self.limit}, expected at least 1")
        if "who" in names_in(self.query) and not self.has_people:
            raise QueryError("query: 'who' is known only where people are told apart, with --people")

    @property
    def is_of_anybody(self) -> bool:
        """Whether single people are looked at, not only what is seen and heard at each moment."""
        return "person" in names_in(self.query)


@dataclass
class Finder:
    """Searches one connection to a library.

    Attributes:
        connection: with the tables that `library/tables.py` makes.
    """

    connection: duckdb.DuckDBPyConnection
    _has_one_thread: bool = field(default=False, init=False)
    _names: dict[int, tuple[str, str]] = field(default_factory=dict, init=False)

    def search(self, wanted: Search) -> Found:
        """Find moments; where few are asked for by their score alone, the rest is then looked up of the best."""
        if wanted.limit is None:
            return self._describe(self._find(wanted, _PROBABILITIES))
        best = self._find(wanted, ())
        if best is None:
            return Found.nothing()
        full = self._find(replace(wanted, limit=None), _PROBABILITIES, best.key)
        return self._describe(None if full is None else _match(best, full))

    def search_alike(self, wanted: Search, example: Example, vector: Vector) -> Found:
        """Find the windows nearest to a vector, and join those that follow each other."""
        assert wanted.limit is not None
        statement = Statement()
        own = statement.bind(find_numbers(self.connection, example))
        span = f"end_s > {statement.bind(example.part.start_s)} AND start_s < {statement.bind(example.end_s)}"
        conditions = [
            "label IS NOT NULL",
            f"NOT (list_contains({own}::UBIGINT[], number) AND {span})",
            statement.condition(wanted.query),
            *([] if wanted.is_of_anybody else ["person = 0"]),
        ]
        score = f"1 / (1 + array_distance(alike, {statement.bind(vector.tolist())}::FLOAT[{ALIKE_WIDTH}]))"
        values = [f"{value} AS value_{place}" for place, value in enumerate([score, *_PROBABILITIES])]
        columns = ", ".join(["number", "person", "start_s", "end_s", *values])
        nearest = (
            f"SELECT {columns} FROM {statement.source()} WHERE {' AND '.join(conditions)}"
            f" ORDER BY value_0 DESC LIMIT {statement.bind(wanted.limit * _count_windows(example))}"
        )
        text = f"SELECT * FROM ({nearest}) WHERE value_0 IS NOT NULL ORDER BY number, person, start_s"
        relation = self.connection.sql(text, params=statement.parameters)
        return self._describe(_join(relation, wanted))

    def _find(self, wanted: Search, columns: Sequence[str], files: Array | None = None) -> Runs | None:
        """Find moments.

        Args:
            wanted: what is looked for.
            columns: what to average over each moment beside the score.
            files: the numbers of the files to look into; `None` for all.
        """
        for is_sorted in (False, True):  # parts are written in order: sorting is needed for foreign ones alone
            statement, text = _write(wanted, columns, files, is_sorted=is_sorted)
            # Rows come in the order of the files, unless several threads look something up of each file.
            self._use_threads(is_one=(bool(statement.files) or wanted.has_people) and not is_sorted)
            relation = self.connection.sql(text, params=statement.parameters)
            try:
                return _join(relation, wanted)
            except OrderError:
                continue
        raise LibraryError("the library's windows overlap; `moodreel library LIB --check` says which")

    def _use_threads(self, *, is_one: bool) -> None:
        """Let queries run in one thread, or in as many as there are cores; starting and ending threads takes time."""
        if is_one != self._has_one_thread:
            self.connection.execute("SET threads = 1" if is_one else "RESET threads")
            self._has_one_thread = is_one

    def _name(self, numbers: Array) -> dict[int, tuple[str, str]]:
        """Return id and path of each file by its number."""
        missing = [number for number in np.unique(numbers).tolist() if number not in self._names]
        if len(self._names) + len(missing) > _MOST_NAMES:
            self._names, missing = {}, np.unique(numbers).tolist()
        if missing:
            query = "SELECT number, id, path FROM found_files WHERE number IN (SELECT unnest($numbers::UBIGINT[]))"
            rows = self.connection.execute(query, {"numbers": missing}).fetchall()
            self._names |= {number: (file_id, path) for number, file_id, path in rows}
        return self._names

    def _describe(self, runs: Runs | None) -> Found:
        if runs is None:
            return Found.nothing()
        names = self._name(runs.key)
        file_ids, files = zip(*(names[key] for key in runs.key.tolist()), strict=True)
        score, shares, who = np.split(runs.means, [1, 1 + N_EMOTIONS], axis=1)
        people = np.rint(who).astype(np.int32).ravel()
        return Found(file_ids, files, runs.start_s, runs.end_s, runs.person, score.ravel(), shares, people)


def _join(relation: duckdb.DuckDBPyRelation, wanted: Search) -> Runs | None:
    return keep_best(MomentJoiner(wanted.joining).join(_read_runs(relation)), wanted.limit)


def _write(wanted: Search, columns: Sequence[str], files: Array | None, *, is_sorted: bool) -> tuple[Statement, str]:
    """Write the SELECT of `_find`; returns its parameters and what it joins, and its text."""
    statement, slack = Statement(), wanted.joining.hysteresis
    conditions = [statement.condition(wanted.query, slack)]
    told = ["number", "start_s", "end_s"]  # what all rows have in common is not told of each: a million take time
    if slack:
        told.append(f"{statement.condition(wanted.query)} AS is_match")
    if wanted.has_people:
        columns = [*columns, "coalesce(who, 0)"]
    if wanted.has_people or wanted.is_of_anybody:
        told.append("person")
    else:
        conditions.append("person = 0")
    if files is not None:
        keys = statement.bind(np.unique(files).tolist())
        named = f"SELECT file_id FROM found_files WHERE number IN (SELECT unnest({keys}::UBIGINT[]))"
        conditions.append(f"file_id IN ({named})")
    values = [f"{value} AS value_{place}" for place, value in enumerate([write_score(wanted.query), *columns])]
    source = statement.source(has_people=wanted.has_people)
    text = f"SELECT {', '.join([*told, *values])} FROM {source} WHERE "
    order = " ORDER BY file_id, person, start_s" if is_sorted else ""
    return statement, text + " AND ".join(conditions) + order


def _read_runs(relation: duckdb.DuckDBPyRelation) -> Iterator[Runs]:
    for batch in relation.to_arrow_reader(_ROWS_A_PIECE):
        held = {
            name: column.to_numpy(zero_copy_only=False)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        person, is_match = (
            held.get(name, np.broadcast_to(common, batch.num_rows))
            for name, common in (("person", np.int32(0)), ("is_match", np.bool_(True)))
        )
        values = np.stack([column for name, column in held.items() if name.startswith("value_")], axis=1)
        yield Runs.of_windows(held["number"], person, (held["start_s"], held["end_s"]), is_match, values)


def _match(best: Runs, full: Runs) -> Runs:
    """Return of the moments with all values those that are the best, in their order."""
    places = {where: place for place, where in enumerate(_places(full))}
    return full.take(np.array([places[where] for where in _places(best) if where in places], np.int64))


def _places(runs: Runs) -> Iterator[tuple[int, int, float]]:
    return zip(runs.key.tolist(), runs.person.tolist(), runs.start_s.tolist(), strict=True)


def _count_windows(example: Example) -> int:
    """Return how many windows make a moment about as long as an example; they are some second long."""
    length_s = min(example.end_s - example.part.start_s, float(_MOST_WINDOWS))
    return max(1, round(length_s))
