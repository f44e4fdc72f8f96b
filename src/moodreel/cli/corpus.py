"""`moodreel corpus`: what a corpus holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.options import (
    AllowOutsideOption,
    IgnoreOption,
    LayoutOption,
    MapOption,
    SpeakersCsvOption,
    SpeakersOption,
)


def corpus(
    folder: Annotated[Path, typer.Argument(help="A corpus folder, or a manifest (.csv, .tsv, .parquet).")],
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    mapped: MapOption = None,
    ignored: IgnoreOption = None,
    allow_outside: AllowOutsideOption = False,
    check_media: Annotated[
        bool, typer.Option("--check-media", help="Open every file, to find unreadable ones.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Look for speakers and recordings on both sides.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Show what a corpus holds: clips, classes, speakers, unreadable files, imbalance, leaks."""
    import json

    from rich.console import Console

    from moodreel.corpora import describe_corpus, read_corpus, render_description
    from moodreel.evaluation.evaluate import check_corpus
    from moodreel.labels import read_class_map
    from moodreel.leaks.guard import format_leaks
    from moodreel.metrics import to_plain

    class_map = read_class_map(mapped or (), ignored or ())
    read = read_corpus(folder, layout, speakers, speakers_csv, allow_outside=allow_outside, class_map=class_map)
    description = describe_corpus(read, check_media)
    leaks = check_corpus(read) if check else None
    if as_json:
        found = {} if leaks is None else {"leaks": to_plain(leaks)}
        typer.echo(json.dumps({**description.to_json(), **found}, indent=2, ensure_ascii=False))
    else:
        Console().print(render_description(description))
        typer.echo(format_leaks(leaks) if leaks is not None else "", nl=leaks is not None)
    raise typer.Exit(1 if leaks is not None and leaks.leaked else 0)
