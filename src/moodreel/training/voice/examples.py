"""Examples, which a training step is made of: what is cheap, done to takes at every step.

Tempo, microphone, backgrounds, windows, two takes in one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moodreel.storage.whole_files import write_arrays
from moodreel.training.voice import augment
from moodreel.training.voice.recordings import list_known
from moodreel.training.voice.takes import LONGEST_S, MARGIN_S, Take, restore_power
from moodreel.voice.speech import (
    CHUNK_S,
    N_MELS,
    RATE_HZ,
    TOKEN_S,
    Float32,
    measure_power,
    measure_tokens,
    pool_windows,
    prepare_speech,
)

SNR_RANGE_DB = (-10.0, 40.0)
"""The estimate's floor (no speech at all) and cap (nothing but speech)."""
MIXED_SNR_DB = (-5.0, 25.0)
WINDOW_S = (1.0, 2.5)
N_BACKGROUNDS = 40
BACKGROUND_S = 6.0


@dataclass(frozen=True)
class Example:
    """One chunk of a training step.

    Attributes:
        features: log-mel spectrum, float32, shape (80, n_frames); or, of an encoder whose lower blocks stay as they
            are, the tokens they give, float16, shape (width, n_tokens).
        pooling: float32, shape (n_windows, n_tokens).
        labels: int64, shape (n_windows,); -1 where the window holds no speech.
        snr_db: float32, shape (n_windows,).
        known: bool, shape (7,): the emotions that the corpus of the chunk can name.
    """

    features: NDArray[np.floating[Any]]
    pooling: Float32
    labels: NDArray[np.int64]
    snr_db: Float32
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Backgrounds:
    """Mel power of sounds to mix in, by kind, float32, shape (80, n_frames) each."""

    powers: dict[str, list[Float32]]

    def draw(self, n_frames: int, rng: Generator) -> Float32:
        """Draw a kind, one of its sounds and a moment of it; shorter sounds are repeated."""
        kinds = list(self.powers)
        sounds = self.powers[kinds[rng.integers(len(kinds))]]
        power = sounds[rng.integers(len(sounds))]
        start = rng.integers(power.shape[1])
        return power[:, (start + np.arange(n_frames)) % power.shape[1]]


def make_backgrounds(seed: int) -> Backgrounds:
    """Synthesise noise, music and laughter; voices and babble come from the takes in training themselves."""
    rng = np.random.default_rng([seed, 1])
    n_samples = int(BACKGROUND_S * RATE_HZ)
    makers = {"noise": augment.make_noise, "music": augment.make_music, "laughter": augment.make_laughter}
    return Backgrounds(
        {kind: [measure_power(make(n_samples, rng)) for _ in range(N_BACKGROUNDS)] for kind, make in makers.items()}
    )


@dataclass(frozen=True)
class ExampleMaker:
    """Makes training examples out of takes.

    Attributes:
        takes: the takes to train on; other voices in the background are drawn from them alone, so that no test speaker
            is among the training data.
        backgrounds: what else may lie under the speech.
    """

    takes: Sequence[Take]
    backgrounds: Backgrounds

    def make(self, take: Take, rng: Generator) -> Example:
        """Make one example of a take, at times followed by another take of the same corpus."""
        parts = [take]
        if rng.random() < 0.15:
            parts.append(self._draw_take(rng, take.recording.corpus))
        speech, spans = _join([_vary(part, rng) for part in parts])
        background = self._make_background(speech, rng)
        if rng.random() < 0.04 and background.any():
            speech = speech * np.float32(1e-5)
        return self._cut_windows(parts, spans, speech, background, rng)

    def _draw_take(self, rng: Generator, corpus: str) -> Take:
        while (take := self.takes[int(rng.integers(len(self.takes)))]).recording.corpus != corpus:
            pass
        return take

    def _make_background(self, speech: Float32, rng: Generator) -> Float32:
        """Nothing in two of five examples, else one to two sounds together."""
        total = np.zeros_like(speech)
        if rng.random() < 0.4:
            return total
        snr_db = rng.uniform(*MIXED_SNR_DB)
        for _ in range(rng.integers(1, 3)):
            if rng.random() < 0.4:
                power = self._make_voices(speech.shape[1], rng)
            else:
                power = self.backgrounds.draw(speech.shape[1], rng)
            total += augment.scale_background(speech, augment.colour(power, rng), snr_db + rng.uniform(0, 10))
        return total

    def _make_voices(self, n_frames: int, rng: Generator) -> Float32:
        """One other voice, or babble of up to six."""
        total = np.zeros((N_MELS, n_frames), dtype=np.float32)
        for _ in range(rng.choice([1, 2, 4, 6])):
            power = restore_power(self.takes[int(rng.integers(len(self.takes)))].copies[0])
            start = rng.integers(power.shape[1])
            power = power[:, (start + np.arange(n_frames)) % power.shape[1]]
            total += power / max(float(measure_tokens(power).mean()), 1e-12) * 10 ** (rng.uniform(-6, 6) / 10)
        return total

    def _cut_windows(
        self,
        parts: Sequence[Take],
        spans: Sequence[tuple[float, float]],
        speech: Float32,
        background: Float32,
        rng: Generator,
    ) -> Example:
        """Weigh two windows per part: the whole of it and a random stretch of it."""
        prepared = prepare_speech(speech + background)
        windows = [
            window for start_s, end_s in spans for window in ((start_s, end_s), _draw_window(start_s, end_s, rng))
        ]
        pooling = pool_windows(prepared.active, windows)
        snr_db = measure_snr(pooling.weights, speech, background)
        labels = np.repeat([part.recording.label for part in parts], 2)
        has_speech = (pooling.speech_share > 0) & (snr_db > SNR_RANGE_DB[0])
        mel = augment.mask_spectrum(prepared.mel, rng) if rng.random() < 0.5 else prepared.mel
        return Example(
            mel, pooling.weights, np.where(has_speech, labels, -1), snr_db, list_known(parts[0].recording.corpus)
        )


