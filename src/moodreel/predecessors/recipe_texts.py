"""Recipes as texts for people: a list of all, and one of them."""

from __future__ import annotations

from moodreel.predecessors.recipe import PredecessorRecipe, load_predecessor
from moodreel.training.joint.recipe import (
    Recipe,
    is_predecessor,
    is_tuned,
    load_recipe,
    read_recipe_text,
    shipped_names,
)
from moodreel.training.strict_yaml import format_recipe
from moodreel.training.trainers import find_trainers
from moodreel.training.tuned.recipe import TunedRecipe, load_tuned


def list_recipes() -> str:
    """Return a line for each recipe that ships, and for each trainer of another package."""
    names = shipped_names()
    width = max(map(len, names)) + 2
    lines = [f"{name:<{width}}{load(name).about}" for name in names]
    lines += [f"{name:<{width}}of the package that registers it" for name in find_trainers()]
    return "\n".join(lines)


def show_recipe(name_or_path: str, *, full: bool = False) -> str:
    """Return a recipe's YAML, ending in a newline.

    Args:
        name_or_path: a shipped recipe or a YAML file.
        full: every key, those of its base and those left at their defaults too, instead of the file as it stands.

    Raises:
        RecipeError: no such recipe, or one that cannot be used.
    """
    recipe = load(name_or_path)
    return format_recipe(recipe) if full else read_recipe_text(name_or_path)[0].rstrip() + "\n"


def load(name_or_path: str) -> Recipe | PredecessorRecipe | TunedRecipe:
    """Load a recipe of any kind.

    Raises:
        RecipeError: no such recipe, or one that cannot be used.
    """
    if is_tuned(name_or_path):
        return load_tuned(name_or_path)
    return load_predecessor(name_or_path) if is_predecessor(name_or_path) else load_recipe(name_or_path)
