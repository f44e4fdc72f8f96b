"""The same face after a cut, in another framing and light, is the same person: in a clip, and from clip to clip."""

import json

import numpy as np
import pytest
from PIL import Image

from conftest import chirp
from media_files import write_clip
from moodreel import Recognizer
from moodreel.errors import BundleError
from tiny_bundle import add_tiny_appearance, write_tiny_bundle, write_tiny_joint_bundle

KINDS = {"late": write_tiny_bundle, "joint": write_tiny_joint_bundle}
SHOT_FRAMES = 20


def show(frame, who, how):
    """One of two people (the second is tinted otherwise), from afar or from near and dimly lit."""
    pixels = np.asarray(frame)[..., [2, 0, 1]] if who == "B" else np.asarray(frame)
    if how == "near":
        height, width = pixels.shape[:2]
        part = Image.fromarray(np.ascontiguousarray(pixels[: height * 4 // 5, width // 10 : width * 9 // 10]))
        pixels = (np.asarray(part.resize((width, height))) * 0.5).astype(np.uint8)
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory, portrait_frames):
    """Two people in turn: from afar, then both from near."""
    shots = [("A", "far"), ("B", "far"), ("A", "near"), ("B", "near")]

    def draw(index):
        return show(portrait_frames[index % len(portrait_frames)], *shots[index // SHOT_FRAMES])

    path = tmp_path_factory.mktemp("clips") / "abab.mp4"
    seconds = len(shots) * SHOT_FRAMES / 10
    return write_clip(path, seconds, size=(320, 240), frames=draw, sound=chirp)


@pytest.mark.parametrize("kind", KINDS)
def test_two_people_in_turn_are_two_and_not_four(kind, clip, tmp_path):
    recognizer = Recognizer.load(add_tiny_appearance(KINDS[kind](tmp_path / "b")))
    prediction = recognizer.predict(clip)
    assert sorted(person.id for person in prediction.people) == [1, 2]
    for person in prediction.people:
        shots = {int(box.time_s / (SHOT_FRAMES / 10)) % 2 for box in person.boxes}
        assert len(shots) == 1, "whoever was in the first shot is in the third, not in the second"
        assert person.boxes[0].time_s < 2 * SHOT_FRAMES / 10 < person.boxes[-1].time_s
        assert prediction.lanes[person.id][0].start_s >= person.boxes[0].time_s, "a lane begins when first seen"
    assert "2 people seen" in " ".join(prediction.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_tells_people_apart_nothing_is_joined_and_nothing_breaks(kind, clip, tmp_path):
    prediction = Recognizer.load(KINDS[kind](tmp_path / "b")).predict(clip)
    assert len(prediction.people) > 2


def test_clips_are_told_apart_by_whom_they_speak_for(tmp_path, portrait_frames):
    recognizer = Recognizer.load(add_tiny_appearance(write_tiny_bundle(tmp_path / "b")))
    clips = {}
    for name, who, how in (("a1", "A", "far"), ("b1", "B", "far"), ("a2", "A", "near"), ("b2", "B", "near")):
        frames = [show(frame, who, how) for frame in portrait_frames]
        clips[name] = write_clip(tmp_path / f"{name}.mp4", 2, size=(320, 240), frames=lambda i, f=frames: f[i % 40])
    clips["none"] = write_clip(tmp_path / "none.mp4", 2)
    seen = [recognizer.observe(path) for path in clips.values()]
    assert recognizer.tell_people(seen) == (0, 1, 0, 1, None)
    assert Recognizer.load(write_tiny_bundle(tmp_path / "plain")).tell_people(seen) == (None,) * 5


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"same_person": 7}, "'same_person' must be a number from 0 to 1"),
        ({"file": "face.onnx"}, "sha256 differs"),
        ({"side_px": 16}, "cannot be run"),
    ],
)
def test_a_network_that_tells_nobody_apart_is_one_line(entry, message, tmp_path):
    folder = add_tiny_appearance(write_tiny_bundle(tmp_path / "b"))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["appearance"].update(entry)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        Recognizer.load(folder)


def test_a_face_network_is_no_network_of_appearance(tmp_path):
    folder = add_tiny_appearance(write_tiny_bundle(tmp_path / "b"))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["appearance"].update(manifest["networks"]["face"])
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"gives no .appearance."):
        Recognizer.load(folder)
