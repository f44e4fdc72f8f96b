"""Everything that training the sound network depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SoundRecipe:
    """A training of the sound network.

    Attributes:
        seed: decides all randomness.
        most_speech: clips of each corpus of speech, at most.
        n_babble: scenes of babble.
        n_made: scenes of each sound that is made by rule; of songs and machines that talk, four times as many.
        n_folds: folds of people; scenes are made of recordings of one fold alone.
        n_hidden: width of the hidden layer.
        dropout: share of inputs and of hidden units dropped in training.
        epochs: passes over the examples.
        n_batch: examples per step.
        rate: highest learning rate.
        weight_decay: AdamW's.
        label_smoothing: share of the target spread over all classes.
        speech_share: weight of all speech; the other classes have the rest alike.
        kept: share of speech that must be kept of every corpus left out, and under every kind of background of people
            left out.
    """

    seed: int = 0
    most_speech: int = 240
    n_babble: int = 160
    n_made: int = 50
    n_folds: int = 5
    n_hidden: int = 64
    dropout: float = 0.3
    epochs: int = 8
    n_batch: int = 512
    rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    speech_share: float = 0.4
    kept: float = 0.92


DEFAULT_RECIPE = SoundRecipe()
