"""A clip's named inputs: what each modality's state is, and that specs are strict."""

import hashlib
import json

import numpy as np
import onnx
import pytest

from media_files import silence, tone, write_clip
from moodreel.bundle import load_bundle
from moodreel.errors import BundleError
from moodreel.media.clip import open_clip
from moodreel.recognition.encoders import Encoders
from moodreel.recognition.inputs import (
    NOT_READ,
    Features,
    FrameSpec,
    InputSpec,
    input_names,
    spec_from_dict,
    spec_to_dict,
)
from moodreel.recognition.reading import extract_features
from tiny_bundle import write_tiny_bundle
from tiny_corpus import stand_in_functionals

WHOLE = InputSpec(FrameSpec("whole", side_px=16, rate_hz=5), functionals=True)
ENCODED = InputSpec(FrameSpec("face", side_px=32, rate_hz=5), expressions=True, speech=True)


@pytest.fixture(autouse=True)
def functionals(monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in_functionals)


def read(path, spec=WHOLE, **stretch):
    with open_clip(path) as clip:
        return extract_features(clip, spec, **stretch)


def test_whole_frames_are_squeezed_to_a_square(tmp_path):
    write_clip(tmp_path / "a.mp4", 1, size=(64, 48), rate=10, sound=tone())
    features = read(tmp_path / "a.mp4")
    assert features.frames.shape == (5, 16, 16, 3) and features.frames.dtype == np.uint8
    assert features.functionals.shape == (1582,) and features.functionals.any()
    assert features.speech.shape == (0,) and features.expressions.shape == (0, 0)
    assert (features.face_state, features.voice_state) == ("ok", "ok")


def test_a_stretch_is_part_of_the_clip(tmp_path):
    write_clip(tmp_path / "a.mp4", 2, size=(32, 32), rate=10, sound=tone())
    whole, part = read(tmp_path / "a.mp4"), read(tmp_path / "a.mp4", start_s=0.5, end_s=1.5)
    assert len(whole.frames) == 10 and len(part.frames) == 5


def test_sound_that_starts_late_is_as_long_in_training_as_in_predicting(tmp_path, monkeypatch):
    heard = []

    def stand_in(samples):
        heard.append(len(samples) / 16_000)
        return stand_in_functionals(samples)

    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in)
    path = write_clip(tmp_path / "a.mkv", 4, audio_start=1.0, audio_seconds=3.0, audio_codec="pcm_s16le")
    read(path)
    read(path, start_s=0.5, end_s=2.5)
    assert heard == pytest.approx([4.0, 2.0])


def test_faces_are_cut_out(face_clip):
    features = read(face_clip, InputSpec(FrameSpec("face", side_px=48, rate_hz=5)))
    assert features.has_face and features.frames.shape[1:] == (48, 48, 3) and len(features.frames) >= 14
    assert not features.functionals.any() and features.speech.shape == (0,)


def test_encoders_describe_faces_and_speech(face_clip, tmp_path):
    encoders = Encoders.open(load_bundle(write_tiny_bundle(tmp_path)), face=True, voice=True, threads=1)
    features = read(face_clip, ENCODED, encoders=encoders)
    assert len(features.expressions) >= 14 and features.expressions.shape[1] == encoders.face_width == 3
    assert 0 < features.expressions.mean() < 255  # the tiny encoder gives each crop's mean colour
    assert len(features.frames) == 0  # what stands for the frames takes their place
    assert features.speech.shape == (encoders.voice_width,) == (80,)
    assert set(encoders.checksums) == {"face", "voice"}


def test_frames_may_go_in_beside_what_the_encoder_says_of_them(face_clip, tmp_path):
    encoders = Encoders.open(load_bundle(write_tiny_bundle(tmp_path)), face=True, voice=False, threads=1)
    spec = InputSpec(FrameSpec("face", side_px=32, rate_hz=5), expressions=True, beside=True)
    features = read(face_clip, spec, encoders=encoders)
    assert input_names(spec) == ("expressions", "frames", "has_face")
    assert len(features.frames) == len(features.expressions) >= 14
    for frame, expression in zip(features.frames, features.expressions, strict=True):
        assert expression == pytest.approx(
            frame.mean((0, 1)), abs=0.5
        )  # the tiny encoder gives each crop's mean colour
    assert spec_from_dict(spec_to_dict(spec)) == spec


