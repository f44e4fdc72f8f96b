"""EmoNets, the fusion: one weight for each model and class, found by random search.

Kahou et al. 2015, "EmoNets", section on random search for weighting models; after Bergstra and Bengio 2012, "Random
search for hyper-parameter optimization".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.labels import N_EMOTIONS

Array = npt.NDArray[Any]

_AT_ONCE = 200
_TIE = 1e-3


@dataclass(frozen=True)
class SearchSettings:
    """How weights are searched.

    Attributes:
        uniform: draws from 0-1 for every weight.
        local: draws around the best so far.
        sigma: deviation of the latter.
    """

    uniform: int = 10_000
    local: int = 10_000
    sigma: float = 0.1


def fuse(probabilities: Array, weights: Array) -> Array:
    """Add models up, p(c) ∝ Σ_m w(m, c) p_m(c).

    Args:
        probabilities: shape (n_models, n, 7).
        weights: shape (n_models, 7), at least 0; a model's own for each class.

    Returns:
        Probabilities, shape (n, 7).
    """
    summed = (probabilities * weights[:, None]).sum(axis=0) + 1e-12
    return np.asarray(summed / summed.sum(axis=1, keepdims=True))


def average(n_models: int) -> Array:
    """Return the weights of the plain mean, shape (n_models, 7)."""
    return np.full((n_models, N_EMOTIONS), 1 / n_models)


def search_weights(probabilities: Array, targets: Array, settings: SearchSettings, seed: int = 0) -> Array:
    """Search weights on clips that no model was fitted on.

    Args:
        probabilities: shape (n_models, n, 7).
        targets: indices into `EMOTIONS`, shape (n,).
        settings: how long.
        seed: of the draws.

    Returns:
        The weights with the best unweighted average recall; of equals the one surest of the truth. Shape (n_models, 7),
        summing to 1 over the models.
    """
    rng = np.random.default_rng(seed)
    shape = (len(probabilities), N_EMOTIONS)
    best = average(len(probabilities))
    best_score = _score(best[None], probabilities, targets)[0]
    for phase, n_draws in (("uniform", settings.uniform), ("local", settings.local)):
        for start in range(0, n_draws, _AT_ONCE):
            size = (min(_AT_ONCE, n_draws - start), *shape)
            drawn = rng.random(size) if phase == "uniform" else best + rng.normal(0, settings.sigma, size)
            drawn = np.maximum(drawn, 1e-6)
            drawn /= drawn.sum(axis=1, keepdims=True)
            scores = _score(drawn, probabilities, targets)
            if scores.max() > best_score:
                best, best_score = drawn[scores.argmax()], scores.max()
    return np.asarray(best)


def _score(weights: Array, probabilities: Array, targets: Array) -> Array:
    """Score draws of weights (b, n_models, 7) at once: UAR, plus a hair for probability given to the truth."""
    summed = np.einsum("bmc,mnc->bnc", weights, probabilities)
    right = summed.argmax(axis=2) == targets
    truth = summed[:, np.arange(len(targets)), targets] / summed.sum(axis=2)
    counts = np.bincount(targets, minlength=N_EMOTIONS)
    share = (1 / (np.count_nonzero(counts) * np.maximum(counts, 1)))[targets]
    return np.asarray(right @ share + _TIE * truth.mean(axis=1))
