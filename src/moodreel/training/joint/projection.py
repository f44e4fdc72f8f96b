"""Linear maps fitted before training: scaling, principal components, and Linear Discriminant Analysis.

LDA is the paper's: S_B w = lambda S_W w (Fisher 1936; Rao 1948). With C classes S_B has rank C-1, so that at most C-1
directions have an eigenvalue above zero; every further one is an arbitrary vector of the null space of S_B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from torch import Tensor, nn

Float64 = npt.NDArray[np.float64]
Shrinkage = Literal["none", "ledoit_wolf", "fixed"]

_ROUNDING = 1e-8
"""Share of the mean variance put on the diagonal of a singular scatter: without it there is no answer at all."""
_ROWS_AT_ONCE = 4096
_FIRM = 1e-3
"""Share of the identity from which on a scatter may be inverted by way of its few clips without loss of digits."""


@dataclass(frozen=True)
class Squash:
    """`asinh((x - median) / spread)`: linear near the median, logarithmic far out.

    Functionals are heavy-tailed; without this a few wild values set a feature's scale.

    Attributes:
        median: shape (n_in,).
        spread: median distance from the median, shape (n_in,), above zero.
    """

    median: Float64
    spread: Float64

    def apply(self, features: npt.ArrayLike) -> Float64:
        """Squash features of shape (n, n_in)."""
        return np.asarray(np.arcsinh((np.asarray(features, np.float64) - self.median) / self.spread))

    @staticmethod
    def fit(features: Float64) -> Squash:
        """Measure medians and spreads over rows; a feature that mostly stands still keeps its unit."""
        median = np.median(features, axis=0)
        spread = np.median(np.abs(features - median), axis=0)
        return Squash(median, _or_one(spread))


@dataclass(frozen=True)
class LinearMap:
    """`clip((x - mean) / deviation, -limit, limit) @ matrix + offset`, of x squashed first where there is a `squash`.

    Attributes:
        mean: shape (n_in,).
        deviation: shape (n_in,), above zero.
        matrix: shape (n_in, n_out).
        offset: shape (n_out,).
        limit: scaled features are held within +-limit, so that one wild feature cannot decide; `inf` for no limit.
        squash: what is done to features before; `None` for nothing.
    """

    mean: Float64
    deviation: Float64
    matrix: Float64
    offset: Float64
    limit: float = float("inf")
    squash: Squash | None = None

    def apply(self, features: npt.ArrayLike) -> Float64:
        """Map features of shape (n, n_in) to (n, n_out)."""
        return np.asarray(self.scale(features) @ self.matrix + self.offset)

    def scale(self, features: npt.ArrayLike) -> Float64:
        """Return scaled and limited features of shape (n, n_in)."""
        values = np.asarray(features, np.float64) if self.squash is None else self.squash.apply(features)
        scaled = (values - self.mean) / self.deviation
        return np.asarray(np.clip(scaled, -self.limit, self.limit))


@dataclass(frozen=True)
class Discriminants:
    """What LDA found.

    Attributes:
        projection: the map to the subspace.
        eigenvalues: ratio of the scatter between classes to that within them along each direction, falling.
        shrinkage: share of the scatter replaced by a multiple of the identity, 0-1.
    """

    projection: LinearMap
    eigenvalues: Float64
    shrinkage: float


class Projection(nn.Module):
    """A `LinearMap` as a layer that is not trained.

    It computes in float64, as the fit did: without shrinkage LDA's coefficients cancel each other to the last digits of
    float32, and a graph's answer would depend on the order in which it adds.
    """

    mean: Tensor
    deviation: Tensor
    matrix: Tensor
    offset: Tensor
    median: Tensor
    spread: Tensor

    def __init__(self, linear_map: LinearMap) -> None:
        super().__init__()
        self.limit = linear_map.limit
        self.squashes = linear_map.squash is not None
        for name, value in ({} if linear_map.squash is None else vars(linear_map.squash)).items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))
        for name in ("mean", "deviation", "matrix", "offset"):
            self.register_buffer(name, torch.as_tensor(getattr(linear_map, name), dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out), float32."""
        features = features.double()
        if self.squashes:
            features = _asinh((features - self.median) / self.spread)
        scaled = (features - self.mean) / self.deviation
        if self.limit != float("inf"):
            scaled = scaled.clamp(-self.limit, self.limit)
        return (scaled @ self.matrix + self.offset).float()


def _asinh(values: Tensor) -> Tensor:
    """Inverse hyperbolic sine, in operators that the ONNX exporter knows."""
    return values.sign() * torch.log(values.abs() + (values.square() + 1).sqrt())


def fit_scaling(features: npt.ArrayLike, limit: float = float("inf")) -> LinearMap:
    """Fit a map to mean 0 and deviation 1.

    Args:
        features: shape (n, d); a feature that never changes is centred alone.
        limit: see `LinearMap`.
    """
    values = np.asarray(features, np.float64)
    mean, deviation = _scale_of(values)
    width = values.shape[1]
    return LinearMap(mean, deviation, np.eye(width), np.zeros(width), limit)


