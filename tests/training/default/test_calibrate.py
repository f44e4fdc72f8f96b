"""Calibration and fusion find what was planted in made-up answers, and the bundle they write opens."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from moodreel.bundle import load_bundle
from moodreel.errors import CorpusError, RecipeError
from moodreel.labels import EMOTIONS
from moodreel.metrics import fit_temperature
from moodreel.recognition.fusion import log_softmax, read_fusion
from moodreel.training.calibration.fit import HeldOut
from moodreel.training.default import rebuild
from moodreel.training.default.assemble import assemble_bundle
from moodreel.training.default.calibrate import (
    calibrate_runs,
    choose_fusion,
    pair_by_label,
    read_calibration,
    read_voices,
    write_calibration,
)
from moodreel.training.voice.scores import RecordingLogits
from tiny_bundle import write_tiny_bundle

RNG = np.random.default_rng(7)


def draw(n, sharpness, temperature=1.0, snr_db=30.0):
    """Answers whose labels are drawn from their own probabilities: calibrated, then multiplied by `temperature`."""
    logits = RNG.normal(0, sharpness, (n, 7))
    p = np.exp(log_softmax(logits))
    label = (p.cumsum(1) > RNG.random((n, 1))).argmax(1)
    return HeldOut(logits * temperature, label, np.full(n, snr_db), np.full(n, 1 / n))


def join(*parts):
    fields = ("logits", "label", "snr_db", "weight")
    return HeldOut(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def temperature_of(held):
    return fit_temperature(held.label, held.logits, held.weight)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_that_was_planted_is_found(temperature):
    assert temperature_of(draw(20_000, 2.0, temperature)) == pytest.approx(temperature, rel=0.05)


def test_pairs_share_their_emotion():
    label, others = RNG.integers(0, 7, 200), RNG.integers(0, 7, 300)
    rows, partners = pair_by_label(label, others)
    assert (label[rows] == others[partners]).all()
    assert (np.bincount(rows) == np.bincount(rows)[0]).all()


def test_voice_that_knows_nothing_gets_no_weight_and_one_that_knows_gets_some():
    faces = draw(4000, 2.0)
    clean, noisy = draw(4000, 2.0, snr_db=30.0), draw(4000, 2.0, snr_db=0.0)
    noisy = HeldOut(RNG.permutation(noisy.logits), noisy.label, noisy.snr_db, noisy.weight)
    fusion = choose_fusion(faces, join(clean, noisy), clean)
    assert fusion.voice_weight == pytest.approx(1.0, abs=0.25) and fusion.face_weight == pytest.approx(1.0, abs=0.25)
    assert fusion.voice_trust[0] < 0.1 and fusion.voice_trust[-1] == 1.0
    assert 1 / 7 < fusion.abstain_below < 0.6


def test_how_large_the_logits_of_another_network_are_does_not_decide_how_sure_the_shipped_one_may_be(tmp_path):
    _, run = write_runs(tmp_path)
    before = temperature_of(read_voices(run)[1])
    for name in ("nemo-to-ravdess", "ravdess-to-nemo"):
        heard = RecordingLogits.load(run / f"{name}.npz")
        replace(heard, logits=heard.logits * np.float32(0.25)).save(run / f"{name}.npz")
    assert temperature_of(read_voices(run)[1]) == pytest.approx(before, rel=1e-3)


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


def test_bundle_opens_and_says_what_it_is(tmp_path):
    runs = write_runs(tmp_path)
    path = assemble_bundle(*runs, calibrate_runs(*runs), tmp_path / "made", "moodreel pretrain default")
    bundle = load_bundle(path.parent)
    fusion = read_fusion(bundle.section("fusion"))
    assert fusion == calibrate_runs(*runs).fusion
    assert bundle.name == "made" and "non-commercial" in bundle.licence
    manifest = json.loads(path.read_text())
    assert manifest["fusion"]["chosen_on"]
    assert manifest["fusion"]["chosen_with"] == {name: entry["sha256"] for name, entry in bundle.networks.items()}
    assert all("bootstrap" in manifest["scores"][name]["protocol"] for name in ("face", "voice"))


def test_unfinished_run_is_refused(tmp_path):
    face_run, voice_run = write_runs(tmp_path)
    (voice_run / "heldout.npz").unlink()
    with pytest.raises(CorpusError, match=r"heldout\.npz"):
        calibrate_runs(face_run, voice_run)


def test_calibration_comes_back_as_it_was(tmp_path):
    calibration = calibrate_runs(*write_runs(tmp_path))
    write_calibration(calibration, tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json") == calibration
    (tmp_path / "calibration.json").write_text('{"fusion": {}}')
    with pytest.raises(CorpusError, match="damaged"):
        read_calibration(tmp_path / "calibration.json")


def rebuild_stages(out, *stages):
    return rebuild.pretrain_default(out / "faces", out / "ravdess", out / "nemo", out, stages=stages)


def test_a_new_network_needs_a_new_calibration(tmp_path, monkeypatch):
    """The fusion that shipped was chosen with a face network four networks ago: the bundle must refuse that."""
    monkeypatch.setattr(rebuild, "_list_training_clips", lambda *_: None)
    face_run, _ = write_runs(tmp_path)
    rebuild_stages(tmp_path, "calibrate", "bundle")
    before = read_fusion(load_bundle(tmp_path / "default").section("fusion"))
    (face_run / "face.onnx").write_bytes((face_run / "face.onnx").read_bytes() + b"\x00")
    with np.load(face_run / "holdout.npz") as stored:
        faces = dict(stored)
    np.savez(face_run / "holdout.npz", **{**faces, "logits": faces["logits"] * 2})
    with pytest.raises(CorpusError, match="chosen with another face network; run the stage calibrate"):
        rebuild_stages(tmp_path, "bundle")
    rebuild_stages(tmp_path, "calibrate", "bundle")
    after = read_fusion(load_bundle(tmp_path / "default").section("fusion"))
    assert after.face_temperature == pytest.approx(2 * before.face_temperature, rel=1e-3)
    with pytest.raises(RecipeError, match="unknown stage 'weights'"):
        rebuild_stages(tmp_path, "weights")
