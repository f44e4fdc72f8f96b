"""Examples for the speaker network: a stretch of lips, and four sounds of which the face speaks one or none.

Positive is the clip's own sound, alone or with somebody else who speaks over it. Negative are the sounds of others, the
own sound shifted by more than 0.4 s, silence, and what is no speech. Lips that rest are negative beside any sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.face.lips import LIPS_RATE_HZ, Lips
from moodreel.training.speaker.augment import vary_lips
from moodreel.training.speaker.material import SLOT_SAMPLES, Footage
from moodreel.training.speaker.network import FRAMES_PER_PICTURE
from moodreel.training.speaker.recipe import SpeakerRecipe
from moodreel.voice.cepstra import extract_cepstra

N_SOUNDS = 4
SHIFT_SLOTS = (10, 40)
"""Sound this many pictures away from the lips is not theirs: 0.4 to 1.6 s."""

_SILENCE_SLOTS = 6
_MOST_TRIES = 50

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batch:
    """Stretches of lips, each beside four sounds.

    Attributes:
        lips: float32 0-255, shape (n, n_slots, side, side).
        spectra: cepstra, shape (n * 4, 4 * n_slots, 13).
        speaks: targets, shape (n * 4, n_slots), NaN where it is not sure.
        weights: of each sound, shape (n * 4,).
    """

    lips: Tensor
    spectra: Tensor
    speaks: Tensor
    weights: Tensor


_Heard = tuple[Float32, Float32, float]
"""A sound, when the face speaks it, and what it counts."""


class ExampleMaker:
    """Makes batches without end."""

    def __init__(self, footage: Sequence[Footage], others: Sequence[Float32], recipe: SpeakerRecipe) -> None:
        """Prepare.

        Args:
            footage: clips of at least two people.
            others: sounds that are no speech, at 16 kHz, at least one.
            recipe: how.
        """
        self._photographed = [one for one in footage if not one.is_drawn]
        self._drawn = [one for one in footage if one.is_drawn]
        self._others = others
        self._recipe = recipe
        self._rng = np.random.default_rng(recipe.seed)
        self._n_samples = recipe.n_slots * SLOT_SAMPLES

    def make(self) -> Batch:
        """Make the next batch."""
        made = [self._make_one() for _ in range(self._recipe.n_batch)]
        sounds = [sound for _, heard in made for sound in heard]
        n_frames = FRAMES_PER_PICTURE * self._recipe.n_slots
        return Batch(
            lips=vary_lips(torch.from_numpy(np.stack([lips for lips, _ in made])), self._rng),
            spectra=torch.from_numpy(np.stack([extract_cepstra(self._spoil(one[0]), n_frames) for one in sounds])),
            speaks=torch.from_numpy(np.stack([one[1] for one in sounds])),
            weights=torch.tensor([one[2] for one in sounds], dtype=torch.float32),
        )

    def _make_one(self) -> tuple[Lips, list[_Heard]]:
        rng, clip = self._rng, self._choose()
        first = self._choose_start(clip)
        own, never = self._cut_sound(clip, first), np.zeros(self._recipe.n_slots, np.float32)
        other = self._speak_otherwise(clip)
        both = own + other * np.float32(_level(own) / _level(other) * 10 ** (rng.uniform(-12, 3) / 20))
        if rng.random() < self._recipe.silent:
            rest: list[_Heard] = [(own, never, 1.0), (other, never, 1.0), (both, never, 1.0)]
            return self._vary_rate(self._rest(clip)), [*rest, (self._no_speech(), never, 0.5)]
        speaks = _cut(clip.active, first, self._recipe.n_slots, 0.0)
        last = (both, speaks, 0.8) if rng.random() < 0.6 else (self._no_speech(), never, 0.5)
        heard = [(own, speaks, 1.5), (other, never, 1.0), (self._shift(clip, first), never, 0.6), last]
        return self._vary_rate(_cut(clip.lips, first, self._recipe.n_slots)), heard

    def _choose(self) -> Footage:
        is_photographed = self._rng.random() < self._recipe.photographed
        pool = (self._photographed if is_photographed else self._drawn) or self._photographed or self._drawn
        return pool[self._rng.integers(len(pool))]

    def _choose_start(self, clip: Footage) -> int:
        return int(self._rng.integers(0, max(1, len(clip.lips) - self._recipe.n_slots + 1)))

    def _cut_sound(self, clip: Footage, first: int) -> Float32:
        return _cut(clip.sound, first * SLOT_SAMPLES, self._n_samples, 0.0)

    def _speak_otherwise(self, clip: Footage) -> Float32:
        """Return somebody else's speech; silence where there is nobody else."""
        for _ in range(_MOST_TRIES):
            other = self._choose()
            if other.person != clip.person:
                return self._cut_sound(other, self._choose_start(other))
        return np.zeros(self._n_samples, np.float32)

    def _shift(self, clip: Footage, first: int) -> Float32:
        """Return the clip's own sound, earlier or later; it goes round or ends in silence."""
        shift = int(self._rng.choice([-1, 1]) * self._rng.integers(*SHIFT_SLOTS))
        if self._rng.random() < 0.5:
            return _cut(np.roll(clip.sound, shift * SLOT_SAMPLES), first * SLOT_SAMPLES, self._n_samples, 0.0)
        lead = SHIFT_SLOTS[1] * SLOT_SAMPLES
        padded = np.concatenate([np.zeros(lead, np.float32), clip.sound])
        return _cut(padded, lead + (first + shift) * SLOT_SAMPLES, self._n_samples, 0.0)

    def _rest(self, clip: Footage) -> Lips:
        """Return lips that do not speak: a silent stretch to and fro, or one picture throughout."""
        quiet = np.flatnonzero(clip.active == 0)
        runs = [run for run in np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1) if len(run) >= _SILENCE_SLOTS]
        if runs and self._rng.random() < 0.75:
            run = runs[self._rng.integers(len(runs))][1:-1]
            return clip.lips[np.resize(np.concatenate([run, run[::-1]]), self._recipe.n_slots)]
        return np.repeat(clip.lips[self._rng.integers(len(clip.lips))][None], self._recipe.n_slots, axis=0)

    def _vary_rate(self, lips: Lips) -> Lips:
        """Show some lips at 9 to 24 pictures a second, and some up to 0.08 s early or late."""
        n_slots = self._recipe.n_slots
        if self._rng.random() < 0.35:
            rate_hz = self._rng.uniform(9, 24)
            held = np.floor(np.arange(n_slots) / LIPS_RATE_HZ * rate_hz + self._rng.random()) * LIPS_RATE_HZ / rate_hz
            lips = lips[np.clip(held, 0, n_slots - 1).astype(int)]
        if self._rng.random() < 0.15:
            lips = lips[np.clip(np.arange(n_slots) + self._rng.integers(-2, 3), 0, n_slots - 1)]
        return lips

    def _no_speech(self) -> Float32:
        return np.zeros(self._n_samples, np.float32) if self._rng.random() < 0.3 else self._noise()

    def _noise(self) -> Float32:
        other = self._others[int(self._rng.integers(len(self._others)))]
        turned = np.resize(np.roll(other, int(self._rng.integers(len(other)))), self._n_samples)
        return np.asarray(turned / (_level(turned) + 1e-6), np.float32)

    def _spoil(self, sound: Float32) -> Float32:
        """Mix noise in, dull it, and set its loudness."""
        rng, spoilt = self._rng, sound.astype(np.float64)
        if rng.random() < 0.5:
            spoilt = spoilt + self._noise() * _level(sound) * 10 ** (-rng.uniform(0, 25) / 20)
        if rng.random() < 0.3:
            width = int(rng.integers(2, 6))
            spoilt = np.convolve(spoilt, np.ones(width) / width, "same")
        if rng.random() < 0.3:
            spoilt = spoilt + rng.standard_normal(len(spoilt)) * _level(sound) * 10 ** (-rng.uniform(5, 40) / 20)
        loudest = np.abs(spoilt).max() + 1e-6
        return np.asarray(spoilt / loudest * 10 ** (rng.uniform(-25, 0) / 20), np.float32)


def _cut(values: npt.NDArray[np.generic], first: int, length: int, fill: float | None = None) -> npt.NDArray:  # type: ignore[type-arg]
    """Cut a stretch; what is missing behind is `fill`, or the last value again."""
    cut = values[max(first, 0) : max(first, 0) + length]
    missing = length - len(cut)
    if not missing:
        return cut
    tail = np.repeat(cut[-1:], missing, axis=0) if fill is None else np.full((missing, *cut.shape[1:]), fill, cut.dtype)
    return np.concatenate([cut, tail])


def _level(sound: npt.NDArray[np.floating]) -> float:
    """Return the root mean square of a sound's loud samples; a little where it is silent."""
    loud = np.abs(sound) > 0.02 * np.abs(sound).max(initial=0.0)
    return float(np.sqrt((sound[loud] ** 2).mean() + 1e-9)) if loud.any() else 1e-4
