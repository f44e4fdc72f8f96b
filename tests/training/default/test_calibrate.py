"""Calibration and fusion find what was planted in made-up answers, and the bundle they write opens."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from moodreel.bundle import load_bundle
from moodreel.errors import CorpusError
from moodreel.metrics import fit_temperature
from moodreel.recognition.fusion import read_fusion
from moodreel.training.calibration.fit import HeldOut
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
from pretrain_runs import RNG, draw, write_runs


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
