"""`moodreel calibrate`: how sure a bundle may be, chosen on labelled clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.evaluate import Side
from moodreel.cli.options import (
    AllowOutsideOption,
    AllowSharedOption,
    CorpusArgument,
    IgnoreOption,
    LayoutOption,
    MapOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
)


def calibrate(
    bundle: Annotated[str, typer.Argument(help="A bundle's name or folder.")],
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle; must not be there yet.")] = Path(
        "moodreel-calibrated"
    ),
    folds: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Folds of speakers to measure by. Default: one per speaker, at most 10."),
    ] = None,
    split: Annotated[
        Side | None,
        typer.Option(metavar="SIDE", help="train, valid, test or all. Default: valid where there is one, else all."),
    ] = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    mapped: MapOption = None,
    ignored: IgnoreOption = None,
    allow_outside: AllowOutsideOption = False,
    allow_shared_speakers: AllowSharedOption = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of the cache of fingerprints.")] = None,
    threads: ThreadsOption = 2,
) -> None:
    """Choose a bundle's temperatures, weights and abstention on labelled clips, and write it anew."""
    from moodreel.corpora import read_corpus
    from moodreel.evaluation.evaluate import show_progress
    from moodreel.labels import read_class_map
    from moodreel.storage.cache import Cache
    from moodreel.training.calibration.calibrate import CalibrateOptions, calibrate as run, format_calibrated

    class_map = read_class_map(mapped or (), ignored or ())
    clips = read_corpus(corpus, layout, speakers, speakers_csv, allow_outside=allow_outside, class_map=class_map)
    options = CalibrateOptions(
        split=split.value if split else None,
        n_folds=folds,
        allow_shared_speakers=allow_shared_speakers,
        threads=threads,
        cache=Cache(cache) if cache else None,
        track=show_progress,
    )
    calibrated = run(bundle, clips, out, options)
    typer.echo(format_calibrated(calibrated, out), nl=False)
    raise typer.Exit(1 if calibrated.failures else 0)
