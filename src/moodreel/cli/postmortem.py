"""`moodreel postmortem`: why the paper's network does not converge."""

from __future__ import annotations

from typing import Annotated

import typer

from moodreel.cli.options import (
    AllowOutsideOption,
    AllowSharedOption,
    AllowUnreadableOption,
    CacheOption,
    CorpusArgument,
    IgnoreOption,
    LayoutOption,
    MapOption,
    OutOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
    WorkersOption,
)


def postmortem(
    corpus: CorpusArgument,
    out: OutOption,
    fold: Annotated[int, typer.Option(metavar="N", min=1, help="The fold of speakers that is scored.")] = 1,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change every recipe: key=value.")] = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    mapped: MapOption = None,
    ignored: IgnoreOption = None,
    allow_outside: AllowOutsideOption = False,
    allow_shared_speakers: AllowSharedOption = False,
    allow_unreadable: AllowUnreadableOption = False,
    cache: CacheOption = None,
    workers: WorkersOption = 2,
    threads: ThreadsOption = 2,
) -> None:
    """Measure why the paper's network does not converge, one cause per row."""
    from moodreel.training import machine
    from moodreel.training.options import TrainOptions, change_labels
    from moodreel.training.search import postmortem as study

    machine.start(threads)
    options = TrainOptions(
        fold=fold,
        changes=(*(change or ()), *change_labels(mapped or (), ignored or ())),
        layout=layout,
        speaker_regex=speakers,
        speakers_csv=speakers_csv,
        allow_outside=allow_outside,
        allow_shared_speakers=allow_shared_speakers,
        allow_unreadable=allow_unreadable,
        cache=cache,
        workers=workers,
    )
    typer.echo(study.format_postmortem(*study.postmortem(corpus, out, options)))
