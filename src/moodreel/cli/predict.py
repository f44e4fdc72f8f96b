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
from moodreel.output.formats import find_format, list_formats, mark_bytes

if TYPE_CHECKING:
    from moodreel.output.report import Report


def predict(
    clips: Annotated[
        list[str],
        typer.Argument(
            help="Clips, sound files, pictures or folders of them; film.mp4#t=10,14 is a part of a film.",
            show_default=False,
        ),
    ],
    format: Annotated[
        str, typer.Option("--format", "-f", help=f"How to write the answers: {', '.join(list_formats())}.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the timeline as PNG; a folder with several clips.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw faces and emotions into the clip, as MP4; a folder with several clips.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin there in each file: seconds or [h:]m:s.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End there in each file: seconds or [h:]m:s.", show_default=False)
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Begin CSV with the mark by which Excel knows UTF-8.")] = False,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the emotion of each clip, from face and voice, over time.

    Of a part of a file, all times in the answer count from the file's start, and its name ends in #t=START,END.
    """
    from moodreel.media.parts import check_part, read_time
    from moodreel.output.report import Report

    start_s, end_s = 0.0 if start is None else read_time(start), None if end is None else read_time(end)
    check_part("--from and --to", start_s, end_s)
    found = mark_bytes(find_format(format)) if bom else find_format(format)
    report = Report(found, output, plot, overlay, quiet=quiet, verbose=verbose)
    raise typer.Exit(predict_clips(report, clips, model, threads, start_s, end_s))


def predict_clips(
    report: Report, clips: list[str], model: str, threads: int, start_s: float = 0.0, end_s: float | None = None
) -> int:
    """Predict clips, or the same part of each, and give the answers to a report; returns the exit status."""
    from moodreel.media.defence import name_clip
    from moodreel.media.find import is_folder
    from moodreel.media.parts import Part, find_parts
    from moodreel.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=threads)
    is_list = len(clips) > 1 or is_folder(Path(clips[0]))
    found: dict[Part, None] = {}  # a set that keeps its order
    for clip in clips:
        with report.guard():
            found.update(dict.fromkeys(find_parts([clip], start_s, end_s)))
    with suppress(BrokenPipeError), report.open(list(found), is_list=is_list):
        for part in found:
            with report.guard(part):
                progress = report.progress(part)
                with name_clip(str(part)):
                    prediction = recognizer.predict(
                        part.path, start_s=part.start_s, end_s=part.end_s, progress=progress
                    )
                report.add(part, prediction)
    return report.exit_status
