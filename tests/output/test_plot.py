"""Plots of long clips and as other kinds of files, and overlays as MKV."""

import xml.etree.ElementTree as ElementTree

import av
import numpy as np
import pytest
from PIL import Image

from media_files import write_clip
from moodreel import Recognizer
from moodreel.labels import EMOTIONS
from moodreel.output.canvas import measure_width_px
from moodreel.output.clock import name_tick, ticks_s
from moodreel.output.overlay import write_overlay
from moodreel.output.plot import write_plot


@pytest.fixture
def predicted(tiny_bundle, face_clip):
    return Recognizer.load(tiny_bundle).predict(face_clip)


@pytest.mark.parametrize(("duration_s", "width_px"), [(0, 1200), (60, 1200), (600, 1480), (3600, 7480), (9999, 7480)])
def test_a_plot_grows_with_its_clip(duration_s, width_px):
    assert measure_width_px(duration_s) == width_px


@pytest.mark.parametrize(
    ("duration_s", "axis_px", "step_s", "second"),
    [(90, 920, 20, "0:20"), (600, 1200, 60, "1:00"), (3600, 7200, 60, "1:00"), (20_000, 7200, 600, "10:00")],
)
def test_ticks_of_long_clips_are_minutes_and_hours(duration_s, axis_px, step_s, second):
    ticks = ticks_s(duration_s, 0.0, axis_px)
    assert set(np.diff(ticks)) == {step_s} and name_tick(ticks[1], duration_s) == second
    assert axis_px / len(ticks) > 80, "their names stand apart"


def test_ticks_are_named_by_what_the_axis_spans():
    assert [name_tick(time_s, 60) for time_s in (0.5, 30, 60)] == ["0.5 s", "30 s", "60 s"]
    assert [name_tick(time_s, 5000) for time_s in (0, 90, 3600)] == ["0:00", "1:30", "1:00:00"]


def test_a_plot_as_svg_says_what_the_png_says(tmp_path, predicted):
    write_plot(predicted, tmp_path / "t.svg")
    root = ElementTree.parse(tmp_path / "t.svg").getroot()  # written a line above
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.attrib["viewBox"] == "0 0 1200 620"
    assert "face" in texts and "voice" in texts and "0 s" in texts
    assert {text.split()[0] for text in texts} >= set(EMOTIONS)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polygon"))) == len(EMOTIONS)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_a_plot_as_jpeg_looks_like_the_png(tmp_path, predicted, suffix):
    for name in ("t.png", f"t{suffix}"):
        write_plot(predicted, tmp_path / name)
    with Image.open(tmp_path / "t.png") as png, Image.open(tmp_path / f"t{suffix}") as jpeg:
        assert (png.format, jpeg.format, png.size) == ("PNG", "JPEG", jpeg.size)
        assert np.abs(np.asarray(png, float) - np.asarray(jpeg, float)).mean() < 3


def test_an_overlay_as_mkv(tmp_path, predicted, face_clip):
    write_overlay(face_clip, predicted, tmp_path / "o.mkv")
    with av.open(str(tmp_path / "o.mkv")) as made:
        assert made.format.name.startswith("matroska") and len(made.streams.video) == len(made.streams.audio) == 1


def test_a_name_of_a_clip_is_text_in_svg_whatever_it_holds(tmp_path, tiny_bundle):
    path = write_clip(tmp_path / "<script>&.mp4", 1)
    write_plot(Recognizer.load(tiny_bundle).predict(path), tmp_path / "t.svg")
    assert "<script>" not in (tmp_path / "t.svg").read_text()
    ElementTree.parse(tmp_path / "t.svg")  # written a line above
