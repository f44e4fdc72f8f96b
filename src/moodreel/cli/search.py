"""`moodreel search`: moments of a library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.options import ModelOption

if TYPE_CHECKING:
    from moodreel.library.formats import MomentFormat
    from moodreel.library.found import Found, Moment

FORMATS = "table, json, csv, vtt, edl, m3u"


def search(
    location: Annotated[str, typer.Argument(metavar="LIB", help="Folder or URL of the library.", show_default=False)],
    query: Annotated[
        str | None, typer.Argument(help="Such as 'angry > 0.6 and face': see docs/search.md.", show_default=False)
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="FILE", help="Moments that look and sound like this: film.mp4#t=61,65.")
    ] = None,
    min_s: Annotated[float, typer.Option("--min-s", metavar="S", help="Least length of a moment in seconds.")] = 0.0,
    gap_s: Annotated[
        float, typer.Option("--gap-s", metavar="S", help="How far parts of one moment may lie apart, in seconds.")
    ] = 0.0,
    hysteresis: Annotated[
        float, typer.Option(metavar="P", help="How far a probability may fall short while a moment goes on.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(metavar="N", help="How many moments at most; 0 for all.")] = 50,
    format: Annotated[str, typer.Option("--format", "-f", help=f"How to write them: {FORMATS}.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there instead of stdout; a folder for vtt.")
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=120, help="Frames a second of an edit list.")] = 25,
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut the moments out, into a new folder, without encoding anew.")
    ] = None,
    thumbnails: Annotated[bool, typer.Option("--thumbnails", help="With --export: a picture of each moment.")] = False,
    people: Annotated[
        bool,
        typer.Option(
            "--people",
            help="Look at single people, told apart in the whole library by their faces, as `who`. Faces are biometric "
            "data: use it only where those shown agreed or the law allows it. Nothing of it is stored.",
        ),
    ] = False,
    model: ModelOption = "default",
) -> None:
    """Find moments by what they show, best first, or by what they are like."""
    from moodreel.errors import OutputError, QueryError
    from moodreel.library.formats import find_moment_format
    from moodreel.library.search import Library

    chosen = find_moment_format(format)
    if query is None and like is None:
        raise QueryError("nothing is asked for: add a query such as 'angry > 0.6', or --like FILE")
    if thumbnails and export is None:
        raise OutputError("--thumbnails: needs a folder to put them into: add --export DIR")
    if like is not None and (people or hysteresis):
        raise OutputError("--like: cannot be combined with --people or --hysteresis; leave them out")
    library = Library.open(location, model=model)
    if like is not None:
        found = library.like(like, query, min_s=min_s, gap_s=gap_s, limit=limit or _ALL)
    else:
        options = {"min_s": min_s, "gap_s": gap_s, "hysteresis": hysteresis}
        found = library.search(query or "", **options, limit=limit or None, people=people)
    _write(found, chosen, output, fps)
    if export is not None:
        raise typer.Exit(_export(found, export, thumbnails=thumbnails))


_ALL = 10_000
"""Moments that `--like --limit 0` tells: every moment is like every other to some degree."""


def _write(found: Found, chosen: MomentFormat, output: Path | None, fps: int) -> None:
    from moodreel.errors import OutputError
    from moodreel.storage.whole_files import write_text

    if chosen.is_file_each and len(set(found.files)) > 1:
        if output is None or output.suffix:
            shown = f"{len(set(found.files))} files were found and each needs a text of its own"
            raise OutputError(f"--format {chosen.name}: {shown}: add --output FOLDER")
        for number, moments in enumerate(_by_file(found), 1):
            write_text(output / _name_text(number, moments[0], chosen), chosen.write(moments, fps))
    elif output is not None:
        write_text(output, chosen.write(found, fps))
    else:
        typer.echo(chosen.write(found, fps), nl=False)


def _by_file(found: Found) -> Sequence[list[Moment]]:
    groups: dict[str, list[Moment]] = {}
    for moment in found:
        groups.setdefault(moment.file, []).append(moment)
    return list(groups.values())


def _name_text(number: int, moment: Moment, chosen: MomentFormat) -> str:
    from moodreel.library.cut import name_source

    return f"{number:04d} {name_source(moment)}{chosen.suffix}"


def _export(found: Found, folder: Path, *, thumbnails: bool) -> int:
    """Cut moments out; returns the exit status."""
    from moodreel.library.cut import export_moments
    from moodreel.storage.whole_files import whole_folder
    from moodreel.text import printable

    with whole_folder(folder) as temporary:
        export = export_moments(found, temporary, thumbnails=thumbnails)
    for cut in export.cuts:
        early = f", begins {cut.early_s:.1f} s earlier: at a key frame" if cut.early_s else ""
        typer.echo(f"moodreel: {printable(str(folder / cut.path.name))}{early}", err=True)
    for problem in export.problems:
        typer.echo(f"moodreel: error: {printable(problem)}", err=True)
    return 1 if export.problems else 0
