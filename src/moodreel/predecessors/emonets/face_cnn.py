"""EmoNets, the face network: a small convolutional network on single grey faces, and its answers over a clip.

Kahou et al. 2015, "EmoNets", section "A convolutional network approach for faces": trained on static faces alone, then
applied to every frame of a registered face; the probabilities are averaged within ten equal stretches of the clip.
Three layers of 5x5 filters with pooling in between, after cuda-convnet; the paper leaves widths open, those here are
chosen to be trained within minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.labels import N_EMOTIONS
from moodreel.predecessors.shared.pictures import FACE_SIDE_PX, to_grey
from moodreel.training.fitting import Course, Epochs, FitModule, fit_module, schedule_one_cycle, weigh_classes
from moodreel.training.machine import choose_precision

Array = npt.NDArray[Any]

_WIDTHS = (32, 32, 64)
_SHIFT_PX = 4


@dataclass(frozen=True)
class CnnSettings:
    """How the face network is fitted; the paper's own key words where it has them.

    Attributes:
        epochs: passes over the faces.
        learning_rate: greatest rate of SGD with momentum .9; it rises, then falls to zero (one cycle).
        batch_size: faces per step.
        weight_decay: of all weights.
        dropout: share of the last maps dropped, 0-1.
    """

    epochs: int = 6
    learning_rate: float = 0.03
    batch_size: int = 128
    weight_decay: float = 5e-4
    dropout: float = 0.3


class FaceCnn(nn.Module):
    """Grey faces (n, 48, 48), values 0-1, to logits (n, 7)."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        channels = (1, *_WIDTHS)
        layers: list[nn.Module] = []
        for n_in, n_out in zip(channels, _WIDTHS, strict=False):
            layers += [nn.Conv2d(n_in, n_out, 5, padding=2), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)
        side = FACE_SIDE_PX // 2 ** len(_WIDTHS)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(_WIDTHS[-1] * side**2, N_EMOTIONS))

    def forward(self, faces: Tensor) -> Tensor:
        """Return logits; each face is first brought to mean 0 and contrast 1, as the paper's histograms are evened."""
        mean = faces.mean((1, 2), keepdim=True)
        contrast = torch.sqrt(((faces - mean) ** 2).mean((1, 2), keepdim=True) + 1e-4)
        logits: Tensor = self.head(self.layers(((faces - mean) / contrast)[:, None]))
        return logits


class FaceAnswers(nn.Module):
    """A clip's frames to the face network's probabilities in each stretch of the clip."""

    def __init__(self, cnn: FaceCnn, n_segments: int) -> None:
        super().__init__()
        self.cnn = cnn
        self.n_segments = n_segments

    def forward(self, frames: Tensor) -> Tensor:
        """Return one row, shape (1, n_segments * 7), of frames uint8 (t, side, side, 3)."""
        probabilities = torch.softmax(self.cnn(to_grey(frames, FACE_SIDE_PX)), dim=1)
        return average_segments(probabilities, self.n_segments).reshape(1, -1)


def average_segments(rows: Tensor, n_segments: int) -> Tensor:
    """Average rows within equal stretches of time; a row on a border counts for both sides by its share.

    Args:
        rows: shape (t, d), t at least 1; with fewer rows than stretches, rows stand in several of them.
        n_segments: how many stretches.

    Returns:
        Shape (n_segments, d).
    """
    n_rows = torch.ones_like(rows[:, 0]).cumsum(0)  # 1 to t, so that the exported graph knows t as a variable
    starts, ends = (n_rows - 1) / n_rows[-1], n_rows / n_rows[-1]
    first = torch.arange(n_segments, dtype=rows.dtype) / n_segments
    overlap = torch.minimum(ends[None], first[:, None] + 1 / n_segments) - torch.maximum(starts[None], first[:, None])
    weights = overlap.clamp(min=0)
    return weights @ rows / weights.sum(1, keepdim=True)


def fit_face_cnn(faces: Array, targets: Array, settings: CnnSettings, seed: int = 0) -> FaceCnn:
    """Fit the network on static faces.

    Args:
        faces: grey uint8, shape (n, 48, 48).
        targets: indices into `EMOTIONS`, shape (n,).
        settings: how.
        seed: of weights, order and augmentation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cnn = FaceCnn(settings.dropout)
        cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stub
        pictures, labels = torch.from_numpy(faces), torch.from_numpy(targets.astype(np.int64))
        counts = np.bincount(labels.numpy(), minlength=N_EMOTIONS)
        weights = weigh_classes(counts, power=0.5)  # rare emotions weigh more, not all

        def draw(_: int) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in torch.split(torch.randperm(len(labels)), settings.batch_size):
                yield vary(pictures[batch]), labels[batch]

        epochs = Epochs(-(-len(labels) // settings.batch_size), draw)
        module = _CnnModule(cnn, settings, weights)
        fit_module(module, epochs, Course(settings.epochs, precision=choose_precision()))
    cnn.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return cnn.eval().requires_grad_(False)


class _CnnModule(FitModule):
    """SGD with one cycle of the learning rate."""

    def __init__(self, cnn: FaceCnn, settings: CnnSettings, weights: Tensor) -> None:
        super().__init__(cnn, "face network")
        self.settings = settings
        self.weights = weights

    def measure_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        faces, labels = batch
        return functional.cross_entropy(self.network(faces).float(), labels, weight=self.weights, label_smoothing=0.1)

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            settings.learning_rate,
            momentum=0.9,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )
        return schedule_one_cycle(optimizer, settings.learning_rate, int(self.trainer.estimated_stepping_batches))


def vary(faces: Tensor) -> Tensor:
    """Mirror every second face and shift each by up to 4 pixels.

    Args:
        faces: uint8, shape (n, side, side).

    Returns:
        float32 of the same shape, values 0-1.
    """
    n_faces, side = faces.shape[:2]
    padded = functional.pad(faces[:, None].float() / 255, [_SHIFT_PX] * 4, mode="replicate")[:, 0]
    rows, columns = (torch.randint(0, 2 * _SHIFT_PX + 1, (n_faces, 1)) + torch.arange(side) for _ in range(2))
    shifted = padded[torch.arange(n_faces)[:, None, None], rows[:, :, None], columns[:, None, :]]
    mirrored = torch.rand(n_faces) < 0.5
    shifted[mirrored] = shifted[mirrored].flip(2)
    return shifted
