"""EmoNets, the audio network: a deep belief network over frames of sound, fine-tuned with dropout.

Kahou et al. 2015, "EmoNets", section on audio: PCA-whitened frames, a Gaussian-Bernoulli RBM, a Bernoulli RBM on top,
both trained greedily; then the whole as a network with RMSProp, dropout and a bound on the norm of each unit's weights
(Hinton et al. 2012, "Improving neural networks by preventing co-adaptation of feature detectors").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional

from moodreel.predecessors.emonets.rbm import Rbm
from moodreel.predecessors.shared.whitening import fit_whitening
from moodreel.training.fitting import Course, Epochs, FitModule, fit_module, weigh_classes

Array = npt.NDArray[Any]

_RBM_BATCH = 100


class DeepBeliefNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Two stacked RBMs, then a network of the same shape, fine-tuned to tell classes apart.

    Attributes:
        classes_: the labels, sorted.
        network_: whitening, two sigmoid layers and the softmax layer: rows (n, d) to logits (n, n_classes).
        rbms_: the two machines before fine-tuning.
    """

    def __init__(
        self,
        n_hidden: int = 400,
        rbm_rate: float = 0.001,
        rbm_epochs: int = 30,
        epochs: int = 240,
        rows_an_epoch: int = 0,
        learning_rate: float = 0.001,
        dropout: float = 0.5,
        max_norm: float = 1.8356,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        """Store the settings; defaults are the paper's where it names them.

        Args:
            n_hidden: units of each of the two layers.
            rbm_rate: learning rate of contrastive divergence.
            rbm_epochs: passes of contrastive divergence over the rows, for each layer.
            epochs: of fine-tuning.
            rows_an_epoch: rows drawn anew for each epoch of fine-tuning; 0 for all of them.
            learning_rate: of RMSProp.
            dropout: share of hidden units dropped in fine-tuning, 0-1.
            max_norm: bound on the norm of the weights into each unit.
            batch_size: rows per step of fine-tuning.
            seed: of weights, order, sampling and dropout.
        """
        self.n_hidden = n_hidden
        self.rbm_rate = rbm_rate
        self.rbm_epochs = rbm_epochs
        self.epochs = epochs
        self.rows_an_epoch = rows_an_epoch
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_norm = max_norm
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, X: Array, y: Array) -> DeepBeliefNetwork:
        """Pretrain and fine-tune.

        Args:
            X: shape (n, d).
            y: labels, shape (n,), of at least two classes.

        Raises:
            ValueError: `X` or `y` is no finite table of numbers with labels, or holds one class alone.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("DeepBeliefNetwork needs samples of at least 2 classes, found one class")
        whitening = fit_whitening(X, scale=True)
        with torch.inference_mode():
            rows = whitening(torch.from_numpy(np.array(X))).clone()
        self.rbms_ = self._pretrain(rows.numpy())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = [self._layer(rbm) for rbm in self.rbms_]
            network = nn.Sequential(*layers, nn.Linear(self.n_hidden, len(self.classes_)))
            self._fine_tune(network, rows, torch.from_numpy(targets))
        self.network_ = nn.Sequential(whitening, network).eval()
        return self

    def _pretrain(self, rows: Array) -> list[Rbm]:
        shared = (self.rbm_rate, self.rbm_epochs, _RBM_BATCH)
        lower = Rbm(self.n_hidden, "gaussian", *shared, seed=self.seed).fit(rows)
        upper = Rbm(self.n_hidden, "binary", *shared, seed=self.seed + 1).fit(lower.transform(rows))
        return [lower, upper]

    def _layer(self, rbm: Rbm) -> nn.Module:
        return nn.Sequential(rbm.to_linear(), nn.Sigmoid(), nn.Dropout(self.dropout))

    def _fine_tune(self, network: nn.Sequential, rows: Tensor, targets: Tensor) -> None:
        n_drawn = min(self.rows_an_epoch or len(rows), len(rows))

        def draw(_: int) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in torch.split(torch.randperm(len(rows))[:n_drawn], self.batch_size):
                yield rows[batch], targets[batch]

        weights = weigh_classes(np.bincount(targets.numpy()))
        module = _FineTuning(network, weights, self.learning_rate, self.max_norm)
        fit_module(module, Epochs(-(-n_drawn // self.batch_size), draw), Course(self.epochs))

    def predict_proba(self, X: Array) -> Array:
        """Return probabilities, shape (n, n_classes), rows summing to 1."""
        check_is_fitted(self)
        rows = torch.from_numpy(np.array(validate_data(self, X, reset=False, dtype=np.float32)))
        with torch.inference_mode():
            return np.asarray(torch.softmax(self.network_(rows).double(), dim=1).numpy())

    def predict(self, X: Array) -> Array:
        """Return the likeliest labels, shape (n,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def to_module(self) -> nn.Module:
        """Return the network: rows (n, d) to probabilities (n, n_classes)."""
        check_is_fitted(self)
        return nn.Sequential(self.network_, nn.Softmax(dim=1))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")


class _FineTuning(FitModule):
    """RMSProp over the stacked layers, the norm of each unit's weights bounded after every step."""

    def __init__(self, network: nn.Module, weights: Tensor, learning_rate: float, max_norm: float) -> None:
        super().__init__(network, "audio network")
        self.weights = weights
        self.learning_rate = learning_rate
        self.max_norm = max_norm

    def measure_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        rows, targets = batch
        return functional.cross_entropy(self.network(rows), targets, weight=self.weights)

    def on_train_batch_end(self, *_: Any) -> None:
        bound_norms(self.network, self.max_norm)

    def configure_optimizers(self) -> Any:
        return torch.optim.RMSprop(self.network.parameters(), lr=self.learning_rate)


def bound_norms(network: nn.Module, max_norm: float) -> None:
    """Scale down the weights into each unit whose norm has grown beyond the bound.

    Args:
        network: its linear layers are bounded.
        max_norm: the bound.
    """
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                norms = layer.weight.norm(dim=1, keepdim=True)
                layer.weight.mul_((max_norm / norms.clamp(min=1e-12)).clamp(max=1.0))
