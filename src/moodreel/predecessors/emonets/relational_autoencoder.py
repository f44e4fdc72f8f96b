"""EmoNets, the relational autoencoder: mapping units that say how one picture becomes the next.

Kahou et al. 2015, "EmoNets", section on the relational autoencoder; Memisevic 2011, "Gradient-based learning of
higher-order image features", equations 6-8: with factors U'x and V'y the mapping units are m = σ(W'(U'x ∘ V'y)), and
each side is rebuilt from the other, x = U(V'y ∘ Wm), y = V(U'x ∘ Wm). A product of filter responses is large where both
agree: synchrony (Konda, Memisevic and Michalski 2014, "Learning to encode motion using spatio-temporal synchrony").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from moodreel.predecessors.shared.pictures import FACE_SIDE_PX, cut_patches, to_grey
from moodreel.predecessors.shared.whitening import fit_whitening, normalise_patches
from moodreel.training.fitting import Course, Epochs, FitModule, fit_module

Array = npt.NDArray[Any]

BLOCK_SIDE_PX, BLOCK_FRAMES = 16, 10
_STRIDE_PX, _STRIDE_FRAMES = 8, 5
_FLOOR = 1e-3
_BATCH = 128
_MOST_FILTER_NORM = 2.0


@dataclass(frozen=True)
class RelationalSettings:
    """How space-time blocks become words; hidden units and C are the paper's, which leaves the rest open.

    Attributes:
        hidden: mapping units.
        factors: products of filter responses that they pool.
        components: columns that whitening keeps of either side.
        noise: share of the inputs set to zero in training, 0-1.
        learning_rate: of Adam.
        epochs: passes over the blocks.
        blocks: training blocks drawn.
        words: centroids of the mapping units' states.
        penalty: C of the χ² support vector machine.
    """

    hidden: int = 300
    factors: int = 200
    components: int = 128
    noise: float = 0.3
    learning_rate: float = 0.001
    epochs: int = 15
    blocks: int = 15_000
    words: int = 200
    penalty: float = 100.0


class RelationalAutoencoder(nn.Module):
    """Factored gated autoencoder over pairs of vectors."""

    def __init__(self, whiten_x: nn.Linear, whiten_y: nn.Linear, n_factors: int, n_hidden: int) -> None:
        """Draw the weights.

        Args:
            whiten_x: of the first vector of each pair.
            whiten_y: of the second.
            n_factors: columns of U, V.
            n_hidden: mapping units.
        """
        super().__init__()
        self.whiten_x, self.whiten_y = whiten_x, whiten_y
        self.u = nn.Parameter(torch.randn(whiten_x.out_features, n_factors) / whiten_x.out_features**0.5)
        self.v = nn.Parameter(torch.randn(whiten_y.out_features, n_factors) / whiten_y.out_features**0.5)
        self.w = nn.Parameter(torch.randn(n_factors, n_hidden) / n_factors**0.5)
        self.bias = nn.Parameter(torch.zeros(n_hidden))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mapping units' states, shape (n, n_hidden), 0-1, of raw pairs (n, d), (n, d)."""
        return self.map(self.whiten_x(x), self.whiten_y(y))

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mapping units' states of whitened pairs."""
        return torch.sigmoid(((x @ self.u) * (y @ self.v)) @ self.w + self.bias)

    def rebuild(self, x: Tensor, y: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """Rebuild whitened pairs, each side from the other and the mapping units of noisy copies."""
        x, y = (side * (torch.rand_like(side) >= noise) for side in (x, y))
        gates = self.map(x, y) @ self.w.T
        return ((y @ self.v) * gates) @ self.u.T, ((x @ self.u) * gates) @ self.v.T


def fit_autoencoder(x: Array, y: Array, settings: RelationalSettings, seed: int = 0) -> RelationalAutoencoder:
    """Fit the autoencoder on pairs.

    Args:
        x: first vectors, shape (n, d).
        y: second vectors, shape (n, d).
        settings: how.
        seed: of weights, order and noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whiten_x, whiten_y = (fit_whitening(side, settings.components) for side in (x, y))
        model = RelationalAutoencoder(whiten_x, whiten_y, settings.factors, settings.hidden)
        with torch.inference_mode():
            first, second = whiten_x(torch.from_numpy(x)).clone(), whiten_y(torch.from_numpy(y)).clone()

        def draw(_: int) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in torch.split(torch.randperm(len(first)), _BATCH):
                yield first[batch], second[batch]

        fit_module(_Rebuilding(model, settings), Epochs(-(-len(first) // _BATCH), draw), Course(settings.epochs))
    return model.eval().requires_grad_(False)


class _Rebuilding(FitModule):
    """Adam over filters and mapping units, which rebuild each side from the other."""

    network: RelationalAutoencoder

    def __init__(self, model: RelationalAutoencoder, settings: RelationalSettings) -> None:
        super().__init__(model, "relational autoencoder")
        self.settings = settings

    def measure_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        (x, y), (x_again, y_again) = batch, self.network.rebuild(*batch, self.settings.noise)
        return ((x_again - x) ** 2).mean() + ((y_again - y) ** 2).mean()

    def on_train_batch_end(self, *_: Any) -> None:
        with torch.no_grad():  # products of large filters run away
            for filters in (self.network.u, self.network.v):
                norms = filters.norm(dim=0, keepdim=True)
                filters.mul_((_MOST_FILTER_NORM / norms.clamp(min=1e-8)).clamp(max=1.0))

    def configure_optimizers(self) -> Any:
        model = self.network
        return torch.optim.Adam([model.u, model.v, model.w, model.bias], self.settings.learning_rate)


class MotionEncoder(nn.Module):
    """Frames of a clip to a histogram of motion words, each block counted by how active its mapping units are."""

    centroids: Tensor

    def __init__(self, autoencoder: RelationalAutoencoder, centroids: Tensor) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.register_buffer("centroids", centroids)

    def forward(self, frames: Tensor) -> Tensor:
        """Return a histogram, shape (1, n_words), summing to 1, of frames uint8 (t, 96, 96, 3)."""
        states = self.autoencoder(*split_blocks(cut_blocks(frames)))
        distances = (states**2).sum(1, keepdim=True) + (self.centroids**2).sum(1) - 2 * states @ self.centroids.T
        is_nearest = (distances <= distances.min(1, keepdim=True).values).float()
        histogram = (is_nearest * states.mean(1, keepdim=True)).sum(0, keepdim=True)
        total: Tensor = histogram.sum().clamp(min=1e-8)
        return torch.div(histogram, total)


def cut_blocks(frames: Tensor) -> Tensor:
    """Cut space-time blocks of 16x16 pixels and 10 frames, half overlapping, each of mean 0 and contrast 1.

    Args:
        frames: RGB uint8, shape (t, 96, 96, 3); where the clip ends within a block, its last frame stays on.

    Returns:
        Shape (n_blocks, 10, 256).
    """
    patches = cut_patches(to_grey(frames, FACE_SIDE_PX), BLOCK_SIDE_PX, _STRIDE_PX)
    places = torch.ones_like(patches[:, 0, 0]).cumsum(0).long() - 1  # 0 to t-1, as a variable of the exported graph
    times = torch.minimum(places[::_STRIDE_FRAMES, None] + torch.arange(BLOCK_FRAMES), places[-1])
    blocks = patches[times].transpose(1, 2).reshape(-1, BLOCK_FRAMES * BLOCK_SIDE_PX**2)
    return normalise_patches(blocks, _FLOOR).reshape(-1, BLOCK_FRAMES, BLOCK_SIDE_PX**2)


def split_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return each block without its last and without its first frame: what was, and what became of it."""
    return blocks[:, :-1].flatten(1), blocks[:, 1:].flatten(1)


def fit_motion(clips: Sequence[Tensor], settings: RelationalSettings, seed: int = 0) -> MotionEncoder:
    """Fit autoencoder and words.

    Args:
        clips: frames of training clips, uint8, shape (t, 96, 96, 3) each.
        settings: how.
        seed: of the choice of blocks, of the autoencoder and of K-means.
    """
    rng = np.random.default_rng(seed)
    a_clip = -(-settings.blocks // len(clips))
    drawn = []
    for frames in clips:
        blocks = cut_blocks(frames)
        drawn.append(blocks[rng.permutation(len(blocks))[:a_clip]])
    x, y = split_blocks(torch.cat(drawn))
    autoencoder = fit_autoencoder(x.numpy(), y.numpy(), settings, seed)
    states = autoencoder(x, y).numpy()
    n_words = min(settings.words, len(states))
    means = MiniBatchKMeans(n_words, n_init=1, batch_size=2048, random_state=seed).fit(states)
    return MotionEncoder(autoencoder, torch.from_numpy(np.asarray(means.cluster_centers_, np.float32)))
