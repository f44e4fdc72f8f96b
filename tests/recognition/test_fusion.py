"""Fusion: calibrated log-probabilities, weighted and added."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from moodreel.errors import BundleError
from moodreel.recognition.fusion import Fusion, log_softmax, read_fusion

FUSION = Fusion(
    face_temperature=2.0,
    voice_temperature=1.0,
    face_weight=1.0,
    voice_weight=0.5,
    voice_trust_db=(0.0, 20.0),
    voice_trust=(0.0, 1.0),
    abstain_below=0.3,
)
SECTION = {
    "face_temperature": 2.0,
    "voice_temperature": 1.0,
    "face_weight": 1.0,
    "voice_weight": 0.5,
    "voice_trust_db": [0.0, 20.0],
    "voice_trust": [0.0, 1.0],
    "abstain_below": 0.3,
}
logits = arrays(np.float64, 7, elements=st.floats(-50, 50))


@given(logits, logits, st.floats(-50, 80))
def test_fused_probabilities_are_a_distribution(face, voice, snr_db):
    fused = FUSION.fuse(FUSION.face_log_probabilities(face), FUSION.voice_log_probabilities(voice), snr_db)
    assert fused.shape == (7,)
    assert np.isfinite(fused).all() and fused.min() >= 0
    assert fused.sum() == pytest.approx(1.0)


def test_golden_value_of_two_classes_apart_by_one_logit():
    """Face logits (1, 0, ...) at T=2 and voice logits (0, 1, ...) at weight .5: e^.5 stands on both sides."""
    face = FUSION.face_log_probabilities([1, 0, 0, 0, 0, 0, 0])
    voice = FUSION.voice_log_probabilities([0, 1, 0, 0, 0, 0, 0])
    fused = FUSION.fuse(face, voice, 20.0)
    expected = np.exp(0.5) / (2 * np.exp(0.5) + 5)
    assert fused[0] == pytest.approx(expected) and fused[1] == pytest.approx(expected)


@given(logits, logits)
def test_voice_in_noise_has_no_say(face, voice):
    face_log = FUSION.face_log_probabilities(face)
    fused = FUSION.fuse(face_log, FUSION.voice_log_probabilities(voice), -5.0)
    np.testing.assert_allclose(fused, np.exp(face_log), atol=1e-9)


def test_weights_name_who_speaks():
    assert FUSION.weights(None, has_face=True) == (1.0, 0.0)
    assert FUSION.weights(0.0, has_face=False) == (0.0, 1.0), "a voice alone answers at full weight, noise or not"
    assert FUSION.weights(10.0, has_face=True) == (1.0, 0.25), "half way between the trust's knots"
    assert FUSION.weights(20.0, has_face=True, speaker_share=0.5) == (1.0, 0.25), "of two people one speaks"
    assert FUSION.fuse(None, None, None) is None


@given(arrays(np.float64, (3, 7), elements=st.floats(-1e4, 1e4)))
def test_log_softmax_does_not_overflow(values):
    np.testing.assert_allclose(np.exp(log_softmax(values)).sum(axis=-1), 1.0)


def test_read_fusion_round_trip():
    assert read_fusion(SECTION) == FUSION


def test_biases_are_added_before_the_temperature():
    bias = [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]
    fusion = read_fusion({**SECTION, "face_bias": bias, "voice_bias": bias})
    even = np.zeros(7)
    np.testing.assert_allclose(fusion.face_log_probabilities(even), log_softmax(np.array(bias) / 2.0))
    np.testing.assert_allclose(fusion.voice_log_probabilities(even), log_softmax(np.array(bias)))
    with pytest.raises(BundleError, match="seven finite values"):
        read_fusion({**SECTION, "voice_bias": bias[:6]})


@pytest.mark.parametrize(
    "change",
    [
        {"face_temperature": 0},
        {"voice_weight": -1},
        {"voice_trust": [1.0]},
        {"voice_trust_db": [20.0, 0.0]},
        {"abstain_below": float("nan")},
        {"face_weight": "much"},
        {"voice_trust": None},
        {"voice_trust": [-5.0, 9.0]},
        {"face_temperature": 1e-320},
        {"voice_temperature": 10**400},
        {"voice_weight": 1e308},
        {"abstain_below": -3},
    ],
)
def test_malformed_fusion_is_refused_in_one_line(change):
    with pytest.raises(BundleError) as caught:
        read_fusion({**SECTION, **change})
    assert "\n" not in str(caught.value)
