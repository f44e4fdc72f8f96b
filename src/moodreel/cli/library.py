"""`moodreel library`: what a library holds, and its upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moodreel.library.store import Store


def library(
    location: Annotated[str, typer.Argument(metavar="LIB", help="Folder or URL of the library.", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="Read all of it, and look for its files.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Make few large sorted parts of it; set damaged ones aside.")
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="FILE", help="Remove a file, or all of a folder, for good. May be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write what it holds as JSON.")] = False,
) -> None:
    """Show what a library holds: files, hours, failures, emotions by folder and month; or keep it in order."""
    from moodreel.library.store import Store

    store = Store.open(location)
    if forget:
        _forget(store, forget)
    if compact:
        _compact(store)
    if check:
        raise typer.Exit(_check(store))
    if not (forget or compact):
        _show(store, as_json=as_json)


def _forget(store: Store, names: list[str]) -> None:
    from moodreel.library.upkeep import forget

    for name in names:
        n_files = forget(store, name)
        typer.echo(f"moodreel: {n_files} file{'s' * (n_files != 1)} forgotten: {name}", err=True)


def _compact(store: Store) -> None:
    from moodreel.library.upkeep import compact

    for problem in compact(store):
        typer.echo(f"moodreel: set aside: {problem}", err=True)


def _check(store: Store) -> int:
    from moodreel.library.upkeep import check, format_findings

    findings = check(store)
    typer.echo(format_findings(findings))
    return 1 if findings.damaged else 0


def _show(store: Store, *, as_json: bool) -> None:
    import json

    from moodreel.library.summary import format_summary, summarise

    summary = summarise(store)
    typer.echo(json.dumps(summary.to_dict(), indent=2) if as_json else format_summary(summary))
