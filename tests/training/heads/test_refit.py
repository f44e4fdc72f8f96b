"""`moodreel pretrain heads`: from corpora of recordings to a bundle that says what it learned from, and raw answers."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from typer.testing import CliRunner

from heard_corpus import write_faces, write_voices
from moodreel import Recognizer
from moodreel.cli.main import app
from moodreel.labels import EMOTIONS


def refit(bundle, corpora, faces, out, cache):
    options = [part for corpus in corpora for part in ("--corpus", str(corpus))]
    options += ["--cache", str(cache), "--threads", "1", "--out", str(out)]
    command = ["pretrain", "heads", "--model", str(bundle), "--ferplus", str(faces), *options]
    return CliRunner().invoke(app, command)


@pytest.fixture(scope="module")
def refitted(tmp_path_factory):
    from tiny_bundle import write_tiny_bundle

    folder = tmp_path_factory.mktemp("heads")
    corpora = [write_voices(folder / name, 30 * place) for place, name in enumerate(("north", "south", "west"))]
    bundle = write_tiny_bundle(folder / "tiny")
    result = refit(bundle, corpora, write_faces(folder / "ferplus"), folder / "out", folder / "cache")
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_the_bundle_predicts_and_says_what_it_learned_from(refitted):
    folder, _ = refitted
    manifest = json.loads((folder / "out" / "bundle" / "bundle.json").read_text())
    learned = {
        entry["name"]: entry for entry in manifest["training_data"] if entry["name"] in ("north", "south", "west")
    }
    assert set(learned) == {"north", "south", "west"}
    assert learned["south"]["licence"] == "terms of south" and learned["south"]["people"] == 2
    assert learned["west"]["clips"] == 8 and "voice" in learned["west"]["network"]
    answer = Recognizer.load(str(folder / "out" / "bundle")).predict(folder / "north" / "ann-sad.wav")
    assert answer.voice.probabilities is not None


def test_each_corpus_is_judged_and_its_raw_answers_are_kept(refitted):
    folder, output = refitted
    for name in ("north", "south", "west"):
        assert f"{name}, voice" in output
    with np.load(folder / "out" / "held-out.npz", allow_pickle=False) as kept:
        assert kept["north.voice.after"].shape == (8, 7) and np.isfinite(kept["north.voice.after"]).all()
        assert [EMOTIONS[label] for label in kept["north.label"][:4]] == ["angry", "happy", "neutral", "sad"]
        assert np.isnan(kept["north.face.after"]).all(), "recordings show no face"


def test_fewer_corpora_than_can_be_left_out_are_refused(refitted, tmp_path):
    folder, _ = refitted
    result = refit(
        folder / "tiny", [folder / "north" / "labels.tsv"], folder / "ferplus", tmp_path / "o", folder / "cache"
    )
    assert result.exit_code != 0
    assert "3 corpora" in str(result.exception) and not (tmp_path / "o").exists()
