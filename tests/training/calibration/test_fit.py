"""Weights, trust and threshold that were planted in made-up answers are found again."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from moodreel.recognition.fusion import Fusion, log_softmax, read_fusion
from moodreel.training.calibration.fit import (
    HeldOut,
    Pairs,
    choose_threshold,
    fit_fusion,
    fit_weights,
    fuse_pairs,
    no_answers,
)

KNOTS_DB = (0.0, 10.0, 20.0, 30.0)
PRESENT = Fusion(1.0, 1.0, 0.8, 0.8, KNOTS_DB, (1.0, 1.0, 1.0, 1.0), 0.3)


def plant(voice_weights, n=20_000, face_weight=1.0, share=1.0, seed=0):
    """Clips whose labels are drawn from face and voice added with these weights of the voice at `KNOTS_DB`."""
    rng = np.random.default_rng(seed)
    face, voice = rng.normal(0, 1.5, (2, n, 7))
    snr_db = rng.uniform(-5, 35, n)
    weight = np.interp(snr_db, KNOTS_DB, voice_weights) * share
    p = np.exp(log_softmax(face_weight * face + weight[:, None] * voice))
    label = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    return Pairs(face, voice, snr_db, np.full(n, share), label, np.full(n, 1 / n))


def voice_weights(fusion):
    return fusion.voice_weight * np.array(fusion.voice_trust)


@pytest.mark.parametrize("planted", [(0.1, 0.4, 0.8, 1.2), (0.7, 0.7, 0.7, 0.7), (0.0, 0.0, 1.0, 1.0)])
def test_trust_that_rises_or_is_flat_is_found(planted):
    fusion = fit_weights(plant(planted), PRESENT)
    np.testing.assert_allclose(voice_weights(fusion), planted, atol=0.09)
    assert fusion.face_weight == pytest.approx(1.0, abs=0.05)


def test_trust_that_falls_first_and_rises_then_rises_from_what_fits_both():
    """A running maximum over a free fit would put every knot at the .9 of 0 dB or above."""
    planted = (0.9, 0.2, 0.2, 1.2)
    weights = voice_weights(fit_weights(plant(planted), PRESENT))
    assert (np.diff(weights) >= -1e-4).all(), "clearer sound is never trusted less"
    assert weights[1] < 0.5, "knots that shall weigh little do not take the value of the noisiest"
    assert weights[3] > 1.0


def test_trust_that_only_falls_is_flat_at_a_middle_value():
    weights = voice_weights(fit_weights(plant((1.2, 0.9, 0.5, 0.2)), PRESENT))
    np.testing.assert_allclose(weights, weights[0], atol=1e-3)
    assert 0.5 < weights[0] < 0.9, "not at the 1.2 of 0 dB, where few clips lie"


def test_fit_is_the_least_there_is():
    pairs = plant((0.9, 0.2, 0.2, 1.2), n=2000)
    best = fit_weights(pairs, PRESENT)
    other = fit_weights(pairs, Fusion(1.0, 1.0, 0.1, 0.0, KNOTS_DB, (0.0, 0.0, 0.0, 0.0), 0.3))
    np.testing.assert_allclose(voice_weights(best), voice_weights(other), atol=2e-3)


def test_voice_of_somebody_else_is_counted_by_the_share():
    fusion = fit_weights(plant((0.8, 0.8, 0.8, 0.8), share=0.5), PRESENT)
    np.testing.assert_allclose(voice_weights(fusion), 0.8, atol=0.09)


def test_pairs_are_fused_as_the_bundle_does_it():
    fusion = Fusion(1.3, 2.0, 0.9, 1.1, KNOTS_DB, (0.2, 0.5, 0.5, 1.0), 0.3, (0.1, 0, 0, 0, 0, 0, -0.2))
    pairs = plant((1, 1, 1, 1), n=20, share=0.7)
    expected = [
        fusion.fuse(fusion.face_log_probabilities(face), fusion.voice_log_probabilities(voice), snr_db, 0.7)
        for face, voice, snr_db in zip(pairs.face, pairs.voice, pairs.snr_db, strict=True)
    ]
    np.testing.assert_allclose(fuse_pairs(pairs, fusion), expected, atol=1e-12)


def test_a_prior_of_many_clips_keeps_the_present_values():
    pairs = plant((0.0, 0.0, 1.5, 1.5), n=50)
    held = HeldOut(pairs.face * 3, pairs.label, pairs.snr_db, pairs.weight)
    kept = fit_fusion(held, held, pairs, PRESENT, prior_clips=1e6)
    assert kept.face_temperature == pytest.approx(1.0, abs=0.01) and kept.abstain_below == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(voice_weights(kept), 0.8, atol=0.01)
    free = fit_fusion(held, held, pairs, PRESENT)
    assert free.face_temperature > 1.5


def test_a_modality_that_never_answered_stays_as_it_is():
    pairs = plant((1, 1, 1, 1), n=200)
    held = HeldOut(pairs.voice * 2, pairs.label, pairs.snr_db, pairs.weight)
    none = np.zeros(0)
    nothing = Pairs(np.zeros((0, 7)), np.zeros((0, 7)), none, none, np.zeros(0, np.int64), none)
    fusion = fit_fusion(no_answers(), held, nothing, PRESENT)
    assert fusion.face_temperature == PRESENT.face_temperature and fusion.voice_temperature != 1.0
    assert (fusion.face_weight, fusion.voice_weight, fusion.voice_trust) == (0.8, 0.8, (1.0, 1.0, 1.0, 1.0))
    read_fusion(vars(fusion))


def test_face_that_is_worse_than_nothing_keeps_a_weight_that_a_bundle_may_have():
    pairs = plant((1, 1, 1, 1), n=2000, face_weight=-1.0)
    read_fusion(vars(fit_weights(pairs, PRESENT)))


def test_threshold_leaves_nineteen_in_twenty():
    tops = np.linspace(0.2, 1.0, 1001)
    assert choose_threshold([tops], 0.3) == pytest.approx(0.24, abs=1e-3)
    assert choose_threshold([tops[:0]], 0.3) == 0.3
    assert 0.24 < choose_threshold([tops], 0.3, prior_clips=1001) < 0.3
