"""`moodreel evaluate`: what a bundle is worth on labelled clips."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.options import (
    Adapt,
    AllowOutsideOption,
    CorpusArgument,
    IgnoreOption,
    LayoutOption,
    MapOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
)


class Side(StrEnum):
    """Which clips of a corpus are asked about."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    ALL = "all"


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder; with --folds a folder of runs.")],
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of answers and reports; goes on with it.")] = Path(
        "moodreel-evaluation"
    ),
    split: Annotated[Side | None, typer.Option(help="Default: test where the corpus has one, else all.")] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Ask each fold's bundle about the clips it left out.")] = False,
    adapt: Annotated[
        Adapt, typer.Option(help="What to adapt answers to, without labels: one clip, all of a speaker's, or nothing.")
    ] = Adapt.CLIP,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    mapped: MapOption = None,
    ignored: IgnoreOption = None,
    allow_outside: AllowOutsideOption = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of the cache of fingerprints.")] = None,
    pictures: Annotated[bool, typer.Option(help="Show a frame of the clips got wrong in the page.")] = True,
    threads: ThreadsOption = 2,
) -> None:
    """Measure what a bundle is worth on labelled clips: figures with intervals, as table, JSON and HTML."""
    from moodreel.corpora import read_corpus
    from moodreel.errors import EvaluationError
    from moodreel.evaluation.evaluate import HTML_FILE, evaluate as run
    from moodreel.evaluation.plan import plan_folds, plan_split
    from moodreel.evaluation.report import format_summary
    from moodreel.labels import read_class_map
    from moodreel.storage.cache import Cache

    if folds and split is not None:
        raise EvaluationError("--folds and --split exclude each other: the folds say which clips are asked about")
    class_map = read_class_map(mapped or (), ignored or ())
    clips = read_corpus(corpus, layout, speakers, speakers_csv, allow_outside=allow_outside, class_map=class_map)
    plan = plan_folds(Path(bundle), clips) if folds else plan_split(bundle, clips, split.value if split else None)
    evaluation = run(replace(plan, adapt=adapt.value), out, threads, Cache(cache) if cache else None, pictures=pictures)
    typer.echo(format_summary(evaluation) + f"report: {out / HTML_FILE}")
    raise typer.Exit(1 if evaluation.failures or evaluation.not_covered else 0)
