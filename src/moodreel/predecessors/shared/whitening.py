"""PCA whitening as a layer: fitted by scikit-learn, computed in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

_LEAST_SHARE = 1e-4
"""Directions with less than this share of the first one's variance are rounding, not signal, and stay out."""


def fit_whitening(rows: npt.NDArray[Any], variance: float = 1.0, *, scale: bool = False) -> nn.Linear:
    """Fit a map to uncorrelated columns of mean 0 and deviation 1.

    Args:
        rows: shape (n, d).
        variance: share of the variance to keep, above 0 up to 1; or, from 2, the number of columns.
        scale: whether columns are brought to deviation 1 first, for columns of different units.

    Returns:
        A layer from d to k columns.

    Raises:
        ValueError: `rows` is no finite table.
    """
    deviation = rows.std(axis=0) if scale else np.ones(rows.shape[1])
    deviation = np.where(deviation < 1e-8, 1.0, deviation)
    most = min(len(rows), rows.shape[1])
    wanted = min(int(variance), most) if variance >= 2 else (variance if variance < 1 else None)
    pca = PCA(n_components=wanted, svd_solver="full" if variance < 2 else "auto", random_state=0).fit(rows / deviation)
    kept = pca.explained_variance_ > _LEAST_SHARE * pca.explained_variance_[0]
    kept[0] = True
    spread = np.sqrt(np.maximum(pca.explained_variance_[kept], 1e-12))
    weight = pca.components_[kept] / spread[:, None] / deviation
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(-weight @ (pca.mean_ * deviation)))
    return layer.requires_grad_(False)


def normalise_patches(patches: Tensor, floor: float) -> Tensor:
    """Bring each patch to mean 0 and contrast 1 (Coates, Lee and Ng 2011, section 3.2.1).

    Args:
        patches: shape (..., d), values 0-1.
        floor: added to the variance, so that flat patches stay flat.
    """
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + floor)
