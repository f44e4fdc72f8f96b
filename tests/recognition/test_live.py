"""Live streams: the last two seconds, and nothing older."""

import numpy as np
import pytest

from conftest import chirp
from moodreel import Recognizer
from moodreel.media.frames import Frame

RATE_HZ = 16_000
SECOND = np.asarray(chirp(np.arange(RATE_HZ) / RATE_HZ), np.float32)


@pytest.fixture(params=["late", "joint"])
def reader(request, tiny_bundle, tiny_joint_bundle):
    bundle = tiny_bundle if request.param == "late" else tiny_joint_bundle
    return Recognizer.load(bundle, threads=1).start_live()


def test_nothing_yet_is_no_answer(reader):
    prediction = reader.read(0.5).prediction
    assert prediction.abstained and prediction.label is None


def test_face_and_voice_of_the_last_window(reader, portrait_frames):
    for tenth in range(20):
        reader.watch(Frame(tenth / 10, portrait_frames[tenth], 1.0))
    for second in (1.0, 2.0):
        reader.listen(SECOND, second)
    window = reader.read(2.0)
    assert (window.start_s, window.end_s) == (0.0, 2.0)
    assert (window.prediction.face.state, window.prediction.voice.state) == ("ok", "ok")
    assert window.prediction.label == "surprise" and window.prediction.person == 1
    left, top, right, bottom = window.box.box_px
    assert 0 <= left < right <= 320 and 0 <= top < bottom <= 240


def test_a_face_is_forgotten_after_a_window(reader, portrait_frames):
    reader.watch(Frame(0.5, portrait_frames[0], 1.0))
    for second in range(1, 6):
        reader.listen(np.zeros(RATE_HZ, np.float32), second)
        assert (reader.read(second).box is None) == (second > 2.5)
    assert reader.read(5.0).prediction.face.state == "no_video_track"
    assert reader.read(5.0).prediction.voice.state == "silent"


def test_sound_is_forgotten_after_a_window(reader):
    """A microphone that was turned off once answered on for as long as the stream ran."""
    reader.listen(SECOND, 1.0)
    reader.listen(SECOND, 2.0)
    assert reader.read(2.0).prediction.voice.state == "ok"
    assert reader.read(3.5).prediction.voice.state == "ok"
    assert reader.read(4.5).prediction.voice.state == "no_audio_track"
    assert reader.read(60.0).prediction.voice.state == "no_audio_track"


def test_a_pause_of_the_sound_is_silence_and_not_cut_out(reader):
    reader.listen(SECOND, 1.0)
    reader.listen(np.zeros(RATE_HZ // 10, np.float32), 3.5)
    assert reader.read(3.5).prediction.voice.state == "silent", "what was said 2.5 s ago is heard again"


def test_blocks_that_arrive_unevenly_are_one_sound(tiny_bundle):
    even, uneven = (Recognizer.load(tiny_bundle, threads=1).start_live() for _ in range(2))
    blocks = np.split(np.tile(SECOND, 2), 20)
    for number, block in enumerate(blocks, 1):
        even.listen(block, number / 10)
        uneven.listen(block, number / 10 + 0.2 * (number % 3))
    assert even.read(2.0).prediction == uneven.read(2.0).prediction
