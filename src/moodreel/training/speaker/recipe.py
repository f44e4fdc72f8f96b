"""Everything that training the speaker network depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpeakerRecipe:
    """A training of the speaker network.

    Attributes:
        seed: decides all randomness.
        n_steps: steps of the optimiser.
        n_batch: stretches of lips per step; each is compared with four sounds.
        n_slots: length of a stretch, in pictures of lips.
        rate: highest learning rate.
        weight_decay: AdamW's.
        photographed: part of the stretches that are of photographed faces; the others are of drawn ones.
        silent: part of the stretches whose lips do not speak.
        average: how much of the running mean of the weights is kept at each step; that mean is what is exported.
        label_smoothing: how far the targets keep from 0 and 1.
        most_sounds: other sounds that are mixed in, at most.
    """

    seed: int = 0
    n_steps: int = 400
    n_batch: int = 8
    n_slots: int = 50
    rate: float = 7e-4
    weight_decay: float = 0.01
    photographed: float = 0.6
    silent: float = 0.16
    average: float = 0.995
    label_smoothing: float = 0.02
    most_sounds: int = 300


DEFAULT_RECIPE = SpeakerRecipe()
