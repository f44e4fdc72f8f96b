"""LDA and its neighbours, against what they must be on made-up data."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from moodreel.training.joint import projection
from moodreel.training.joint.projection import (
    LinearMap,
    Projection,
    class_scores,
    fit_components,
    fit_lda,
    fit_scaling,
    out_of_fold,
    rank_within,
)


def blobs(n=210, d=20, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 7
    return rng.normal(size=(n, d)) + 2.0 * np.eye(7, d)[labels], labels


def test_at_most_six_directions_tell_seven_classes_apart():
    features, labels = blobs()
    found = fit_lda(features, labels, 20)
    assert (found.eigenvalues[:6] > 0.1).all()
    assert np.abs(found.eigenvalues[6:]).max() < 1e-8


def test_more_features_than_clips_make_the_within_scatter_singular():
    features, labels = blobs(n=70, d=200)
    plain, shrunk = (fit_lda(features, labels, 6, shrinkage=kind) for kind in ("none", "ledoit_wolf"))
    assert (
        rank_within(features, labels) == 63 and plain.eigenvalues[0] > 1e4
    )  # it separates the training clips perfectly
    assert 0.05 < shrunk.shrinkage < 1 and shrunk.eigenvalues[0] < 100
    strangers, answers = blobs(n=700, d=200, seed=1)

    def recall(found):
        scores = class_scores(found, features, labels, 7).apply(strangers)
        return (scores.argmax(1) == answers).mean()

    assert recall(shrunk) > recall(plain)


def test_directions_solve_the_generalised_eigenproblem():
    features, labels = blobs()
    found = fit_lda(features, labels, 6)
    projected = found.projection.apply(features)
    centred = projected - np.stack([projected[labels == label].mean(0) for label in range(7)])[labels]
    np.testing.assert_allclose(centred.T @ centred / len(centred), np.eye(6), atol=1e-5)


def test_out_of_fold_scores_are_less_sure_than_those_of_the_fit_that_saw_the_clips():
    features, labels = blobs(n=70, d=100)
    speakers = [f"s{index % 5}" for index in range(70)]
    honest = out_of_fold(features, labels, speakers, 5, 7, n_directions=6, shrinkage="ledoit_wolf")
    found = fit_lda(features, labels, 6, shrinkage="ledoit_wolf")
    seen = class_scores(found, features, labels, 7).apply(features)
    assert (seen.argmax(1) == labels).mean() > (honest.argmax(1) == labels).mean()


def test_the_layer_does_what_the_map_does():
    features, labels = blobs()
    wild = features.copy()
    wild[0, 0] = 1e6
    scaling = fit_scaling(features, limit=3.0)
    assert np.abs(scaling.apply(wild)).max() == 3.0
    squashed = fit_lda(features, labels, 6, squash=True).projection
    for linear_map in (scaling, squashed, fit_components(features, 5), fit_lda(features, labels, 6).projection):
        found = Projection(linear_map)(torch.as_tensor(wild, dtype=torch.float32)).numpy()
        np.testing.assert_allclose(found, linear_map.apply(wild), rtol=1e-3, atol=1e-3)


def test_squashing_makes_lda_blind_to_units_and_bears_wild_values():
    features, labels = blobs(n=420)
    wild = features.copy()
    wild[::60, :7] *= 1e5
    strangers, answers = blobs(n=700, seed=1)

    def recall(training, unit=1.0, **settings):
        found = fit_lda(training * unit, labels, 6, shrinkage="fixed", share=0.5, scale=True, **settings)
        scores = class_scores(found, training * unit, labels, 7).apply(strangers * unit)
        return (scores.argmax(1) == answers).mean()

    assert recall(wild, squash=True) > recall(wild) + 0.1
    assert recall(features, squash=True) == recall(features, unit=1e-4, squash=True)


def test_fewer_clips_than_features_give_the_same_answers_by_the_shorter_way(monkeypatch):
    rng = np.random.default_rng(4)
    labels = np.arange(60) % 7
    features = rng.normal(size=(60, 150)) + 0.5 * rng.normal(size=(7, 150))[labels]
    settings = {"n_directions": 6, "shrinkage": "fixed", "share": 0.4, "scale": True, "limit": 3.0}
    short = projection.fit_lda(features, labels, **settings)
    monkeypatch.setattr(projection, "_FIRM", 2.0)
    long = projection.fit_lda(features, labels, **settings)
    assert short.eigenvalues == pytest.approx(long.eigenvalues, rel=1e-6)
    scores = [projection.class_scores(found, features, labels, 7).apply(features) for found in (short, long)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-6


def test_features_that_never_change_tell_nothing_and_break_nothing():
    labels = np.arange(20) % 2
    found = projection.fit_lda(np.ones((20, 50)), labels, 1, shrinkage="fixed", share=0.5, scale=True)
    assert np.isfinite(projection.class_scores(found, np.ones((20, 50)), labels, 7).apply(np.ones((3, 50)))).all()


def test_a_fixed_share_is_what_is_blended_in():
    features, labels = blobs(n=70, d=200)
    assert fit_lda(features, labels, 6, shrinkage="fixed", share=0.65).shrinkage == 0.65
    found = fit_lda(features, labels, 6, shrinkage="fixed", share=1.0)  # nothing left of S_W: nearest class mean
    means = np.stack([features[labels == label].mean(0) for label in range(7)])
    nearest = ((features[:, None] - means) ** 2).sum(2).argmin(1)
    assert (class_scores(found, features, labels, 7).apply(features).argmax(1) == nearest).all()


def test_components_have_deviation_one_and_do_not_correlate():
    features, _ = blobs()
    projected = fit_components(features, 5).apply(features)
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.eye(5), atol=1e-6)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="two classes"):
        fit_lda(np.ones((3, 2)), [1, 1, 1], 1)


def test_a_projection_of_cancelling_coefficients_keeps_the_digits_of_the_fit():
    rng = np.random.default_rng(5)
    large = 1e7 * rng.normal(size=(40, 4))
    linear_map = LinearMap(np.zeros(40), np.ones(40), large - large.mean(axis=0), np.zeros(4))
    features = (1 + 1e-5 * rng.normal(size=(6, 40))).astype(np.float32)
    found = Projection(linear_map)(torch.from_numpy(features))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, linear_map.apply(features), rtol=1e-6)
