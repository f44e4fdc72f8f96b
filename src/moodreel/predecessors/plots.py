"""What each part learned, as one small picture: filters, centroids, selected patches, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from moodreel.labels import EMOTIONS
from moodreel.predecessors.emonets.bag_of_mouths import PATCH_SIDE_PX, MouthEncoder
from moodreel.predecessors.emonets.face_cnn import FaceAnswers
from moodreel.predecessors.emonets.relational_autoencoder import BLOCK_FRAMES, BLOCK_SIDE_PX, MotionEncoder
from moodreel.predecessors.parts import Array, FittedPart
from moodreel.storage.whole_files import whole_file

_MOST_TILES = 64
_FRAMES_SHOWN = (0, 4, 8)


def draw_part(name: str, fitted: FittedPart, classifier: Any, folder: Path) -> None:
    """Draw what a part learned, where there is something to look at.

    Args:
        name: of the part; the picture is `NAME.png`.
        fitted: the part.
        classifier: its fitted classifier.
        folder: where to write; made if missing.
    """
    encoder = fitted.encoder
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, FaceAnswers):
        filters = next(layer for layer in encoder.cnn.layers if isinstance(layer, nn.Conv2d)).weight
        _save(join_tiles(filters.detach().numpy()[:, 0], 8), folder / f"{name}.png", "5x5 filters of the first layer")
    elif isinstance(encoder, MouthEncoder):
        _save(_draw_words(encoder), folder / f"{name}.png", "mouth words, four of each of 4x4 cells")
    elif isinstance(encoder, MotionEncoder):
        _save(_draw_motion(encoder), folder / f"{name}.png", "filters over time: frames 1, 5 and 9 of 9 per row")
    elif hasattr(classifier, "rbms_"):
        _draw_units(classifier, folder / f"{name}.png")
    elif hasattr(classifier, "separation_"):
        _draw_patches(classifier, folder / f"{name}.png")


def draw_weights(weights: Array, names: Sequence[str], folder: Path) -> None:
    """Draw the weights of a fusion, shape (n_models, 7), as `class_weights.png`."""

    def draw(axes: Any) -> None:
        axes.imshow(weights, vmin=0, vmax=1, cmap="Blues")
        axes.set(xticks=range(len(EMOTIONS)), yticks=range(len(names)))
        axes.set_xticklabels(EMOTIONS, rotation=45, ha="right")
        axes.set_yticklabels(names)
        for row, column in np.ndindex(weights.shape):
            axes.text(column, row, f"{weights[row, column]:.2f}", ha="center", va="center", fontsize=7)

    _plot(draw, folder / "class_weights.png", (6, 0.5 * len(names) + 1.5))


def join_tiles(tiles: Array, n_columns: int) -> Array:
    """Lay pictures out in rows, each stretched to 0-1, with a border between them.

    Args:
        tiles: shape (n, height, width).
        n_columns: pictures in a row.

    Returns:
        Shape (n_rows * (height + 1) + 1, n_columns * (width + 1) + 1).
    """
    n_tiles, height, width = tiles.shape
    low = tiles.min(axis=(1, 2), keepdims=True)
    stretched = (tiles - low) / np.maximum(tiles.max(axis=(1, 2), keepdims=True) - low, 1e-9)
    sheet = np.ones((-(-n_tiles // n_columns) * (height + 1) + 1, n_columns * (width + 1) + 1))
    for index, tile in enumerate(stretched):
        top, left = (index // n_columns) * (height + 1) + 1, (index % n_columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _draw_words(encoder: MouthEncoder) -> Array:
    """The first four words of each cell, back in pixels, laid out as the cells lie in the mouth."""
    back = np.linalg.pinv(encoder.whitening.weight.numpy())
    words = encoder.centroids.numpy()[:, :4] @ back.T
    cells = [join_tiles(cell.reshape(-1, PATCH_SIDE_PX, PATCH_SIDE_PX), 2) for cell in words]
    return join_tiles(np.stack(cells), 4)


def _draw_motion(encoder: MotionEncoder) -> Array:
    """Filters of the first side, back in pixels: three of their frames in a row, three filters beside each other."""
    autoencoder = encoder.autoencoder
    back = np.linalg.pinv(autoencoder.whiten_x.weight.numpy()) @ autoencoder.u.detach().numpy()
    strongest = np.argsort(-np.linalg.norm(autoencoder.w.detach().numpy(), axis=1))[: _MOST_TILES // 3]
    filters = back[:, strongest].T.reshape(-1, BLOCK_FRAMES - 1, BLOCK_SIDE_PX, BLOCK_SIDE_PX)
    strips = np.concatenate([filters[:, frame] for frame in _FRAMES_SHOWN], axis=2)
    return join_tiles(strips, 3)


def _draw_units(network: Any, path: Path) -> None:
    """Weights from whitened frames to the first layer's units, before and after fine-tuning."""
    tuned = next(layer for layer in network.network_[1].modules() if isinstance(layer, nn.Linear))
    before, after = network.rbms_[0].weights_[:40, :120], tuned.weight.detach().numpy().T[:40, :120]

    def draw(axes: Any) -> None:
        limit = np.abs(after).max() / 2
        both = np.concatenate([before, np.full((2, before.shape[1]), np.nan), after])
        axes.imshow(both, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        axes.set(xlabel="hidden unit", ylabel="whitened column", title="RBM (above), fine-tuned (below)", yticks=[])

    _plot(draw, path, (6, 3.5))


def _draw_patches(classifier: Any, path: Path) -> None:
    """How often each patch was taken over the pairs of emotions, and how well patches separate a pair on average."""
    grid = classifier.grid
    counts = np.bincount(classifier.patches_.ravel(), minlength=grid**2).reshape(grid, grid)
    separation = classifier.separation_.mean(axis=0).reshape(grid, grid)

    def draw(axes: Any) -> None:
        sheet = np.full((grid, 2 * grid + 1), np.nan)
        sheet[:, :grid] = counts / max(counts.max(), 1)
        sheet[:, grid + 1 :] = (separation - separation.min()) / max(np.ptp(separation), 1e-9)
        axes.imshow(sheet, cmap="magma")
        axes.set(xticks=[], yticks=[], title="patches taken (left), mean separation of two emotions (right)")

    _plot(draw, path, (6, 3.2))


def _save(sheet: Array, path: Path, title: str) -> None:
    def draw(axes: Any) -> None:
        axes.imshow(sheet, cmap="gray", interpolation="nearest")
        axes.set(xticks=[], yticks=[], title=title)

    _plot(draw, path, (5, 5 * sheet.shape[0] / sheet.shape[1] + 0.4))


def _plot(draw: Callable[[Any], None], path: Path, size: tuple[float, float]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=size)
    draw(axes)
    figure.tight_layout()
    with whole_file(path) as whole:
        figure.savefig(whole, dpi=90)
    pyplot.close(figure)
