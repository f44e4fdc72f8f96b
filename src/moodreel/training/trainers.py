"""Networks of other packages, which `moodreel train --recipe NAME` trains as it does its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from moodreel.errors import RecipeError
from moodreel.plugins import find_entries, load_entry
from moodreel.training.options import TrainOptions

PLUGINS = "moodreel.trainers"
"""Group of entry points; each names a `Trainer`."""

Trainer = Callable[[Path, str, Path, TrainOptions], dict[str, Any]]
"""Takes the corpus, its own name, the run folder and the options; writes `scores.json` and `bundle/` there as
`moodreel.training.joint.train.train` does, and returns the scores."""


def find_trainers() -> dict[str, EntryPoint]:
    """Return what is registered, by name, without importing any of it."""
    return find_entries(PLUGINS)


def load_trainer(name: str) -> Trainer | None:
    """Load a trainer; `None` where no package registers one of the name.

    Raises:
        MoodreelError: it cannot be loaded.
        RecipeError: a recipe that ships has the name.
    """
    from moodreel.training.joint.recipe import shipped_names

    entry = find_trainers().get(name)
    if entry is None:
        return None
    if name in shipped_names():
        raise RecipeError(f"{name}: a recipe of moodreel's own and a plug-in ({entry.value}); uninstall or rename that")
    trainer: Trainer = load_entry(entry)
    return trainer
