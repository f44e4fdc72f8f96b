"""A linear map beside the voice network's own answer, for speakers and recordings that it does not know.

What moves a stranger's answer most is whose voice and which recording it is. Two maps that look away from that are
added to what the network says: a discriminant analysis of differences within a speaker (Fisher 1936; the within-speaker
scatter is what Hatch et al. 2006 normalise by), of recordings as they are, and a logistic regression of all variants
under a heavy penalty, which leaves it little but the directions that all corpora agree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from moodreel.labels import N_EMOTIONS
from moodreel.recognition.fusion import FloatArray
from moodreel.training.heads.recipe import VoiceHeadRecipe
from moodreel.training.heads.voices import HeardCorpus
from moodreel.training.tuned.heads import Correction

LEAST_EMOTIONS = 4
"""A speaker who shows fewer tells little of what is common to them."""
_LEAST_SPREAD = 1e-3
_RULED_OUT = -1e4


@dataclass(frozen=True, eq=False)
class _Rows:
    """A corpus's recordings in some variants, in one scale.

    Attributes:
        features: float64, shape (n, d), scaled.
        labels: int64, shape (n,).
        groups: who speaks, shape (n,).
    """

    features: FloatArray
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """The emotions that occur, shape (7,)."""
        return np.bincount(self.labels, minlength=N_EMOTIONS) > 0


def fit_voice_head(corpora: Sequence[HeardCorpus], recipe: VoiceHeadRecipe) -> Correction:
    """Fit the map.

    Args:
        corpora: to learn from, one at least; they count alike but for a square root of their size.
        recipe: how.

    Returns:
        What is added to the network's logits, of its statistics.
    """
    centre, spread = _measure_scale(corpora)
    rows = [_gather(corpus, centre, spread) for corpus in corpora]
    clean = [_gather(corpus.take_variants(1), centre, spread) for corpus in corpora]
    maps = [_discriminate(clean, recipe.shrinkage), _regress(rows, recipe)]
    own = float(np.mean([_spread_of(corpus.logits.reshape(-1, N_EMOTIONS).astype(np.float64)) for corpus in corpora]))
    features = np.concatenate([one.features for one in rows])
    total = Correction(np.zeros(N_EMOTIONS), np.zeros((len(centre), N_EMOTIONS)))
    for weights, bias in maps:
        size = own / recipe.own_share / max(_spread_of(features @ weights + bias), _LEAST_SPREAD)
        total = Correction(total.bias + size * bias, _weights(total) + size * weights)
    raw = _weights(total) / spread[:, None]
    return Correction(total.bias - centre @ raw, raw)


def _weights(correction: Correction) -> FloatArray:
    assert correction.weights is not None
    return correction.weights


def _measure_scale(corpora: Sequence[HeardCorpus]) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation of the statistics, every corpus counting alike."""
    flat = [corpus.statistics.reshape(-1, corpus.statistics.shape[-1]).astype(np.float64) for corpus in corpora]
    centre = np.mean([rows.mean(axis=0) for rows in flat], axis=0)
    spread = np.sqrt(np.mean([rows.var(axis=0) for rows in flat], axis=0)) + _LEAST_SPREAD
    return centre, spread


def _gather(corpus: HeardCorpus, centre: FloatArray, spread: FloatArray) -> _Rows:
    n_variants = corpus.statistics.shape[1]
    features = [(corpus.statistics[:, variant] - centre) / spread for variant in range(n_variants)]
    return _Rows(np.concatenate(features), np.tile(corpus.labels, n_variants), np.tile(corpus.speakers, n_variants))


def _spread_of(logits: FloatArray) -> float:
    return float((logits - logits.mean(axis=1, keepdims=True)).std())


def _discriminate(corpora: Sequence[_Rows], shrinkage: float) -> tuple[FloatArray, FloatArray]:
    """Discriminant analysis of how each emotion moves a speaker's statistics from that speaker's own middle."""
    scatters, moves, known = [], [], []
    for rows in corpora:
        found = list(_split_speakers(rows))
        if not found:
            continue
        rests = np.concatenate([rest for _, rest in found])
        scatters.append(rests.T @ rests / len(rests))
        shown = np.array([[emotion in moved for emotion in range(N_EMOTIONS)] for moved, _ in found])
        zero = np.zeros(rows.features.shape[1])
        total = np.array([sum((moved.get(emotion, zero) for moved, _ in found), zero) for emotion in range(N_EMOTIONS)])
        moves.append(total / np.maximum(shown.sum(axis=0), 1)[:, None])
        known.append(shown.any(axis=0))
    if not scatters:  # nobody shows enough emotions: the other map and the network decide
        return np.zeros((corpora[0].features.shape[1], N_EMOTIONS)), np.zeros(N_EMOTIONS)
    weight = np.array(known, np.float64)
    means = np.einsum("ckd,ck->kd", np.array(moves), weight) / np.maximum(weight.sum(axis=0), 1)[:, None]
    scatter = np.mean(scatters, axis=0)
    scatter += (shrinkage * np.trace(scatter) / len(scatter) + _LEAST_SPREAD) * np.eye(len(scatter))
    weights = np.linalg.solve(scatter, means.T)
    return weights, -0.5 * (means * weights.T).sum(axis=1)


def _split_speakers(rows: _Rows) -> Iterator[tuple[dict[int, FloatArray], FloatArray]]:
    """Yield for each speaker of enough emotions how each moves the statistics, and what remains of every recording."""
    for group in np.unique(rows.groups):
        own = rows.groups == group
        features, labels = rows.features[own], rows.labels[own]
        means = {int(emotion): features[labels == emotion].mean(axis=0) for emotion in np.unique(labels)}
        if len(means) < LEAST_EMOTIONS:
            continue
        middle = np.mean(list(means.values()), axis=0)
        rest = features - np.array([means[int(label)] for label in labels])
        yield {emotion: mean - middle for emotion, mean in means.items()}, rest


def _regress(corpora: Sequence[_Rows], recipe: VoiceHeadRecipe) -> tuple[FloatArray, FloatArray]:
    """Logistic regression in which a corpus says nothing of emotions that it does not name."""
    features = torch.from_numpy(np.concatenate([rows.features for rows in corpora]).astype(np.float32))
    labels = torch.from_numpy(np.concatenate([rows.labels for rows in corpora]))
    hidden = torch.from_numpy(np.concatenate([np.tile(~rows.known, (len(rows.labels), 1)) for rows in corpora]))
    weight = np.concatenate([_balance(rows) for rows in corpora])
    costs_weight = torch.from_numpy((weight / weight.sum()).astype(np.float32))
    weights = torch.zeros((features.shape[1], N_EMOTIONS), requires_grad=True)
    bias = torch.zeros(N_EMOTIONS, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=recipe.steps, line_search_fn="strong_wolfe")

    def measure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (features @ weights + bias).masked_fill(hidden, _RULED_OUT)
        costs = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        loss: torch.Tensor = (costs_weight * costs).sum() + recipe.penalty * (weights**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(measure)  # type: ignore[no-untyped-call]
    return weights.detach().numpy().astype(np.float64), bias.detach().numpy().astype(np.float64)


def _balance(rows: _Rows) -> FloatArray:
    """Every emotion of a corpus counts alike, and a corpus as the square root of its size."""
    counts = np.bincount(rows.labels, minlength=N_EMOTIONS)
    return np.asarray(np.sqrt(len(rows.labels)) / counts[rows.labels] / (counts > 0).sum())
