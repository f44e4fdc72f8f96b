"""Lips as cameras show them: askew, small, soft, noisy, mirrored, too dark, and shaking."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # torch's own name for it
from torch import Tensor

_TURN, _SCALE, _SHIFT, _SHEAR = 0.08, 0.10, 0.06, 0.06
_DRIFT, _JITTER = 0.005, 0.008


def vary_lips(lips: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary stretches of lips, each in its own way all through.

    Args:
        lips: grey 0-255, shape (n, n_slots, side, side).
        rng: decides how.

    Returns:
        float32 of the same shape, 0-255.
    """
    return torch.stack([_vary(stretch.float(), rng) for stretch in lips])


def _vary(stretch: Tensor, rng: np.random.Generator) -> Tensor:
    varied = _move(stretch[:, None], rng)
    side = stretch.shape[-1]
    if rng.random() < 0.45:
        small = F.interpolate(varied, size=[int(rng.integers(16, 80))] * 2, mode="area")
        varied = F.interpolate(small, size=[side, side], mode="bilinear", align_corners=False)
    if rng.random() < 0.3:
        varied = 255 * (varied.clamp(0, 255) / 255) ** float(np.exp(rng.normal(0, 0.4)))
    varied = (varied - 128) * float(np.exp(rng.normal(0, 0.3))) + 128 + float(rng.normal(0, 25))
    if rng.random() < 0.4:
        varied = varied + torch.randn(varied.shape) * float(rng.uniform(1, 10))
    if rng.random() < 0.12:
        top = int(rng.integers(0, side))
        varied[:, :, top : top + int(rng.integers(5, 25))] = float(rng.uniform(0, 255))
    return varied[:, 0].clamp(0, 255)


def _move(stretch: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn, scale, shift and mirror a stretch; half of them drift, some shake as a detector's boxes do."""
    n_slots = len(stretch)
    turn, scale = rng.normal(0, _TURN), np.exp(rng.normal(0, _SCALE))
    mirror, aspect = (-1.0 if rng.random() < 0.5 else 1.0), np.exp(rng.normal(0, 0.05))
    cosine, sine = np.cos(turn) * scale, np.sin(turn) * scale
    drift = np.cumsum(rng.normal(0, _DRIFT if rng.random() < 0.5 else _DRIFT / 5, (n_slots, 2)), axis=0)
    shake = rng.normal(0, _JITTER * (rng.random() < 0.4), (n_slots, 2))
    maps = np.zeros((n_slots, 2, 3), np.float32)
    maps[:, 0, 0], maps[:, 0, 1] = cosine * mirror * aspect, rng.normal(0, _SHEAR) - sine
    maps[:, 1, 0], maps[:, 1, 1] = sine * mirror, cosine
    maps[:, :, 2] = rng.normal(0, _SHIFT, 2) + drift + shake
    grid = F.affine_grid(torch.from_numpy(maps), list(stretch.shape), align_corners=False)
    return F.grid_sample(stretch, grid, padding_mode="border", align_corners=False)
