"""The gate: the network answers by itself where it knows the recordings, and the map helps elsewhere."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnxruntime

from heard_corpus import WIDTH, make_corpus
from moodreel.training.heads.gate import Gate, GatedCorrection, add_gated, fit_gate
from moodreel.training.heads.recipe import VoiceHeadRecipe
from moodreel.training.tuned.heads import Correction

RECIPE = VoiceHeadRecipe(gate_doubt=0.0)


def test_recordings_of_known_corpora_close_it_and_others_open_it():
    rng = np.random.default_rng(0)
    corpora = [make_corpus(name, rng) for name in "abcd"]
    gate = fit_gate(corpora, ["a"], RECIPE)
    known, *others = (gate.open(one.statistics[:, 0].astype(np.float64)).mean() for one in corpora)
    assert known < 0.3 and min(others) > 0.7, (known, others)


def test_doubt_opens_it():
    corpora = [make_corpus(name, np.random.default_rng(1)) for name in "ab"]
    strict, doubtful = (fit_gate(corpora, ["a"], VoiceHeadRecipe(gate_doubt=doubt)) for doubt in (0.0, 2.0))
    assert doubtful.bias == pytest.approx(strict.bias + 2.0)


@pytest.mark.parametrize("known", [[], ["a", "b"]])
def test_without_two_sides_there_is_none_and_the_map_counts_everywhere(known):
    corpora = [make_corpus(name, np.random.default_rng(2)) for name in "ab"]
    assert fit_gate(corpora, known, RECIPE) is None
    correction = Correction(np.ones(7), np.zeros((WIDTH, 7)))
    np.testing.assert_allclose(GatedCorrection(correction, None).apply(np.zeros((2, 7)), np.zeros((2, WIDTH))), 1.0)


@pytest.mark.parametrize("is_gated", [True, False])
def test_the_exported_network_answers_as_was_measured(tiny_bundle, is_gated):
    graph = (tiny_bundle / "voice.onnx").read_bytes()
    rng = np.random.default_rng(3)
    mel, pooling = rng.normal(size=(1, 80, 40)).astype(np.float32), np.full((2, 20), 1 / 20, np.float32)

    def answer(network):
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        return session.run(["logits", "statistics"], {"mel": mel, "pooling": pooling})

    own, statistics = answer(graph)
    width = statistics.shape[1]
    gate = Gate(rng.normal(size=width) / width, 0.3) if is_gated else None
    gated = GatedCorrection(Correction(rng.normal(size=7), rng.normal(size=(width, 7))), gate)
    logits, kept = answer(add_gated(graph, "statistics", gated))
    np.testing.assert_array_equal(kept, statistics)
    np.testing.assert_allclose(logits, gated.apply(own, statistics.astype(np.float64)), rtol=1e-3, atol=1e-3)
