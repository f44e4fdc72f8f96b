"""Joint bundles: the same states, people, windows and rules as late ones."""

import json
import shutil
from hashlib import sha256
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper
from PIL import Image

from conftest import chirp
from media_files import silence, tone, write_clip, write_sound
from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.media.frames import Frame
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import compose
from moodreel.recognition.joint_network import JointNetwork
from moodreel.recognition.joint_reader import ClipReading
from tiny_bundle import JOINT_INPUTS, write_tiny_joint_bundle

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def both(tiny_bundle, tiny_joint_bundle):
    return [Recognizer.load(bundle, threads=1) for bundle in (tiny_bundle, tiny_joint_bundle)]


def hum(time_s):
    return np.sin(314 * time_s) / 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory, portrait_frames, face_clip):
    """One clip of each kind that a modality can be in."""
    folder = tmp_path_factory.mktemp("kinds")
    black = np.zeros((240, 320, 3), np.uint8)
    faces = {"size": (320, 240), "frames": lambda index: portrait_frames[index % len(portrait_frames)]}
    write_clip(folder / "hum.mp4", 2, sound=hum, **faces)
    write_clip(folder / "silent.mp4", 3, sound=silence, **faces)
    write_clip(folder / "mute.mp4", 3, sound=None, **faces)
    write_clip(folder / "long.mp4", 9, sound=chirp, **faces)
    write_clip(folder / "nobody.mp4", 3, size=(320, 240), frames=lambda _: black, sound=chirp)
    write_sound(folder / "voice.wav", 3, sound=chirp)
    Image.fromarray(np.asarray(portrait_frames[0])).save(folder / "still.png")
    return {"face": face_clip, **{path.stem: path for path in folder.iterdir()}}


@pytest.mark.parametrize("kind", ["face", "hum", "silent", "mute", "long", "nobody", "voice", "still"])
def test_both_kinds_of_bundles_say_the_same_of_a_clip(both, clips, kind):
    late, joint = (recognizer.predict(clips[kind]) for recognizer in both)
    assert (joint.face.state, joint.voice.state) == (late.face.state, late.voice.state)
    assert (joint.face.weight, joint.voice.weight) == pytest.approx((late.face.weight, late.voice.weight))
    assert [(w.start_s, w.end_s) for w in joint.timeline] == [(w.start_s, w.end_s) for w in late.timeline]
    assert [w.label for w in joint.timeline] == [w.label for w in late.timeline]
    assert [(w.face is None, w.voice is None) for w in joint.timeline] == [
        (w.face is None, w.voice is None) for w in late.timeline
    ]
    assert (joint.person, joint.label, joint.abstained) == (late.person, late.label, late.abstained)
    assert joint.warnings == late.warnings
    for ours, theirs in zip(joint.people, late.people, strict=True):
        assert (ours.id, ours.label) == (theirs.id, theirs.label)
        assert ours.share_on_screen == pytest.approx(theirs.share_on_screen, abs=0.1)
        assert ours.boxes[0].box_px == pytest.approx(theirs.boxes[0].box_px, abs=12)
        assert [w.start_s for w in ours.windows] == [w.start_s for w in theirs.windows]


