"""Support vector machines with probabilities: the classifier that both predecessors put on top of most of their parts.

One machine per class against the rest (Cortes and Vapnik 1995), fitted by scikit-learn on a kernel computed here, so
that the exported graph computes the same kernel; Platt 1999, "Probabilistic outputs for support vector machines",
widened to several classes: a logistic regression on decision values of clips that the machines did not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

Array = npt.NDArray[Any]
Kernel = Literal["linear", "rbf", "chi2"]

_SMALLEST = 1e-10


class KernelSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """One-against-rest support vector machines with probabilities.

    Attributes:
        classes_: the labels, sorted.
        penalty_: the C taken: of `penalties` the one with the best balanced accuracy on clips left out.
        out_of_fold_: probabilities of the training rows by machines that did not see them, shape (n, n_classes); what
            a fusion may learn from.
        score_: balanced accuracy, 0-1, of the machines on rows left out.
    """

    def __init__(
        self, kernel: Kernel = "rbf", penalties: Sequence[float] = (1.0,), scale: bool = True, n_folds: int = 3
    ) -> None:
        """Store the settings.

        Args:
            kernel: `linear`; `rbf`, exp(-γ|x-s|²); or `chi2`, exp(-γ Σ (x-s)²/(x+s)) for histograms, at least 0.
            penalties: values of C to choose from by cross-validation.
            scale: whether columns are brought to mean 0 and deviation 1 first; not for `chi2`.
            n_folds: parts of the cross-validation; by group where groups are given to `fit`.
        """
        self.kernel = kernel
        self.penalties = penalties
        self.scale = scale
        self.n_folds = n_folds

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> KernelSvm:
        """Fit machines and probabilities.

        Args:
            X: shape (n, d).
            y: labels, shape (n,), of at least two classes.
            groups: speaker of each row; rows of one speaker are never on both sides of the cross-validation.

        Raises:
            ValueError: `X` or `y` is no finite table of numbers with labels, or holds one class alone.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("KernelSvm needs samples of at least 2 classes, found one class")
        self._fit_kernel(X)
        kernel = self._kernel(torch.from_numpy(X)).numpy()
        folds = _deal(targets, groups, self.n_folds)
        outside = [_decide_outside(kernel, targets, penalty, folds) for penalty in self.penalties]
        scores = [balanced_accuracy_score(targets, decisions.argmax(axis=1)) for decisions in outside]
        best = int(np.argmax(scores))
        self.penalty_, self.score_ = self.penalties[best], float(scores[best])
        self.platt_ = LogisticRegression(C=1.0, max_iter=1000).fit(outside[best], targets)
        self.out_of_fold_ = _full_probabilities(self.platt_, outside[best])
        self.weights_, self.intercept_ = _fit_machines(kernel, targets, self.penalty_, len(self.classes_))
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return probabilities, shape (n, n_classes), rows summing to 1."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        with torch.inference_mode():
            return np.asarray(self.to_module().double()(torch.from_numpy(X)).numpy())

    def predict(self, X: Array) -> Array:
        """Return the likeliest labels, shape (n,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def to_module(self) -> SvmModule:
        """Return the fitted machines as a network: rows (n, d) to probabilities (n, n_classes)."""
        check_is_fitted(self)
        return SvmModule(self._kernel, self.weights_, self.intercept_, self.platt_)

    def _fit_kernel(self, X: Array) -> None:
        scaled = self.scale and self.kernel != "chi2"
        mean = X.mean(axis=0) if scaled else np.zeros(X.shape[1])
        deviation = X.std(axis=0) if scaled else np.ones(X.shape[1])
        deviation[deviation < _SMALLEST] = 1.0
        self._kernel = KernelModule(self.kernel, X, mean, deviation).double()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")


class KernelModule(nn.Module):
    """The kernel between rows and the rows that machines were fitted on."""

    rows: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, kernel: Kernel, rows: Array, mean: Array, deviation: Array) -> None:
        super().__init__()
        self.kernel = kernel
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("deviation", torch.as_tensor(deviation))
        self.register_buffer("rows", (torch.as_tensor(rows) - self.mean) / self.deviation)
        self.gamma = 1.0 / float(self._distances(self.rows).mean().clamp(min=_SMALLEST))

    def forward(self, x: Tensor) -> Tensor:
        """Return the kernel of rows (n, d) with the fitted rows, shape (n, n_fitted)."""
        x = (x - self.mean) / self.deviation
        if self.kernel == "linear":
            return x @ self.rows.T / x.shape[1]
        return torch.exp(-self.gamma * self._distances(x))

    def _distances(self, x: Tensor) -> Tensor:
        if self.kernel == "chi2":
            parts = [_chi2_distances(part, self.rows) for part in torch.split(x, 64)] if len(x) > 64 else None
            return torch.cat(parts) if parts else _chi2_distances(x, self.rows)
        squares = (x**2).sum(1, keepdim=True) + (self.rows**2).sum(1) - 2 * x @ self.rows.T
        return squares.clamp(min=0)


def _chi2_distances(x: Tensor, rows: Tensor) -> Tensor:
    """Σ (x-s)²/(x+s) over columns: Σ (x+s) - 4 Σ x s/(x+s), empty columns counting 0."""
    sums = x[:, None] + rows[None]
    return ((x[:, None] - rows[None]) ** 2 / sums.clamp(min=_SMALLEST)).sum(2)


class SvmModule(nn.Module):
    """Fitted machines as a network: kernel, decision values, probabilities."""

    weights: Tensor
    intercept: Tensor
    platt_weights: Tensor
    platt_intercept: Tensor

    def __init__(self, kernel: KernelModule, weights: Array, intercept: Array, platt: Any) -> None:
        super().__init__()
        used = np.abs(weights).max(axis=1) > 0
        mean, deviation = kernel.mean.numpy(), kernel.deviation.numpy()
        rows = kernel.rows.numpy()[used] * deviation + mean
        self.kernel = KernelModule(kernel.kernel, rows, mean, deviation)
        self.kernel.gamma = kernel.gamma
        self.register_buffer("weights", torch.from_numpy(weights[used]))
        self.register_buffer("intercept", torch.from_numpy(intercept))
        slopes, offsets = _full_logistic(platt)
        self.register_buffer("platt_weights", torch.from_numpy(slopes))
        self.register_buffer("platt_intercept", torch.from_numpy(offsets))
        if kernel.kernel == "linear":  # the rows are needed no more: a bundle stays small
            self._fold_rows()

    def _fold_rows(self) -> None:
        weights = self.kernel.rows.T @ self.weights / self.kernel.rows.shape[1]
        self.weights = weights / self.kernel.deviation[:, None]
        self.intercept = self.intercept - self.kernel.mean @ self.weights
        self.kernel = nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities, shape (n, n_classes), of rows (n, d)."""
        decisions = self.kernel(x) @ self.weights + self.intercept
        return torch.softmax(decisions @ self.platt_weights.T + self.platt_intercept, dim=1)


