"""Training pictures moved away from FER2013's."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moodreel.training.face.ferplus import Array


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are moved away from FER2013's.

    Attributes:
        rotation_deg: standard deviation of the rotation, degrees.
        scale: standard deviation of the natural logarithm of the size.
        shift: standard deviation of the shift, fraction of the side.
        contrast: standard deviation of the natural logarithm of gamma; contrast itself the network normalises away.
        coarse: probability that a picture loses resolution (to 12-36 px).
        compressed: probability that a picture is JPEG-compressed (quality 8-50).
        noise: probability that a picture gets noise (standard deviation up to 12 grey values).
        erased: probability that a rectangle (up to 0.4 of each side) is covered.
    """

    rotation_deg: float = 8.0
    scale: float = 0.08
    shift: float = 0.04
    contrast: float = 0.25
    coarse: float = 0.15
    compressed: float = 0.1
    noise: float = 0.1
    erased: float = 0.15


def augment_faces(images: Array, side: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Vary faces as detectors, cameras and codecs vary them, and bring them to the network's size.

    Args:
        images: uint8, shape (n, 48, 48), grey.
        side: of the pictures returned, pixels.
        settings: how far.
        generator: source of all randomness.

    Returns:
        float32, shape (n, 1, side, side), grey values about 0-255.

    Raises:
        RuntimeError: `images` has another shape.
    """
    pictures = torch.from_numpy(_compress(images, settings.compressed, generator)).unsqueeze(1).float()
    pictures = _coarsen(pictures, settings.coarse, generator)
    pictures = _bend_tones(pictures, settings.contrast, generator)
    pictures = _add_noise(pictures, settings.noise, generator)
    pictures = _reframe(pictures, side, settings, generator)
    return _erase(pictures, settings.erased, generator)


def _compress(images: Array, probability: float, generator: torch.Generator) -> Array:
    images = images.copy()
    chosen = torch.rand(len(images), generator=generator) < probability
    qualities = torch.randint(8, 51, (len(images),), generator=generator)
    for index in torch.nonzero(chosen)[:, 0].tolist():
        buffer = io.BytesIO()
        Image.fromarray(images[index]).save(buffer, "JPEG", quality=int(qualities[index]))
        with Image.open(buffer) as picture:
            images[index] = np.asarray(picture)
    return images


def _coarsen(pictures: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    chosen = torch.nonzero(torch.rand(len(pictures), generator=generator) < probability)[:, 0]
    for group in chosen.chunk(4):
        small = int(torch.randint(12, 37, (), generator=generator))
        shrunk = torch.nn.functional.interpolate(pictures[group], (small, small), mode="bilinear", antialias=True)
        pictures[group] = torch.nn.functional.interpolate(shrunk, pictures.shape[-2:], mode="bilinear")
    return pictures


def _bend_tones(pictures: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    gamma = (deviation * torch.randn(len(pictures), 1, 1, 1, generator=generator)).exp()
    return 255 * (pictures / 255).clamp(0, 1).pow(gamma)


def _add_noise(pictures: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    strength = 12 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    strength *= torch.rand(len(pictures), 1, 1, 1, generator=generator) < probability
    return pictures + strength * torch.randn(pictures.shape, generator=generator)


def _reframe(pictures: Tensor, side: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Flip half of the pictures, rotate, scale and shift all, and sample them at the new side in one go."""
    n = len(pictures)
    angle = torch.deg2rad(settings.rotation_deg * torch.randn(n, generator=generator))
    size = (settings.scale * torch.randn(n, generator=generator)).exp()
    shift = 2 * settings.shift * torch.randn(n, 2, generator=generator)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = size * angle.cos(), size * angle.sin()
    rows = (
        torch.stack([mirror * cosine, -sine, shift[:, 0]], 1),
        torch.stack([mirror * sine, cosine, shift[:, 1]], 1),
    )
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), [n, 1, side, side], align_corners=False)
    return torch.nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _erase(pictures: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    n, side = len(pictures), pictures.shape[-1]
    extent = side * (0.1 + 0.3 * torch.rand(n, 2, generator=generator))
    start = side * torch.rand(n, 2, generator=generator) - extent / 2
    chosen = torch.rand(n, generator=generator) < probability
    place = torch.arange(side, dtype=torch.float32)
    inside = (place >= start[..., None]) & (place < (start + extent)[..., None])
    covered = inside[:, 0, :, None] & inside[:, 1, None, :] & chosen[:, None, None]
    return torch.where(covered[:, None], pictures.mean((2, 3), keepdim=True), pictures)
