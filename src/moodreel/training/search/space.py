"""Spaces of settings that `moodreel tune` searches, declared in strict YAML."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from moodreel.errors import RecipeError
from moodreel.training.joint.recipe import Recipe
from moodreel.training.strict_yaml import format_recipe, read_strict

if TYPE_CHECKING:
    import optuna

FIXED = ("seed", "folds", "valid_share", "longest_s", "encoders", "labels.", "frames.", "video.weights", "video.frozen",
         "video.stages", "video.cells", "video.grey", "video.mirrored", "audio.source", "audio.trimmed", "audio.speeds",
         "fit.ensemble", "fit.epochs")  # fmt: skip
"""Keys that no trial may change: what is read and encoded of each clip is read once, and trials must compare."""


@dataclass(frozen=True)
class Setting:
    """One thing that is searched.

    Attributes:
        keys: keys of the recipe that all take the value.
        kind: `uniform` or `log` between `low` and `high`, or a `choice` of `options`.
        low: least value.
        high: greatest value.
        options: YAML texts, such as `"[64, 64]"`.
    """

    keys: tuple[str, ...]
    kind: Literal["uniform", "log", "choice"]
    low: float = 0.0
    high: float = 0.0
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the search calls it: its first key."""
        return self.keys[0]

    def suggest(self, trial: optuna.trial.BaseTrial) -> str:
        """Draw a value, as YAML text."""
        if self.kind == "choice":
            return str(trial.suggest_categorical(self.name, self.options))
        return repr(trial.suggest_float(self.name, self.low, self.high, log=self.kind == "log"))

    def default_of(self, recipe: Recipe) -> Any:
        """Return the recipe's own value as the search would draw it; `None` where it lies outside the space."""
        tree = yaml.safe_load(format_recipe(recipe))
        values = [_look_up(tree, key) for key in self.keys]
        if any(value != values[0] for value in values):
            return None
        if self.kind == "choice":
            return next((option for option in self.options if yaml.safe_load(option) == values[0]), None)
        return values[0] if self.low <= values[0] <= self.high else None


@dataclass(frozen=True)
class Space:
    """A space of settings.

    Attributes:
        name: of the space.
        settings: what is searched; never empty.
        about: one line for people.
    """

    name: str
    settings: tuple[Setting, ...]
    about: str = ""

    def suggest(self, trial: optuna.trial.BaseTrial) -> tuple[str, ...]:
        """Draw the changes of a trial, `key=value` each, as `load_recipe` takes them."""
        drawn = ((setting, setting.suggest(trial)) for setting in self.settings)
        return tuple(f"{key}={value}" for setting, value in drawn for key in setting.keys)

    def defaults(self, recipe: Recipe) -> dict[str, Any]:
        """Return what of the recipe's own settings lies inside the space, by name."""
        point = {setting.name: setting.default_of(recipe) for setting in self.settings}
        return {name: value for name, value in point.items() if value is not None}


def space_names() -> tuple[str, ...]:
    """Return the names of the spaces that ship with the package, sorted."""
    files = (resources.files("moodreel") / "spaces").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def load_space(name_or_path: str, recipe: Recipe) -> Space:
    """Load a space by name (shipped with the package) or from a file.

    Args:
        name_or_path: for example `sane`, or `mine.yaml`.
        recipe: what is to be searched; settings of a part that it lacks are left out.

    Raises:
        RecipeError: no such space, an unknown key, a range that holds nothing, or a key that no trial may change.
    """
    text, where = _read_text(name_or_path)
    space = read_strict(text, Space, where)
    tree = yaml.safe_load(format_recipe(recipe))
    for setting in space.settings:
        _check(setting, tree, where)
    kept = tuple(setting for setting in space.settings if all(_has_part(tree, key) for key in setting.keys))
    if not kept:
        raise RecipeError(f"{where}: none of its settings fits the recipe {recipe.name}; name another space")
    return Space(space.name, kept, space.about)


def _read_text(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    try:
        if path.suffix in {".yaml", ".yml"}:
            return path.read_text(encoding="utf-8"), str(path)
        shipped = resources.files("moodreel") / "spaces" / f"{name_or_path}.yaml"
        return shipped.read_text(encoding="utf-8"), f"{name_or_path}.yaml"
    except (OSError, UnicodeDecodeError) as error:
        near = difflib.get_close_matches(name_or_path, space_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected a .yaml file or one of {', '.join(space_names())}"
        raise RecipeError(f"{name_or_path}: no space can be read there; {hint}") from error


def _check(setting: Setting, tree: Any, where: str) -> None:
    if not setting.keys:
        raise RecipeError(f"{where}: a setting without keys")
    for key in setting.keys:
        if any(key == fixed or (fixed.endswith(".") and key.startswith(fixed)) for fixed in FIXED):
            raise RecipeError(f"{where}: {key!r} cannot be searched: clips are read once for all trials; leave it out")
        if _has_part(tree, key) and _look_up(tree, key) is None:
            raise RecipeError(f"{where}: the recipe has no key {key!r}")
    least = 0.0 if setting.kind == "log" else float("-inf")
    if setting.kind == "choice" and not setting.options:
        raise RecipeError(f"{where}: {setting.name!r} is a choice without options")
    if setting.kind != "choice" and not least < setting.low < setting.high:
        raise RecipeError(f"{where}: {setting.name!r}: low must lie below high, and above 0 on a log scale")


def _has_part(tree: Any, key: str) -> bool:
    part, dot, _ = key.partition(".")
    return not dot or tree.get(part) is not None


def _look_up(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
