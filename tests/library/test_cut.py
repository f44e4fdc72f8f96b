"""Cut-outs: they hold the moment, say when they begin earlier, and cost nothing but themselves when they fail."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from media_files import tone, write_clip, write_image, write_sound
from moodreel.errors import MediaError
from moodreel.library.cut import cut_out, draw_thumbnail, export_moments, name_cut
from moodreel.library.found import Moment
from moodreel.media.clip import open_clip
from moodreel.media.frames import Frame

RATE_HZ, LENGTH_S = 10, 10
KEYED = {"g": "20", "keyint_min": "20", "sc_threshold": "0", "preset": "ultrafast", "threads": "1"}


def moment_of(path, start_s, end_s):
    return Moment("0" * 16, os.fspath(path), start_s, end_s, 0, 1.0, (1.0,) + (0.0,) * 6)


def grey(index):
    """A frame that tells its number by its brightness."""
    return np.full((48, 64, 3), 20 + 2 * index, np.uint8)


def read(path):
    """Return the numbers of the frames, their times, and the seconds of sound."""
    frames, seconds = [], 0.0
    with open_clip(path) as clip:
        for item in clip.stream(longest_side_px=64, frames_rate_hz=30, sound_rate_hz=16_000):
            if isinstance(item, Frame):
                frames.append((item.time_s, round((float(item.pixels.mean()) - 20) / 2)))
            else:
                seconds += len(item.samples) / 16_000
    return frames, seconds


FILMS = {
    "film.mp4": {"video_options": KEYED},
    "film.mov": {"video_options": KEYED, "audio_lag": 0.5},
    "film.mkv": {"video_options": KEYED},
    "film.ts": {"video_options": KEYED},
    "b frames.mp4": {"video_options": {**KEYED, "preset": "medium", "bf": "2"}},
    "film.webm": {
        "video_codec": "libvpx",
        "video_options": {"g": "20", "cpu-used": "8", "deadline": "realtime"},
        "audio_codec": "libopus",
        "audio_rate": 48_000,
    },
    "film.avi": {
        "video_codec": "mpeg4",
        "video_options": {"g": "20", "sc_threshold": "1000000000"},
        "audio_codec": "libmp3lame",
        "audio_rate": 44_100,
    },
}


@pytest.mark.parametrize("name", FILMS)
def test_a_cut_out_begins_with_the_key_frame_before_the_moment_and_says_so(tmp_path, name):
    film = write_clip(tmp_path / name, LENGTH_S, rate=RATE_HZ, frames=grey, sound=tone(300), **FILMS[name])
    cut = cut_out(moment_of(film, 4.5, 6.5), tmp_path / "out", 1)
    frames, seconds = read(cut.path)
    assert cut.start_s == pytest.approx(4.0, abs=0.15) and cut.early_s == pytest.approx(0.5, abs=0.15)
    assert frames[0][1] == pytest.approx(40, abs=1), "the cut-out begins elsewhere than with the key frame at 4 s"
    numbers = [number for _, number in frames]
    assert max(np.diff(numbers)) <= 4, "frames of the moment are missing"
    assert 61 <= numbers[-1] <= 68, "the cut-out ends before the moment, or goes on long after it"
    assert seconds == pytest.approx(2.5, abs=0.35)
    assert all(abs(number - 40 - time_s * RATE_HZ) <= 4 for time_s, number in frames), "frames come at other times"


def test_a_moment_at_a_key_frame_begins_there(tmp_path):
    film = write_clip(tmp_path / "a.mp4", LENGTH_S, rate=RATE_HZ, frames=grey, video_options=KEYED)
    cut = cut_out(moment_of(film, 4.0, 6.0), tmp_path, 1)
    assert cut.early_s == 0.0 and read(cut.path)[0][0][1] == 40


def test_a_film_with_one_key_frame_is_cut_from_its_start(tmp_path):
    options = {**KEYED, "g": "1000", "keyint_min": "1000"}
    film = write_clip(tmp_path / "a.mp4", LENGTH_S, rate=RATE_HZ, frames=grey, video_options=options)
    cut = cut_out(moment_of(film, 4.5, 6.5), tmp_path, 1)
    assert cut.early_s == pytest.approx(4.5, abs=0.1) and read(cut.path)[0][-1][1] >= 64


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".ogg", ".m4a"])
def test_sound_alone_is_cut_where_the_moment_begins(tmp_path, suffix):
    cut = cut_out(moment_of(write_sound(tmp_path / f"a{suffix}", LENGTH_S), 4.5, 6.5), tmp_path, 1)
    assert cut.early_s < 0.1
    assert read(cut.path)[1] == pytest.approx(2.0, abs=0.15)


def test_a_turned_film_stays_turned(tmp_path):
    film = write_clip(tmp_path / "a.mp4", 4, rotation=90, video_options=KEYED)
    with open_clip(cut_out(moment_of(film, 1, 2), tmp_path, 1).path) as clip:
        assert (clip.video.width_px, clip.video.height_px) == (48, 64)


def test_a_picture_is_copied(tmp_path):
    picture = write_image(tmp_path / "a.png", grey(3), codec="png", pix_fmt="rgb24")
    cut = cut_out(moment_of(picture, 0, 0), tmp_path / "out", 1)
    assert cut.path.read_bytes() == picture.read_bytes()


def test_a_part_of_a_film_is_found_under_its_files_name(tmp_path):
    film = write_clip(tmp_path / "a.mp4", 4, video_options=KEYED)
    assert cut_out(moment_of(f"{film}#t=1,3", 1.5, 2), tmp_path / "out", 1).path.stat().st_size > 500


def test_a_file_far_away_is_cut_too(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    film = write_clip(tmp_path / "a.mp4", 4, video_options=KEYED)
    fsspec.filesystem("memory").pipe("/films/a.mp4", film.read_bytes())
    cut = cut_out(moment_of("memory://films/a.mp4", 1, 2), tmp_path / "out", 1)
    assert read(cut.path)[0]
    with pytest.raises(MediaError, match="no such file"):
        cut_out(moment_of("memory://films/gone.mp4", 1, 2), tmp_path / "out", 1)


@pytest.mark.parametrize(
    ("name", "number"),
    [("a/b: c?.mp4", 1), ("../../etc/passwd", 2), ("x" * 300 + ".mp4", 3), (".hidden\n.mp4", 4), ("-", 5)],
)
def test_names_of_cut_outs_are_plain(name, number):
    made = name_cut(number, moment_of(f"/films/{name}", 1, 2.25), ".mp4")
    assert made.startswith(f"000{number} ") and made.endswith(".mp4")
    assert len(made) < 100 and not set(made) & set('/\\:*?"<>|\n')


def test_a_thumbnail_shows_the_middle(tmp_path):
    film = write_clip(
        tmp_path / "a.mp4", LENGTH_S, rate=RATE_HZ, size=(640, 480), frames=lambda n: np.resize(grey(n), (480, 640, 3))
    )
    picture = Image.open(io.BytesIO(draw_thumbnail(moment_of(film, 4, 6))))
    assert picture.size == (320, 240)
    assert np.asarray(picture).mean() == pytest.approx(20 + 2 * 50, abs=6)
    assert draw_thumbnail(moment_of(write_sound(tmp_path / "a.wav", 4), 1, 2)) is None


def test_a_file_that_is_gone_or_damaged_costs_itself_alone(tmp_path):
    film = write_clip(tmp_path / "a.mp4", 4, video_options=KEYED)
    (tmp_path / "text.mp4").write_text("no film")
    short = write_clip(tmp_path / "short.mp4", 2, video_options=KEYED)
    wanted = [(tmp_path / "gone.mp4", 1, 2), (tmp_path / "text.mp4", 1, 2), (film, 1, 2), (short, 60, 61)]
    export = export_moments([moment_of(*one) for one in wanted], tmp_path / "out", thumbnails=True)
    assert [cut.moment.file for cut in export.cuts] == [str(film)]
    assert len(export.problems) == 3 and all("\n" not in one for one in export.problems)
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".jpg", ".mp4"], (
        "something half-written stays"
    )
