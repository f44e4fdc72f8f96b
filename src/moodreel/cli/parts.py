"""`moodreel parts`: what each part of a predecessor is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def parts(
    runs: Annotated[list[Path], typer.Argument(help="Folders of `train --recipe emonets|yao2015`, a fold each.")],
) -> None:
    """Show what each part and each fusion of a predecessor is worth, over all folds: a Markdown table."""
    from moodreel.predecessors.parts_table import format_parts

    typer.echo(format_parts(runs))
