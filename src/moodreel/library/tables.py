"""The tables as a search reads them: views over the library's files, or copies in memory, which answer faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moodreel.library.schema import WINDOWS

if TYPE_CHECKING:
    import duckdb

BYTES_A_WINDOW = 200
"""Memory that a window takes in a copy, at most."""

_LEFT_OUT = frozenset({"file_id", "face_state", "voice_state", "face_weight", "voice_weight", "alike"})
_COLUMNS = ", ".join(
    [column.name for column in WINDOWS if column.name not in _LEFT_OUT]
    + ["face_state = 'ok' AS is_seen", "voice_state = 'ok' AS is_heard"]
)


def view_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `found_files` and `found_windows` that read the library's files each time.

    Both know a file by `file_id`, and by `number`; `found_files` by `id` too, as `files` does.
    """
    drop_tables(connection)
    connection.execute("CREATE VIEW found_files AS SELECT *, file_id AS id, hash(file_id) AS number FROM files")
    connection.execute(f"CREATE VIEW found_windows AS SELECT file_id, hash(file_id) AS number, {_COLUMNS} FROM windows")


def copy_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the same as tables in memory, in which a file is a small number."""
    drop_tables(connection)
    connection.execute("SET threads = 1")  # several would leave windows in no order
    numbers = "SELECT file_id AS id, (row_number() OVER ())::UINTEGER AS number FROM files"
    connection.execute(f"CREATE TEMP TABLE numbers AS {numbers}")
    connection.execute(
        "CREATE TABLE found_files AS SELECT * REPLACE (number AS file_id), number, id "
        "FROM files JOIN numbers ON file_id = id"
    )
    connection.execute(
        f"CREATE TABLE found_windows AS SELECT number AS file_id, number, {_COLUMNS} "
        "FROM windows JOIN numbers ON file_id = id"
    )
    connection.execute("DROP TABLE numbers")
    connection.execute("RESET threads")


def drop_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove what was made."""
    for name in ("found_files", "found_windows"):
        kind = connection.execute("SELECT table_type FROM information_schema.tables WHERE table_name = ?", [name])
        if held := kind.fetchone():
            connection.execute(f"DROP {'VIEW' if held[0] == 'VIEW' else 'TABLE'} {name}")
