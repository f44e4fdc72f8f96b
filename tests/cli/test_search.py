"""`moodreel search` as a user types it."""

import json
import os

import pytest

from commands import moodreel_here
from made_windows import make_file, make_window, write_library
from media_files import write_clip
from moodreel.cli.search import FORMATS
from moodreel.library import formats


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Two films, the first angry from 2 to 4 s and from 6 to 7 s, the second from 1 to 2 s."""
    folder = tmp_path_factory.mktemp("searched")
    keyed = {"g": "20", "keyint_min": "20", "sc_threshold": "0", "preset": "ultrafast", "threads": "1"}
    films = [write_clip(folder / f"film {number}.mp4", 8, video_options=keyed) for number in (1, 2)]
    spans = [(1, 2, 4, 0.9), (1, 6, 7, 0.7), (2, 1, 2, 0.8), (1, 0, 1, 0.1)]
    windows = [make_window(number, start, end, {"angry": share}) for number, start, end, share in spans]
    files = [make_file(number, path=os.fspath(film), name=film.name) for number, film in enumerate(films, 1)]
    write_library(folder / "lib", windows, files=files)
    return folder / "lib"


def test_moments_come_best_first(library):
    done = moodreel_here("search", library, "angry > .6")
    assert done.status == 0 and done.err == ""
    assert [line.split()[0] for line in done.out.splitlines()] == ["score", "90%", "80%", "70%"]


def test_options_reach_the_search(library):
    held = json.loads(moodreel_here("search", library, "angry > .6", "--min-s", 2, "-f", "json").out)
    assert [(one["start_s"], one["end_s"]) for one in held] == [(2, 4)]
    held = json.loads(moodreel_here("search", library, "angry > .6", "--gap-s", 3, "--limit", 1, "-f", "json").out)
    assert [(one["start_s"], one["end_s"]) for one in held] == [(2, 7)]
    assert len(json.loads(moodreel_here("search", library, "angry > .6", "--limit", 0, "-f", "json").out)) == 3


def test_a_wrong_query_gets_one_line_and_a_caret(library):
    done = moodreel_here("search", library, "anrgy > .6 and face")
    assert done.status == 2 and done.out == ""
    assert done.err.splitlines() == [
        "moodreel: error: query, column 1: unknown word 'anrgy'; did you mean 'angry'?",
        "  anrgy > .6 and face",
        "  ^^^^^",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing is asked for: add a query"),
        (("angry > .6", "--format", "cvs"), "did you mean 'csv'?"),
        (("angry > .6", "--format", "vtt"), "2 files were found and each needs a text of its own: add --output FOLDER"),
        (("angry > .6", "--thumbnails"), "add --export DIR"),
        (("angry > .6", "--min-s", "-1"), "min_s is -1, expected 0 to"),
        (("angry > .6", "--like", "a.mp4", "--people"), "--like: cannot be combined"),
        (("--like", "gone.mp4"), "no such file"),
        (("angry" * 3000,), "expected at most 4000; ask for less"),
        (("(" * 10_000,), "10000 characters"),
    ],
)
def test_mistakes_are_told_in_one_line(library, arguments, told):
    done = moodreel_here("search", library, *arguments)
    assert done.status == 2 and len(done.errors) == 1 and told in done.errors[0]


def test_a_folder_that_is_no_library_is_refused(tmp_path):
    done = moodreel_here("search", tmp_path, "face")
    assert done.status == 2 and "holds no library; make one with moodreel index" in done.errors[0]


def test_texts_go_to_files(library, tmp_path):
    moodreel_here("search", library, "angry > .6", "-f", "csv", "-o", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().count("\n") == 4
    moodreel_here("search", library, "angry > .6", "-f", "vtt", "-o", tmp_path / "subtitles")
    assert sorted(path.name for path in (tmp_path / "subtitles").iterdir()) == ["0001 film 1.vtt", "0002 film 2.vtt"]


def test_moments_are_exported_and_told_where_they_begin(library, tmp_path):
    done = moodreel_here("search", library, "angry > .6", "--export", tmp_path / "out", "--thumbnails")
    assert done.status == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    expected = ["0001 film 1 2.0-4.0", "0002 film 2 1.0-2.0", "0003 film 1 6.0-7.0"]
    assert names == sorted(f"{name}{suffix}" for name in expected for suffix in (".jpg", ".mp4"))
    told = done.err.splitlines()
    assert "earlier" not in told[0] and told[1].endswith("begins 1.0 s earlier: at a key frame")
    again = moodreel_here("search", library, "angry > .6", "--export", tmp_path / "out")
    assert again.status == 2 and "is there already" in again.errors[0]


def test_moments_like_an_example_are_found(library):
    films = sorted(path for path in library.parent.iterdir() if path.suffix == ".mp4")
    held = json.loads(moodreel_here("search", library, "--like", f"{films[0]}#t=2,4", "-f", "json").out)
    assert os.fspath(films[1]) in {one["file"] for one in held}


def test_the_help_lists_every_format_and_warns_of_people():
    done = moodreel_here("search", "--help")
    assert ", ".join(formats.FORMATS) == FORMATS
    told = " ".join(done.out.replace("│", " ").split())
    assert "biometric" in told and "where those shown agreed" in told
