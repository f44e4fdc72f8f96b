"""All examples of the sound network, computed once: windows of scenes, and what those scenes are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moodreel.training.sounds.material import SOUNDS, SoundRecording
from moodreel.training.sounds.recipe import SoundRecipe
from moodreel.training.sounds.scenes import (
    Heard,
    Scene,
    cut_clean,
    make_babble_scene,
    make_synthetic,
    vary,
)
from moodreel.training.sounds.synthesis import SYNTHETIC
from moodreel.training.sounds.windows import WIDTH, read_scene
from moodreel.voice.sounds import SPEECH

if TYPE_CHECKING:
    import onnxruntime

_MANY = {"song": 4, "talk": 4}
"""Sounds of which many scenes are made for one of the others: there are few recordings like them."""
_VARIED, _BABBLE, _MADE, _COLOUR = 1, 2, 3, 4
"""What the generators of the parts are told apart by."""


@dataclass(frozen=True)
class Origin:
    """What a scene is made of.

    Attributes:
        how: see `Scene`.
        fold: of the people in it.
        recording: the one that it tells of; `None` where it is none.
        sources: every source that stands in it.
    """

    how: str
    fold: int
    recording: SoundRecording | None
    sources: frozenset[str]


@dataclass(frozen=True)
class Examples:
    """Windows.

    Attributes:
        statistics: float16, shape (n, WIDTH).
        kinds: index into `SOUNDS`, or `UNSURE`, shape (n,).
        scenes: index into `origins`, shape (n,).
        origins: of every scene.
    """

    statistics: NDArray[np.float16]
    kinds: NDArray[np.int64]
    scenes: NDArray[np.int64]
    origins: Sequence[Origin]

    def mark(self, scenes: Sequence[bool]) -> NDArray[np.bool_]:
        """Mark the windows of scenes that are marked, shape (n,)."""
        return np.asarray(scenes, np.bool_)[self.scenes]


def make_examples(heard: Sequence[Heard], voice: onnxruntime.InferenceSession, recipe: SoundRecipe) -> Examples:
    """Build every scene and read its windows.

    Args:
        heard: all recordings.
        voice: the voice network.
        recipe: how many scenes, and the seed.

    Raises:
        BundleError: the voice network gives too few statistics.
    """
    statistics, kinds, origins = [], [], []
    for number, (scene, fold) in enumerate(_make_scenes(heard, recipe)):
        windows = read_scene(scene, voice, np.random.default_rng([recipe.seed, _COLOUR, number]))
        statistics.append(windows.statistics)
        kinds.append(windows.kinds)
        origins.append(Origin(scene.how, fold, scene.recording, scene.sources))
    lengths = [len(one) for one in kinds]
    return Examples(
        np.concatenate([np.zeros((0, WIDTH), np.float16), *statistics]),
        np.concatenate([np.zeros(0, np.int64), *kinds]),
        np.repeat(np.arange(len(origins)), lengths),
        origins,
    )


def assign_folds(heard: Sequence[Heard], recipe: SoundRecipe) -> Mapping[str, int]:
    """Give every person a fold."""
    people = sorted({one.recording.person for one in heard})
    places = np.random.default_rng(recipe.seed).permutation(len(people))
    return {person: int(place) % recipe.n_folds for person, place in zip(people, places, strict=True)}


def _make_scenes(heard: Sequence[Heard], recipe: SoundRecipe) -> Iterator[tuple[Scene, int]]:
    folds = assign_folds(heard, recipe)
    partners = [_group(heard, folds, fold) for fold in range(recipe.n_folds)]
    for index, one in enumerate(heard):
        fold = folds[one.recording.person]
        rng = np.random.default_rng([recipe.seed, _VARIED, index])
        yield from ((scene, fold) for scene in cut_clean(one))
        yield from ((scene, fold) for scene in vary(one, partners[fold], rng))
    for index in range(recipe.n_babble):
        voices = partners[index % recipe.n_folds][SPEECH]
        yield make_babble_scene(voices, np.random.default_rng([recipe.seed, _BABBLE, index])), index % recipe.n_folds
    for number, name in enumerate(SYNTHETIC):
        for index in range(recipe.n_made * _MANY.get(name, 1)):
            rng = np.random.default_rng([recipe.seed, _MADE, number, index])
            yield make_synthetic(name, rng), index % recipe.n_folds


def _group(heard: Sequence[Heard], folds: Mapping[str, int], fold: int) -> dict[str, list[Heard]]:
    inside = [one for one in heard if folds[one.recording.person] == fold]
    return {kind: [one for one in inside if one.recording.kind == kind] for kind in SOUNDS}
