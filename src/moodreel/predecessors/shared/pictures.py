"""Frames of an aligned face to what the parts look at; computed in torch, so that the exported graph does the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FRAME_SIDE_PX = 96
"""Side of the aligned faces that both predecessors read."""
FACE_SIDE_PX = 48
"""Side of the faces that the face network was taught."""

_GREY = (0.299, 0.587, 0.114)


def to_grey(frames: Tensor, side_px: int = FRAME_SIDE_PX) -> Tensor:
    """Return frames as grey pictures.

    Args:
        frames: RGB uint8, shape (t, side, side, 3).
        side_px: side of the pictures returned; a whole fraction of the frames' side.

    Returns:
        float32, shape (t, side_px, side_px), values 0-1.
    """
    grey = frames.float() @ torch.tensor(_GREY) / 255
    factor = frames.shape[1] // side_px
    return grey if factor == 1 else functional.avg_pool2d(grey[:, None], factor)[:, 0]


def cut_patches(pictures: Tensor, side_px: int, stride_px: int) -> Tensor:
    """Cut square patches on a regular grid.

    Args:
        pictures: shape (t, height, width).
        side_px: side of a patch.
        stride_px: from one patch to the next.

    Returns:
        Shape (t, n_patches, side_px²), row by row.
    """
    return functional.unfold(pictures[:, None], side_px, stride=stride_px).transpose(1, 2)
