"""A clip's named inputs: what each modality's state is, and that specs are strict."""

import numpy as np
import pytest

from media_files import silence, tone, write_clip
from moodreel.errors import BundleError
from moodreel.features import Features, FrameSpec, InputSpec, extract_features, spec_from_dict, spec_to_dict
from moodreel.media import open_clip
from tiny_corpus import stand_in_functionals

WHOLE = InputSpec(FrameSpec("whole", side_px=16, rate_hz=5), functionals=True, speech=True)


@pytest.fixture(autouse=True)
def functionals(monkeypatch):
    monkeypatch.setattr("moodreel.features.extract_functionals", stand_in_functionals)


def read(path, spec=WHOLE, **stretch):
    with open_clip(path) as clip:
        return extract_features(clip, spec, **stretch)


def test_whole_frames_are_squeezed_to_a_square(tmp_path):
    write_clip(tmp_path / "a.mp4", 1, size=(64, 48), rate=10, sound=tone())
    features = read(tmp_path / "a.mp4")
    assert features.frames.shape == (5, 16, 16, 3) and features.frames.dtype == np.uint8
    assert features.functionals.shape == (1582,) and features.functionals.any()
    assert features.mel.shape[0] == 80 and len(features.active) == features.mel.shape[1] // 2
    assert (features.face_state, features.voice_state) == ("ok", "ok")


def test_a_stretch_is_part_of_the_clip(tmp_path):
    write_clip(tmp_path / "a.mp4", 2, size=(32, 32), rate=10, sound=tone())
    whole, part = read(tmp_path / "a.mp4"), read(tmp_path / "a.mp4", start_s=0.5, end_s=1.5)
    assert len(whole.frames) == 10 and len(part.frames) == 5
    assert part.mel.shape[1] == pytest.approx(whole.mel.shape[1] / 2, abs=4)


def test_faces_are_cut_out(face_clip):
    features = read(face_clip, InputSpec(FrameSpec("face", side_px=48, rate_hz=5)))
    assert features.has_face and features.frames.shape[1:] == (48, 48, 3) and len(features.frames) >= 14
    assert not features.functionals.any() and features.mel.shape[1] == 0


def test_states_are_named_not_guessed(tmp_path):
    write_clip(tmp_path / "no face.mp4", 1, size=(64, 64), rate=10, sound=silence)
    features = read(tmp_path / "no face.mp4", InputSpec(FrameSpec("face"), functionals=True))
    assert (features.face_state, features.voice_state) == ("no_face", "silent")
    assert features.frames.shape == (0, 64, 64, 3) and not features.functionals.any()


def test_features_survive_the_cache():
    features = Features(
        np.zeros((2, 4, 4, 3), np.uint8), np.ones(3, np.float32), np.zeros((80, 0)), np.zeros(0), "ok", "silent"
    )
    again = Features.from_arrays(features.to_arrays())
    assert (again.face_state, again.voice_state) == ("ok", "silent") and again.frames.shape == (2, 4, 4, 3)


def test_specs_survive_the_bundle_and_hostile_ones_are_refused():
    assert spec_from_dict(spec_to_dict(WHOLE)) == WHOLE
    good = spec_to_dict(WHOLE)
    for change in (
        {"longest_s": 1e9},
        {"longest_s": "8"},
        {"unknown": 1},
        {"frames": {**good["frames"], "side_px": 100_000}},
        {"frames": {**good["frames"], "framing": "guess"}},
        {"frames": {**good["frames"], "rate_hz": 0}},
        {"frames": {**good["frames"], "face_threshold": 2}},
        {"frames": 5},
    ):
        with pytest.raises(BundleError, match="inputs"):
            spec_from_dict({**good, **change})
