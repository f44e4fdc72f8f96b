"""Emotions over time for the eye: the curve around a moment, and all lanes of a file, in few enough points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moodreel.labels import EMOTIONS
from moodreel.library.found import Moment
from moodreel.library.tree import Query, names_in

if TYPE_CHECKING:
    import duckdb

AROUND_S = 15.0
"""How much of the file before and after a moment its curve shows."""
MOST_POINTS = 120
MOST_SEGMENTS = 2000
"""Segments of a lane; of a longer file neighbours are averaged."""

_WINDOW_COLUMNS = (
    *(f"p_{emotion}" for emotion in EMOTIONS),
    *(f"face_{emotion}" for emotion in EMOTIONS),
    *(f"voice_{emotion}" for emotion in EMOTIONS),
)


@dataclass(frozen=True)
class Curve:
    """One emotion around a moment.

    Attributes:
        emotion: which one.
        times_s: the middles of windows, in seconds from the file's start.
        values: its probability there.
    """

    emotion: str
    times_s: Sequence[float]
    values: Sequence[float]


def choose_emotion(query: Query, moment: Moment) -> str:
    """Return the emotion whose curve explains a moment: the likeliest of those that were asked for, if any."""
    asked = {name.rpartition(".")[2] for name in names_in(query)} & set(EMOTIONS)
    return max(asked or EMOTIONS, key=lambda one: moment.probabilities[EMOTIONS.index(one)])


def draw_curves(
    connection: duckdb.DuckDBPyConnection, moments: Sequence[Moment], emotions: Iterable[str]
) -> list[Curve]:
    """Return the curve around each moment.

    Args:
        connection: with `found_files` and `found_windows`.
        moments: few.
        emotions: of each moment, which one.
    """
    wanted = [
        (number, moment.file_id, moment.person, moment.start_s - AROUND_S, moment.end_s + AROUND_S)
        for number, moment in enumerate(moments)
    ]
    if not wanted:
        return []
    values = ", ".join(f"p_{emotion}" for emotion in EMOTIONS)
    names = ("numbers", "ids", "persons", "firsts", "lasts")
    types = ("INTEGER", "VARCHAR", "INTEGER", "DOUBLE", "DOUBLE")
    columns = ", ".join(f"unnest(${name}::{kind}[]) AS {name}" for name, kind in zip(names, types, strict=True))
    rows = connection.execute(
        f"SELECT numbers, (start_s + end_s) / 2, {values} FROM (SELECT {columns}) wanted"
        " JOIN (SELECT id, file_id FROM found_files WHERE id IN (SELECT unnest($ids::VARCHAR[]))) files ON id = ids"
        " JOIN found_windows windows ON windows.file_id = files.file_id AND person = persons"
        " WHERE end_s > firsts AND start_s < lasts ORDER BY 1, 2",
        {name: list(column) for name, column in zip(names, zip(*wanted, strict=True), strict=True)},
    ).fetchall()
    points: list[list[tuple[float, ...]]] = [[] for _ in moments]
    for number, *point in rows:
        points[number].append(tuple(point))
    return [_make_curve(emotion, some) for emotion, some in zip(emotions, points, strict=True)]


def _make_curve(emotion: str, points: Sequence[tuple[float, ...]]) -> Curve:
    place = 1 + EMOTIONS.index(emotion)
    kept = points[:: -(-len(points) // MOST_POINTS) or 1]
    return Curve(emotion, [round(one[0], 3) for one in kept], [round(one[place], 4) for one in kept])


def read_lanes(connection: duckdb.DuckDBPyConnection, file_id: str) -> dict[int, list[dict[str, Any]]]:
    """Return the segments of a file by person, 0 for what is seen and heard, in the words of `prediction.schema.json`.

    Args:
        connection: with `found_files` and `found_windows`.
        file_id: the file in the library's tables.
    """
    of_file = "file_id = (SELECT file_id FROM found_files WHERE id = $id)"
    step = f"(SELECT ceil(max(n) / {MOST_SEGMENTS})::BIGINT FROM (SELECT count(*) n FROM rows GROUP BY person))"
    means = ", ".join(f"avg({column})" for column in _WINDOW_COLUMNS)
    rows = connection.execute(
        "WITH rows AS (SELECT *, row_number() OVER (PARTITION BY person ORDER BY start_s) - 1 AS place"
        f" FROM found_windows WHERE {of_file})"
        " SELECT person, min(start_s), max(end_s), bool_and(abstained), any_value(label), any_value(sound),"
        f" max(n_people), {means} FROM rows GROUP BY person, place // {step} ORDER BY 1, 2",
        {"id": file_id},
    ).fetchall()
    lanes: dict[int, list[dict[str, Any]]] = {0: []}
    for person, *row in rows:
        lanes.setdefault(person, []).append(_describe_segment(row))
    return lanes


def _describe_segment(row: Sequence[Any]) -> dict[str, Any]:
    start_s, end_s, abstained, label, sound, n_people, *values = row
    fused, face, voice = (_name(values[first : first + len(EMOTIONS)]) for first in (0, 7, 14))
    likeliest = max(fused, key=fused.__getitem__) if fused and label else None
    return {
        "start_s": start_s,
        "end_s": end_s,
        "label": likeliest,
        "probabilities": fused,
        "face": face,
        "voice": voice,
        "abstained": abstained,
        "sound": sound,
        "people": n_people,
    }


def _name(values: Sequence[float | None]) -> dict[str, float] | None:
    """Return seven values by emotion; `None` where there are none."""
    told = {emotion: round(one, 4) for emotion, one in zip(EMOTIONS, values, strict=True) if one is not None}
    return told or None
