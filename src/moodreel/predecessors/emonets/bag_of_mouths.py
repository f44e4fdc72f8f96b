"""EmoNets, the bag of mouths: K-means words of mouth patches, a vocabulary a cell.

Kahou et al. 2015, "EmoNets", section on the bag-of-mouths model; Coates, Lee and Ng 2011, "An analysis of single-layer
networks in unsupervised feature learning", section 3.2.2 for the triangle coding f_k = max(0, mean(z) - z_k), where z_k
is the distance to centroid k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from moodreel.predecessors.shared.pictures import cut_patches, to_grey
from moodreel.predecessors.shared.whitening import fit_whitening, normalise_patches

Array = npt.NDArray[Any]

MOUTH_TOP_PX, MOUTH_LEFT_PX, MOUTH_SIDE_PX = 53, 29, 38
"""Where the mouth lies in an aligned face of 96x96 pixels, by the template of `moodreel.face.alignment`."""
PATCH_SIDE_PX = 8
_STRIDE_PX = 2
_CELLS = 4
_FLOOR = 1e-3
_PATCHES_A_CELL = 8000


@dataclass(frozen=True)
class MouthSettings:
    """How mouths become words; words and variance are the paper's.

    Attributes:
        words: centroids of each of the 4x4 cells.
        variance: share of the variance that whitening keeps, 0-1.
        penalty: C of the logistic regression.
        every: one of so many frames is looked at.
    """

    words: int = 400
    variance: float = 0.9
    penalty: float = 0.001
    every: int = 4


class MouthEncoder(nn.Module):
    """Frames of a clip to one bag of words each."""

    centroids: Tensor

    def __init__(self, whitening: nn.Linear, centroids: Tensor, every: int) -> None:
        """Store what was fitted.

        Args:
            whitening: of normalised patches.
            centroids: shape (16, n_words, k), by cell, row by row.
            every: one of so many frames is looked at.
        """
        super().__init__()
        self.whitening = whitening
        self.every = every
        self.register_buffer("centroids", centroids)

    def forward(self, frames: Tensor) -> Tensor:
        """Return bags, shape (n, 16 * n_words), of frames uint8 (t, 96, 96, 3)."""
        cells = cut_cells(frames[:: self.every], self.whitening)
        codes = code_triangle(cells, self.centroids)
        n_cells, n_words = self.centroids.shape[:2]
        bags = codes.reshape(n_cells, -1, _PATCHES_OF_FRAME, n_words).mean(2)
        return bags.transpose(0, 1).reshape(-1, n_cells * n_words)


_GRID = (MOUTH_SIDE_PX - PATCH_SIDE_PX) // _STRIDE_PX + 1
_PATCHES_OF_FRAME = (_GRID // _CELLS) ** 2


def cut_cells(frames: Tensor, whitening: nn.Module) -> Tensor:
    """Cut the mouth into normalised, whitened patches and sort them by cell.

    Args:
        frames: RGB uint8, shape (t, 96, 96, 3).
        whitening: of patches (…, 64).

    Returns:
        Shape (16, t * 16, k): the cells row by row, in each the patches of one frame after the other.
    """
    top, left, side = MOUTH_TOP_PX, MOUTH_LEFT_PX, MOUTH_SIDE_PX
    mouths = to_grey(frames)[:, top : top + side, left : left + side]
    patches: Tensor = whitening(normalise_patches(cut_patches(mouths, PATCH_SIDE_PX, _STRIDE_PX), _FLOOR))
    within = _GRID // _CELLS
    grid = patches.reshape(-1, _CELLS, within, _CELLS, within, patches.shape[-1])
    return grid.permute(1, 3, 0, 2, 4, 5).reshape(_CELLS**2, -1, patches.shape[-1])


def code_triangle(rows: Tensor, centroids: Tensor) -> Tensor:
    """Code rows by how much nearer than on average each centroid is, max(0, mean(z) - z_k).

    Args:
        rows: shape (n_cells, n, k).
        centroids: shape (n_cells, n_words, k).

    Returns:
        Shape (n_cells, n, n_words), at least 0.
    """
    squares = (rows**2).sum(-1, keepdim=True) + (centroids**2).sum(-1)[:, None]
    distances = torch.sqrt((squares - 2 * rows @ centroids.transpose(1, 2)).clamp(min=1e-8))
    return (distances.mean(-1, keepdim=True) - distances).clamp(min=0)


def fit_mouths(clips: Sequence[Tensor], settings: MouthSettings, seed: int = 0) -> MouthEncoder:
    """Fit whitening and centroids.

    Args:
        clips: frames of training clips, uint8, shape (t, 96, 96, 3) each.
        settings: how.
        seed: of the choice of patches and of K-means.
    """
    rng = np.random.default_rng(seed)
    frames = torch.cat([clip[:: settings.every] for clip in clips])
    n_frames = min(len(frames), -(-_PATCHES_A_CELL // _PATCHES_OF_FRAME))
    cells = cut_cells(frames[np.sort(rng.choice(len(frames), n_frames, replace=False))], nn.Identity())
    drawn = cells.reshape(-1, cells.shape[-1]).numpy()
    whitening = fit_whitening(drawn[rng.choice(len(drawn), min(len(drawn), 20_000), replace=False)], settings.variance)
    centroids = [_find_words(whitening(cell).numpy(), settings.words, seed) for cell in cells]
    return MouthEncoder(whitening, torch.from_numpy(np.stack(centroids)), settings.every)


def _find_words(rows: Array, n_words: int, seed: int) -> Array:
    """Return centroids, float32, shape (n_words, k)."""
    means = MiniBatchKMeans(min(n_words, len(rows)), init="random", n_init=1, batch_size=2048, random_state=seed)
    centroids = means.fit(rows).cluster_centers_
    short = n_words - len(centroids)  # a toy corpus may hold fewer patches than words
    return np.asarray(np.pad(centroids, ((0, short), (0, 0)), mode="edge"), np.float32)
