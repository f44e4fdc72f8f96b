"""A corpus's clips as the parts read them: one input at a time, out of the feature cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.labels import EMOTIONS
from moodreel.predecessors.parts import Array, Part
from moodreel.storage.cache import make_key
from moodreel.training.extraction import Extraction

PARTS_VERSION = 1
"""Raised when an encoder of a part gives other rows of the same input."""


class ClipInputs(Sequence[Tensor]):
    """One input of some clips, read when asked for: all frames of a corpus would not fit into memory."""

    def __init__(self, extraction: Extraction, rows: Sequence[int], name: str) -> None:
        """Store where to read.

        Args:
            extraction: the corpus.
            rows: clips of it.
            name: the input.
        """
        self._extraction = extraction
        self._rows = rows
        self._name = name

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return ClipInputs(self._extraction, self._rows[index], self._name)
        return torch.from_numpy(getattr(self._extraction.load(self._rows[index]), self._name))


@dataclass(frozen=True)
class Encoded:
    """What a part's encoder gives for clips.

    Attributes:
        rows: by clip, float32 (n, d); clips without anything to see or to hear are missing.
        cpu_s: processor seconds that the encoder took now.
        kept_cpu_s: processor seconds that it took when rows were made that came from the cache.
    """

    rows: dict[int, Tensor]
    cpu_s: float
    kept_cpu_s: float

    def of(self, clips: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield those of some clips that there are, each with its place among them."""
        return ((place, self.rows[clip]) for place, clip in enumerate(clips) if clip in self.rows)


@dataclass(frozen=True)
class Clips:
    """A corpus, read.

    Attributes:
        extraction: its features.
        has_face: bool, (n,).
        has_voice: bool, (n,).
    """

    extraction: Extraction
    has_face: npt.NDArray[np.bool_]
    has_voice: npt.NDArray[np.bool_]

    @staticmethod
    def open(extraction: Extraction) -> Clips:
        """Look which clips have what.

        Raises:
            OutputError: the cache lost an entry.
        """
        states = [extraction.load(row) for row in range(len(extraction.samples))]
        return Clips(
            extraction, np.array([one.has_face for one in states]), np.array([one.has_voice for one in states])
        )

    @property
    def targets(self) -> Array:
        """Indices into `EMOTIONS`, shape (n,)."""
        return np.array([EMOTIONS.index(sample.label) for sample in self.extraction.samples])

    @property
    def speakers(self) -> Array:
        """Shape (n,)."""
        return np.array([sample.speaker for sample in self.extraction.samples])

    def usable(self, rows: Sequence[int], part: Part) -> list[int]:
        """Return those of some clips that have what a part needs."""
        there = self.has_face if part.modality == "face" else self.has_voice
        return [int(row) for row in rows if there[row]]

    def inputs(self, rows: Sequence[int], part: Part) -> ClipInputs:
        """Return a part's input of some clips, those without it left out."""
        return ClipInputs(self.extraction, self.usable(rows, part), part.reads)

    def encode(self, part: Part, encoder: torch.nn.Module, rows: Sequence[int]) -> Encoded:
        """Run a part's encoder over clips, or take its rows from the cache where they are the same in all folds."""
        rows = self.usable(rows, part)
        encoded: dict[int, Tensor] = {}
        spent_cpu_s = kept_cpu_s = 0.0
        for row, given in zip(rows, self.inputs(rows, part), strict=True):
            read = self.extraction.keys[row]["picture" if part.modality == "face" else "sound"]
            key = None if part.cache_key is None else make_key("encoded rows", PARTS_VERSION, part.cache_key, read)
            entry = None if key is None else self.extraction.cache.read(key)
            if entry is not None:
                kept_cpu_s += float(entry["cpu_s"])
            else:
                entry = _run(encoder, given)
                spent_cpu_s += float(entry["cpu_s"])
                if key is not None:
                    self.extraction.cache.write(key, entry)
            encoded[row] = torch.from_numpy(entry["rows"])
        return Encoded(encoded, spent_cpu_s, kept_cpu_s)


def _run(encoder: torch.nn.Module, given: Tensor) -> dict[str, Array]:
    begun_cpu_s = time.process_time()
    with torch.inference_mode():
        rows = encoder(given).numpy()
    return {"rows": rows, "cpu_s": np.array(time.process_time() - begun_cpu_s)}
