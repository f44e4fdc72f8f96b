"""`moodreel predict`: the emotion of each clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.options import (
    Adapt,
    JobsOption,
    ModelOption,
    QuietOption,
    SpeakersOption,
    ThreadsOption,
    VerboseOption,
)
from moodreel.output.formats import find_format, list_formats, mark_bytes

if TYPE_CHECKING:
    from moodreel.media.channels import Channels
    from moodreel.media.find import Finder
    from moodreel.media.parts import Part
    from moodreel.output.report import Report
    from moodreel.recognition.evidence import Evidence
    from moodreel.recognition.recognizer import Recognizer


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
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write there instead of stdout; a folder/ takes a file a clip. jsonl, csv and folders go on.",
        ),
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
    adapt: Annotated[
        Adapt,
        typer.Option(help="What to learn a person's resting look and sound from, without labels: see docs/output.md."),
    ] = Adapt.CLIP,
    speakers: SpeakersOption = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A clip or picture of the person at rest: all that is adapted to.")
    ] = None,
    speaks_for: Annotated[
        str,
        typer.Option(
            "--speaks-for",
            metavar="WHOM",
            help="Whom a clip's label speaks for: most-present, most-speaking, a person's number, or everyone.",
        ),
    ] = "most-present",
    bom: Annotated[bool, typer.Option("--bom", help="Begin CSV with the mark by which Excel knows UTF-8.")] = False,
    model: ModelOption = "default",
    jobs: JobsOption = 1,
    threads: ThreadsOption = 2,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the emotion of each clip, from face and voice, over time.

    Of a part of a file, all times in the answer count from the file's start, and its name ends in #t=START,END; the
    name of one channel ends in #channel=left.
    """
    from moodreel.batch.cores import count_cores
    from moodreel.corpora.speakers import read_pattern
    from moodreel.media.channels import read_channels
    from moodreel.media.find import Finder
    from moodreel.media.parts import check_part, read_time
    from moodreel.output.places import open_place
    from moodreel.output.report import Report
    from moodreel.output.resume import check_options
    from moodreel.recognition.speaks_for import read_speaks_for

    start_s, end_s = 0.0 if start is None else read_time(start), None if end is None else read_time(end)
    check_part("--from and --to", start_s, end_s)
    chosen = mark_bytes(find_format(format)) if bom else find_format(format)
    place = None if output is None else open_place(output)
    check_options(chosen, place, resume=resume, overwrite=overwrite)
    report = Report(chosen, place, plot, overlay, quiet=quiet, verbose=verbose, overwrite=overwrite)
    how = Adapting(adapt, None if speakers is None else read_pattern(speakers), baseline)
    whom = read_speaks_for(speaks_for)
    wanted = Wanted(tuple(clips), start_s, end_s, read_channels(channels), Finder(takes_covers=all), how, whom)
    raise typer.Exit(predict_clips(report, wanted, model, threads, jobs or count_cores()))


_MOST_NAMED = 20
"""People that are named in the line that tells who was taken for one."""


@dataclass(frozen=True)
class Adapting:
    """How answers are adapted to a person.

    Attributes:
        to: what a person's resting look and sound are learned from.
        speakers: pattern over paths whose group `speaker` names the person, for `folder`; `None` tells people by their
            faces, and takes clips without one for the person of their folder.
        baseline: the person at rest; `None` without.
    """

    to: Adapt = Adapt.CLIP
    speakers: re.Pattern[str] | None = None
    baseline: Path | None = None

    def name_people(self, recognizer: Recognizer, observed: Mapping[Part, Evidence]) -> dict[Part, str]:
        """Say whom each clip shows."""
        if self.speakers is not None:
            found = {part: self.speakers.search(part.path.as_posix()) for part in observed}
            return {part: one["speaker"] if one else _name_folder(part) for part, one in found.items()}
        numbers = recognizer.tell_people(list(observed.values()))
        first: dict[int | None, Part] = {}
        for part, number in zip(observed, numbers, strict=True):
            first.setdefault(number, part)
        return {
            part: _name_folder(part) if number is None else f"the face in {first[number]}"
            for part, number in zip(observed, numbers, strict=True)
        }


def _name_folder(part: Part) -> str:
    return f"folder {part.path.parent}"


