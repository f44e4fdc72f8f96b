"""Where a map counts that stands beside a network's own answer: on recordings unlike those that the network knows.

The network answers recordings like those it was trained on better than any map of many corpora does; on others the map
gains most. A gate tells them apart (two experts; Jacobs et al. 1991, "Adaptive mixtures of local experts"):

    logits = own logits + (1 - known) (map of the statistics),  known = sigmoid(linear in the statistics)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from moodreel.recognition.fusion import FloatArray
from moodreel.training.heads.recipe import VoiceHeadRecipe
from moodreel.training.heads.voices import HeardCorpus
from moodreel.training.tuned.heads import Correction

_LEAST_SPREAD = 1e-3
_MOST_STEPS = 100


@dataclass(frozen=True, eq=False)
class Gate:
    """How surely a recording is like none that the network knows.

    Attributes:
        weights: of the statistics, float64, shape (d,).
        bias: added to their sum.
    """

    weights: FloatArray
    bias: float

    def open(self, statistics: FloatArray) -> FloatArray:
        """How far the map counts, 0-1, shape (n,), of statistics of shape (n, d)."""
        return np.asarray(1 / (1 + np.exp(-(statistics @ self.weights + self.bias))))


ALWAYS_OPEN: Gate | None = None
"""Where the network knows none of the corpora, the map counts everywhere."""


@dataclass(frozen=True, eq=False)
class GatedCorrection:
    """A map of the statistics and where it counts.

    Attributes:
        correction: what is added to the logits where the gate is open.
        gate: see `Gate`; `None` for always open.
    """

    correction: Correction
    gate: Gate | None

    def apply(self, logits: FloatArray, statistics: FloatArray) -> FloatArray:
        """Return corrected logits, shape (n, 7), of statistics of shape (n, d)."""
        added = self.correction.apply(np.zeros_like(logits), statistics)
        return np.asarray(logits + (added if self.gate is None else self.gate.open(statistics)[:, None] * added))


def fit_gate(corpora: Sequence[HeardCorpus], known: Collection[str], recipe: VoiceHeadRecipe) -> Gate | None:
    """Fit the gate by logistic regression; both sides count alike, and so do the corpora of each.

    Args:
        corpora: recordings in all variants.
        known: names of those that the network was trained on.
        recipe: how.

    Returns:
        The gate; `None` where all or none of the corpora are known.
    """
    sides = [corpus.name in known for corpus in corpora]
    if all(sides) or not any(sides):
        return ALWAYS_OPEN
    rows = [corpus.statistics.reshape(-1, corpus.statistics.shape[-1]).astype(np.float64) for corpus in corpora]
    features = np.concatenate(rows)
    centre, spread = features.mean(axis=0), features.std(axis=0) + _LEAST_SPREAD
    strange = np.concatenate([np.full(len(row), not side) for row, side in zip(rows, sides, strict=True)])
    weight = np.concatenate(
        [np.full(len(row), 0.5 / len(row) / sides.count(side)) for row, side in zip(rows, sides, strict=True)]
    )
    model = LogisticRegression(C=recipe.gate_strength, max_iter=_MOST_STEPS)
    model.fit((features - centre) / spread, strange, sample_weight=weight)
    weights = model.coef_[0] / spread
    return Gate(weights, float(model.intercept_[0] - centre @ weights + recipe.gate_doubt))


def add_gated(graph: bytes, statistics: str, gated: GatedCorrection) -> bytes:
    """Return a network whose `logits` are what they were and the map beside, as far as the gate is open.

    Args:
        graph: the serialised network.
        statistics: name of the output that is mapped.
        gated: the map and its gate.
    """
    assert gated.correction.weights is not None
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "logits":
                    names[place] = "own.logits"
    values = {"head.weights": gated.correction.weights, "head.bias": gated.correction.bias}
    nodes = [
        helper.make_node("MatMul", [statistics, "head.weights"], ["head.mapped"]),
        helper.make_node("Add", ["head.mapped", "head.bias"], ["head.added"]),
    ]
    if gated.gate is not None:
        values |= {"gate.weights": gated.gate.weights[:, None], "gate.bias": np.array([gated.gate.bias])}
        nodes += [
            helper.make_node("MatMul", [statistics, "gate.weights"], ["gate.mapped"]),
            helper.make_node("Add", ["gate.mapped", "gate.bias"], ["gate.logit"]),
            helper.make_node("Sigmoid", ["gate.logit"], ["gate.open"]),
            helper.make_node("Mul", ["head.added", "gate.open"], ["head.gated"]),
        ]
    added = "head.added" if gated.gate is None else "head.gated"
    nodes.append(helper.make_node("Add", ["own.logits", added], ["logits"]))
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()
    )
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