def test_speech_is_described_at_other_speeds_too(face_clip, tmp_path):
    encoders = Encoders.open(load_bundle(write_tiny_bundle(tmp_path)), face=False, voice=True, threads=1)
    write_clip(tmp_path / "a.mp4", 2, video_codec=None, sound=lambda t: tone()(t) * (1 + np.sin(9 * t)))
    features = read(tmp_path / "a.mp4", InputSpec(speech=True, speeds=(1.0, 1.5)), encoders=encoders)
    assert features.varied.shape == (2, 80) and features.voice_state == "ok"
    np.testing.assert_allclose(features.varied[0], features.speech, atol=1e-4)  # at its own speed it is itself
    assert np.abs(features.varied[1] - features.speech).max() > 1e-3


def test_a_missing_modality_is_described_by_zeros_of_the_same_width(tmp_path):
    encoders = Encoders.open(load_bundle(write_tiny_bundle(tmp_path / "tiny")), face=True, voice=True, threads=1)
    write_clip(tmp_path / "no face.mp4", 1, size=(64, 64), rate=10, sound=silence)
    features = read(tmp_path / "no face.mp4", ENCODED, encoders=encoders)
    assert (features.face_state, features.voice_state) == ("no_face", "silent")
    assert features.expressions.shape == (0, 3) and features.speech.shape == (80,) and not features.speech.any()


def test_a_bundle_without_features_cannot_be_built_on(tmp_path):
    folder = write_tiny_bundle(tmp_path)
    graph = onnx.load(str(folder / "face.onnx"))
    del graph.graph.output[1]
    onnx.save(graph, str(folder / "face.onnx"))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["face"]["sha256"] = hashlib.sha256((folder / "face.onnx").read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="gives no 'features' to build on"):
        Encoders.open(load_bundle(folder), face=True, voice=False, threads=1)


def test_states_are_named_not_guessed(tmp_path):
    write_clip(tmp_path / "no face.mp4", 1, size=(64, 64), rate=10, sound=silence)
    features = read(tmp_path / "no face.mp4", InputSpec(FrameSpec("face"), functionals=True))
    assert (features.face_state, features.voice_state) == ("no_face", "silent")
    assert features.frames.shape == (0, 64, 64, 3) and not features.functionals.any()


def test_features_survive_the_cache():
    features = Features(
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 5), np.float32),
        np.ones(3, np.float32),
        np.zeros(4, np.float32),
        "ok",
        "silent",
    )
    seen = NOT_READ.with_arrays("picture", features.to_arrays("picture"))
    assert (seen.face_state, seen.voice_state) == ("ok", "no_audio_track") and seen.frames.shape == (2, 4, 4, 3)
    both = seen.with_arrays("sound", features.to_arrays("sound"))
    assert (both.face_state, both.voice_state) == ("ok", "silent") and both.functionals.tolist() == [1, 1, 1]
    with pytest.raises(KeyError):
        seen.with_arrays("sound", features.to_arrays("picture"))


def test_specs_survive_the_bundle_and_hostile_ones_are_refused():
    assert spec_from_dict(spec_to_dict(WHOLE)) == WHOLE
    good = spec_to_dict(WHOLE)
    for change in (
        {"longest_s": 1e9},
        {"longest_s": "8"},
        {"expressions": True},
        {"beside": True},
        {"speeds": [1.1]},
        {"unknown": 1},
        {"frames": {**good["frames"], "side_px": 100_000}},
        {"frames": {**good["frames"], "framing": "guess"}},
        {"frames": {**good["frames"], "rate_hz": 0}},
        {"frames": {**good["frames"], "face_threshold": 2}},
        {"frames": 5},
    ):
        with pytest.raises(BundleError, match="inputs"):
            spec_from_dict({**good, **change})
