"""`moodreel predict`: the emotion of each clip."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.options import (
    ModelOption,
    QuietOption,
    ThreadsOption,
    VerboseOption,
)
from moodreel.output.formats import find_format, list_formats

if TYPE_CHECKING:
    from moodreel.output.report import Report


def predict(
    clips: Annotated[
        list[str], typer.Argument(help="Clips, sound files, pictures or folders of them.", show_default=False)
    ],
    format: Annotated[
        str, typer.Option("--format", "-f", help=f"How to write the answers: {', '.join(list_formats())}.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the timeline as PNG; a folder with several clips.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw faces and emotions into the clip, as MP4; a folder with several clips.")
    ] = None,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the emotion of each clip, from face and voice, over time."""
    from moodreel.output.report import Report

    report = Report(find_format(format), output, plot, overlay, quiet=quiet, verbose=verbose)
    raise typer.Exit(predict_clips(report, clips, model, threads))


def predict_clips(report: Report, clips: list[str], model: str, threads: int) -> int:
    """Predict clips and give the answers to a report; returns the exit status."""
    from moodreel.media.defence import name_clip
    from moodreel.media.find import find_media, is_folder
    from moodreel.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=threads)
    is_list = len(clips) > 1 or is_folder(Path(clips[0]))
    found: dict[Path, None] = {}  # a set that keeps its order
    for clip in clips:
        with report.guard():
            found.update(dict.fromkeys(find_media([clip])))
    with suppress(BrokenPipeError), report.open(list(found), is_list=is_list):
        for path in found:
            with report.guard():
                progress = report.progress(path)
                with name_clip(path):
                    prediction = recognizer.predict(path, progress=progress)
                report.add(path, prediction)
    return report.exit_status
