"""`moodreel compare`: whether runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of `evaluate` or `train` runs; the first is the base.")],
) -> None:
    """Tell whether runs differ on the same clips: Markdown tables, with intervals and tests; clips that leak apart."""
    from moodreel.errors import EvaluationError
    from moodreel.evaluation.ranking import format_honest_ranking, rank_honestly
    from moodreel.evaluation.run_folders import read_failed, read_leaked, read_run

    if len(set(runs)) < len(runs):
        raise EvaluationError("a run is named twice; name different folders")
    outcomes = {str(run): read_run(run) for run in runs}
    failed = {str(run): read_failed(run) for run in runs}
    for name, clips in failed.items():
        _warn_of_failed(name, clips)
    leaked = {str(run): read_leaked(run) for run in runs}
    ranking = rank_honestly(outcomes, leaked, n_failed={name: len(clips) for name, clips in failed.items()})
    typer.echo(format_honest_ranking(ranking), nl=False)


def _warn_of_failed(run: str, clips: Sequence[str], n_shown: int = 3) -> None:
    from moodreel.text import printable

    if clips:
        more = f" and {len(clips) - n_shown} more" if len(clips) > n_shown else ""
        names = ", ".join(clips[:n_shown]) + more
        typer.echo(printable(f"moodreel: warning: {run}: clips that failed and are left out: {names}"), err=True)