def fit_components(features: npt.ArrayLike, n_components: int, *, scale: bool = True) -> LinearMap:
    """Fit a map to the leading principal components, each brought to deviation 1 (Pearson 1901).

    Args:
        features: shape (n, d).
        n_components: how many; fewer where there are fewer.
        scale: whether features are brought to deviation 1 first.
    """
    values = np.asarray(features)
    mean = values.mean(axis=0, dtype=np.float64)
    covariance = _covary(values, mean)
    deviation = _or_one(np.sqrt(np.diag(covariance))) if scale else np.ones(len(mean))
    variances, axes = scipy.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = np.argsort(-variances)[: min(n_components, len(values))]
    matrix = axes[:, kept] / np.sqrt(np.maximum(variances[kept], _ROUNDING))
    return LinearMap(mean, deviation, matrix, np.zeros(len(kept)))


def fit_lda(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    n_directions: int,
    *,
    shrinkage: Shrinkage = "none",
    share: float = 0.0,
    scale: bool = False,
    limit: float = float("inf"),
    squash: bool = False,
) -> Discriminants:
    """Solve S_B w = lambda S_W w and keep the leading directions.

    Args:
        features: shape (n, d).
        labels: class of each, whole numbers, shape (n,).
        n_directions: how many, at most d; beyond the number of classes less one they are arbitrary.
        shrinkage: `none` adds only what rounding needs for an answer; `ledoit_wolf` blends S_W with a multiple of the
            identity by the rule of Ledoit & Wolf 2004, `fixed` by `share`.
        share: of the identity in the blend, 0-1.
        scale: whether features are brought to mean 0 and deviation 1 first.
        limit: see `LinearMap`; only with `scale`.
        squash: whether features are squashed before all else, see `Squash`.

    Raises:
        ValueError: fewer than two classes, or more directions than features.
    """
    values, classes = np.asarray(features, np.float64), np.asarray(labels)
    if len(np.unique(classes)) < 2 or n_directions > values.shape[1]:
        raise ValueError(
            f"LDA to {n_directions} of {values.shape[1]} features needs two classes and no more directions"
        )
    squashing = Squash.fit(values) if squash else None
    values = values if squashing is None else squashing.apply(values)
    mean, deviation = _scale_of(values, scale=scale)
    limit = limit if scale else float("inf")
    scaled = np.clip((values - mean) / deviation, -limit, limit)
    centres, residuals = _part(scaled, classes)
    variance = float((residuals**2).sum() / len(scaled) + (centres**2).sum()) / scaled.shape[1]
    variance = max(variance, _ROUNDING)  # features that are all alike scatter nowhere
    share = _ledoit_wolf_share(residuals) if shrinkage == "ledoit_wolf" else share if shrinkage == "fixed" else 0.0
    share = max(share, _ROUNDING)
    if share > _FIRM and n_directions < centres.shape[1] and len(scaled) < scaled.shape[1]:
        eigenvalues, directions = _solve_small(centres, residuals, share, variance, n_directions)
    else:
        within = (1 - share) / len(scaled) * residuals.T @ residuals
        within[np.diag_indices_from(within)] += share * variance
        eigenvalues, directions = _solve(centres, within, n_directions)
    projection = LinearMap(mean, deviation, directions, np.zeros(n_directions), limit, squashing)
    return Discriminants(projection, eigenvalues, share)


def rank_within(features: npt.ArrayLike, labels: npt.ArrayLike) -> int:
    """Return the rank of the within-class scatter: at most the number of clips less that of classes.

    Args:
        features: shape (n, d).
        labels: class of each, shape (n,).
    """
    _, residuals = _part(np.asarray(features, np.float64), np.asarray(labels))
    return int(np.linalg.matrix_rank(residuals))


def class_scores(found: Discriminants, features: npt.ArrayLike, labels: npt.ArrayLike, n_classes: int) -> LinearMap:
    """Turn LDA's subspace into one score per class: how near a clip lies to the class's mean (Fisher's discriminants).

    Unlike the directions, whose order and sign are arbitrary, scores of several fits can stand for each other. They are
    brought to deviation 1 over the clips of the fit.

    Args:
        found: from `fit_lda`.
        features: what it was fitted on, shape (n, d).
        labels: class of each, shape (n,).
        n_classes: how many classes there are; one without clips scores a deviation below all others' mean.
    """
    coordinates, classes = found.projection.apply(features), np.asarray(labels)
    present = [label for label in range(n_classes) if (classes == label).any()]
    matrix, offset = np.zeros((coordinates.shape[1], n_classes)), np.zeros(n_classes)
    for label in present:
        centre = coordinates[classes == label].mean(axis=0)
        matrix[:, label], offset[label] = centre, -0.5 * centre @ centre
    scores = coordinates @ matrix[:, present] + offset[present]
    spread = max(float(scores.std()), _ROUNDING)
    offset[[label not in present for label in range(n_classes)]] = scores.mean() - spread
    base = found.projection
    return replace(base, matrix=base.matrix @ matrix / spread, offset=offset / spread)


