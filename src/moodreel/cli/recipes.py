"""`moodreel recipes`: the recipes that ship, and what one says."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="A shipped recipe's name or a YAML file.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show every key, those of its base and defaults too.")] = False,
) -> None:
    """List the recipes that ship, or show one: the file as it stands, or with --full every key."""
    from moodreel.predecessors.recipe_texts import list_recipes, show_recipe

    typer.echo(list_recipes() if name is None else show_recipe(name, full=full), nl=name is None)
