"""Where a fit takes its examples from: takes degraded anew every epoch, or a part of examples made before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moodreel.labels import N_EMOTIONS
from moodreel.training.voice.examples import Example, ExampleMaker, group_batches
from moodreel.training.voice.network import Batch, collate

N_SAMPLE = 256


class ExampleSource(Protocol):
    """Where `fit` takes its examples from."""

    def __len__(self) -> int:
        """How many examples an epoch has."""

    def draw_sample(self, rng: Generator) -> list[Example]:
        """Draw a few hundred examples to measure scales on."""

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """Draw the batches of an epoch."""

    def count_labels(self) -> NDArray[np.int64]:
        """Count the takes of each emotion, shape (7,)."""


@dataclass(frozen=True)
class FreshExamples:
    """Every epoch goes over all takes, each degraded anew."""

    maker: ExampleMaker

    def __len__(self) -> int:
        """See `ExampleSource`."""
        return len(self.maker.takes)

    def draw_sample(self, rng: Generator) -> list[Example]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self), min(N_SAMPLE, len(self)), replace=False)
        return [self.maker.make(self.maker.takes[int(index)], rng) for index in chosen]

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """See `ExampleSource`; made in pieces of a few hundred, so that memory stays small."""
        order = rng.permutation(len(self))
        for start in range(0, len(order), 20 * n_batch):
            chosen = order[start : start + 20 * n_batch]
            examples = [self.maker.make(self.maker.takes[int(index)], rng) for index in chosen]
            yield from map(collate, group_batches(examples, n_batch, rng))

    def count_labels(self) -> NDArray[np.int64]:
        """See `ExampleSource`."""
        return np.bincount([take.recording.label for take in self.maker.takes], minlength=N_EMOTIONS)


@dataclass(frozen=True)
class KeptExamples:
    """Every epoch goes over a random part of examples made before, as many as there are takes.

    Attributes:
        examples: all variants of all takes.
        n_variants: of each take.
    """

    examples: Sequence[Example]
    n_variants: int

    def __len__(self) -> int:
        """See `ExampleSource`."""
        return max(len(self.examples) // self.n_variants, 1)

    def draw_sample(self, rng: Generator) -> list[Example]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self.examples), min(N_SAMPLE, len(self.examples)), replace=False)
        return [self.examples[int(index)] for index in chosen]

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self.examples), len(self), replace=False)
        for start in range(0, len(chosen), 20 * n_batch):
            examples = [self.examples[int(index)] for index in chosen[start : start + 20 * n_batch]]
            yield from map(collate, group_batches(examples, n_batch, rng))

    def count_labels(self) -> NDArray[np.int64]:
        """See `ExampleSource`."""
        labels = np.array([example.labels[0] for example in self.examples])
        return np.bincount(labels[labels >= 0], minlength=N_EMOTIONS)
