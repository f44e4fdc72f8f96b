"""What the page of a library shows before anything is looked for: how much there is, of what, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moodreel.labels import EMOTIONS

if TYPE_CHECKING:
    import duckdb

MOST_FOLDERS = 200
MOST_BUCKETS = 62
LENGTHS_S = (0, 10, 60, 600, 3600)
"""Where each range of lengths begins."""
MOST_PEOPLE = 3
"""So many people, and more, are counted as one."""

_LATEST_S = 4e9
"""Dates of files beyond this, in 2096, are damage."""
_UNITS = ("day", "month", "year")
_LENGTHS = {"day": 10, "month": 7, "year": 4}


@dataclass(frozen=True)
class Facet:
    """Files that have something in common.

    Attributes:
        value: what it is, as a query can ask for it.
        n_files: how many files.
        hours: how long they are together.
    """

    value: str | int | bool
    n_files: int
    hours: float


@dataclass(frozen=True)
class Bucket:
    """The files of a day, month or year.

    Attributes:
        date: such as `2024-05-31`, `2024-05` or `2024`.
        n_files: how many files.
        hours: how long they are together.
        shares: part of that time in which each emotion is the answer; the rest is unsure, or shows nobody.
    """

    date: str
    n_files: int
    hours: float
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Overview:
    """What a library holds.

    Attributes:
        n_files: files that were read.
        n_failed: files that could not be.
        hours: how long they are together.
        n_windows: windows in which something is seen or heard.
        folders: the longest ones, at most 200, by name.
        people: files by how many people they show, the last of three and more.
        face: files with a face.
        voice: files with a voice.
        lengths: files by length; the value is the least in seconds.
        unit: what the buckets are: `day`, `month` or `year`.
        strip: the whole library over time, without holes.
    """

    n_files: int
    n_failed: int
    hours: float
    n_windows: int
    folders: Sequence[Facet]
    people: Sequence[Facet]
    face: Facet
    voice: Facet
    lengths: Sequence[Facet]
    unit: str
    strip: Sequence[Bucket]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)


def look_over(connection: duckdb.DuckDBPyConnection) -> Overview:
    """Say what a library holds.

    Args:
        connection: with `found_files` and `found_windows`.
    """
    n_files, n_failed, hours = _fetch(
        connection,
        "SELECT count(*) FILTER (status = 'ok'), count(*) FILTER (status = 'failed'),"
        " coalesce(sum(duration_s), 0) / 3600 FROM found_files",
    )[0]
    ((n_windows,),) = _fetch(connection, "SELECT count(*) FROM found_windows WHERE person = 0")
    unit, dates = _choose_unit(connection)
    least = "".join(f" WHEN duration_s >= {least_s} THEN {least_s}" for least_s in reversed(LENGTHS_S))
    (face,), (voice,) = (
        _count(connection, "true", where=column) or [Facet(True, 0, 0.0)] for column in ("has_face", "has_voice")
    )
    return Overview(
        n_files,
        n_failed,
        hours,
        n_windows,
        sorted(
            _count(connection, "folder", order=f"sum(duration_s) DESC, 1 LIMIT {MOST_FOLDERS}"),
            key=lambda one: str(one.value),
        ),
        _count(connection, f"least(n_people, {MOST_PEOPLE})"),
        face,
        voice,
        _count(connection, f"CASE{least} ELSE 0 END"),
        unit,
        _fill(_read_strip(connection, unit), dates),
    )


def _fetch(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return connection.execute(query).fetchall()


def _count(
    connection: duckdb.DuckDBPyConnection, value: str, *, where: str = "true", order: str = "1"
) -> Sequence[Facet]:
    """Count the files of each value of a fixed expression."""
    query = (
        f"SELECT {value}, count(*), sum(duration_s) / 3600 FROM found_files"
        f" WHERE status = 'ok' AND {where} GROUP BY 1 ORDER BY {order}"
    )
    return [Facet(*row) for row in _fetch(connection, query)]


def _choose_unit(connection: duckdb.DuckDBPyConnection) -> tuple[str, Sequence[str]]:
    """Return the finest unit in which all files stand in few buckets, and the dates of these."""
    ((first_s, last_s),) = _fetch(
        connection,
        "SELECT min(date_s), max(date_s) FROM found_files"
        f" WHERE status = 'ok' AND date_s BETWEEN 0 AND {_LATEST_S:.0f}",
    )
    if first_s is None:
        return "day", []
    for unit in _UNITS:
        ends = ", ".join(f"date_trunc('{unit}', make_timestamp({int(end_s * 1e6)}))" for end_s in (first_s, last_s))
        query = (
            f"SELECT left(strftime(unnest(generate_series({ends}, INTERVAL 1 {unit})), '%Y-%m-%d'), {_LENGTHS[unit]})"
        )
        dates = [date for (date,) in _fetch(connection, query)]
        if len(dates) <= MOST_BUCKETS or unit == _UNITS[-1]:
            break
    return unit, dates[-2 * MOST_BUCKETS :]


def _read_strip(connection: duckdb.DuckDBPyConnection, unit: str) -> Iterator[Bucket]:
    date = f"left(strftime(make_timestamp(CAST(date_s * 1e6 AS BIGINT)), '%Y-%m-%d'), {_LENGTHS[unit]})"
    sums = ", ".join(f"coalesce(sum(shown_s) FILTER (shown.label = '{one}'), 0)" for one in EMOTIONS)
    files = (
        f"(SELECT file_id, duration_s, {date} AS date FROM found_files WHERE status = 'ok'"
        f" AND date_s BETWEEN 0 AND {_LATEST_S:.0f})"
    )
    shown = (
        "(SELECT file_id, label, sum(end_s - start_s) AS shown_s FROM found_windows"
        " WHERE person = 0 AND NOT abstained GROUP BY ALL)"
    )
    lengths = f"(SELECT date, count(*) AS n_files, sum(duration_s) AS length_s FROM {files} GROUP BY date)"
    query = (
        f"SELECT date, n_files, length_s, {sums} FROM {lengths} lengths JOIN {files} files USING (date)"
        f" LEFT JOIN {shown} shown USING (file_id) GROUP BY date, n_files, length_s"
    )
    for name, n_files, length_s, *shown_s in _fetch(connection, query):
        shares = (min(1.0, one / max(length_s, 1e-9)) for one in shown_s)
        yield Bucket(name, n_files, length_s / 3600, dict(zip(EMOTIONS, shares, strict=True)))


def _fill(buckets: Iterator[Bucket], dates: Sequence[str]) -> Sequence[Bucket]:
    """Return a bucket for each date, empty where no file is of it."""
    found = {one.date: one for one in buckets}
    nothing = dict.fromkeys(EMOTIONS, 0.0)
    return [found.get(date) or Bucket(date, 0, 0.0, nothing) for date in dates]