def _fit_machines(kernel: Array, targets: Array, penalty: float, n_classes: int) -> tuple[Array, Array]:
    """Fit a machine per class; return weights of the fitted rows (n, n_classes) and intercepts (n_classes,)."""
    weights, intercept = np.zeros((len(kernel), n_classes)), np.full(n_classes, -1.0)
    for index in range(n_classes):
        is_class = targets == index
        if not is_class.any() or is_class.all():
            continue
        machine = SVC(C=penalty, kernel="precomputed", class_weight="balanced").fit(kernel, is_class)
        weights[machine.support_, index] = machine.dual_coef_[0]
        intercept[index] = machine.intercept_[0]
    return weights, intercept


def _deal(targets: Array, groups: Array | None, n_folds: int) -> list[tuple[Array, Array]]:
    """Deal rows into parts: by group, else by class; all rows on both sides where a class is too small to be parted."""
    blank = np.zeros((len(targets), 1))
    if groups is not None and len(np.unique(groups)) >= 2:
        return list(GroupKFold(min(n_folds, len(np.unique(groups)))).split(blank, targets, groups))
    n_parts = min(n_folds, int(np.bincount(targets).min()))
    if n_parts < 2:
        return [(np.arange(len(targets)), np.arange(len(targets)))]
    return list(StratifiedKFold(n_parts).split(blank, targets))


def _decide_outside(kernel: Array, targets: Array, penalty: float, folds: list[tuple[Array, Array]]) -> Array:
    """Return decision values, shape (n, n_classes), of every row by machines fitted without its part."""
    decisions = np.zeros((len(targets), targets.max() + 1))
    for inside, outside in folds:
        weights, intercept = _fit_machines(kernel[np.ix_(inside, inside)], targets[inside], penalty, decisions.shape[1])
        decisions[outside] = kernel[np.ix_(outside, inside)] @ weights + intercept
    return decisions


def _full_logistic(logistic: Any) -> tuple[Array, Array]:
    """Return slopes and offsets with a row per class; scikit-learn keeps one row for two classes."""
    slopes, offsets = logistic.coef_, logistic.intercept_
    if len(slopes) > 1:
        return slopes, offsets
    return np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2


def _full_probabilities(logistic: Any, decisions: Array) -> Array:
    return np.asarray(logistic.predict_proba(decisions))
