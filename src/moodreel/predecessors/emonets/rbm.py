"""Restricted Boltzmann machines: what EmoNets' audio network is pretrained with.

Kahou et al. 2015, "EmoNets", section on audio; Hinton 2010, "A practical guide to training restricted Boltzmann
machines", equations 7-9 (contrastive divergence) and 17 (Gaussian visible units of deviation 1).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

Array = npt.NDArray[Any]

_MOMENTUM = 0.9
_SPREAD = 0.01


class Rbm(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A restricted Boltzmann machine, fitted by one step of contrastive divergence.

    Attributes:
        weights_: float32, shape (d, n_hidden).
        hidden_bias_: float32, shape (n_hidden,).
        visible_bias_: float32, shape (d,).
        errors_: mean squared error of reconstructing a batch, one per epoch.
    """

    def __init__(
        self,
        n_hidden: int = 400,
        visible: Literal["gaussian", "binary"] = "gaussian",
        learning_rate: float = 0.001,
        epochs: int = 30,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        """Store the settings.

        Args:
            n_hidden: hidden units, each 0 or 1.
            visible: `gaussian` for columns of mean 0 and deviation 1, `binary` for columns within 0-1.
            learning_rate: of contrastive divergence; momentum is .9.
            epochs: passes over the rows.
            batch_size: rows per step.
            seed: of weights, order and sampling.
        """
        self.n_hidden = n_hidden
        self.visible = visible
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, X: Array, y: Any = None) -> Rbm:
        """Fit the machine on rows, shape (n, d).

        Raises:
            ValueError: `X` is no finite table of numbers.
        """
        del y
        rows = torch.from_numpy(np.array(validate_data(self, X, dtype=np.float32)))
        generator = torch.Generator().manual_seed(self.seed)
        shape = (rows.shape[1], self.n_hidden)
        parameters = [torch.randn(shape, generator=generator) * _SPREAD, torch.zeros(shape[1]), rows.mean(0) * 1.0]
        if self.visible == "binary":
            parameters[2] = torch.logit(rows.mean(0).clamp(0.01, 0.99))
        speeds = [torch.zeros_like(value) for value in parameters]
        self.errors_ = []
        for _ in range(self.epochs):
            errors = []
            for batch in torch.split(torch.randperm(len(rows), generator=generator), self.batch_size):
                gradients, error = self._contrast(rows[batch], parameters, generator)
                errors.append(error)
                for value, speed, gradient in zip(parameters, speeds, gradients, strict=True):
                    speed.mul_(_MOMENTUM).add_(gradient, alpha=self.learning_rate)
                    value.add_(speed)
            self.errors_.append(float(np.mean(errors)))
        self.weights_, self.hidden_bias_, self.visible_bias_ = (value.numpy() for value in parameters)
        self._n_features_out = self.n_hidden
        return self

    def _contrast(
        self, seen: Tensor, parameters: list[Tensor], generator: torch.Generator
    ) -> tuple[list[Tensor], float]:
        """Return the step of one batch, <v h>_data - <v h>_reconstruction, and the error of reconstructing it."""
        weights, hidden_bias, visible_bias = parameters
        hidden = torch.sigmoid(seen @ weights + hidden_bias)
        sampled = (torch.rand(hidden.shape, generator=generator) < hidden).float()
        again = sampled @ weights.T + visible_bias
        again = torch.sigmoid(again) if self.visible == "binary" else again
        hidden_again = torch.sigmoid(again @ weights + hidden_bias)
        n_rows = len(seen)
        steps = [
            (seen.T @ hidden - again.T @ hidden_again) / n_rows,
            (hidden - hidden_again).mean(0),
            (seen - again).mean(0),
        ]
        return steps, float(((seen - again) ** 2).mean())

    def transform(self, X: Array) -> Array:
        """Return the probability of each hidden unit, shape (n, n_hidden)."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        inputs = rows @ self.weights_.astype(rows.dtype) + self.hidden_bias_.astype(rows.dtype)
        return np.asarray(1 / (1 + np.exp(-inputs)))

    def reconstruct(self, X: Array) -> Array:
        """Return rows as the hidden units' probabilities give them back, shape (n, d)."""
        again = self.transform(X) @ self.weights_.T + self.visible_bias_
        return np.asarray(1 / (1 + np.exp(-again)) if self.visible == "binary" else again)

    def to_linear(self) -> nn.Linear:
        """Return the map to the hidden units' inputs as a layer that can be trained further."""
        check_is_fitted(self)
        layer = nn.Linear(*self.weights_.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weights_.T.copy()))
            layer.bias.copy_(torch.from_numpy(self.hidden_bias_))
        return layer

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")
