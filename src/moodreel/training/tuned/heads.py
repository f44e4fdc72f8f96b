"""What is added to a network's logits: a bias, or a linear map of its features beside it, both pulled to nothing.

Added to the logits that ship, a map is a last layer fitted anew and pulled to the one that was there: logits are linear
in what the last layer reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from moodreel.labels import N_EMOTIONS
from moodreel.metrics import balance_classes
from moodreel.recognition.fusion import FloatArray, log_softmax

BIAS_PULL = 1.0
"""Nats that a bias costs, over all clips together, where it moves one log-probability by one nat."""
_STEPS = 60
_MOST_AXES = 256
_NO_VARIANCE = 1e-9
_LEAST_SPREAD = 0.1
"""Part of the median deviation that is added to each feature's own, for few clips know deviations badly."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What is added to the logits of one network.

    Attributes:
        bias: float64, shape (7,).
        weights: of the features, float64, shape (d, 7); `None` where the bias is all.
    """

    bias: FloatArray
    weights: FloatArray | None = None

    def apply(self, logits: FloatArray, features: FloatArray) -> FloatArray:
        """Return corrected logits, shape (…, 7), of features of shape (…, d)."""
        moved = logits + self.bias
        return moved if self.weights is None else moved + features @ self.weights


NO_CORRECTION = Correction(np.zeros(N_EMOTIONS))


@dataclass(frozen=True, eq=False)
class Rows:
    """One modality of labelled clips.

    Attributes:
        log_probabilities: calibrated answers of the network, float64, shape (n, 7).
        temperature: what the network's logits were divided by.
        features: what they rest on, float64, shape (n, d).
        label: emotions shown, int64, shape (n,), 0-6.
    """

    log_probabilities: FloatArray
    temperature: float
    features: FloatArray
    label: npt.NDArray[np.int64]

    def select(self, wanted: npt.NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        parts = (self.log_probabilities[wanted], self.temperature, self.features[wanted], self.label[wanted])
        return Rows(*parts)

    def correct(self, correction: Correction) -> FloatArray:
        """Return corrected log-probabilities, shape (n, 7)."""
        logits = correction.apply(self.log_probabilities * self.temperature, self.features)
        return log_softmax(logits / self.temperature)


def fit_corrections(rows: Rows, pulls: Sequence[float | None]) -> list[Correction]:
    """Fit a correction for each strength of the pull: the least negative log-likelihood, every emotion counting alike.

    Args:
        rows: what to learn from; none teach nothing.
        pulls: nats that the map costs, over all clips together, where a feature vector as long as the average one moves
            a log-probability by one nat; `None` for a bias without a map. Each fit starts where the one before ended.
    """
    if not len(rows.label):
        return [NO_CORRECTION for _ in pulls]
    scaling = _Scaling(rows.features)
    scaled = scaling.scale(rows.features)
    found: list[Correction] = []
    start = np.zeros((scaled.shape[1] + 1, N_EMOTIONS))
    for pull in pulls:
        if pull is None:
            (bias,) = _descend(rows, scaled[:, :0], 0.0, np.zeros((1, N_EMOTIONS)))
            found.append(Correction(rows.temperature * bias))
            continue
        start = _descend(rows, scaled, pull, start)
        found.append(scaling.undo(rows.temperature * start))
    return found


class _Scaling:
    """Features to vectors of about length 1, on their principal axes: what is pulled to nothing needs no others."""

    def __init__(self, features: FloatArray) -> None:
        spread = features.std(axis=0)
        self.centre = features.mean(axis=0)
        self.unit = (spread + _LEAST_SPREAD * np.median(spread) + 1e-6) * np.sqrt(features.shape[1])
        self.axes = _find_axes((features - self.centre) / self.unit)

    def scale(self, features: FloatArray) -> FloatArray:
        return np.asarray((features - self.centre) / self.unit @ self.axes)

    def undo(self, found: FloatArray) -> Correction:
        """Return a map of scaled features and its bias, in the last row, as one of the features themselves."""
        weights = self.axes @ found[:-1] / self.unit[:, None]
        return Correction(found[-1] - self.centre @ weights, weights)


def _find_axes(scaled: FloatArray) -> FloatArray:
    """Return the axes along which rows vary most, at most `_MOST_AXES` of them, shape (d, n_axes)."""
    n, width = scaled.shape
    if n >= width:
        return np.asarray(np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :_MOST_AXES])
    squares, turned = np.linalg.eigh(scaled @ scaled.T)
    kept = np.flatnonzero(squares > _NO_VARIANCE)[::-1][:_MOST_AXES]
    return np.asarray(scaled.T @ turned[:, kept] / np.sqrt(squares[kept]))


def _descend(rows: Rows, scaled: FloatArray, pull: float, start: FloatArray) -> FloatArray:
    """Find the least cost; the last row of what is given and returned is the bias."""
    label, n = rows.label, len(rows.label)
    weight = balance_classes(label)
    target = np.eye(N_EMOTIONS)[label]
    pulls = np.append(np.full(scaled.shape[1], pull), BIAS_PULL)[:, None] / n

    def measure(flat: FloatArray) -> tuple[float, FloatArray]:
        theta = flat.reshape(start.shape)
        log_p = log_softmax(rows.log_probabilities + scaled @ theta[:-1] + theta[-1])
        slope = (np.exp(log_p) - target) * weight[:, None]
        cost = -float(weight @ log_p[np.arange(n), label]) + float((pulls * theta**2).sum())
        return cost, (np.concatenate([scaled.T @ slope, slope.sum(axis=0)[None]]) + 2 * pulls * theta).ravel()

    found = optimize.minimize(measure, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(found.x, dtype=np.float64).reshape(start.shape)
