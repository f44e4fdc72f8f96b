"""`moodreel pretrain default` goes through its stages once, and again where what they were made from has changed."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")
onnx = pytest.importorskip("onnx")

from heard_corpus import write_faces, write_voices
from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.errors import CorpusError, RecipeError
from moodreel.recognition.fusion import read_fusion
from moodreel.storage.cache import Cache
from moodreel.training.default import rebuild
from pretrain_runs import write_runs


@pytest.fixture(autouse=True)
def no_training_clips(monkeypatch):
    monkeypatch.setattr(rebuild, "_list_training_clips", lambda *_: None)


def rebuild_stages(out, *stages, **more):
    data = rebuild.DefaultData(out / "faces", *(out / name / "labels.tsv" for name in ("ravdess", "nemo")), **more)
    return rebuild.pretrain_default(data, out, cache=Cache(out / "cache"), stages=stages)


def test_a_new_network_needs_a_new_calibration(tmp_path):
    """The fusion that shipped was chosen with a face network four networks ago: the bundle must refuse that."""
    face_run, _ = write_runs(tmp_path)
    rebuild_stages(tmp_path, "calibrate", "bundle")
    before = read_fusion(load_bundle(tmp_path / "default").section("fusion"))
    another = onnx.load(face_run / "face.onnx")
    another.doc_string = "another network"
    onnx.save(another, face_run / "face.onnx")
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


def add_marker(model, speech, others, out, threads):
    """Stand in for the sound network, which has tests of its own."""
    shutil.copytree(model, out)
    manifest = json.loads((out / "bundle.json").read_text())
    (out / "bundle.json").write_text(json.dumps({**manifest, "sounds": len(speech)}))


def test_all_stages_end_in_one_bundle_and_are_gone_through_once(tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild, "pretrain_sounds", add_marker)
    write_runs(tmp_path)
    corpora = tuple(
        write_voices(tmp_path / name, 30 * place) for place, name in enumerate(("north", "south", "ravdess", "nemo"))
    )
    write_faces(tmp_path / "faces")
    more = {"corpora": corpora[:2], "nonspeech": tmp_path}
    stages = ("calibrate", "bundle", "heads", "sounds")
    made = rebuild_stages(tmp_path, *stages, **more)
    assert made == tmp_path / "default" / "bundle.json"
    manifest = json.loads(made.read_text())
    assert manifest["name"] == "default" and manifest["heads"]["corpora"] == ["north", "south", "ravdess", "nemo"]
    assert manifest["sounds"] == 4, "the sound network hears the corpora and those of the voice"
    assert "pretrain default" in manifest["rebuild"]
    assert Recognizer.load(str(made.parent)).predict(tmp_path / "north" / "ann-sad.wav").duration_s == 1.0

    heads = (tmp_path / "heads" / "run" / "bundle" / "bundle.json").stat().st_mtime_ns
    rebuild_stages(tmp_path, *stages, **more)
    assert (tmp_path / "heads" / "run" / "bundle" / "bundle.json").stat().st_mtime_ns == heads, "nothing had changed"
    rebuild_stages(tmp_path, *stages, corpora=corpora[:1], nonspeech=tmp_path)
    again = json.loads(made.read_text())
    assert again["heads"]["corpora"] == ["north", "ravdess", "nemo"], "other corpora make other last layers"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "nothing half-written stays"