def measure_snr(pooling: Float32, speech: Float32, background: Float32) -> Float32:
    """Measure the speech-to-background ratio of each window, within `SNR_RANGE_DB`.

    Args:
        pooling: shape (n_windows, n_tokens), each row sums to 1.
        speech: mel power, shape (80, n_frames).
        background: mel power, shape (80, n_frames).
    """
    powers = [np.maximum(pooling @ measure_tokens(part), 1e-15) for part in (speech, background)]
    ratios_db = 10 * np.log10(powers[0] / powers[1])
    return np.asarray(ratios_db.clip(*SNR_RANGE_DB), dtype=np.float32)


def save_examples(examples: Sequence[Example], path: Path) -> None:
    """Keep examples of tokens: all of a kind one behind the other, and where each ends."""
    arrays = {
        "features": np.concatenate([example.features for example in examples], axis=1),
        "pooling": np.concatenate([example.pooling.ravel() for example in examples]),
        "labels": np.concatenate([example.labels for example in examples]),
        "snr_db": np.concatenate([example.snr_db for example in examples]),
        "known": np.stack([example.known for example in examples]),
        "shapes": np.array([example.pooling.shape for example in examples]),
    }
    write_arrays(path, arrays)


def load_examples(path: Path) -> list[Example]:
    """Read what `save_examples` kept."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    n_windows, n_tokens = arrays["shapes"].T
    features = np.split(arrays["features"], np.cumsum(n_tokens)[:-1], axis=1)
    pooling = np.split(arrays["pooling"], np.cumsum(n_windows * n_tokens)[:-1])
    labels, snr_db = (np.split(arrays[name], np.cumsum(n_windows)[:-1]) for name in ("labels", "snr_db"))
    return [
        Example(features[i], pooling[i].reshape(shape), labels[i], snr_db[i], arrays["known"][i])
        for i, shape in enumerate(arrays["shapes"])
    ]


def group_batches(examples: Sequence[Example], n_batch: int, rng: Generator) -> Iterator[list[Example]]:
    """Batch examples of similar length, the batches in random order."""
    order = sorted(range(len(examples)), key=lambda index: examples[index].pooling.shape[1])
    batches = [order[start : start + n_batch] for start in range(0, len(order), n_batch)]
    for index in rng.permutation(len(batches)):
        yield [examples[place] for place in batches[index]]


def _vary(take: Take, rng: Generator) -> Float32:
    """Draw a copy; change its tempo and microphone; bring it to level 1 so that takes can be joined."""
    power = restore_power(take.copies[rng.integers(len(take.copies))])
    power = augment.change_tempo(power, rng.uniform(*augment.TEMPO_RANGE))
    if rng.random() < 0.5:
        power = augment.colour(power, rng)
    start = 2 * rng.integers(int(MARGIN_S / TOKEN_S))
    end = 2 * rng.integers(int(MARGIN_S / TOKEN_S))
    n_longest = int(LONGEST_S / TOKEN_S) * 2
    power = power[:, start : max(power.shape[1] - end, start + 2)][:, :n_longest]
    return np.asarray(power / max(float(measure_tokens(power).mean()), 1e-12), dtype=np.float32)


def _join(powers: Sequence[Float32]) -> tuple[Float32, list[tuple[float, float]]]:
    """Put mel powers one behind the other, up to a chunk; each one's start and end in seconds."""
    joined = np.concatenate(powers, axis=1)[:, : int(CHUNK_S / TOKEN_S) * 2]
    ends_s = np.cumsum([power.shape[1] for power in powers]) * TOKEN_S / 2
    starts_s = [0.0, *ends_s[:-1]]
    return joined, [
        (float(start_s), min(float(end_s), CHUNK_S)) for start_s, end_s in zip(starts_s, ends_s, strict=True)
    ]


def _draw_window(start_s: float, end_s: float, rng: Generator) -> tuple[float, float]:
    length_s = min(rng.uniform(*WINDOW_S), end_s - start_s)
    first_s = start_s + rng.random() * (end_s - start_s - length_s)
    return first_s, first_s + length_s
