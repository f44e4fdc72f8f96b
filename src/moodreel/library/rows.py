"""Rows of the three tables, as Arrow tables that go into a library together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moodreel.errors import LibraryError
from moodreel.extras import advise
from moodreel.library.schema import TABLES, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def check_installed() -> None:
    """Refuse to go on without what a library is read and written with.

    Raises:
        LibraryError: says what to install.
    """
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise LibraryError(f"a library needs {error.name}: {advise('library')}") from None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that belong together: files with all their windows and people.

    Attributes:
        files: rows of `files`, each path once.
        windows: rows of `windows`.
        people: rows of `people`.
    """

    files: pa.Table
    windows: pa.Table
    people: pa.Table

    @classmethod
    def make(cls, files: Sequence[Row], windows: Sequence[Row] = (), people: Sequence[Row] = ()) -> Rows:
        """Make rows of values by column."""
        import pyarrow as pa

        tables = (files, windows, people)
        return cls(*(pa.Table.from_pylist(rows, arrow_schema(name)) for name, rows in zip(TABLES, tables, strict=True)))

    @classmethod
    def join(cls, parts: Iterable[Rows]) -> Rows:
        """Put rows below each other, in order."""
        import pyarrow as pa

        found = list(parts)
        return cls(*(pa.concat_tables([one.table(name) for one in found]) for name in TABLES))

    def table(self, name: str) -> pa.Table:
        """Return one of the tables by name."""
        return {"files": self.files, "windows": self.windows, "people": self.people}[name]

    def renamed(self, columns: Row) -> Rows:
        """Return the rows of one file as those of another one of the same content.

        Args:
            columns: of `files`, those that differ, `file_id` among them.
        """
        row = self.files.to_pylist()[0]
        if row["date_s"] == row["modified_s"]:  # the file itself does not say
            columns = columns | {"date_s": columns["modified_s"]}
        changed = Rows.make([row | columns]).files
        return Rows(changed, *(_rename(table, columns["file_id"]) for table in (self.windows, self.people)))

    @property
    def digest(self) -> str:
        """What tells these rows from others: 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name in ("file_id", "indexed_s", "reason"):
            digest.update(repr(self.files.column(name).to_pylist()).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()


def _rename(table: pa.Table, file_id: str) -> pa.Table:
    import pyarrow as pa

    ids = pa.array([file_id] * table.num_rows, pa.string())
    return table.set_column(0, table.schema.field("file_id"), ids)
