"""What the sound network is worth: speech kept and other sounds refused, in people and sources left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moodreel.metrics.intervals import DEFAULT_RESAMPLING, Interval, bootstrap, sum_by_group
from moodreel.training.sounds.examples import Examples, Origin
from moodreel.training.sounds.head import ask_head, fit_head
from moodreel.training.sounds.material import SOUNDS
from moodreel.training.sounds.recipe import SoundRecipe
from moodreel.training.sounds.scenes import MADE
from moodreel.training.sounds.windows import UNSURE
from moodreel.voice.sounds import SPEECH

CLEAN = "clean"
_SPEECH = SOUNDS.index(SPEECH)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOut:
    """Probabilities of windows by networks that learned from none of what stands in them, shape (n, n_sounds).

    Attributes:
        people: other people of the same sources were learned from; folds of people, and of recordings of nobody.
        sources: nothing of the recording's source was learned from; NaN for what is made by rule.
    """

    people: Floats
    sources: Floats


def hold_out(examples: Examples, recipe: SoundRecipe) -> HeldOut:
    """Fit a network for each fold of people, and for each source left out, and ask it of what was left out."""
    people, sources = (np.full((len(examples.kinds), len(SOUNDS)), np.nan, np.float32) for _ in range(2))
    for fold in range(recipe.n_folds):
        inside = examples.mark([one.fold == fold for one in examples.origins])
        people[inside] = _ask_others(examples, ~inside, inside, recipe)
    for source in sorted({name for one in examples.origins for name in one.sources} - {MADE}):
        touched = examples.mark([source in one.sources for one in examples.origins])
        own = examples.mark([_main_source(one) == source for one in examples.origins])
        sources[own] = _ask_others(examples, ~touched, own, recipe)
    return HeldOut(people, sources)


def choose_threshold(examples: Examples, held_out: HeldOut, recipe: SoundRecipe) -> float:
    """Choose the least probability of speech at which a window counts as speech.

    Returns:
        The highest value that keeps the wanted share of speech of each corpus left out, and under each kind of
        background of people left out.
    """
    speech = examples.kinds == _SPEECH
    clean = speech & examples.mark([one.how == CLEAN for one in examples.origins])
    corpora = _group(held_out.sources[clean, _SPEECH], examples, clean, _main_source)
    groups = corpora + _group(held_out.people[speech, _SPEECH], examples, speech, _how)
    steps = np.arange(0.01, 1.0, 0.01)
    kept = np.min([(values[:, None] >= steps).mean(axis=0) for values in groups], axis=0)
    return round(float(steps[kept >= recipe.kept].max(initial=steps[0])), 2)


def _group(values: Floats, examples: Examples, rows: NDArray[np.bool_], name: Callable[[Origin], str]) -> list[Floats]:
    """Part the values of some windows by the names of their scenes."""
    names = np.array([name(one) for one in examples.origins])[examples.scenes[rows]]
    return [values[names == one] for one in np.unique(names)]


def tabulate(examples: Examples, held_out: HeldOut, threshold: float) -> dict[str, Any]:
    """Return every figure with its interval over people.

    Args:
        examples: all windows.
        held_out: what networks said of them that had not learned from them.
        threshold: least probability of speech.
    """
    origins = examples.origins
    is_clean = examples.mark([one.how == CLEAN for one in origins])
    tables: dict[str, Any] = {}
    for protocol, answers in (("sources left out", held_out.sources), ("people left out", held_out.people)):
        kept = answers[:, _SPEECH] >= threshold
        speech = is_clean & (examples.kinds == _SPEECH)
        others = is_clean & (examples.kinds != _SPEECH) & (examples.kinds != UNSURE)
        tables[protocol] = {
            "speech kept": _split(examples, speech, kept, _main_source),
            "speech kept, by emotion": _split(examples, speech, kept, _name),
            "others refused, by class": _split(examples, others, ~kept, _kind),
            "others refused, by source": _split(examples, others, ~kept, _main_source),
            "others refused, by sound": _split(examples, others, ~kept, _name),
        }
    kept = held_out.people[:, _SPEECH] >= threshold
    speech, made = examples.kinds == _SPEECH, examples.mark([one.recording is None for one in origins])
    tables["people left out"]["speech kept, by background"] = _split(examples, speech, kept, _how)
    tables["people left out"]["made by rule refused"] = _split(examples, made & ~speech, ~kept, _how)
    return tables


def _ask_others(
    examples: Examples, learned: NDArray[np.bool_], asked: NDArray[np.bool_], recipe: SoundRecipe
) -> Floats:
    return ask_head(fit_head(examples, learned, recipe), examples.statistics[asked])


def _split(
    examples: Examples, chosen: NDArray[np.bool_], right: NDArray[np.bool_], name: Callable[[Origin], str]
) -> dict[str, Any]:
    """Return the share that is right of all chosen windows and of each group of them."""
    names = np.array([name(one) for one in examples.origins])[examples.scenes]
    groups = {"all": chosen} | {one: chosen & (names == one) for one in sorted(set(names[chosen]))}
    return {one or "unnamed": _measure(examples, rows, right) for one, rows in groups.items() if rows.any()}


def _measure(examples: Examples, rows: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, Any]:
    who = [_person(origin, number) for number, origin in enumerate(examples.origins)]
    people, groups = np.unique(np.array(who)[examples.scenes[rows]], return_inverse=True)
    totals = sum_by_group(groups, len(people), np.stack([right[rows], np.ones(rows.sum())], axis=1))
    interval: Interval = bootstrap(totals, lambda sums: sums[:, :1] / sums[:, 1:], "people", DEFAULT_RESAMPLING)[0]
    return {"n": int(rows.sum()), "share": round(interval.value, 4), "low": interval.low, "high": interval.high}


def _person(origin: Origin, number: int) -> str:
    return origin.recording.person if origin.recording else f"scene {number}"


def _main_source(origin: Origin) -> str:
    return origin.recording.source if origin.recording else MADE


def _name(origin: Origin) -> str:
    return origin.recording.name if origin.recording else origin.how


def _kind(origin: Origin) -> str:
    return origin.recording.kind if origin.recording else origin.how


def _how(origin: Origin) -> str:
    return origin.how


def headline(tables: dict[str, Any]) -> Sequence[str]:
    """Say in two lines how much speech is kept and how much else refused."""
    return [
        f"{protocol}: {found['speech kept']['all']['share']:.3f} of speech kept, "
        f"{found['others refused, by class']['all']['share']:.3f} of other sounds refused"
        for protocol, found in tables.items()
    ]
