"""`moodreel index`: media into a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.options import Adapt, JobsOption, ModelOption, QuietOption, RayOption, ShardOption, VerboseOption

if TYPE_CHECKING:
    from moodreel.library.index import Counts

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells count: 128 and the number of the signal."""


def index(
    media: Annotated[
        list[str],
        typer.Argument(help="Clips, sound files, pictures, folders of them, or URLs such as s3://bucket/films."),
    ],
    library: Annotated[
        str, typer.Option("--library", "-l", metavar="LIB", help="Folder or URL of the library; made if need be.")
    ],
    jobs: JobsOption = 0,
    ray: RayOption = None,
    shard: ShardOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what could not be read in an earlier run.")
    ] = False,
    all: Annotated[bool, typer.Option("--all", help="Read covers and thumbnails in folders too.")] = False,
    adapt: Annotated[
        Adapt, typer.Option(help="What to learn a person's resting look and sound from: clip, or none.")
    ] = Adapt.CLIP,
    model: ModelOption = "default",
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read media into a library: what is new or changed. A run that was stopped goes on where it was."""
    from moodreel.batch.cores import count_cores
    from moodreel.batch.shards import WHOLE, read_shard
    from moodreel.errors import OutputError
    from moodreel.library.index import Wish, index_media
    from moodreel.library.progress import Progress
    from moodreel.library.store import Store
    from moodreel.recognition.recognizer import Recognizer

    if adapt == Adapt.FOLDER:
        raise OutputError("--adapt folder: a library's files are read one by one; use clip or none")
    if ray is not None and jobs:
        raise OutputError("--jobs counts processes of this machine and --ray uses a cluster's cores: give one of them")
    wish = Wish(
        jobs=jobs or count_cores(),
        ray=ray,
        shard=WHOLE if shard is None else read_shard(shard),
        adapts=adapt == Adapt.CLIP,
        retry_failed=retry_failed,
        takes_covers=all,
    )
    recognizer = Recognizer.promise(model, threads=1)
    progress = Progress(quiet=quiet, verbose=verbose)
    counts: Counts | None = None
    with progress.shown():
        counts = index_media(media, Store.open(library, create=True), recognizer, wish, progress)
    progress.conclude(counts, library)
    raise typer.Exit(_find_status(counts))


def _find_status(counts: Counts | None) -> int:
    """Return 0 when every file is in the library, 1 when some failed, 130 when the user broke off."""
    if counts is None:
        return INTERRUPTED_STATUS
    return 1 if counts.failed or counts.missing else 0
