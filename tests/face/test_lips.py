"""Lips are cut where the face stands, at a steady rate whatever the clip's, and only where they are wanted."""

import numpy as np

from moodreel.face.lips import LIPS_SIDE_PX, FacePath, LipsCutter, cut_lips, smooth_path
from moodreel.media.frames import Frame

BOX = np.array([20.0, 20.0, 60.0, 60.0])


def path(times_s=(0.0, 10.0), step_s=0.2):
    times = np.arange(times_s[0], times_s[1] + 1e-9, step_s)
    return FacePath(times, np.repeat(BOX[None], len(times), axis=0))


def frames(rate_hz, length_s):
    return [
        Frame(index / rate_hz, np.full((80, 80, 3), index % 256, np.uint8), 1.0)
        for index in range(int(rate_hz * length_s))
    ]


def test_the_cut_is_the_lower_middle_of_the_face():
    picture = np.zeros((80, 80, 3), np.uint8)
    picture[48:52, 38:42] = 255  # a fifth of the box below its middle
    lips = cut_lips(picture, BOX)
    assert lips.shape == (LIPS_SIDE_PX, LIPS_SIDE_PX)
    y, x = (places.mean() for places in np.nonzero(lips > 128))
    assert abs(x - LIPS_SIDE_PX / 2) < 4 and abs(y - LIPS_SIDE_PX * (0.5 + 2 / 28)) < 4


def test_a_tiny_face_at_the_edge_of_the_picture_can_be_cut():
    assert cut_lips(np.zeros((10, 10, 3), np.uint8), np.array([-30.0, -30.0, -29.0, -29.0])).shape == (112, 112)


def test_every_slot_has_one_picture_whatever_the_rate():
    for rate_hz in (5.0, 12.5, 25.0, 29.97, 60.0):
        slots = [slot for slot, _, _ in LipsCutter([path()]).cut(frames(rate_hz, 2))]
        assert slots == list(range(slots[0], slots[-1] + 1)), rate_hz
        assert slots[0] == 0 and abs(slots[-1] - 49) <= max(1, 25 / rate_hz), rate_hz


def test_a_picture_is_the_one_shown_then():
    held = {slot: int(lips[56, 56]) for slot, _, lips in LipsCutter([path()]).cut(frames(12.5, 2))}
    assert held[20] == held[21] == 10 and held[22] == 11


def test_nobody_is_cut_while_not_seen_or_not_wanted():
    seen = [slot for slot, _, _ in LipsCutter([path((1.0, 2.0))]).cut(frames(25, 3))]
    assert min(seen) >= 18 and max(seen) <= 57
    wanted = LipsCutter([path()], lambda start_s, _: start_s >= 1.5)
    assert min(slot for slot, _, _ in wanted.cut(frames(25, 3))) >= 37


def test_a_face_that_was_away_is_not_interpolated_across():
    times = np.array([0.0, 0.2, 0.4, 2.0, 2.2])
    face = FacePath(times, np.repeat(BOX[None], 5, axis=0))
    assert face.at(0.3) is not None and face.at(1.2) is None and face.at(2.1) is not None


def test_jitter_of_the_detector_is_smoothed_but_not_across_a_cut():
    boxes = np.repeat(BOX[None], 5, axis=0)
    boxes[2] += 4
    smooth = smooth_path(np.arange(5) * 0.2, boxes)
    assert np.allclose(smooth.boxes_px[2] - BOX, 2) and np.allclose(smooth.boxes_px[0], BOX)
    apart = smooth_path(np.array([0.0, 0.2, 9.0, 9.2, 9.4]), boxes)
    assert np.allclose(apart.boxes_px[2] - BOX, 4)
