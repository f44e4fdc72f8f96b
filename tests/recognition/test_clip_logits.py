"""What networks say before calibration, calibrated, is what `predict` answers: calibrating elsewhere cannot drift."""

import json

import numpy as np
import pytest

from conftest import chirp
from media_files import write_clip, write_sound
from moodreel import Recognizer
from moodreel.errors import BundleError
from moodreel.recognition.fusion import ClipLogits
from tiny_bundle import FUSION, write_tiny_bundle, write_tiny_joint_bundle


def check(recognizer, path):
    prediction, logits = recognizer.predict(path), recognizer.read_logits(path)
    calibration = recognizer.calibration
    for modality, alone in (
        (prediction.face, calibration.face_answer(logits)),
        (prediction.voice, calibration.voice_answer(logits)),
    ):
        assert (modality.probabilities is None) == (alone is None)
        if alone is not None:
            np.testing.assert_allclose(alone, modality.probabilities, atol=1e-9)
    answer = calibration.answer(logits)
    np.testing.assert_allclose(np.full(7, 1 / 7) if answer is None else answer, prediction.probabilities, atol=1e-9)
    return logits


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    fusion = {**FUSION, "face_temperature": 1.7, "voice_temperature": 0.6, "voice_weight": 0.8}
    fusion |= {"face_bias": [0.3, -0.2, 0, 0, 0, 0, -0.1], "voice_bias": [0, 0.4, 0, 0, 0, 0, 0]}
    return Recognizer.load(write_tiny_bundle(tmp_path_factory.mktemp("late"), fusion=fusion), threads=1)


def test_late_bundle(late, face_clip, tmp_path):
    logits = check(late, face_clip)
    assert logits.snr_db == pytest.approx(20) and logits.speaker_share == 1
    assert check(late, write_sound(tmp_path / "a.wav", 2, sound=chirp)).face is None
    black = write_clip(tmp_path / "black.mp4", 1, size=(64, 64), frames=lambda _: np.zeros((64, 64, 3), np.uint8))
    assert check(late, black) == ClipLogits()


def joint_bundle(folder, **said):
    """Write the tiny joint bundle whose network states more."""
    entry = json.loads((write_tiny_joint_bundle(folder) / "bundle.json").read_text())["networks"]["joint"]
    return write_tiny_joint_bundle(folder, networks={"joint": {**entry, **said}})


def test_joint_bundle_in_several_stretches(portrait_frames, tmp_path):
    recognizer = Recognizer.load(joint_bundle(tmp_path / "joint", temperature=2.5), threads=1)

    def darkening(index):
        return (np.asarray(portrait_frames[index % len(portrait_frames)]) / (1 + index / 40)).astype(np.uint8)

    path = write_clip(tmp_path / "a.mp4", 9, size=(320, 240), rate=8, frames=darkening, sound=chirp)
    logits = check(recognizer, path)
    assert logits.face[0] > logits.face[3] and logits.voice[6] > logits.voice[0]
    assert logits.joint[0] - logits.joint[3] == pytest.approx(logits.face[0] - logits.face[3])
    assert check(recognizer, write_sound(tmp_path / "a.wav", 2, sound=chirp)).face is None


@pytest.mark.parametrize("said", [{"temperature": 0}, {"temperature": "1"}, {"abstain_below": 1.5}])
def test_joint_bundle_that_states_nonsense_is_refused(said, tmp_path):
    with pytest.raises(BundleError, match=next(iter(said))):
        Recognizer.load(joint_bundle(tmp_path / "joint", **said))