def test_two_people_are_both_read(both, portrait_frames, tmp_path):
    """The second face lies on its side of the same frame, green where the other is as it was."""
    pair = [np.concatenate([np.asarray(one), np.asarray(one)[:, ::-1] // [2, 1, 2]], axis=1) for one in portrait_frames]
    path = write_clip(
        tmp_path / "two.mp4", 3, size=(640, 240), frames=lambda i: pair[i % len(pair)].astype(np.uint8), sound=chirp
    )
    for prediction in (recognizer.predict(path) for recognizer in both):
        assert len(prediction.people) == 2 and prediction.person in (1, 2)
        assert any("people seen" in warning for warning in prediction.warnings)
    first, second = prediction.people
    assert first.probabilities != pytest.approx(second.probabilities, abs=0.02)
    assert {box.box_px[0] < 320 for box in first.boxes} != {box.box_px[0] < 320 for box in second.boxes}


def test_weak_evidence_abstains(tiny_joint_bundle, face_clip, tmp_path):
    sure = Recognizer.load(tiny_joint_bundle, threads=1).predict(face_clip)
    manifest = json.loads((tiny_joint_bundle / "bundle.json").read_text())
    manifest["networks"]["joint"]["abstain_below"] = 0.99
    unsure = Recognizer.load(write_tiny_joint_bundle(tmp_path / "b", networks=manifest["networks"])).predict(face_clip)
    assert (sure.abstained, unsure.abstained) == (False, True)
    assert sure.label == unsure.label


def test_a_temperature_makes_answers_less_sure(tiny_joint_bundle, face_clip, tmp_path):
    manifest = json.loads((tiny_joint_bundle / "bundle.json").read_text())
    manifest["networks"]["joint"]["temperature"] = 2.0
    warm = Recognizer.load(write_tiny_joint_bundle(tmp_path / "b", networks=manifest["networks"])).predict(face_clip)
    cold = Recognizer.load(tiny_joint_bundle).predict(face_clip)
    logs = [np.log(one.probabilities) for one in (cold, warm)]
    spreads = [log - log.mean() for log in logs]
    np.testing.assert_allclose(spreads[0] / 2, spreads[1], atol=1e-3)


def test_a_network_that_sees_whole_frames_follows_nobody(face_clip, tmp_path):
    inputs = {**JOINT_INPUTS, "frames": {**JOINT_INPUTS["frames"], "framing": "whole"}}
    prediction = Recognizer.load(write_tiny_joint_bundle(tmp_path / "b", inputs=inputs)).predict(face_clip)
    assert prediction.face.state == "ok" and prediction.people == () and prediction.person is None


def write_bundle_with_voice_encoder(folder, tiny_bundle):
    """A joint bundle that reads the voice network's statistics, as the recipe `best` makes."""
    write_tiny_joint_bundle(folder)
    model = onnx.load(str(folder / "joint.onnx"))
    (descriptors,) = (one for one in model.graph.input if one.name == "descriptors")
    descriptors.CopyFrom(helper.make_tensor_value_info("speech", TensorProto.FLOAT, [80]))
    onnx.save(model, str(folder / "joint.onnx"))
    shutil.copy(tiny_bundle / "voice.onnx", folder)
    networks = {
        name: {"file": f"{name}.onnx", "sha256": sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()}
        for name in ("joint", "voice")
    }
    manifest = json.loads((folder / "bundle.json").read_text())
    inputs = {**JOINT_INPUTS, "speech": True, "descriptors": False}
    (folder / "bundle.json").write_text(json.dumps({**manifest, "networks": networks, "inputs": inputs}))
    return folder


@pytest.mark.parametrize("sound", [chirp, tone(), None], ids=["speech", "a tone", "none"])
def test_a_network_on_the_voice_encoder_answers_what_is_seen_alone(tiny_bundle, portrait_frames, tmp_path, sound):
    """Each person is read with the sound hidden: the encoder's statistics are then missing, and had no size."""
    frames = [np.asarray(frame) for frame in portrait_frames]
    settings = {"size": (320, 240), "frames": lambda index: frames[index % len(frames)]}
    clip = write_clip(tmp_path / "a.mp4", 3, sound=sound, audio_codec="aac" if sound else None, **settings)
    prediction = Recognizer.load(write_bundle_with_voice_encoder(tmp_path / "b", tiny_bundle)).predict(clip)
    assert prediction.people and prediction.face.state == "ok"
    assert (prediction.voice.state == "ok") == (sound is chirp)


@pytest.fixture(scope="module")
def network(tiny_joint_bundle):
    return JointNetwork.open(load_bundle(tiny_joint_bundle), threads=1)


def read(network, items, duration_s):
    clip = SimpleNamespace(has_picture=True, has_sound=True, warnings=())
    reading = ClipReading(network, clip)
    reading.take_all(items)
    return compose(reading.conclude("clip", duration_s))


def interleave(frames, sounds, lag_s):
    """Return frames and blocks in the order in which a file has them whose sound lies `lag_s` behind its picture."""
    starts = [(frame.time_s, frame) for frame in frames] + [(sound.start_s + lag_s, sound) for sound in sounds]
    return [item for _, item in sorted(starts, key=lambda pair: pair[0])]


@settings(max_examples=8)
@given(lag_s=st.floats(-12, 25))
def test_how_far_the_sound_lies_behind_the_picture_changes_nothing(network, portrait_frames, lag_s):
    """Sound 2.6 s late in the file once moved all that followed by a second, in silence."""
    frames = [Frame(i / 7.5, portrait_frames[i % len(portrait_frames)], 1.0) for i in range(90)]
    spoken = np.asarray(chirp(np.arange(12 * RATE_HZ) / RATE_HZ), np.float32)
    spoken[4 * RATE_HZ : 7 * RATE_HZ] = 0
    sounds = [Sound(i / 2, block) for i, block in enumerate(np.split(spoken, 24))]
    straight, shifted = (read(network, interleave(frames, sounds, lag), 12.0) for lag in (0.0, lag_s))
    assert straight == shifted
    assert [w.voice is None for w in straight.timeline] == [s == 4 or s == 5 for s in range(11)]


def test_sound_that_never_comes_is_not_waited_for(network, portrait_frames):
    """An hour of picture with a second of sound must not be held in memory until its end."""
    frames = (Frame(i / 2, portrait_frames[0], 1.0) for i in range(2 * 120))
    clip = SimpleNamespace(has_picture=True, has_sound=True, warnings=())
    reading = ClipReading(network, clip)
    held = []

    def watched():
        yield Sound(0.0, np.zeros(RATE_HZ, np.float32))
        for frame in frames:
            yield frame
            held.append(reading.held_s)

    reading.take_all(watched())
    assert max(held) < 60
    assert len(compose(reading.conclude("clip", 120.0)).timeline) == 119


def test_windows_and_stretches_cover_the_clip_without_gaps(both, clips):
    timeline = both[1].predict(clips["long"]).timeline
    assert timeline[0].start_s == 0 and timeline[-1].end_s == pytest.approx(9, abs=0.2)
    assert all(later.start_s <= before.end_s for before, later in pairwise(timeline))
