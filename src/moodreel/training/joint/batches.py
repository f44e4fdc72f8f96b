"""Clips as a network reads them, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.training.joint.material import Material
from moodreel.training.joint.networks import ClipBatch


@dataclass(frozen=True)
class ClipItem:
    """One clip as the network reads it.

    Attributes:
        sequence: float features of each frame, shape (t, d), t at least 1; or the index of a clip whose frames are
            read from the cache in every step.
        picture_scores: float32 class scores of the picture as a whole, shape (7,) or (0,).
        vector: float32 sound features, shape (d,).
        has_face: whether there is a picture.
        has_voice: whether there is sound.
        label: index into `EMOTIONS`.
        clip_id: name of the clip.
    """

    sequence: Tensor | int
    picture_scores: Tensor
    vector: Tensor
    has_face: bool
    has_voice: bool
    label: int
    clip_id: str


class Batches:
    """Batches of clips for one epoch and one process.

    The order depends on seed and epoch alone, and each global batch is dealt out to the processes clip by clip, so
    that two processes together take the very steps that one would take.
    """

    def __init__(
        self,
        material: Material,
        items: Sequence[ClipItem],
        batch_size: int,
        *,
        seed: int | None = None,
        modality_dropout: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Store what to batch.

        Args:
            material: where frames that are not held are read.
            items: the clips.
            batch_size: clips per step, over all processes.
            seed: of the shuffle and of lost modalities; `None` keeps order and clips as they are, and the last batch
                may be smaller.
            modality_dropout: chance that a clip loses its picture, and as much that it loses its sound.
            rank: number of this process.
            world_size: number of processes.
        """
        self.material = material
        self.items = items
        self.batch_size = batch_size
        self.seed = seed
        self.modality_dropout = modality_dropout
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        if self.seed is None:
            return (len(self.items) + self.batch_size - 1) // self.batch_size
        return max(1, len(self.items) // self.batch_size)

    def __iter__(self) -> Iterator[ClipBatch]:
        rng = np.random.default_rng(self.seed)
        order = np.arange(len(self.items)) if self.seed is None else rng.permutation(len(self.items))
        lost = rng.random(len(self.items))
        for step in range(len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            if self.seed is not None:
                rows = rows[: len(rows) // self.world_size * self.world_size][self.rank :: self.world_size]
            yield self._collate(rows, lost[rows])

    def _collate(self, rows: npt.NDArray[np.int_], lost: npt.NDArray[np.float64]) -> ClipBatch:
        items = [self.items[row] for row in rows]
        has_face = torch.tensor([float(item.has_face) for item in items])
        has_voice = torch.tensor([float(item.has_voice) for item in items])
        both = has_face * has_voice
        chance = torch.from_numpy(lost).float()
        has_face -= both * (chance < self.modality_dropout)
        has_voice -= both * (chance > 1 - self.modality_dropout)
        sequences = [self._sequence(item) for item in items]
        return ClipBatch(
            sequence=torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
            lengths=torch.tensor([len(sequence) for sequence in sequences]),
            picture_scores=torch.stack([item.picture_scores for item in items]),
            vector=torch.stack([item.vector for item in items]),
            has_face=has_face,
            has_voice=has_voice,
            labels=torch.tensor([item.label for item in items]),
            clip_ids=tuple(item.clip_id for item in items),
        )

    def _sequence(self, item: ClipItem) -> Tensor:
        return self.material.frames(item.sequence) if isinstance(item.sequence, int) else item.sequence