def _scale_of(values: Float64, *, scale: bool = True) -> tuple[Float64, Float64]:
    return values.mean(axis=0), _or_one(values.std(axis=0)) if scale else np.ones(values.shape[1])


def _or_one(spread: Float64) -> Float64:
    """Return what to divide by: 1 where a feature stands still."""
    return np.where(spread > _ROUNDING, spread, 1.0)


def _covary(values: npt.NDArray[Any], mean: Float64) -> Float64:
    """Return the covariance of rows of any float type, (d, d), without a copy of all of them in float64."""
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(values), _ROWS_AT_ONCE):
        centred = values[start : start + _ROWS_AT_ONCE] - mean
        covariance += centred.T @ centred
    return covariance / len(values)


def _part(scaled: Float64, classes: npt.NDArray[np.int_]) -> tuple[Float64, Float64]:
    """Return class means weighted by the root of their share, (d, n_classes), so that S_B is their product with
    themselves; and what is left of each clip without its class's mean, (n, d).
    """
    residuals, centres = scaled.copy(), []
    for label in np.unique(classes):
        members = classes == label
        centre = scaled[members].mean(axis=0)
        residuals[members] -= centre
        centres.append(np.sqrt(members.mean()) * centre)
    return np.stack(centres, axis=1), residuals


def _solve(centres: Float64, within: Float64, n_directions: int) -> tuple[Float64, Float64]:
    """Solve S_B w = lambda S_W w for S_B of low rank: with S_W = L L', the answers are L'^-1 times the left singular
    vectors of L^-1 times the centres. Beyond the number of classes these are any complement, with lambda 0.
    """
    lower = scipy.linalg.cholesky(within, lower=True)
    whitened = scipy.linalg.solve_triangular(lower, centres, lower=True)
    vectors, values, _ = scipy.linalg.svd(whitened, full_matrices=n_directions > centres.shape[1])
    eigenvalues = np.zeros(n_directions)
    eigenvalues[: len(values)] = values[:n_directions] ** 2
    directions = scipy.linalg.solve_triangular(lower, vectors[:, :n_directions], lower=True, trans="T")
    return eigenvalues, np.asarray(directions)


def _solve_small(
    centres: Float64, residuals: Float64, share: float, variance: float, n_directions: int
) -> tuple[Float64, Float64]:
    """Solve the same for fewer clips than features, without a matrix of features by features.

    S_W = a I + b R'R has the inverse (I - b R' (a I + b R R')^-1 R) / a (Woodbury 1950). With S_B = M M', M the class
    means, each answer is S_W^-1 M u / sqrt(lambda) for an eigenvector u of M' S_W^-1 M. For 900 clips of 5120 features
    this takes a sixth of the time.
    """
    a, b = share * variance, (1 - share) / len(residuals)
    gram = b * residuals @ residuals.T
    gram[np.diag_indices_from(gram)] += a
    solved = scipy.linalg.solve(gram, residuals @ centres, assume_a="pos")
    inverted = (centres - b * residuals.T @ solved) / a
    eigenvalues, vectors = scipy.linalg.eigh(centres.T @ inverted)
    kept = np.argsort(-eigenvalues)[:n_directions]
    values = np.maximum(eigenvalues[kept], _ROUNDING)
    return values, np.asarray(inverted @ vectors[:, kept] / np.sqrt(values))


def _ledoit_wolf_share(residuals: Float64) -> float:
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(residuals, assume_centered=True))


def out_of_fold(
    features: Float64,
    labels: npt.NDArray[np.int_],
    groups: Sequence[str],
    n_parts: int,
    n_classes: int,
    *,
    n_directions: int,
    shrinkage: Shrinkage = "none",
    share: float = 0.0,
    scale: bool = False,
    limit: float = float("inf"),
    squash: bool = False,
) -> Float64:
    """Score every clip with an LDA that was fitted without the clip's group (its speaker).

    Scores of the one LDA fitted on all training clips would be far surer on those than on any other clip, and what
    learns from them would trust them too much (Wolpert 1992, "Stacked generalization").

    Args:
        features: shape (n, d).
        labels: shape (n,).
        groups: who speaks, n names.
        n_parts: the groups are parted into so many; each part is scored by a fit on the others.
        n_classes: how many classes there are.
        n_directions: see `fit_lda`; so for the rest.
        shrinkage: see there.
        share: see there.
        scale: see there.
        limit: see there.
        squash: see there.

    Returns:
        Class scores, shape (n, n_classes).
    """
    names = {name: index for index, name in enumerate(sorted(set(groups)))}
    part = np.array([names[name] for name in groups]) % min(n_parts, len(names))
    scores = np.zeros((len(features), n_classes))
    for held in np.unique(part):
        seen = part != held
        found = fit_lda(
            features[seen],
            labels[seen],
            n_directions,
            shrinkage=shrinkage,
            share=share,
            scale=scale,
            limit=limit,
            squash=squash,
        )
        scores[~seen] = class_scores(found, features[seen], labels[seen], n_classes).apply(features[~seen])
    return scores
