"""Pictures of a prediction: boxes on faces, time axes, and overlays of clips that change on the way."""

import dataclasses

import av
import numpy as np
import pytest
from PIL import Image

from media_files import write_clip, write_image
from moodreel import Recognizer
from moodreel.labels import EMOTIONS
from moodreel.output.clock import ticks_s
from moodreel.output.drawing import segment_at
from moodreel.output.formats.table import format_table
from moodreel.output.overlay import blend_boxes, write_overlay
from moodreel.output.plot import write_plot
from moodreel.output.summary import describe_source
from moodreel.recognition.prediction import UNIFORM, Box, Modality, Person, Prediction, Window
from moodreel.recognition.segments import cut_segments

HAPPY = tuple(float(emotion == "happy") for emotion in EMOTIONS)


def predicted(duration_s=2.0, n_people=2):
    """A prediction without a timeline."""
    people = tuple(Person(number, 0.5, "happy", HAPPY, (), ()) for number in range(1, n_people + 1))
    face, voice = Modality("ok", HAPPY, 1.0), Modality("no_audio_track", None, 0.0)
    return Prediction("a.mp4", duration_s, "tiny 1", "happy", HAPPY, False, 1, face, voice, people, (), ())


def box(time_s, left):
    return Box(time_s, (left, 10.0, left + 100.0, 110.0))


def test_box_moves_with_the_face_between_two_sightings():
    assert blend_boxes([box(1.0, 0), box(1.2, 40)], 1.05).box_px == pytest.approx((10, 10, 110, 110))


def test_box_does_not_slide_over_a_cut():
    """The same person stands elsewhere in the next shot: each box stays in its shot."""
    around = [box(1.0, 0), box(1.2, 400)]
    assert blend_boxes(around, 1.05) == around[0]
    assert blend_boxes(around, 1.15) == around[1]


@pytest.mark.parametrize("time_s", [0.8, 1.2])
def test_no_box_before_a_face_came_nor_after_it_left(time_s):
    assert blend_boxes([box(1.0, 0)], time_s) is None
    assert blend_boxes([], time_s) is None


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [(0, []), (4, [0, 1, 2, 3, 4]), (8.8, [0, 2, 4, 6, 8]), (0.4, [0, 0.1, 0.2, 0.3, 0.4]), (1800, [0, 300, 1800])],
)
def test_time_axis_has_round_ticks(duration_s, expected):
    ticks = ticks_s(duration_s)
    assert ticks == expected if len(expected) != 3 else [ticks[0], ticks[1], ticks[-1]] == expected
    assert len(ticks) <= 11


@pytest.mark.parametrize("duration_s", [0.0, 2.0])
def test_plot_without_a_timeline(tmp_path, duration_s):
    write_plot(predicted(duration_s), tmp_path / "t.png")
    assert Image.open(tmp_path / "t.png").size == (1200, 620 + 2 * 45), "a lane for each of two people"


def test_plot_leaves_empty_where_nothing_was_seen_or_heard(tmp_path):
    """Uniform probabilities drawn there would look like an answer."""
    windows = [(0.0, 2.0, "happy", HAPPY), (2.0, 4.0, None, UNIFORM), (4.0, 6.0, "happy", HAPPY)]
    timeline = tuple(Window(*window) for window in windows)
    write_plot(dataclasses.replace(predicted(6.0), timeline=timeline), tmp_path / "t.png")
    row = np.asarray(Image.open(tmp_path / "t.png").convert("RGB"))[250]
    yellow, blank = (0xF0, 0xE4, 0x42), (0xF4, 0xF4, 0xF4)
    assert tuple(row[200]) == yellow and tuple(row[550]) == blank and tuple(row[900]) == yellow


def test_plot_draws_a_lane_where_its_person_is_seen_and_nothing_elsewhere(tmp_path):
    windows = tuple(Window(start, start + 2.0, "happy", HAPPY, face=HAPPY, person=1) for start in (0.0, 1.0, 2.0))
    late = Person(2, 0.3, "happy", HAPPY, windows, (Box(3.0, (0.0, 0.0, 9.0, 9.0)),))
    first = dataclasses.replace(late, id=1, boxes=(Box(0.0, (0.0, 0.0, 9.0, 9.0)),))
    write_plot(dataclasses.replace(predicted(4.0), timeline=windows, people=(first, late)), tmp_path / "t.png")
    pixels = np.asarray(Image.open(tmp_path / "t.png").convert("RGB"))
    yellow, blank = (0xF0, 0xE4, 0x42), (0xF4, 0xF4, 0xF4)
    lanes = [[tuple(pixels[y, x]) for x in (200, 700, 900)] for y in (565, 610)]
    assert lanes == [[yellow, blank, blank], [blank, blank, yellow]]


