"""A residual network of plain convolutions, which sees faces as small as FER2013's are and starts from nothing.

It never ships: it answers worse than one that starts from a face recogniser, but it errs elsewhere, and that is what
makes it worth hearing when the network that ships is taught.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_SPREAD = 64.0
"""Deviation of the grey values that come in, see `normalise`."""


@dataclass(frozen=True)
class ResidualArchitecture:
    """Widths of a residual network.

    Attributes:
        stem: channels of the first convolution.
        widths: channels of each stage; every stage but the first halves the map.
        depth: blocks a stage.
        dropout: probability before the heads.
    """

    stem: int = 32
    widths: tuple[int, ...] = (96, 192, 384)
    depth: int = 2
    dropout: float = 0.4


class ResidualNet(nn.Module):
    """Residual blocks behind a convolution and a maximum over 2x2 (He et al., "Deep residual learning", CVPR 2016)."""

    def __init__(self, architecture: ResidualArchitecture) -> None:
        super().__init__()
        stem = architecture.stem
        self.width = architecture.widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(2)
        )
        widths = [width for width in architecture.widths for _ in range(architecture.depth)]
        before = [stem, *widths[:-1]]
        halves = [index > 0 and index % architecture.depth == 0 for index in range(len(widths))]
        self.body = nn.Sequential(*map(_Block, before, widths, halves))

    def forward(self, pictures: Tensor) -> Tensor:
        """Turn pictures into pooled features.

        Args:
            pictures: float32, shape (n, 1, side, side), of mean 0 and deviation 64.

        Returns:
            float32, shape (n, width), not negative: the mean of the last feature map over the picture.
        """
        features: Tensor = self.body(self.stem(pictures / _SPREAD))
        return features.mean((2, 3))

    def blocks(self) -> list[list[nn.Parameter]]:
        """All parameters as one block: they start from nothing and learn at one rate."""
        return [list(self.parameters())]

    def prepare(self, pictures: Tensor, n_frozen: int) -> None:
        """Nothing to do before a fit; `MobileNet` has."""

    def finish(self) -> None:
        """Nothing to do after a fit; `MobileNet` has."""


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, halves: bool) -> None:
        super().__init__()
        stride = 2 if halves else 1
        self.first = nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out))
        self.second = nn.Sequential(nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out))
        keeps = n_in == n_out and not halves
        self.shortcut = (
            nn.Identity()
            if keeps
            else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(features))) + self.shortcut(features))
