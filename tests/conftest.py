"""Fixtures that several test files share."""

import os

import hypothesis
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from media_files import write_clip
from moodreel.cli.demo_clip import pan_portrait
from tiny_bundle import write_hearing_bundle, write_tiny_bundle, write_tiny_joint_bundle

hypothesis.settings.register_profile(
    "moodreel", deadline=None
)  # how long one example takes says how busy the machine is
hypothesis.settings.load_profile("moodreel")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle whose answers can be foreseen."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def hearing_bundle(tmp_path_factory):
    """The same with a sound network, which takes high sound for laughter."""
    return write_hearing_bundle(tmp_path_factory.mktemp("bundles") / "hearing")


@pytest.fixture(scope="session")
def tiny_joint_bundle(tmp_path_factory):
    """The same answers out of one network that sees face and voice together."""
    return write_tiny_joint_bundle(tmp_path_factory.mktemp("bundles") / "tiny-joint")


@pytest.fixture(scope="session")
def portrait_frames():
    """Forty frames of 320x240 with one face."""
    return list(pan_portrait(40, (320, 240)))


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory, portrait_frames):
    """Three seconds of one face and a chirping voice."""
    path = tmp_path_factory.mktemp("clips") / "face and voice.mp4"
    frames = [np.asarray(frame) for frame in portrait_frames]
    write_clip(path, 3, size=(320, 240), frames=lambda index: frames[index % len(frames)], sound=chirp)
    return path


def chirp(time_s):
    """Syllables: three a second of a gliding tone with harmonics."""
    phase = 2 * np.pi * (180 * time_s + 20 * np.sin(5 * time_s))
    return 0.3 * (np.sin(phase) + 0.5 * np.sin(3 * phase)) * (np.sin(2 * np.pi * 1.5 * time_s) ** 2)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep the user's cache and the jobs of the user's servers out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODREEL_CACHE", str(tmp_path_factory.mktemp("user-cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("user-state")))
        yield