def test_plot_says_that_the_person_spoken_for_is_absent_while_another_is_on_screen(tmp_path):
    """The face's row was empty there without a word."""
    windows = tuple(Window(start, start + 2.0, "happy", HAPPY, voice=HAPPY) for start in (0.0, 1.0, 2.0))
    alone = dataclasses.replace(predicted(4.0), timeline=windows)
    other = Person(2, 0.5, "happy", HAPPY, (), tuple(Box(t / 4, (0.0, 0.0, 9.0, 9.0)) for t in range(16)))
    beside = dataclasses.replace(alone, people=(alone.people[0], other))
    rows = []
    for prediction in (alone, beside):
        write_plot(prediction, tmp_path / "t.png")
        rows.append(np.asarray(Image.open(tmp_path / "t.png").convert("L"))[462:488, 95:1005])
    assert rows[0].min() > 0xF0 and rows[1].min() < 0x80


def test_panel_names_its_source_and_never_somebody_absent():
    window = Window(0.0, 2.0, "happy", HAPPY, voice=HAPPY)
    elsewhere = Person(2, 0.3, "happy", HAPPY, (), (Box(1.0, (0.0, 0.0, 9.0, 9.0)),))
    prediction = dataclasses.replace(predicted(2.0), timeline=(window,), people=(predicted().people[0], elsewhere))
    assert describe_source(prediction, window) == "voice; person 1 not seen"
    seen = dataclasses.replace(window, face=HAPPY, person=2)
    assert describe_source(prediction, seen) == "person 2: face and voice"
    assert describe_source(prediction, seen, time_s=1.2) == "person 2: face and voice"
    assert describe_source(prediction, seen, time_s=1.9) == "person 2, not on screen: face and voice"


def test_segment_at_an_instant_is_the_one_that_holds_it():
    segments = cut_segments([Window(start, start + 2.0, "happy", HAPPY) for start in (0.0, 1.0)])
    assert segment_at(segments, 1.49) == segments[0] and segment_at(segments, 1.5) == segments[1]
    assert segment_at(segments, 3.1) == segments[1] and segment_at(segments, 4.0) is None
    assert segment_at(segments, -0.1) is None and segment_at([], 0.0) is None


def test_overlay_of_a_clip_whose_size_changes_on_the_way(tmp_path):
    """Every frame comes in the size the overlay began with, none is lost."""
    pieces = [
        write_clip(tmp_path / f"{size[0]}.ts", 1, rate=25, size=size, audio_codec=None).read_bytes()
        for size in ((320, 240), (64, 200), (640, 360))
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(pieces))
    write_overlay(path, predicted(3.0), tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as made:
        sizes = [(frame.width, frame.height) for frame in made.decode(video=0)]
    assert set(sizes) == {(320, 240)} and len(sizes) == pytest.approx(75, abs=3)


def test_overlay_keeps_the_box_up_to_the_last_frame(tmp_path, portrait_frames):
    """The last analysed frame lies a little before the clip's end."""
    path = tmp_path / "a.mp4"
    write_clip(path, 1, rate=25, size=(320, 240), frames=lambda i: portrait_frames[i], audio_codec=None)
    bold = Person(1, 1.0, "angry", HAPPY, (), (Box(0.8, (50.0, 50.0, 200.0, 200.0)),))
    write_overlay(path, dataclasses.replace(predicted(1.0), people=(bold,)), tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as made:
        frames = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
    orange = [int(frame[100:150, 50].mean(axis=0)[0]) - int(frame[100:150, 50].mean(axis=0)[2]) for frame in frames]
    assert orange[-1] > orange[0] + 50


def test_table_says_whom_the_answer_speaks_for_and_how_many_more_there_are():
    text = format_table(predicted(n_people=9))
    assert "1 (happy, 50% of the time)" in text and "3 more; the answer speaks for 1" in text


def test_still_picture_has_no_times(tiny_bundle, tmp_path, portrait_frames):
    pair = np.concatenate([np.asarray(portrait_frames[0])] * 2, axis=1)
    path = write_image(tmp_path / "pair.png", pair, codec="png", pix_fmt="rgb24")
    prediction = Recognizer.load(tiny_bundle).predict(path)
    text = format_table(prediction)
    assert "still picture" in text and "0.0" not in text and "of the time" not in text
    assert len(prediction.people) == 2 and any("the largest face" in warning for warning in prediction.warnings)
