"""Folders as `pretrain faces` and `pretrain voice` leave them, with made-up answers."""

import json

import numpy as np

from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import log_softmax
from moodreel.training.calibration.fit import HeldOut
from moodreel.training.voice.scores import RecordingLogits
from tiny_bundle import write_tiny_bundle

RNG = np.random.default_rng(7)


def draw(n, sharpness, temperature=1.0, snr_db=30.0):
    """Answers whose labels are drawn from their own probabilities: calibrated, then multiplied by `temperature`."""
    logits = RNG.normal(0, sharpness, (n, 7))
    p = np.exp(log_softmax(logits))
    label = (p.cumsum(1) > RNG.random((n, 1))).argmax(1)
    return HeldOut(logits * temperature, label, np.full(n, snr_db), np.full(n, 1 / n))


def write_runs(folder):
    """Folders as `pretrain faces` and `pretrain voice` leave them."""
    graphs = write_tiny_bundle(folder / "graphs")
    face_run, voice_run = folder / "face", folder / "voice"
    for run, graph in ((face_run, "face.onnx"), (voice_run, "voice.onnx")):
        run.mkdir()
        (run / graph).write_bytes((graphs / graph).read_bytes())
        (run / "scores.json").write_text(json.dumps({"priors": {"fer2013": dict.fromkeys(EMOTIONS, 1 / 7)}}))
    faces = draw(500, 2.0)
    np.savez(face_run / "holdout.npz", logits=faces.logits, fer2013=np.append(faces.label[:-1], 255))
    for name, conditions in (
        ("heldout", ["clean", "babble 0 dB"]),
        ("nemo-to-ravdess", ["clean"]),
        ("ravdess-to-nemo", ["clean"]),
        ("nemo-to-ravdess-covered", ["clean", "babble 0 dB"]),
    ):
        heard = draw(300, 1.0)
        rows = len(conditions)
        RecordingLogits(
            np.array(conditions),
            np.repeat(heard.logits[None], rows, axis=0).astype(np.float32),
            np.repeat(heard.snr_db[None], rows, axis=0).astype(np.float32),
            heard.label,
            np.full(300, "01"),
            np.arange(300).astype(str),
        ).save(voice_run / f"{name}.npz")
    return face_run, voice_run
