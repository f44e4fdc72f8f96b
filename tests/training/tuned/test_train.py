"""`moodreel train --recipe tuned` as a user types it: clips in, a late bundle out that answers as was measured."""

import csv
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch")
pytest.importorskip("yaml")

from media_files import write_clip
from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.cli import main as cli
from moodreel.labels import EMOTIONS
from moodreel.leaks.training_clips import read_training_clips
from moodreel.training.tuned import train as training, tune as tuning
from moodreel.training.tuned.bundle import add_correction
from moodreel.training.tuned.heads import Correction
from tiny_bundle import FUSION, write_tiny_bundle
from tiny_corpus import CALLERS, write_voices


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_voices(tmp_path_factory.mktemp("voices"))


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    bundle = write_tiny_bundle(tmp_path / "tiny")

    def call(corpus, *arguments, out="run", speakers=True):
        command = [
            "moodreel",
            "train",
            corpus,
            "--recipe",
            "tuned",
            "--out",
            tmp_path / out,
            "--workers",
            1,
            "--threads",
            1,
        ]
        known = ["--speakers", "(?P<speaker>[a-z]+)_"] if speakers else []
        words = [*command, *known, "--set", f"model={bundle}", "--cache", tmp_path / "cache", *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        try:
            cli.main()
            status = 0
        except SystemExit as exit:
            status = exit.code or 0
        return status, *capsys.readouterr()

    return call


def test_last_layers_are_tuned_and_the_bundle_answers_as_was_measured(run, corpus, tmp_path):
    status, out, err = run(corpus, "--fold", 1, "--set", "folds=4", "--set", "level=heads")
    assert status == 0, err
    assert "tuning: last layers and fusion, as asked" in out
    assert "on speakers set aside (3 folds)" in out and out.count(": taken") == 1
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert not scores["kept"] and scores["n_clips"] == {"train": 18, "test": 6}
    assert scores["test"]["uar"]["value"] == 1 > scores["test_against_base"]["uar_before"]["value"]
    recognizer = Recognizer.load(tmp_path / "run" / "bundle", threads=1)
    with (tmp_path / "run" / "test-predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["speaker"] for row in rows} == {"ann"}
    for row in rows:
        prediction = recognizer.predict(corpus / f"{row['clip']}.wav", adapt=False)
        measured = [float(row[emotion]) for emotion in EMOTIONS]
        np.testing.assert_allclose(prediction.probabilities, measured, atol=2e-3)


def test_the_bundle_is_a_late_one_and_says_what_it_is_made_of(run, corpus, tmp_path):
    run(corpus, "--set", "level=heads")
    bundle, base = load_bundle(tmp_path / "run" / "bundle"), load_bundle(tmp_path / "tiny")
    assert (bundle.kind, bundle.name, bundle.manifest["tuned_from"]) == ("late", "tuned", "tiny 1")
    assert bundle.networks["face"]["sha256"] == base.networks["face"]["sha256"], "no clip showed a face"
    assert bundle.networks["voice"]["sha256"] != base.networks["voice"]["sha256"]
    assert bundle.networks["voice"]["no_speech_below_db"] == -50
    assert bundle.manifest["fusion"]["chosen_with"]["voice"] == bundle.networks["voice"]["sha256"]
    assert bundle.licence.endswith("tuned from tiny 1: none")
    assert "24 clips of 4 speakers" in bundle.manifest["training_data"][-1]["name"]


def test_the_clips_learned_from_are_known_to_the_leak_guard(run, corpus, tmp_path):
    run(corpus, "--fold", 1, "--set", "folds=4", "--set", f"model={with_known_clips(tmp_path)}")
    known = read_training_clips(load_bundle(tmp_path / "run" / "bundle"))
    assert {clip.speaker for clip in known} == {"bob", "cem", "dag"} and {clip.side for clip in known} == {"trained"}


def with_known_clips(folder, clips=()):
    """Write a tiny bundle that says what it was trained on."""
    from moodreel.leaks.training_clips import write_training_clips

    place = folder / "telling"
    return write_tiny_bundle(place, training_clips=write_training_clips(clips, place))


def test_what_the_bundle_was_trained_on_is_left_out(run, corpus, tmp_path):
    assert run(corpus, "--set", f"model={with_known_clips(tmp_path)}", out="first")[0] == 0
    status, _, err = run(corpus, "--set", f"model={tmp_path / 'first' / 'bundle'}", out="second")
    assert status == 2 and "was trained on every clip or speaker" in err
    more = write_voices(tmp_path / "more" / corpus.name, (*CALLERS, "eva", "fay"))
    status, _, err = run(more, "--set", f"model={tmp_path / 'first' / 'bundle'}", out="third")
    assert status == 0, err
    split = json.loads((tmp_path / "third" / "split.json").read_text())
    assert split["train"]["speakers"] == ["eva", "fay"]


def test_where_nothing_helps_the_bundle_stays_as_it_was(run, corpus, tmp_path, monkeypatch):
    real = tuning.judge

    def swapped(clips, *rest):
        judged = real(clips, *rest)
        return tuning.compare_answers(clips, judged.after.probabilities, judged.before.probabilities, judged.folds)

    monkeypatch.setattr(tuning, "judge", swapped)
    status, out, _ = run(corpus, "--fold", 1, "--set", "folds=4")
    assert status == 0 and "no better" in out and "kept: the bundle is tiny 1 as it was" in out
    bundle, base = load_bundle(tmp_path / "run" / "bundle"), load_bundle(tmp_path / "tiny")
    assert bundle.networks == base.networks and dict(bundle.section("fusion")) == FUSION
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["kept"] and scores["test_against_base"]["uar_gain"]["value"] == 0


def test_how_many_clips_decide_is_said(run, corpus, monkeypatch):
    assert "tuning: last layers and fusion, for 24 clips of 4 speakers" in run(corpus)[1]
    monkeypatch.setattr(training, "LEAST_CLIPS", 25)
    assert "tuning: biases and fusion alone, for 24 clips of 4 speakers" in run(corpus, out="other")[1]


def test_speakers_must_be_known_or_their_absence_accepted(run, corpus):
    status, _, err = run(corpus, speakers=False)
    assert status == 2 and "--allow-shared-speakers" in err
    status, out, err = run(corpus, "--allow-shared-speakers", speakers=False)
    assert status == 0 and "on clips set aside, of people learned from" in out, err


def test_a_finished_run_is_not_begun_again_and_another_is_refused(run, corpus):
    first = run(corpus)[1]
    status, _, err = run(corpus)
    assert status == 2 and "holds a run already" in err
    assert run(corpus, "--resume")[1] == first
    status, _, err = run(corpus, "--resume", "--set", "level=fusion")
    assert status == 2 and "another recipe" in err


def test_clips_are_read_once(run, corpus, monkeypatch):
    run(corpus)
    monkeypatch.setattr("moodreel.training.tuned.clips.open_clip", None)
    assert run(corpus, out="again")[0] == 0


def test_clips_are_read_anew_for_other_networks_or_thresholds(run, corpus, tmp_path):
    """What one of them takes for no speech another hears: neither may find the other's features in the cache."""
    run(corpus)
    networks = json.loads((tmp_path / "tiny" / "bundle.json").read_text())["networks"]
    deaf = {**networks, "voice": {**networks["voice"], "no_speech_below_db": 100.0}}
    write_tiny_bundle(tmp_path / "deaf", networks=deaf)
    status, _, err = run(corpus, "--set", f"model={tmp_path / 'deaf'}", out="other")
    assert status == 2 and "fewer than two clips to learn from" in err


def test_faces_are_tuned_too(run, tmp_path, portrait_frames):
    """One face, tinted: red, green or blue, whoever speaks."""
    frames = [np.asarray(frame) for frame in portrait_frames]
    for channel, emotion in enumerate(("sad", "happy", "neutral")):
        (tmp_path / "faces" / emotion).mkdir(parents=True)
        tint = np.full(3, 0.75)
        tint[channel] = 1.0
        for number, speaker in enumerate(("ann", "bob")):
            shaded = [(frame * tint * (1 - 0.03 * number)).astype(np.uint8) for frame in frames]
            path = tmp_path / "faces" / emotion / f"{speaker}_1.mp4"
            write_clip(path, 1, size=(320, 240), frames=lambda index, s=shaded: s[index % len(s)])
    status, out, err = run(tmp_path / "faces", "--set", "level=heads")
    assert status == 0, err
    bundle = load_bundle(tmp_path / "run" / "bundle")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["set_aside"]["nll_gain"]["low"] > 0, out
    assert "last_layer" in bundle.networks["face"] and "last_layer" not in bundle.networks["voice"]
    before, after = (
        Recognizer.load(model, threads=1).predict(tmp_path / "faces" / "happy" / "bob_1.mp4")
        for model in (tmp_path / "tiny", bundle.path)
    )
    happy = EMOTIONS.index("happy")
    assert after.face.probabilities[happy] > before.face.probabilities[happy] + 0.1


def test_joint_bundles_and_epochs_are_refused(run, corpus, tiny_joint_bundle):
    status, _, err = run(corpus, "--set", f"model={tiny_joint_bundle}")
    assert status == 2 and "a joint bundle, which cannot be tuned" in err
    status, _, err = run(corpus, "--max-epochs", 3)
    assert status == 2 and "no --max-epochs" in err


def test_a_network_is_tuned_twice(tiny_bundle):
    graph = (tiny_bundle / "face.onnx").read_bytes()
    faces = np.random.default_rng(0).uniform(0, 255, (5, 3, 32, 32)).astype(np.float32)
    rng = np.random.default_rng(1)
    expected = answer(graph, faces)[1]
    for _ in range(2):
        correction = Correction(rng.normal(size=7), rng.normal(size=(3, 7)))
        expected = expected + answer(graph, faces)[0] @ correction.weights + correction.bias
        graph = add_correction(graph, "features", correction)
    np.testing.assert_allclose(answer(graph, faces)[1], expected, rtol=1e-4)
    assert [one.name for one in onnx.load_from_string(graph).graph.output] == ["logits", "features"]


def answer(graph, faces):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["features", "logits"], {"faces": faces})
