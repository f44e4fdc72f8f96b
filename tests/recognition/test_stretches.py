"""A clip that is read by its stretches gives what one go over it gives, to the last bit, or nothing at all."""

import numpy as np
import pytest

from media_files import damage, syllables, write_clip, write_wav
from moodreel import timeline
from moodreel.cli.demo_clip import pan_portrait
from moodreel.recognition.evidence import Evidence
from moodreel.recognition.recognizer import Recognizer
from tiny_bundle import add_tiny_appearance, write_hearing_bundle, write_tiny_joint_bundle

SECONDS = 33.0
H264 = {"preset": "ultrafast", "threads": "1", "g": "50"}


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch):
    monkeypatch.setattr(timeline, "STRETCH_S", 12.0)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return Recognizer.load(add_tiny_appearance(write_hearing_bundle(folder)), threads=1)


def film(path, seconds=SECONDS, **settings):
    """A face that comes and goes, cuts, and somebody who speaks now and then."""
    faces = [np.asarray(frame) for frame in pan_portrait(50, (160, 120))]

    def draw(index):
        time_s = index / 10
        if 20 <= time_s < 23:
            return np.full((120, 160, 3), 90, np.uint8)
        picture = faces[index % 50]
        return picture[:, ::-1] if time_s >= 30 else picture

    def sound(time_s):
        return np.where((time_s % 11) < 8, syllables(120)(time_s), 0.0)

    options = {"rate": 10, "size": (160, 120), "frames": draw, "sound": sound, "video_options": H264}
    return write_clip(path, seconds, **{**options, **settings})


def join(recognizer, path):
    count = recognizer.count_stretches(path)
    assert count > 1
    pictures = [recognizer.observe_stretch(path, one, count) for one in range(count)]
    return recognizer.join_stretches(str(path), pictures, recognizer.observe_sound(path))


def as_plain(value):
    """Return evidence as nested tuples that compare bit by bit."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: as_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    return {name: as_plain(one) for name, one in vars(value).items()} if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("name", ["film.mp4", "film.avi"])
def test_a_film_read_by_stretches_is_the_film_in_one_go(recognizer, tmp_path, name):
    settings = {"video_codec": "mpeg4", "audio_codec": "libmp3lame", "video_options": {}} if "avi" in name else {}
    path = film(tmp_path / name, **settings)
    joined, whole = join(recognizer, path), recognizer.observe(path)
    assert isinstance(joined, Evidence), "stretches of a sound film do not fit together"
    assert whole.people and any(window.voice is not None for window in whole.windows)
    assert as_plain(joined) == as_plain(whole)


@pytest.mark.parametrize("settings", [{"audio_seconds": 32.4}, {"audio_codec": None}])
def test_sound_may_end_before_the_picture_or_be_none(recognizer, tmp_path, settings):
    path = film(tmp_path / "film.mp4", **settings)
    assert as_plain(join(recognizer, path)) == as_plain(recognizer.observe(path))


def test_a_damaged_film_is_left_to_be_read_in_one_go(recognizer, tmp_path):
    assert join(recognizer, damage(film(tmp_path / "film.mp4"))) is None


def test_stretches_that_do_not_fit_are_not_joined(recognizer, tmp_path):
    one, other = film(tmp_path / "one.mp4"), film(tmp_path / "other.mp4", frames=None)
    pictures = [recognizer.observe_stretch(path, number, 3) for number, path in enumerate((one, other, one))]
    assert recognizer.join_stretches("film", pictures, recognizer.observe_sound(one)) is None


def test_short_clips_talks_and_joint_bundles_are_not_taken_apart(recognizer, tmp_path):
    talk = write_wav(tmp_path / "talk.wav", syllables(140)(np.arange(int(16_000 * SECONDS)) / 16_000)[:, None])
    assert recognizer.count_stretches(talk) == 1
    assert recognizer.count_stretches(film(tmp_path / "short.mp4", 15.0)) == 1
    joint = Recognizer.load(write_tiny_joint_bundle(tmp_path / "joint"), threads=1)
    assert joint.count_stretches(film(tmp_path / "long.mp4")) == 1
