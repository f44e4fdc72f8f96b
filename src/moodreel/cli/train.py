"""`moodreel train`: a recipe trained on a corpus."""

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
    OutOption,
    RayOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
    WorkersOption,
)
from moodreel.errors import MoodreelError


def train(
    corpus: CorpusArgument,
    out: OutOption,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name or a YAML file.")] = "best",
    max_epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Overrides the recipe's epochs.")] = None,
    fold: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Leave out this fold of speakers, from 1, and score it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
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
    devices: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that share each batch.")] = 1,
    nodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Machines that share each batch, under torchrun on each.")
    ] = 1,
    workers: WorkersOption = 2,
    ray: RayOption = None,
    only: Annotated[str | None, typer.Option(help="Of emonets or yao2015: train this part alone.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Of emonets or yao2015: FER2013 + FER+, as .npz files.")] = None,
    threads: ThreadsOption = 2,
) -> None:
    """Train a recipe on a corpus; the bundle is OUT/bundle."""
    from moodreel.predecessors.train import train_predecessor
    from moodreel.training import machine
    from moodreel.training.joint.recipe import is_predecessor, is_tuned
    from moodreel.training.joint.train import train as run
    from moodreel.training.options import TrainOptions, change_labels, format_scores
    from moodreel.training.trainers import load_trainer
    from moodreel.training.tuned.train import train_tuned

    machine.start(threads)
    options = TrainOptions(
        max_epochs=max_epochs,
        fold=fold,
        resume=resume,
        devices=devices,
        nodes=nodes,
        workers=workers,
        ray=ray,
        changes=(*(change or ()), *change_labels(mapped or (), ignored or ())),
        layout=layout,
        speaker_regex=speakers,
        speakers_csv=speakers_csv,
        allow_outside=allow_outside,
        allow_shared_speakers=allow_shared_speakers,
        allow_unreadable=allow_unreadable,
        cache=cache,
    )
    trainer = load_trainer(recipe)
    if trainer is None and is_predecessor(recipe):
        scores = train_predecessor(corpus, recipe, out, options, only=only, faces=faces)
    elif only or faces:
        raise MoodreelError(f"{recipe}: has no parts, so --only and --faces mean nothing; use emonets or yao2015")
    elif trainer is None and is_tuned(recipe):
        scores = train_tuned(corpus, recipe, out, options)
    else:
        scores = (trainer or run)(corpus, recipe, out, options)
    if scores:  # else another node tells
        typer.echo(format_scores(scores, out))
