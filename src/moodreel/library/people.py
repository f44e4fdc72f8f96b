"""The same person in several files of a library, told by the look of the face; done only when somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moodreel.bundle import load_bundle
from moodreel.errors import LibraryError
from moodreel.face.appearance import NO_APPEARANCE, group_vectors, read_same_person

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MOST_PEOPLE = 20_000
"""People of single files that are compared with each other."""
_LEAST_LENGTH = 1e-6


def tell_people(connection: duckdb.DuckDBPyConnection, model: str) -> pa.Table:
    """Say which people of single files are one.

    Args:
        connection: to the library.
        model: the bundle that says from where on two faces are one person's.

    Returns:
        Columns `id` of the file, `person` in it, and `who`: a number from 1, most files first; null where a face is too
        small to tell.

    Raises:
        LibraryError: there are too many people, or the bundle does not tell faces apart.
        BundleError: the bundle cannot be used.
    """
    import pyarrow as pa

    same_person = read_same_person(load_bundle(model))
    if same_person is None:
        raise LibraryError(f"{model}: this bundle does not tell people apart by their faces; index with one that does")
    found = connection.sql("SELECT file_id, person, appearance FROM people ORDER BY file_id, person")
    table = found.limit(MOST_PEOPLE + 1).to_arrow_table()
    if table.num_rows > MOST_PEOPLE:
        raise LibraryError(f"the library holds more than {MOST_PEOPLE} people, too many to compare; make smaller ones")
    groups = group_vectors(_read_vectors(table), same_person)
    return pa.table({"id": table["file_id"], "person": table["person"], "who": pa.array(_rank(groups), pa.int32())})


def _read_vectors(table: pa.Table) -> list[np.ndarray]:
    """Return the vectors, each of length one, or empty; those of another width than most are of another network."""
    vectors = [NO_APPEARANCE if one is None else np.asarray(one, np.float32) for one in table["appearance"].to_pylist()]
    lengths = [len(one) for one in vectors if len(one)]
    width = max(set(lengths), key=lengths.count, default=0)
    return [_normalise(one) if len(one) == width else NO_APPEARANCE for one in vectors]


def _normalise(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > _LEAST_LENGTH else NO_APPEARANCE


def _rank(groups: list[int | None]) -> list[int | None]:
    """Number groups anew, the one with most members first."""
    known = [group for group in groups if group is not None]
    sizes = np.bincount(np.asarray(known, np.int64)) if known else np.zeros(0, np.int64)
    numbers = {int(group): number for number, group in enumerate(np.argsort(-sizes, kind="stable"), 1)}
    return [None if group is None else numbers[group] for group in groups]
