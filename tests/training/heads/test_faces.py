"""The face network's last layer, fitted anew: features stay, the map to emotions moves, and not far."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnxruntime

from moodreel.labels import EMOTIONS
from moodreel.training.heads.faces import LabelledFeatures, LinearHead, correct_head, find_head, fit_head
from moodreel.training.heads.recipe import FaceHeadRecipe
from moodreel.training.tuned.bundle import add_correction

RECIPE = FaceHeadRecipe(pull=1e-3, steps=60)


@pytest.fixture
def graph(tiny_bundle):
    return (tiny_bundle / "face.onnx").read_bytes()


def answer(graph, faces):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["features", "logits"], {"faces": faces})


def faces(n=5):
    return np.random.default_rng(0).uniform(0, 255, (n, 3, 32, 32)).astype(np.float32)


def test_the_map_of_a_network_is_found(graph):
    head = find_head(graph, 3, 32)
    features, logits = answer(graph, faces())
    np.testing.assert_allclose(features @ head.weights + head.bias, logits, atol=1e-3)


def test_a_network_with_another_map_answers_by_it_and_keeps_its_features(graph):
    rng = np.random.default_rng(1)
    head = LinearHead(rng.normal(size=(3, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32))
    before, _ = answer(graph, faces())
    added = correct_head(head, find_head(graph, 3, 32))
    features, logits = answer(add_correction(graph, "features", added), faces())
    np.testing.assert_array_equal(features, before)
    np.testing.assert_allclose(logits, features @ head.weights + head.bias, rtol=1e-3, atol=1e-3)


def make_sets(rng, n=400, shift=0.0):
    """Seven clusters of features; those of the second set lie elsewhere."""
    centres, away = rng.normal(size=(7, 12)), rng.normal(size=12)
    sets = []
    for moved, weight in ((0.0, 1.0), (shift, 0.5)):
        labels = np.arange(n) % 7
        features = centres[labels] + moved * away + rng.normal(size=(n, 12))
        sets.append(LabelledFeatures(features.astype(np.float32), labels, weight))
    return sets


def share_right(head, given):
    return float(((given.features @ head.weights + head.bias).argmax(axis=1) == given.labels).mean())


def test_further_corpora_are_learned_and_the_first_is_kept():
    sets = make_sets(np.random.default_rng(2), shift=2.0)
    nothing = LinearHead(np.zeros((12, 7), np.float32), np.zeros(7, np.float32))
    first = fit_head(sets[:1], nothing, RECIPE)
    both = fit_head(sets, first, RECIPE)
    assert share_right(both, sets[1]) > share_right(first, sets[1]) + 0.05
    assert share_right(both, sets[0]) > share_right(first, sets[0]) - 0.05


def test_a_strong_pull_leaves_the_map_where_it_was():
    sets = make_sets(np.random.default_rng(3), shift=2.0)
    before = fit_head(sets[:1], LinearHead(np.zeros((12, 7), np.float32), np.zeros(7, np.float32)), RECIPE)
    after = fit_head(sets, before, FaceHeadRecipe(pull=1e6, steps=20))
    np.testing.assert_allclose(after.weights, before.weights, atol=1e-3)


def test_rare_emotions_count_as_much_as_frequent_ones():
    rng = np.random.default_rng(4)
    labels = np.r_[np.zeros(490, np.int64), np.ones(10, np.int64)]
    features = (labels[:, None] * 1.0 + rng.normal(size=(500, 1))).astype(np.float32)
    nothing = LinearHead(np.zeros((1, 7), np.float32), np.zeros(7, np.float32))
    head = fit_head([LabelledFeatures(features, labels, 1.0)], nothing, RECIPE)
    edge = (head.bias[0] - head.bias[1]) / (head.weights[0, 1] - head.weights[0, 0])
    assert edge == pytest.approx(0.5, abs=0.3), f"{EMOTIONS[0]} swallows {EMOTIONS[1]}"
