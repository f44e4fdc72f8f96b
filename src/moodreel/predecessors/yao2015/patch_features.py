"""Yao et al. 2015, the three feature families: what each patch of a frontal face shows over a clip.

Yao, Shao, Ma and Chen 2015, "Capturing AU-aware facial features and their latent relations for emotion recognition in
the wild". The text leaves open which features; taken here are the three usual ones of that time: oriented gradients
(Dalal and Triggs 2005), local binary patterns (Ojala, Pietikäinen and Mäenpää 2002), and the grey values themselves.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.predecessors.shared.pictures import FACE_SIDE_PX, cut_patches, to_grey
from moodreel.predecessors.shared.whitening import normalise_patches

Family = Literal["gradients", "binary_patterns", "grey"]

PATCH_SIDE_PX, PATCH_STRIDE_PX = 16, 8
GRID = 11
"""Patches in a row and in a column of a face of 96x96 pixels, half overlapping."""
_N_ORIENTATIONS = 8
_N_NEIGHBOURS, _N_BINS = 8, 59
_RISE = 1.43215 / 255
"""A neighbour counts as brighter from here on: an odd number that no difference of grey values falls on, so that a
rounding of the exported graph cannot turn a pattern over."""
_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class PatchFeatures(nn.Module):
    """Frames of a clip to mean and deviation over time of each patch's features."""

    uniform_bins: Tensor

    def __init__(self, family: Family) -> None:
        super().__init__()
        self.family = family
        self.register_buffer("uniform_bins", _number_patterns())

    def forward(self, frames: Tensor) -> Tensor:
        """Return one row, shape (1, 121 * 2d), of frames uint8 (t, 96, 96, 3)."""
        describe = {"gradients": describe_gradients, "grey": describe_grey, "binary_patterns": self._describe_binary}
        features = describe[self.family](frames)
        mean = features.mean(0)
        deviation = torch.sqrt(((features - mean) ** 2).mean(0) + 1e-8)
        return torch.cat([mean, deviation], dim=1).reshape(1, -1)

    def _describe_binary(self, frames: Tensor) -> Tensor:
        """Histograms of uniform local binary patterns at half the size, shape (t, 121, 59)."""
        grey = functional.pad(to_grey(frames, FACE_SIDE_PX)[:, None], [1] * 4, mode="replicate")[:, 0]
        middle = grey[:, 1:-1, 1:-1]
        side = middle.shape[1]
        code = torch.zeros_like(middle)
        for bit, (down, right) in enumerate(_STEPS):
            neighbour = grey[:, 1 + down : 1 + down + side, 1 + right : 1 + right + side]
            code = code + 2.0**bit * (neighbour >= middle + _RISE).float()
        numbers = self.uniform_bins[code.long()][:, None]
        bins = (numbers == torch.arange(_N_BINS)[:, None, None]).float()
        return functional.avg_pool2d(bins, PATCH_SIDE_PX // 2, PATCH_STRIDE_PX // 2).flatten(2).transpose(1, 2)


def describe_gradients(frames: Tensor) -> Tensor:
    """Histograms of oriented gradients, four cells of eight directions a patch, shape (t, 121, 32), unit length."""
    grey = functional.pad(to_grey(frames)[:, None], [1] * 4, mode="replicate")[:, 0]
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    angles = torch.arange(_N_ORIENTATIONS) * (2 * torch.pi / _N_ORIENTATIONS)
    towards = across[:, None] * torch.cos(angles)[:, None, None] + down[:, None] * torch.sin(angles)[:, None, None]
    nearest = (towards >= towards.max(1, keepdim=True).values).float()
    lengths = torch.sqrt(across**2 + down**2)[:, None]
    cells = functional.avg_pool2d(nearest * lengths, PATCH_SIDE_PX // 2)
    corners = [cells[:, :, top : top + GRID, left : left + GRID] for top in (0, 1) for left in (0, 1)]
    histograms = torch.cat(corners, dim=1).flatten(2).transpose(1, 2)
    return histograms / torch.sqrt((histograms**2).sum(-1, keepdim=True) + 1e-4)


def describe_grey(frames: Tensor) -> Tensor:
    """Grey values at half the size, each patch of mean 0 and contrast 1, shape (t, 121, 64)."""
    patches = cut_patches(to_grey(frames, FACE_SIDE_PX), PATCH_SIDE_PX // 2, PATCH_STRIDE_PX // 2)
    return normalise_patches(patches, 1e-3)


def _number_patterns() -> Tensor:
    """Return the bin of each of the 256 patterns: those with at most two changes around have one each, 58 in all."""
    patterns = [[code >> bit & 1 for bit in range(_N_NEIGHBOURS)] for code in range(256)]
    n_changes = [sum(bits[index] != bits[index - 1] for index in range(_N_NEIGHBOURS)) for bits in patterns]
    uniform = [code for code in range(256) if n_changes[code] <= 2]
    numbers = {code: number for number, code in enumerate(uniform)}
    return torch.tensor([numbers.get(code, len(uniform)) for code in range(256)])
