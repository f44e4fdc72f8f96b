"""`moodreel tune`: the search of a recipe's settings."""

from __future__ import annotations

from pathlib import Path
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
    RayOption,
    SpeakersCsvOption,
    SpeakersOption,
    WorkersOption,
)


def tune(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search; a stopped one goes on from it.")],
    trials: Annotated[
        int, typer.Option(metavar="N", min=1, help="Trials in all, those of a stopped search included.")
    ] = 40,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name or a YAML file.")] = "best",
    space: Annotated[str, typer.Option(help="What is searched: sane, paper, or a YAML file.")] = "sane",
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that try settings at once.")] = 1,
    fold: Annotated[
        int, typer.Option(metavar="N", min=1, help="Fold of speakers that the search never sees, to score it.")
    ] = 1,
    inner_folds: Annotated[
        int, typer.Option(metavar="N", min=2, help="Folds of the other speakers that judge a trial.")
    ] = 4,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: key=value.")] = None,
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
    ray: RayOption = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Processor threads in all.")] = 2,
) -> None:
    """Search a recipe's settings; what was found is scored on speakers that the search never saw."""
    from moodreel.training import machine
    from moodreel.training.options import TrainOptions, change_labels
    from moodreel.training.search.report import format_tuned, write_tune_report
    from moodreel.training.search.tune import TuneOptions, tune as search

    machine.start(threads)
    train = TrainOptions(
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
        ray=ray,
    )
    tuned = search(corpus, recipe, out, TuneOptions(trials, space, inner_folds, jobs, threads, train))
    write_tune_report(tuned, out)
    typer.echo(format_tuned(tuned, out))
