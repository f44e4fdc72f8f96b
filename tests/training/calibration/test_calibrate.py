"""`moodreel calibrate` as a user types it: a corpus in, a bundle out that opens and says how it was chosen."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from conftest import chirp
from media_files import write_clip
from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.cli import main as cli
from moodreel.recognition.fusion import read_fusion
from moodreel.training.calibration import calibrate as calibration, choose
from tiny_bundle import JOINT_INPUTS, write_tiny_bundle, write_tiny_joint_bundle

SPEAKERS = ("ann", "bob", "cem")
COLOURS = {"angry": (240, 20, 20), "disgust": (20, 240, 20), "fear": (20, 20, 240)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Clips of three speakers without a face: colours that tell the emotion, and for each emotion one of a voice."""
    folder = tmp_path_factory.mktemp("corpus")
    for emotion, colour in COLOURS.items():
        (folder / emotion).mkdir()
        picture = np.full((32, 32, 3), colour, np.uint8)
        for speaker in SPEAKERS:
            path = folder / emotion / f"{speaker}_1.mp4"
            write_clip(path, 1, size=(32, 32), rate=5, frames=lambda _, p=picture: p, sound=chirp)
    (folder / "angry" / "ann_2.mp4").write_bytes(b"no film")
    return folder


@pytest.fixture
def run(corpus, tmp_path, capsys, monkeypatch):
    def call(bundle, *arguments):
        command = ["moodreel", "calibrate", str(bundle), str(corpus), "--out", str(tmp_path / "new")]
        speakers = ["--speakers", "(?P<speaker>[a-z]+)_"]
        monkeypatch.setattr(sys, "argv", [*command, *speakers, *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        return exit.value.code or 0, *capsys.readouterr()

    return call


def test_late_bundle_whose_voice_knows_nothing_is_made_less_sure(run, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    status, out, err = run(bundle)
    assert status == 1 and err == ""
    assert "failed: angry/ann_2: " in out, "the clip that failed is named, the others count"
    assert "taken:" in out and "3 folds by speaker, one left out at a time" in out
    made, before = load_bundle(tmp_path / "new"), load_bundle(bundle)
    fusion = read_fusion(made.section("fusion"))
    assert fusion.voice_temperature > 1 and fusion.face_temperature == 1, "there was no face to tell of"
    assert made.name == "new" and made.networks == before.networks
    said = made.section("calibration")
    assert (said["n_clips"], said["n_speakers"], said["taken"]) == (9, 3, True)
    change = said["changes"][-1]
    assert change["after"]["nll"]["value"] < change["before"]["nll"]["value"]
    assert "left-out" in said["protocol"]
    assert read_fusion(said["chosen"]) == fusion == Recognizer.load(tmp_path / "new").calibration


def write_joint_bundle(folder):
    """Write a joint bundle that looks at whole frames, where colours tell the emotion."""
    frames = {**JOINT_INPUTS["frames"], "framing": "whole"}
    return write_tiny_joint_bundle(folder, inputs={**JOINT_INPUTS, "frames": frames})


def test_joint_bundle(run, tmp_path):
    status, out, _ = run(write_joint_bundle(tmp_path / "tiny"), "--folds", 3)
    assert status == 1 and "temperature" in out
    made = Recognizer.load(tmp_path / "new").calibration
    assert made.temperature < 1, "colours tell the emotion surely"
    assert made.abstain_below > 0.2


def test_values_that_are_no_better_on_left_out_speakers_are_not_taken(run, tmp_path, monkeypatch):
    bundle = write_joint_bundle(tmp_path / "tiny")
    monkeypatch.setattr(choose, "refit", lambda clips, present: replace(present, temperature=50.0))
    _, out, _ = run(bundle)
    made = load_bundle(tmp_path / "new")
    assert "kept:" in out and made.networks == load_bundle(bundle).networks
    assert made.section("calibration")["taken"] is False
    assert made.section("calibration")["chosen"]["temperature"] == 50, "what was tried is told"


def test_a_folder_that_is_there_is_refused_before_any_clip_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "load_bundle", None)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    status, _, err = run("default")
    assert status == 2 and "is there already" in err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.txt"]


def test_a_kill_while_writing_leaves_nothing(run, tmp_path, monkeypatch):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    monkeypatch.setattr(calibration, "read_network", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(bundle)[0] == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_unknown_speakers_are_asked_for(corpus, tmp_path, capsys, monkeypatch):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    command = ["moodreel", "calibrate", str(bundle), str(corpus), "--out", str(tmp_path / "new")]
    for extra, expected in ((), 2), (("--allow-shared-speakers", "--folds", "3"), 1):
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        assert exit.value.code == expected
    out, err = capsys.readouterr()
    assert "--speakers" in err and "3 folds by clip" in out


def test_clips_that_the_bundle_was_trained_on_are_left_out(run, corpus, tmp_path):
    """A calibrated bundle lists what it was calibrated on among what it knows, so that no later figure rests on it."""
    from moodreel.leaks.training_clips import read_training_clips, write_training_clips

    bundle = write_tiny_bundle(tmp_path / "tiny")
    entry = write_training_clips([], bundle)
    write_tiny_bundle(bundle, training_clips=entry)
    run(bundle)
    made = load_bundle(tmp_path / "new")
    assert len(read_training_clips(made)) == 9
    (tmp_path / "new").rename(tmp_path / "calibrated")
    status, _, err = run(tmp_path / "calibrated")
    assert status == 2 and "trained on every clip" in err
    assert json.loads((tmp_path / "calibrated" / "bundle.json").read_text())["training_clips"]["n_clips"] == 9
