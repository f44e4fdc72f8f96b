"""The recipe of a tuned bundle, as strict YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from moodreel.errors import RecipeError
from moodreel.training.joint.recipe import check_labels, compose_recipe
from moodreel.training.strict_yaml import read_strict


@dataclass(frozen=True)
class TunedRecipe:
    """How a late bundle is tuned to a corpus.

    Attributes:
        name: of the recipe; the bundle is called so.
        level: what is tuned: `fusion` (biases, temperatures, weights, abstention), `heads` (the last layers too),
            `last-block` (the last block of each network too), `all` (all its blocks), or `auto`: by the number of
            clips and speakers, no network below its last layer.
        about: one line for people.
        model: name or folder of the late bundle to tune.
        seed: of the draw where folds are parted by clip, and of the fits of networks.
        folds: folds of unseen speakers, for `--fold`.
        labels: what the corpus's own classes are: class -> emotion, or `ignore`.
    """

    name: str
    level: Literal["auto", "fusion", "heads", "last-block", "all"]
    about: str = ""
    model: str = "default"
    seed: int = 0
    folds: int = 5
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def valid_share(self) -> float:
        """Nobody is set aside for good: every choice is made on folds of the speakers learned from."""
        return 0.0


def load_tuned(name_or_path: str, changes: Sequence[str] = ()) -> TunedRecipe:
    """Load the recipe of a tuned bundle by name or from a file.

    Args:
        name_or_path: `tuned`, or a YAML file.
        changes: `key=value` each, as in `moodreel.training.joint.recipe.load_recipe`.

    Raises:
        RecipeError: no such recipe, an unknown or ill-typed key, or values that do not go together.
    """
    node, where = compose_recipe(name_or_path, changes)
    recipe = read_strict(node, TunedRecipe, where)
    if recipe.folds < 2:
        raise RecipeError(f"{where}: folds must be 2 or more")
    return replace(recipe, labels=check_labels(recipe.labels, where))
