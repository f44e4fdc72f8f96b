"""The tables as a search reads them: views over the library's files, or copies in memory, which answer faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moodreel.library.schema import WINDOWS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BYTES_A_WINDOW = 330
"""Memory that a window takes in a copy, at most."""

_LEFT_OUT = frozenset({"file_id", "face_state", "voice_state", "face_weight", "voice_weight"})
_COLUMNS = ", ".join(
    [column.name for column in WINDOWS if column.name not in _LEFT_OUT]
    + ["face_state = 'ok' AS is_seen", "voice_state = 'ok' AS is_heard"]
)
_NUMBERED = f"number AS file_id, number, {_COLUMNS}"


def view_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `found_files` and `found_windows` that read the library's files each time.

    Both know a file by `file_id`, and by `number`; files by `id` too, as the library does.
    """
    drop_tables(connection)
    for name, columns in (("files", "*, file_id AS id"), ("windows", f"file_id, {_COLUMNS}")):
        connection.execute(f"CREATE VIEW found_{name} AS SELECT {columns}, hash(file_id) AS number FROM {name}")


def copy_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `found_files` and `found_windows` tables in memory, in which a file is a small number."""
    drop_tables(connection)
    connection.execute("SET threads = 1")  # several would leave windows in no order
    numbers = "SELECT file_id AS id, (row_number() OVER ())::UINTEGER AS number FROM files"
    connection.execute(f"CREATE TEMP TABLE numbers AS {numbers}")
    for name, columns in (("files", "* REPLACE (number AS file_id), number, id"), ("windows", _NUMBERED)):
        connection.execute(
            f"CREATE TABLE found_{name} AS SELECT {columns} FROM {name} JOIN numbers ON {name}.file_id = id"
        )
    connection.execute("DROP TABLE numbers")
    connection.execute("RESET threads")


def add_people(connection: duckdb.DuckDBPyConnection, people: pa.Table) -> None:
    """Make `found_people`, which says who in the library each person of a file is.

    Args:
        connection: with the other tables.
        people: columns `id` of the file, `person` in it, `who` in the library.
    """
    connection.register("told_people", people)
    connection.execute(
        "CREATE OR REPLACE TABLE found_people AS SELECT file_id, told_people.person, who"
        " FROM told_people JOIN found_files USING (id)"
    )
    connection.unregister("told_people")


def drop_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove what was made."""
    for name in ("found_files", "found_windows", "found_people"):
        kinds = connection.execute("SELECT table_type FROM information_schema.tables WHERE table_name = ?", [name])
        for (kind,) in kinds.fetchall():
            connection.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
