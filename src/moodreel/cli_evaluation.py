"""The commands that measure: what a bundle is worth, and whether one is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli_options import (
    AllowOutsideOption,
    AllowSharedOption,
    AllowUnreadableOption,
    CacheOption,
    CorpusArgument,
    LayoutOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
    WorkersOption,
)

app = typer.Typer()


class Side(StrEnum):
    """Which clips of a corpus are asked about."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    ALL = "all"


@app.command()
def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder; with --folds a folder of runs.")],
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of answers and reports; goes on with it.")] = Path(
        "moodreel-evaluation"
    ),
    split: Annotated[Side | None, typer.Option(help="Default: test where the corpus has one, else all.")] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Ask each fold's bundle about the clips it left out.")] = False,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    allow_outside: AllowOutsideOption = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of the cache of fingerprints.")] = None,
    threads: ThreadsOption = 2,
) -> None:
    """Measure what a bundle is worth on labelled clips: figures with intervals, as table, JSON and HTML."""
    from moodreel.cache import Cache
    from moodreel.corpora import read_corpus
    from moodreel.errors import EvaluationError
    from moodreel.evaluation.commands import HTML_FILE
    from moodreel.evaluation.commands import evaluate as run
    from moodreel.evaluation.report import format_summary
    from moodreel.evaluation.run import plan_folds, plan_split

    if folds and split is not None:
        raise EvaluationError("--folds and --split exclude each other: the folds say which clips are asked about")
    clips = read_corpus(corpus, layout, speakers, speakers_csv, allow_outside=allow_outside)
    plan = plan_folds(Path(bundle), clips) if folds else plan_split(bundle, clips, split.value if split else None)
    evaluation = run(plan, out, threads, Cache(cache) if cache else None)
    typer.echo(format_summary(evaluation) + f"report: {out / HTML_FILE}")
    raise typer.Exit(1 if evaluation.failures or evaluation.not_covered else 0)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of `evaluate` or `train` runs; the first is the base.")],
) -> None:
    """Tell whether runs differ on the same clips: a Markdown table, with intervals and tests."""
    from moodreel.errors import EvaluationError
    from moodreel.evaluation.ranking import format_ranking, rank_runs
    from moodreel.evaluation.runs import read_failed, read_run

    if len(set(runs)) < len(runs):
        raise EvaluationError("a run is named twice; name different folders")
    outcomes = {str(run): read_run(run) for run in runs}
    failed = {str(run): read_failed(run) for run in runs}
    for name, clips in failed.items():
        _warn_of_failed(name, clips)
    ranking = rank_runs(outcomes, n_failed={name: len(clips) for name, clips in failed.items()})
    typer.echo(format_ranking(ranking), nl=False)


def _warn_of_failed(run: str, clips: Sequence[str], n_shown: int = 3) -> None:
    from moodreel.container import printable

    if clips:
        more = f" and {len(clips) - n_shown} more" if len(clips) > n_shown else ""
        names = ", ".join(clips[:n_shown]) + more
        typer.echo(printable(f"moodreel: warning: {run}: clips that failed and are left out: {names}"), err=True)


@app.command()
def tune(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search; a stopped one goes on from it.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of a stopped search included.")] = 40,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name or a YAML file.")] = "repaired",
    space: Annotated[str, typer.Option(help="What is searched: sane, paper, or a YAML file.")] = "sane",
    jobs: Annotated[int, typer.Option(min=1, help="Processes that try settings at once.")] = 1,
    fold: Annotated[int, typer.Option(min=1, help="Fold of speakers that the search never sees, to score it.")] = 1,
    inner_folds: Annotated[int, typer.Option(min=2, help="Folds of the other speakers that judge a trial.")] = 4,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: key=value.")] = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    allow_outside: AllowOutsideOption = False,
    allow_shared_speakers: AllowSharedOption = False,
    allow_unreadable: AllowUnreadableOption = False,
    cache: CacheOption = None,
    workers: WorkersOption = 2,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processor threads in all.")] = 2,
) -> None:
    """Search a recipe's settings; what was found is scored on speakers that the search never saw."""
    from moodreel.training import machine
    from moodreel.training.commands import TrainOptions
    from moodreel.training.tune import TuneOptions
    from moodreel.training.tune import tune as search
    from moodreel.training.tune_report import format_tuned, write_tune_report

    machine.start(threads)
    train = TrainOptions(
        fold=fold,
        changes=tuple(change or ()),
        layout=layout,
        speaker_regex=speakers,
        speakers_csv=speakers_csv,
        allow_outside=allow_outside,
        allow_shared_speakers=allow_shared_speakers,
        allow_unreadable=allow_unreadable,
        cache=cache,
        workers=workers,
    )
    tuned = search(corpus, recipe, out, TuneOptions(trials, space, inner_folds, jobs, threads, train))
    write_tune_report(tuned, out)
    typer.echo(format_tuned(tuned, out))
