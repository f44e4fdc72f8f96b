"""What a run folder says of its run: recipe, seed and data, so that no other run goes on in it.

A network that goes on with another fold is scored on speakers that it learned from. The folder therefore holds, beside
`recipe.yaml` with the seed, which clips stood on which side (`split.json`), or of which files the data were
(`data.json`). Results are written whole: one that is there, in a folder of the same recipe and data, is finished.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from moodreel.corpora import Sample, natural_key
from moodreel.corpora.splits import Split
from moodreel.errors import OutputError, RecipeError
from moodreel.storage.cache import make_key
from moodreel.storage.whole_files import check_writable, write_text
from moodreel.training.strict_yaml import format_recipe

RECIPE_FILE = "recipe.yaml"
SPLIT_FILE = "split.json"
DATA_FILE = "data.json"
SCORES_FILE = "scores.json"
"""Written last: a run that has it has come to its end."""


def check_run(out: Path, recipe: Any, *, resume: bool) -> None:
    """Refuse a run folder before any clip is read; nothing is left in it.

    Args:
        out: the run folder.
        recipe: a dataclass.
        resume: whether the run in the folder, if there is one, is to go on.

    Raises:
        OutputError: the folder cannot be written, or holds a run and `resume` was not asked for.
        RecipeError: it holds a run of another recipe.
    """
    path = out / RECIPE_FILE
    if path.exists() and not resume:
        raise OutputError(f"{out}: holds a run already; go on with --resume, or name another folder")
    if holds_other_recipe(out, recipe):
        raise RecipeError(f"{out}: holds a run of another recipe ({path} differs); name another folder")
    check_writable(path)


def holds_other_recipe(out: Path, recipe: Any) -> bool:
    """Tell whether a folder holds a run, and of another recipe.

    Raises:
        OutputError: its recipe cannot be read.
    """
    path = out / RECIPE_FILE
    try:
        return path.exists() and path.read_text(encoding="utf-8") != format_recipe(recipe)
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); name another folder") from None


def begin_or_resume(out: Path, recipe: Any, data: Mapping[str, Any], results: Collection[str]) -> None:
    """Note recipe and data of a pretraining in its folder, or see that the run found there is the same.

    Args:
        out: the run folder.
        recipe: a dataclass with the seed and all else that the results depend on, but the data.
        data: what tells the data from others, such as the sha256 of its files; JSON types.
        results: names of what the training writes there: found without a recipe they are of an unknown run.

    Raises:
        OutputError: the folder holds results of an unknown run or of other data, or cannot be written.
        RecipeError: it holds a run of another recipe or seed.
    """
    check_run(out, recipe, resume=True)
    if (out / RECIPE_FILE).exists():
        _check_data(_read_json(out / DATA_FILE), data, out)
    unknown = [name for name in results if (out / name).exists() and not (out / RECIPE_FILE).exists()]
    if unknown:
        raise OutputError(
            f"{out}: holds {unknown[0]} but no {RECIPE_FILE}: an unknown run; name another folder, or delete it"
        )
    write_text(out / DATA_FILE, json.dumps(data, indent=2) + "\n")
    write_text(out / RECIPE_FILE, format_recipe(recipe))  # the last, for a folder with a recipe holds a run


def _check_data(found: dict[str, Any] | None, asked: Mapping[str, Any], out: Path) -> None:
    differing = [key for key in asked if (found or {}).get(key) != asked[key]]
    if differing:
        raise OutputError(f"{out}: holds a run of other data ({differing[0]} differs); name another folder")


def begin_run(out: Path, recipe: Any, split: Split) -> None:
    """Note recipe and split in a folder that `check_run` let pass; refuse to go on with another split.

    Called when corpus and split stand, so that a command that was refused can be corrected and given again.

    Args:
        out: the run folder.
        recipe: a dataclass.
        split: which clips are learned from, chosen by and scored.

    Raises:
        OutputError: the folder holds a run of another split, fold or corpus, or cannot be written.
    """
    asked = describe_split(split)
    if (out / RECIPE_FILE).exists():
        _check_split(_read_json(out / SPLIT_FILE), asked, out)
    write_text(out / SPLIT_FILE, json.dumps(asked, indent=2) + "\n")
    write_text(out / RECIPE_FILE, format_recipe(recipe))  # the last, for a folder with a recipe holds a run


def read_scores(out: Path, split: Split) -> dict[str, Any] | None:
    """Return the scores of the run in a folder that `check_run` let pass; `None` where it has not come to its end.

    Raises:
        OutputError: it is a run of another split, fold or corpus.
    """
    if not (out / RECIPE_FILE).exists() or not (out / SCORES_FILE).exists():
        return None
    _check_split(_read_json(out / SPLIT_FILE), describe_split(split), out)
    return _read_json(out / SCORES_FILE)


def describe_split(split: Split) -> dict[str, Any]:
    """Say what a split was, as JSON types; two of one description have the same clips, labels and speakers per side."""
    sides = {side: getattr(split, side) for side in ("train", "valid", "test")}
    corpora = {sample.corpus for samples in sides.values() for sample in samples}
    return {
        "corpus": ", ".join(sorted(corpora)),
        "split": split.name,
        **{side: _describe_side(samples) for side, samples in sides.items()},
    }


def _describe_side(samples: tuple[Sample, ...]) -> dict[str, Any]:
    clips = sorted([s.corpus, s.clip_id, s.label, s.speaker, s.start_s or 0.0, s.end_s or 0.0] for s in samples)
    speakers = sorted({sample.speaker for sample in samples}, key=natural_key)
    return {"n_clips": len(samples), "speakers": speakers, "clips_sha256": make_key(clips)}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _check_split(found: dict[str, Any] | None, asked: dict[str, Any], out: Path) -> None:
    if found is None:
        raise OutputError(f"{out}: does not say which clips its run learned from ({SPLIT_FILE}); name another folder")
    differing = [key for key in asked if found.get(key) != asked[key]]
    if not differing:
        return
    key = differing[0]
    how = f"{found.get(key)!r}, now {asked[key]!r}" if isinstance(asked[key], str) else f"other {key} clips"
    raise OutputError(f"{out}: holds a run of another split or corpus ({how}); name another folder")
