"""Yao et al. 2015: patches that tell two emotions apart, and how their features relate.

Yao, Shao, Ma and Chen 2015, "Capturing AU-aware facial features and their latent relations for emotion recognition in
the wild", sections on AU-aware features and feature relations. For each pair of emotions the patches that separate them
best are found (they lie where action units are); an undirected graph has them as vertices, its edges hold how the
features of two patches relate; the edges of all pairs of emotions, joined, go into a linear support vector machine.
How a patch is judged and what stands at an edge is ours: the text leaves both open.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from moodreel.predecessors.shared.svm import KernelSvm

Array = npt.NDArray[Any]

_RIDGE = 1.0
_LEAST_SHARE = 1e-3
_MOST = 5.0
"""Deviations at which a whitened feature is held: products of outliers would drown the rest."""


class AuRelationSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Pairwise patches, their relations, and a linear support vector machine.

    Attributes:
        classes_: the labels, sorted.
        patches_: the patches of each pair of classes, int, shape (n_pairs, kept), best first.
        pairs_: the pairs, indices into `classes_`, in the order of `patches_`.
        separation_: how well each patch alone separates each pair, balanced accuracy on rows left out, shape
            (n_pairs, grid²).
        kept_: the number of patches taken for each pair.
        svm_: the machine on the joined relations.
        out_of_fold_: as in `KernelSvm`.
    """

    def __init__(
        self,
        grid: int = 1,
        kept: tuple[int, ...] = (4, 8),
        components: int = 16,
        penalties: tuple[float, ...] = (0.1, 1.0, 10.0),
        n_folds: int = 3,
    ) -> None:
        """Store the settings.

        Args:
            grid: patches in a row and in a column of the face; a row of `X` holds the features of grid² patches.
            kept: numbers of patches a pair to choose from by cross-validation.
            components: whitened columns of each patch that go on.
            penalties: values of the machine's C to choose from by cross-validation.
            n_folds: parts of the cross-validation; by group where groups are given to `fit`.
        """
        self.grid = grid
        self.kept = kept
        self.components = components
        self.penalties = penalties
        self.n_folds = n_folds

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> AuRelationSvm:
        """Find patches, then fit the machine on their relations.

        Args:
            X: shape (n, grid² * d), patch by patch.
            y: labels, shape (n,), of at least two classes.
            groups: speaker of each row; rows of one speaker are never on both sides of the cross-validation.

        Raises:
            ValueError: `X` or `y` is no finite table of numbers with labels, holds one class alone, or its columns are
                no multiple of the patches.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("AuRelationSvm needs samples of at least 2 classes, found one class")
        if X.shape[1] % self.grid**2:
            raise ValueError(f"{X.shape[1]} columns are no multiple of {self.grid**2} patches")
        mean, maps = _whiten_patches(X.reshape(len(X), self.grid**2, -1), self.components)
        described = np.einsum("npd,pdk->npk", X.reshape(len(X), self.grid**2, -1) - mean, maps)
        self.pairs_ = np.array(list(combinations(range(len(self.classes_)), 2)))
        sides = _deal_sides(targets, groups, self.n_folds)
        self.separation_ = np.stack([_judge_patches(described, targets, pair, sides) for pair in self.pairs_])
        tried = [self._fit_kept(X, y, groups, count, (mean, maps)) for count in self.kept]
        self.kept_, self.patches_, self.relations_, self.svm_ = max(tried, key=lambda one: one[3].score_)
        self.out_of_fold_ = self.svm_.out_of_fold_
        return self

    def _fit_kept(
        self, X: Array, y: Array, groups: Array | None, count: int, whitening: tuple[Array, Array]
    ) -> tuple[int, Array, PatchRelations, KernelSvm]:
        patches = np.stack([choose_apart(scores, self.grid, count) for scores in self.separation_])
        relations = PatchRelations(*whitening, patches)
        with torch.inference_mode():
            rows = relations(torch.from_numpy(np.array(X))).numpy()
        svm = KernelSvm("linear", self.penalties, n_folds=self.n_folds).fit(rows, y, groups)
        return count, patches, relations, svm

    def predict_proba(self, X: Array) -> Array:
        """Return probabilities, shape (n, n_classes), rows summing to 1."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        with torch.inference_mode():
            return np.asarray(self.to_module()(torch.from_numpy(np.array(X))).numpy())

    def predict(self, X: Array) -> Array:
        """Return the likeliest labels, shape (n,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def to_module(self) -> nn.Module:
        """Return everything as a network: rows (n, d) to probabilities (n, n_classes)."""
        check_is_fitted(self)
        return nn.Sequential(self.relations_, self.svm_.to_module())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "svm_")


class PatchRelations(nn.Module):
    """The graphs of all pairs of emotions: vertices and edges, joined into one row per clip."""

    mean: Tensor
    maps: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, mean: Array, maps: Array, patches: Array) -> None:
        """Store the graphs.

        Args:
            mean: of each patch's features, shape (n_patches, d).
            maps: whitening of each patch, shape (n_patches, d, k).
            patches: vertices of each graph, shape (n_pairs, kept).
        """
        super().__init__()
        # One vertex may serve several pairs of emotions; its features stand once.
        edges = sorted({tuple(sorted(edge)) for graph in patches for edge in combinations(graph.tolist(), 2)})
        used = sorted(set(patches.ravel().tolist()))
        self.used = used
        self.register_buffer("mean", torch.from_numpy(mean[used]))
        self.register_buffer("maps", torch.from_numpy(maps[used]))
        self.register_buffer("first", torch.tensor([used.index(a) for a, _ in edges], dtype=torch.long))
        self.register_buffer("second", torch.tensor([used.index(b) for _, b in edges], dtype=torch.long))
        self.n_patches = len(mean)

    def forward(self, x: Tensor) -> Tensor:
        """Return vertices and edges, shape (n, (n_used + n_edges) * k), of rows (n, n_patches * d).

        An edge holds the products of the two patches' whitened features: what they show together, which no sum over
        single patches can say.
        """
        patches = x.reshape(-1, self.n_patches, x.shape[1] // self.n_patches)[:, self.used]
        vertices = torch.einsum("npd,pdk->npk", patches - self.mean, self.maps).clamp(-_MOST, _MOST)
        edges = vertices[:, self.first] * vertices[:, self.second]
        return torch.cat([vertices, edges], dim=1).flatten(1)


def _whiten_patches(features: Array, n_components: int) -> tuple[Array, Array]:
    """Return means (n_patches, d) and whitening maps (n_patches, d, k) of features (n, n_patches, d)."""
    mean = features.mean(axis=0)
    centred = features - mean
    variances, directions = np.linalg.eigh(np.einsum("npd,npe->pde", centred, centred) / max(len(features) - 1, 1))
    variances, directions = variances[:, ::-1][:, :n_components], directions[:, :, ::-1][:, :, :n_components]
    floor = _LEAST_SHARE * np.maximum(variances[:, :1], 1e-10)
    return mean, directions / np.sqrt(np.maximum(variances, floor))[:, None]


def _judge_patches(described: Array, targets: Array, pair: Array, sides: Array) -> Array:
    """Score each patch alone on a pair of classes by ridge regression: balanced accuracy on rows left out.

    Args:
        described: whitened features, shape (n, n_patches, k).
        targets: class indices, shape (n,).
        pair: two class indices.
        sides: part of the cross-validation that each row belongs to, shape (n,).

    Returns:
        0-1, shape (n_patches,).
    """
    chosen = np.isin(targets, pair)
    rows, is_second, parts = described[chosen], targets[chosen] == pair[1], sides[chosen]
    signs = np.where(is_second, 1 / max(is_second.sum(), 1), -1 / max((~is_second).sum(), 1)) * len(rows)
    answers = np.zeros(rows.shape[:2])
    for part in np.unique(parts):
        inside = parts != part if len(np.unique(parts)) > 1 else parts == part
        scatter = np.einsum("npk,npl->pkl", rows[inside], rows[inside]) + _RIDGE * np.eye(rows.shape[2])
        weights = np.linalg.solve(scatter, np.einsum("npk,n->pk", rows[inside], signs[inside])[:, :, None])
        answers[parts == part] = np.einsum("npk,pk->np", rows[parts == part], weights[:, :, 0])
    right = (answers > 0) == is_second[:, None]
    return np.asarray((right[is_second].mean(axis=0) + right[~is_second].mean(axis=0)) / 2)


def _deal_sides(targets: Array, groups: Array | None, n_folds: int) -> Array:
    """Return the part of each row: by group where groups are given, else dealt in turn within each class."""
    if groups is not None:
        return np.unique(groups, return_inverse=True)[1] % n_folds
    sides = np.zeros(len(targets), int)
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        sides[rows] = np.arange(len(rows)) % n_folds
    return sides


def choose_apart(scores: Array, grid: int, count: int) -> Array:
    """Return the best patches, no two of which overlap by half or more as long as there are others.

    Args:
        scores: of each patch, shape (grid²,), row by row.
        grid: patches in a row.
        count: how many to return; fewer where there are fewer.
    """
    order = [int(index) for index in np.argsort(-scores, kind="stable")]
    chosen: list[int] = []
    for index in order:
        near = any(max(abs(index // grid - c // grid), abs(index % grid - c % grid)) < 2 for c in chosen)
        if not near and len(chosen) < count:
            chosen.append(index)
    rest = [index for index in order if index not in chosen]
    return np.array((chosen + rest)[: min(count, len(scores))])
