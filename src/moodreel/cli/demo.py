"""`moodreel demo`: a clip made at run time, predicted and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.options import (
    ModelOption,
    QuietOption,
)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the clip and its pictures.")] = Path(
        "moodreel-demo"
    ),
    model: ModelOption = "default",
    quiet: QuietOption = False,
) -> None:
    """Make a short clip, predict on it, and draw its timeline."""
    from moodreel.cli.demo_clip import write_demo_clip
    from moodreel.cli.predict import Wanted, predict_clips
    from moodreel.output.formats import find_format
    from moodreel.output.report import Report

    clip = write_demo_clip(output / "demo.mp4")
    report = Report(
        find_format("table"), None, output / "demo.png", output / "demo-overlay.mp4", quiet=quiet, verbose=False
    )
    status = predict_clips(report, Wanted((str(clip),)), model, threads=2)
    if not status and not quiet:
        typer.echo(f"moodreel: see {output / 'demo.png'} and {output / 'demo-overlay.mp4'}", err=True)
    raise typer.Exit(status)
