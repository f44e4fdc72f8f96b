"""Rows of CSV: how texts and numbers are written so that a spreadsheet shows them and runs nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from moodreel.labels import EMOTIONS
from moodreel.output.formats.format import Column

Cell = str | float | int


def write_rows(rows: Iterable[Sequence[Cell]], columns: Sequence[Column], *, header: bool) -> str:
    """Write rows as CSV.

    Args:
        rows: of cells in the order of the columns.
        columns: what the first row names.
        header: whether there is such a row.

    Returns:
        CSV text, lines ending in a newline alone; a text that a spreadsheet would take for a formula has an apostrophe
        before it.
    """
    out = io.StringIO()
    # Texts are always quoted: left to itself, the writer lets a carriage return in a name break the row.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    if header:
        writer.writerow([column.name for column in columns])
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return out.getvalue()


def seven_columns(prefix: str, meaning: str) -> tuple[Column, ...]:
    """Return a column for each emotion."""
    return tuple(Column(prefix + emotion, f"{meaning}: {emotion}, 0-1") for emotion in EMOTIONS)


def seven_cells(probabilities: Sequence[float] | None) -> list[Cell]:
    """Return seven probabilities as cells; empty ones where there are none."""
    if probabilities is None:
        return [""] * len(EMOTIONS)
    return [round(float(value), 4) for value in probabilities]


def flag(value: bool) -> str:
    """Return `true` or `false`."""
    return str(value).lower()


def _plain(cell: Cell) -> Cell:
    # Whoever names a clip could else have Excel or LibreOffice run a formula: quotes do not keep them from it. See
    # OWASP, "CSV Injection"; the wide signs are those of East Asian keyboards.
    risky = isinstance(cell, str) and cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    return f"'{cell}" if risky else cell
