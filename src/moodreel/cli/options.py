"""Options that several commands share, so that they are called and explained alike everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Adapt(StrEnum):
    """What a person's resting look and sound are learned from."""

    NONE = "none"
    CLIP = "clip"
    FOLDER = "folder"


CorpusArgument = Annotated[Path, typer.Argument(help="Folder or manifest of labelled clips.", show_default=False)]
LayoutOption = Annotated[str | None, typer.Option("--layout", help="The corpus's layout; found out when not given.")]
SpeakersOption = Annotated[
    str | None, typer.Option("--speakers", help="Pattern with a group (?P<speaker>…) over clip paths.")
]
SpeakersCsvOption = Annotated[
    Path | None, typer.Option("--speakers-csv", help="Table of each clip's speaker or film: clip, speaker.")
]
AllowOutsideOption = Annotated[
    bool, typer.Option("--allow-outside", help="Let a manifest name files outside its folder.")
]
AllowSharedOption = Annotated[bool, typer.Option("--allow-shared-speakers", help="Let speakers stand on both sides.")]
AllowUnreadableOption = Annotated[
    bool, typer.Option("--allow-unreadable", help="Go on with over 5 % of clips unreadable.")
]
MapOption = Annotated[
    list[str] | None, typer.Option("--map", help="What a class of the corpus is: joyful=happy. May be given again.")
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--ignore", help="A class whose clips are left out. May be given again.")
]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of the feature cache.")]
WorkersOption = Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that read clips.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=64, help="Processor threads that the networks may use.")
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=0,
        max=1024,
        help="Processes that read; 0: as many as cores.",
        show_default=False,
    ),
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Only the share I of N of the files, as on a cluster.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Read on a Ray cluster: auto, or its address; all its machines must see the files.",
    ),
]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="A bundle's name, or its folder (RUN/bundle).")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done, on stderr.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a stopped run goes on from it.")]
