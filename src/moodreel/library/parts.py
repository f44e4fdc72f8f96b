"""The Parquet files that a library consists of: what they are called, how one is written and several become one.

A part is one file in each table's folder, of one name. The one in `files/` is written last and removed first: where it
stands the part counts, where it does not the others are what a killed run left.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.errors import LibraryError
from moodreel.library.place import Place
from moodreel.library.rows import Rows
from moodreel.library.schema import arrow_schema
from moodreel.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE = "1of1"
"""The shard of a run that is not shared out."""
WRITING_ORDER = ("windows", "people", "files")
ROWS_A_GROUP = 100_000

_NAME = re.compile(r"part-(?P<shard>\d+of\d+|all)-(?P<level>\d)-(?P<digest>[0-9a-f]{16})\.parquet")
_MAGIC = b"PAR1"
_LEAST_BYTES = 12


@dataclass(frozen=True, order=True)
class PartName:
    """What a part is called.

    Attributes:
        shard: of the run that wrote it, such as `3of16`; `all` after a compaction.
        level: how often it was merged.
        digest: of its content.
    """

    shard: str
    level: int
    digest: str

    def __str__(self) -> str:
        """Name its file in each table's folder."""
        return f"part-{self.shard}-{self.level}-{self.digest}.parquet"

    @classmethod
    def read(cls, name: str) -> PartName | None:
        """Read the name of a file; `None` where it is no part's."""
        match = _NAME.fullmatch(name)
        return None if match is None else cls(match["shard"], int(match["level"]), match["digest"])

    @classmethod
    def of_content(cls, shard: str, level: int, content: Iterable[str]) -> PartName:
        """Name a part by what it holds: other parts, files."""
        told = "\n".join(sorted(content))
        return cls(shard, level, hashlib.blake2b(told.encode(), digest_size=8).hexdigest())


def list_parts(place: Place) -> list[PartName]:
    """Return the parts that count, sorted."""
    return sorted(part for name in place.list("files") if (part := PartName.read(name)) is not None)


def write_part(place: Place, name: PartName, rows: Rows) -> None:
    """Write a part that holds few rows."""
    for table in WRITING_ORDER:
        data = rows.table(table)
        place.write(f"{table}/{name}", partial(_write_table, table, [data]))


def remove_part(place: Place, name: PartName) -> None:
    """Remove a part; killed in between, it does not count any more."""
    for table in reversed(WRITING_ORDER):
        place.remove(f"{table}/{name}")


Kept = Mapping[PartName, frozenset[str]]
"""Which files of each part are kept, by their ids."""


def merge_parts(place: Place, kept: Kept, target: PartName, held: Mapping[PartName, Rows]) -> None:
    """Write one part of the rows of several, file by file in the order of the parts; these are left where they are.

    Args:
        place: where they lie.
        kept: what of each goes on.
        target: the new part.
        held: parts whose rows are in memory still.
    """
    for table in WRITING_ORDER:
        tables = (_keep(read_part(place, part, table, held), ids) for part, ids in kept.items())
        place.write(f"{table}/{target}", partial(_write_table, table, tables))


def read_part(place: Place, part: PartName, table: str, held: Mapping[PartName, Rows]) -> pa.Table:
    """Read one table of a part, from memory where it is there."""
    if part in held:
        return held[part].table(table)
    (path,) = place.fetch(table, [str(part)])
    return read_table(path, table)


def read_table(path: Path, table: str) -> pa.Table:
    """Read one file of a part.

    Raises:
        LibraryError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(use_threads=False).cast(arrow_schema(table))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError):
        raise tell_damage(path, "its content") from None


def tell_damage(path: Path, how: str) -> LibraryError:
    """Say that a file of a library is damaged, and the way out."""
    shown, library = printable(str(path)), printable(str(path.parents[1]))
    return LibraryError(
        f"{shown}: is damaged ({how}); `moodreel library {library} --compact` sets it aside, and "
        "`moodreel index` then reads anew what stood in it"
    )


def looks_whole(path: Path) -> bool:
    """Tell at a glance whether a file is Parquet that was not cut off.

    Raises:
        FileNotFoundError: it has gone.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
        if file.seek(0, 2) < _LEAST_BYTES:
            return False
        file.seek(-len(_MAGIC), 2)
        return start == file.read() == _MAGIC


def _keep(table: pa.Table, ids: frozenset[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table.column("file_id"), pa.array(sorted(ids), pa.string())))


def _write_table(table: str, tables: Iterable[pa.Table], path: Path) -> None:
    import pyarrow.parquet as pq

    schema = arrow_schema(table)
    texts: Any = [field.name for field in schema if str(field.type) == "string"]
    with (
        path.open("wb") as file,  # Python's own, whose errors say what is wrong with the disk
        pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as writer,
    ):
        for rows in tables:
            if rows.num_rows:
                writer.write_table(rows.cast(schema), row_group_size=ROWS_A_GROUP)
