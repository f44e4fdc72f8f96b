"""`moodreel formats`: how answers can be written, and what stands in which column."""

from __future__ import annotations

import typer

from moodreel.output.formats import find_format, list_formats


def formats() -> None:
    """List the formats of answers and the columns of those for spreadsheets."""
    found = [find_format(name) for name in list_formats()]
    for one in found:
        typer.echo(f"{one.name:<10} {one.suffix:<6} {one.describe}")
    for one in found:
        if one.columns:
            width = max(len(column.name) for column in one.columns)
            typer.echo(f"\n{one.name}: {one.describe}\n")
            for column in one.columns:
                typer.echo(f"  {column.name:<{width}}  {column.meaning}")
