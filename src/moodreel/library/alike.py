"""Moments that look and sound like an example, in the library or out of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.errors import LibraryError
from moodreel.library.alike_vector import alike_vector
from moodreel.library.describe import to_text
from moodreel.library.place import is_url
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.media.parts import Part, check_part, read_part
from moodreel.text import printable

if TYPE_CHECKING:
    import duckdb

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """What other moments are compared with.

    Attributes:
        part: the file, and from when to when.
        path: the file as the library names it.
    """

    part: Part
    path: str

    @classmethod
    def read(cls, name: str) -> Example:
        """Read the name of a file, with or without `#t=START,END`.

        Raises:
            MediaError: its times cannot be read.
        """
        part = read_part(name)
        check_part(printable(name), part.start_s, part.end_s)
        file = os.fspath(part.path) if not is_url(name) else name.partition("#t=")[0]
        return cls(part, to_text(file if is_url(name) else os.path.abspath(file)))  # noqa: PTH100  # links stay

    @property
    def end_s(self) -> float:
        """Where it ends, infinite for the file's end."""
        return float("inf") if self.part.end_s is None else self.part.end_s


def find_numbers(connection: duckdb.DuckDBPyConnection, example: Example) -> list[int]:
    """Return the numbers under which `found_files` has the example's file, or parts of it."""
    query = "SELECT number FROM found_files WHERE path = $path OR starts_with(path, $path || '#t=')"
    return [number for (number,) in connection.execute(query, {"path": example.path}).fetchall()]


def find_vector(connection: duckdb.DuckDBPyConnection, example: Example) -> Vector | None:
    """Return the vector of an example that is in the library; `None` where it is not."""
    numbers = find_numbers(connection, example)
    if not numbers:
        return None
    rows = connection.execute(
        "SELECT alike, least(end_s, $end_s) - greatest(start_s, $start_s) FROM found_windows"
        " WHERE list_contains($numbers::UBIGINT[], number) AND person = 0 AND label IS NOT NULL AND alike IS NOT NULL"
        " AND end_s >= $start_s AND start_s <= $end_s",
        {"numbers": numbers, "start_s": example.part.start_s, "end_s": example.end_s},
    ).fetchall()
    return _average([vector for vector, _ in rows], [overlap_s for _, overlap_s in rows])


def read_vector(example: Example, model: str) -> Vector:
    """Return the vector of an example that is not in the library: it is read with a bundle.

    Raises:
        MediaError: the file cannot be read.
        LibraryError: nobody is seen or heard in it.
    """
    from moodreel.recognition.recognizer import Recognizer

    part = example.part
    prediction = Recognizer.load(model).predict(
        part.path, start_s=part.start_s, end_s=part.end_s, channels=part.channel
    )
    told = [segment for segment in prediction.segments if segment.label is not None]
    vector = _average([alike_vector(one) for one in told], [one.end_s - one.start_s for one in told])
    if vector is None:
        raise LibraryError(f"{printable(str(part))}: nobody is seen or heard there; name another moment")
    return vector


def _average(vectors: Sequence[npt.ArrayLike], lengths_s: Sequence[float]) -> Vector | None:
    if not vectors:
        return None
    weights = np.maximum(np.asarray(lengths_s, np.float64), 1e-6)
    together = np.asarray(vectors, np.float64).reshape(-1, ALIKE_WIDTH)
    return np.average(together, axis=0, weights=weights).astype(np.float32)
