"""Pictures of clips in a report: the frame with the largest face, small, and none where nothing can be shown."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from media_files import write_clip, write_sound
from moodreel.corpora import Sample
from moodreel.evaluation.thumbnails import MOST_BYTES, encode_picture, make_thumbnails
from moodreel.media.frames import Frame

GREEN = np.full((240, 320, 3), (0, 160, 0), np.uint8)


def sample(path, **part):
    return Sample(path, "sad", "x", path.name, None, "c", **part)


def decode(address: str) -> np.ndarray:
    head, data = address.split(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.fixture
def late_face(tmp_path, portrait_frames):
    """Three seconds of green, then one of a face."""
    frames = [np.asarray(portrait_frames[0])]
    return write_clip(tmp_path / "a.mp4", 4, size=(320, 240), frames=lambda index: frames[0] if index >= 30 else GREEN)


def test_the_frame_with_the_largest_face_is_shown(late_face, portrait_frames):
    picture = decode(make_thumbnails([sample(late_face)])["a.mp4"])
    expected = Image.fromarray(np.asarray(portrait_frames[0])).resize((160, 120))
    assert picture.shape == (120, 160, 3)
    assert np.abs(picture.astype(float) - np.asarray(expected, float)).mean() < 12


def test_only_the_part_that_was_scored_is_searched(late_face):
    picture = decode(make_thumbnails([sample(late_face, start_s=0.0, end_s=2.0)])["a.mp4"])
    assert np.abs(picture.astype(float) - GREEN[0, 0]).mean() < 12


def test_what_shows_nothing_or_cannot_be_read_has_none(tmp_path, late_face):
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no media")
    made = make_thumbnails([sample(broken), sample(write_sound(tmp_path / "c.wav")), sample(late_face)])
    assert list(made) == ["a.mp4"]


def test_a_picture_that_hardly_compresses_stays_within_its_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    address = encode_picture(Frame(0.0, noise, 1.0))
    assert address is None or len(base64.b64decode(address.split(",")[1])) <= MOST_BYTES