@dataclass(frozen=True)
class Wanted:
    """Which clips a user asks for.

    Attributes:
        names: files, parts of files, folders.
        start_s: where to begin in each file, in seconds.
        end_s: where to end; `None` for each file's end.
        channels: what to hear of each.
        finder: what looks into folders; `None` for the usual one.
        adapting: how answers are adapted to a person.
        speaks_for: whom each answer speaks for, see `Recognizer.predict`.
    """

    names: tuple[str, ...]
    start_s: float = 0.0
    end_s: float | None = None
    channels: Channels = "mix"
    finder: Finder | None = None
    adapting: Adapting = Adapting()
    speaks_for: str = "most-present"


def predict_clips(report: Report, wanted: Wanted, model: str, threads: int, jobs: int = 1) -> int:
    """Predict clips, or the same part of each, and give the answers to a report; returns the exit status."""
    from moodreel.media.find import is_folder
    from moodreel.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=max(1, threads // jobs))
    folders = [Path(name) for name in wanted.names if is_folder(Path(name))]
    is_list = len(wanted.names) > 1 or bool(folders) or wanted.channels == "split"
    found = find_clips(report, wanted)
    with (
        suppress(BrokenPipeError),
        report.open(found, is_list=is_list, model=recognizer.bundle.title, folders=folders) as waiting,
    ):
        _predict_waiting(report, recognizer, waiting, wanted, jobs)
    return report.exit_status


def _predict_waiting(
    report: Report, recognizer: Recognizer, waiting: Sequence[Part], wanted: Wanted, jobs: int
) -> None:
    how = wanted.adapting
    at_rest = None if how.baseline is None else recognizer.observe(how.baseline)
    if not recognizer.adapts and (at_rest is not None or how.to == Adapt.FOLDER):
        report.note(f"nothing is adapted to: {recognizer.bundle.title} was not taught how answers vary between people")
    observed: dict[Part, Evidence] = {}
    for part, observe in _observe_waiting(report, recognizer, waiting, jobs, wanted.speaks_for):
        with report.guard(part):
            evidence = observe()
            if how.to == Adapt.FOLDER and at_rest is None and recognizer.adapts:
                observed[part] = evidence  # nobody is known before all clips are read
            else:
                person = [] if how.to == Adapt.NONE else [evidence]
                report.add(part, recognizer.conclude(evidence, person, at_rest))
    if observed:
        _conclude_people(report, recognizer, observed, how)


def _conclude_people(report: Report, recognizer: Recognizer, observed: Mapping[Part, Evidence], how: Adapting) -> None:
    """Answer clips, each adapted to all clips of its person."""
    names = how.name_people(recognizer, observed)
    people: dict[str, list[Evidence]] = {}
    for part, evidence in observed.items():
        people.setdefault(names[part], []).append(evidence)
    named = [f"{name} ({len(clips)} clips)" for name, clips in people.items()]
    more = [f"{len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    told = ", ".join([*named[:_MOST_NAMED], *more])
    report.note(f"adapted to each person by all clips of that person, {len(people)} people: {told}")
    for part, evidence in observed.items():
        with report.guard(part):
            report.add(part, recognizer.conclude(evidence, people[names[part]]))


def _observe_waiting(
    report: Report, recognizer: Recognizer, waiting: Sequence[Part], jobs: int, speaks_for: str
) -> Iterator[tuple[Part, Callable[[], Evidence]]]:
    """Yield each clip and what gives its evidence, or raises why there is none: read then, or before elsewhere."""
    if jobs == 1 or len(waiting) < 2:
        yield from ((part, partial(_observe, report, recognizer, part, speaks_for)) for part in waiting)
        return
    from moodreel.batch.predicting import observe_many

    for observed in observe_many(recognizer, waiting, min(jobs, len(waiting)), speaks_for):
        report.count(observed.part)
        yield observed.part, observed.unwrap


def _observe(report: Report, recognizer: Recognizer, part: Part, speaks_for: str) -> Evidence:
    from moodreel.media.defence import name_clip

    progress = report.progress(part)
    with name_clip(str(part)):
        return recognizer.observe(
            part.path,
            start_s=part.start_s,
            end_s=part.end_s,
            channels=part.channel,
            speaks_for=speaks_for,
            progress=progress,
        )


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
