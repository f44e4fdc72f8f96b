"""Parts of files: how they are named, found and refused."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from media_files import quadrants, write_clip, write_image
from moodreel.errors import MediaError
from moodreel.media.clip import Frame, open_clip
from moodreel.media.parts import Part, find_parts, format_fragment, read_part, read_time


@pytest.mark.parametrize(
    ("name", "start_s", "end_s"),
    [
        ("film.mp4", 0.0, None),
        ("film.mp4#t=10,14", 10.0, 14.0),
        ("film.mp4#t=10", 10.0, None),
        ("film.mp4#t=,14", 0.0, 14.0),
        ("film.mp4#t=npt:10.5,1:02:03.25", 10.5, 3723.25),
        ("film.mp4#t=1:30,2:00", 90.0, 120.0),
    ],
)
def test_fragments(name, start_s, end_s):
    assert read_part(name) == Part(Path("film.mp4"), start_s, end_s)


@pytest.mark.parametrize("fragment", ["#t=soon", "#t=-1", "#t=nan,3", "#t=1,inf", "#t=1,", "#t=1:99:x", "#t=1,2,3"])
def test_times_that_cannot_be_read_are_refused_in_a_line(fragment):
    with pytest.raises(MediaError, match="is no time; expected seconds") as caught:
        read_part(f"film.mp4{fragment}")
    assert str(caught.value).startswith(f"film.mp4{fragment}: ")


@given(st.floats(0, 1e5), st.one_of(st.none(), st.floats(0, 1e5)))
def test_a_name_is_read_as_it_was_written(start_s, end_s):
    start_s, end_s = round(start_s, 6), None if end_s is None else round(end_s, 6)
    assert read_part(f"a.mp4{format_fragment(start_s, end_s)}") == Part(Path("a.mp4"), start_s, end_s)


def test_times_of_day():
    assert [read_time(text) for text in ("7", "7.5", "1:07", "61:07", "1:00:07.5")] == [7, 7.5, 67, 3667, 3607.5]


def test_a_file_whose_real_name_ends_so_is_that_file(tmp_path):
    real = tmp_path / "odd#t=1,2"
    real.write_bytes(b"x")
    (tmp_path / "odd").write_bytes(b"y")
    assert find_parts([str(real)]) == [Part(real)]
    assert find_parts([str(real)], 3.0) == [Part(real, 3.0)]


def test_the_same_part_of_every_file_of_a_folder(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    assert find_parts([str(tmp_path)], 1.0, 2.0) == [Part(tmp_path / name, 1.0, 2.0) for name in ("a.wav", "b.wav")]
    assert len(find_parts([f"{tmp_path}/a.wav#t=0,1", f"{tmp_path}/a.wav#t=1", f"{tmp_path}/a.wav#t=0,1"])) == 2


@pytest.mark.parametrize(("fragment", "start_s"), [("#t=1,2", 3.0), ("#t=2,1", 0.0)])
def test_contradictions_are_refused(tmp_path, fragment, start_s):
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(MediaError, match=r"leave out --from and --to|0 <= start < end"):
        find_parts([f"{tmp_path}/a.wav{fragment}"], start_s)


def test_the_clock_of_a_part_begins_with_it(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 20, rate=10)
    with open_clip(path, start_s=12.0, end_s=15.0) as clip:
        assert clip.duration_s == pytest.approx(3.0)
        items = list(clip.stream(longest_side_px=64, frames_rate_hz=5))
        assert clip.decoded_s == pytest.approx(3.0)
        inner = list(clip.stream(longest_side_px=64, frames_rate_hz=5, start_s=1.0, end_s=9.0))
    times_s = [item.time_s for item in items if isinstance(item, Frame)]
    assert times_s == pytest.approx([index / 5 for index in range(15)], abs=0.001)
    assert [item.time_s for item in inner if isinstance(item, Frame)] == pytest.approx(times_s[5:])
    samples = sum(len(item.samples) for item in items if not isinstance(item, Frame))
    assert samples == 3 * 16_000
    assert clip.warnings == ()


def test_a_still_picture_has_no_later_part(tmp_path):
    path = write_image(tmp_path / "a.png", quadrants((32, 32)), codec="png", pix_fmt="rgb24")
    with pytest.raises(MediaError, match=r"the file ends at 0\.0 s"):
        open_clip(path, start_s=1.0)
    with open_clip(path, end_s=1.0) as clip:
        assert len(list(clip.stream(longest_side_px=32, frames_rate_hz=5))) == 1
