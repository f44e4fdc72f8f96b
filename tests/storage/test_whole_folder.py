"""Folders that appear whole or not at all."""

import pytest

from moodreel.errors import OutputError
from moodreel.storage.whole_files import whole_folder


def test_appears_whole_where_nothing_or_an_empty_folder_stood(tmp_path):
    for name in ("new", "empty"):
        place = tmp_path / "deep" / name
        if name == "empty":
            place.mkdir()
        with whole_folder(place) as folder:
            (folder / "a").write_text("a")
            assert not (place / "a").exists()
        assert (place / "a").read_text() == "a" and place.stat().st_mode & 0o055
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["empty", "new"]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("a")
        raise KeyboardInterrupt
    with whole_folder(tmp_path / "checked", discard=True):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for name in ("file", "full"):
        with pytest.raises(OutputError, match="is there already"), whole_folder(tmp_path / name):
            pass
    assert (tmp_path / "full" / "mine").exists() and (tmp_path / "file").read_text() == "mine"
    with pytest.raises(OutputError, match="cannot be written"), whole_folder(tmp_path / "file" / "below"):
        pass
