"""Tables that come with a corpus: CSV, TSV and Parquet, read as rows of text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moodreel.errors import CorpusError
from moodreel.extras import advise

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})

Row = dict[str, str]


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    """Read a table with a header.

    Args:
        path: a `.csv` (comma), `.tsv` (tab) or `.parquet` file; text is UTF-8, with or without a byte order mark.
        required: columns that must be there.

    Returns:
        One row per line, column names in lower case, values stripped; empty and missing cells are `""`.

    Raises:
        CorpusError: the file is missing, is no table, holds no row or lacks a column; the message lists its columns.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such table")
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_delimited(path)
    if not rows:
        raise CorpusError(f"{path}: the table holds no row")
    missing = [name for name in required if name not in rows[0]]
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(map(repr, missing))}; it holds {', '.join(rows[0])}")
    return rows


def read_header(path: Path) -> tuple[str, ...]:
    """Read the column names of a CSV or TSV file, in lower case; `()` where it is no such file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(name.strip().lower() for name in next(csv.reader(file, **_dialect(path)), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def _dialect(path: Path) -> dict[str, Any]:
    """Tell how cells are parted; a quotation mark in a TSV is text, as its media type says."""
    return {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix.lower() == ".tsv" else {"delimiter": ","}


def _read_delimited(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", **_dialect(path))
            return [_clean(row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a readable UTF-8 table ({error})") from error


def _clean(row: dict[str, object]) -> Row:
    return {(name or "").strip().lower(): _as_text(value) for name, value in row.items()}


def _as_text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _read_parquet(path: Path) -> list[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = f"{path}: reading Parquet needs pyarrow: {advise('parquet')}, or save it as CSV"
        raise CorpusError(message) from error
    try:
        return [_clean(row) for row in pyarrow.parquet.read_table(path).to_pylist()]
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path}: not a readable Parquet table ({error})") from error
