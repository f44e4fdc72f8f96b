"""`moodreel predict`: the emotion of each clip."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
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
    from moodreel.media.channels import Channels
    from moodreel.media.find import Finder
    from moodreel.media.parts import Part
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
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write there instead of stdout; with jsonl, csv and folders it goes on."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the answers in --output: the default for jsonl, csv, folders.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the answers in --output.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the timeline as PNG, JPEG or SVG; a folder with several clips.")
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Draw faces and emotions into the clip, as MP4 or MKV; a folder with several clips."),
    ] = None,
    channels: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of sound with two channels: mix, left, right, or split: a clip for each."),
    ] = "mix",
    all: Annotated[bool, typer.Option("--all", help="Read covers and thumbnails in folders too.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin there in each file: seconds, or as 1:02:03.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End there in each file: seconds, or as 1:02:03.", show_default=False)
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Begin CSV with the mark by which Excel knows UTF-8.")] = False,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the emotion of each clip, from face and voice, over time.

    Of a part of a file, all times in the answer count from the file's start, and its name ends in #t=START,END; the
    name of one channel ends in #channel=left.
    """
    from moodreel.media.channels import read_channels
    from moodreel.media.find import Finder
    from moodreel.media.parts import check_part, read_time
    from moodreel.output.report import Report
    from moodreel.output.resume import check_options

    start_s, end_s = 0.0 if start is None else read_time(start), None if end is None else read_time(end)
    check_part("--from and --to", start_s, end_s)
    chosen = mark_bytes(find_format(format)) if bom else find_format(format)
    check_options(chosen, output, resume=resume, overwrite=overwrite)
    report = Report(chosen, output, plot, overlay, quiet=quiet, verbose=verbose, overwrite=overwrite)
    wanted = Wanted(tuple(clips), start_s, end_s, read_channels(channels), Finder(takes_covers=all))
    raise typer.Exit(predict_clips(report, wanted, model, threads))


@dataclass(frozen=True)
class Wanted:
    """Which clips a user asks for.

    Attributes:
        names: files, parts of files, folders.
        start_s: where to begin in each file, in seconds.
        end_s: where to end; `None` for each file's end.
        channels: what to hear of each.
        finder: what looks into folders; `None` for the usual one.
    """

    names: tuple[str, ...]
    start_s: float = 0.0
    end_s: float | None = None
    channels: Channels = "mix"
    finder: Finder | None = None


def predict_clips(report: Report, wanted: Wanted, model: str, threads: int) -> int:
    """Predict clips, or the same part of each, and give the answers to a report; returns the exit status."""
    from moodreel.media.defence import name_clip
    from moodreel.media.find import is_folder
    from moodreel.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=threads)
    folders = [Path(name) for name in wanted.names if is_folder(Path(name))]
    is_list = len(wanted.names) > 1 or bool(folders) or wanted.channels == "split"
    found = find_clips(report, wanted)
    with (
        suppress(BrokenPipeError),
        report.open(found, is_list=is_list, model=recognizer.bundle.title, folders=folders) as waiting,
    ):
        for part in waiting:
            with report.guard(part):
                progress = report.progress(part)
                with name_clip(str(part)):
                    prediction = recognizer.predict(
                        part.path, start_s=part.start_s, end_s=part.end_s, channels=part.channel, progress=progress
                    )
                report.add(part, prediction)
    return report.exit_status


def find_clips(report: Report, wanted: Wanted) -> list[Part]:
    """Return the clips that are asked for, each once; what cannot be found costs itself alone."""
    from moodreel.media.channels import choose_channels
    from moodreel.media.find import Finder
    from moodreel.media.parts import find_parts

    finder = wanted.finder or Finder()
    found: dict[Part, None] = {}  # a set that keeps its order
    for name in wanted.names:
        with report.guard():
            for part in find_parts([name], wanted.start_s, wanted.end_s, finder):
                parts, note = choose_channels(part, wanted.channels)
                found.update(dict.fromkeys(parts))
                if note:
                    report.note(note)
    report.tell_skipped(finder.skipped)
    return list(found)
