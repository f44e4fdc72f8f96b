"""A newcomer's way through docs/library.md, as typed."""

import json
import re
from pathlib import Path

import pytest

from commands import moodreel, moodreel_here
from small_films import write_films

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "films", 5)


def test_index_go_on_and_look(films, tiny_bundle, tmp_path):
    command = ["index", films, "--library", "moods", "-m", tiny_bundle, "--jobs", 2]
    done = moodreel(*command, cwd=tmp_path)
    assert done.status == 1 and len(done.errors) == 1 and "clip 003.mp4: is not media" in done.errors[0]
    assert re.search(r"4 read, 0 there already, 1 failed, in \d+:\d\d: moodreel library moods", done.err)
    again = moodreel(*command, cwd=tmp_path)
    assert again.status == 0 and again.errors == []
    assert "0 read, 4 there already, 1 failed before (--retry-failed tries them again)" in again.err
    shown = moodreel("library", "moods", cwd=tmp_path)
    assert shown.status == 0 and shown.out.startswith("moods: 4 files, 0:00:04 hours, 1 failed\n")
    assert f"{films}/reel 0" in shown.out and "is not media" in shown.out
    assert moodreel("library", "moods", "--check", cwd=tmp_path).out == "5 parts, none damaged\n"
    assert moodreel("library", "moods", "--compact", "--check", cwd=tmp_path).out == "1 parts, none damaged\n"
    told = moodreel("library", "moods", "--forget", films / "reel 0", cwd=tmp_path)
    assert "2 files forgotten" in told.err
    held = json.loads(moodreel("library", "moods", "--json", cwd=tmp_path).out)
    assert held["n_files"] == 3 and set(held["whole"]["shares"]) >= {"happy", "sad"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["index", "a.mp4", "--library", "lib", "--adapt", "folder"], "read one by one; use clip or none"),
        (["index", "a.mp4", "--library", "lib", "--shard", "3"], "expected NUMBER/COUNT such as 3/16"),
        (["index", "a.mp4"], "missing option '--library'"),
        (["index", "a.mp4", "--library", "nothing://lib"], "nothing://lib: cannot be opened"),
        (["library", "nowhere"], "holds no library; make one with moodreel index"),
    ],
)
def test_mistakes_are_one_line(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = moodreel_here(*arguments)
    assert done.status == 2 and len(done.errors) == 1 and told in done.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_what_is_printed():
    page = PAGE.read_text()
    from moodreel.output.terminal import tell_progress

    assert tell_progress(412, 1500, 2, 572, 1.9) in page


def test_an_empty_library_is_shown(tmp_path):
    from moodreel.library.store import Store

    Store.open(tmp_path / "lib", create=True)
    done = moodreel_here("library", tmp_path / "lib")
    assert done.status == 0 and done.out == f"{tmp_path}/lib: 0 files, 0:00:00 hours, 0 failed\n"
