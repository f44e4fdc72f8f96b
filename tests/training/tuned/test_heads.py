"""What is added to logits: it is learned where it helps, and stays near nothing where little speaks for it."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from moodreel.recognition.fusion import log_softmax
from moodreel.training.tuned.heads import NO_CORRECTION, Rows, fit_corrections


def make_rows(n=210, width=12, n_emotions=7, bias=0.0, seed=0):
    """Features that tell the emotion, and answers that know nothing but may lean."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.random.default_rng(9).normal(size=(7, width))
    label = np.arange(n) % n_emotions
    features = centres[label] + rng.normal(size=(n, width))
    answers = log_softmax(np.eye(7)[label] + bias * np.eye(7)[6])
    return Rows(answers, 2.0, features, label)


def share_right(rows, correction):
    return float((rows.correct(correction).argmax(axis=1) == rows.label).mean())


def test_a_map_of_features_is_learned_and_holds_for_others():
    (found,) = fit_corrections(make_rows(bias=3.0), [0.1])
    others = make_rows(bias=3.0, seed=1)
    assert share_right(others, NO_CORRECTION) == pytest.approx(1 / 7) and share_right(others, found) > 0.9


def test_a_bias_takes_out_a_lean():
    rows = make_rows(bias=3.0)
    (found,) = fit_corrections(rows, [None])
    assert found.weights is None and share_right(rows, found) == 1
    assert found.bias[6] < found.bias[:6].min() - 3, "in units of logits: the lean times the temperature"


def test_a_strong_pull_leaves_the_last_layer_where_it_was():
    rows = make_rows(bias=3.0)
    (near,) = fit_corrections(rows, [1e6])
    assert np.abs(rows.features @ near.weights).max() < 0.01


def test_few_clips_move_less_than_many():
    moved = [np.abs(fit_corrections(make_rows(n=n, bias=3.0), [None])[0].bias).max() for n in (7, 700)]
    assert moved[0] < 0.8 * moved[1]


def test_an_emotion_that_is_not_shown_is_not_driven_to_nothing_by_few_clips():
    rows = make_rows(n=10, n_emotions=5)
    (found,) = fit_corrections(rows, [1.0])
    assert np.isfinite(found.weights).all() and np.exp(rows.correct(found)[:, 5:]).min() > 1e-3


def test_nothing_teaches_nothing():
    rows = make_rows()
    nothing = rows.select(np.zeros(len(rows.label), bool))
    np.testing.assert_array_equal(rows.correct(fit_corrections(nothing, [1.0])[0]), rows.correct(NO_CORRECTION))


def test_rare_emotions_count_as_much_as_frequent_ones():
    label = np.r_[np.zeros(95, np.int64), np.ones(5, np.int64)]
    rows = Rows(log_softmax(np.zeros((100, 7))), 1.0, np.zeros((100, 1)), label)
    (found,) = fit_corrections(rows, [None])
    assert found.bias[0] == pytest.approx(found.bias[1], abs=1e-3)
