"""Files that appear whole or not at all, and what a killed run leaves of them."""

import pytest

from moodreel.storage.whole_files import check_writable, find_unfinished, hold, open_text, whole_file


@pytest.mark.parametrize("name", ["a.jsonl", "a b-c.jsonl", "x" * 200 + ".jsonl", "no suffix", "[a]*.csv"])
def test_what_is_unfinished_is_found_by_the_name_of_the_file_alone(tmp_path, name):
    with whole_file(tmp_path / name) as temporary:
        temporary.write_text("a")
        assert find_unfinished(tmp_path / name) == [temporary]
        assert find_unfinished(tmp_path / f"b{name}") == find_unfinished(tmp_path / f"{name}.csv") == []
        assert find_unfinished(tmp_path / name[1:]) == []
    assert find_unfinished(tmp_path / name) == []


def test_a_file_that_is_being_written_is_not_unfinished(tmp_path):
    pytest.importorskip("fcntl")
    left = tmp_path / ".moodreel-a-abcdefgh.csv"
    with open_text(left) as file:
        hold(file)
        assert find_unfinished(tmp_path / "a.csv") == []
    assert find_unfinished(tmp_path / "a.csv") == [left]


def test_a_folder_that_is_not_there_holds_nothing_unfinished(tmp_path):
    assert find_unfinished(tmp_path / "gone" / "a.csv") == []


def test_folders_made_for_a_file_go_where_none_was_written(tmp_path):
    check_writable(tmp_path / "a" / "b" / "c.txt")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a" / "b" / "c.txt"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_folders_that_were_there_or_are_needed_stay(tmp_path):
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there" / "a.txt")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "new" / "a.txt"):
        (tmp_path / "new" / "other.txt").touch()
        raise RuntimeError
    with whole_file(tmp_path / "kept" / "a.txt") as temporary:
        temporary.write_text("a")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["kept", "new", "there"]
