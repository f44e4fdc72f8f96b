"""`moodreel doctor`: what this installation is and can do."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Show versions, codecs, the execution provider really in use, the bundles found and the installed size."""
    from moodreel.cli.examination import examine, format_examination

    typer.echo(format_examination(examine()))
