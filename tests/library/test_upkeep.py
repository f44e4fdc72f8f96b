"""A library's upkeep: few sorted parts, damage set aside, files forgotten; broken off anywhere, nothing lost."""

from itertools import pairwise

import pytest

from made_library import make_library, make_rows
from moodreel.errors import LibraryError
from moodreel.library import store as stores, upkeep
from moodreel.library.parts import list_parts
from moodreel.library.place import Folder
from moodreel.library.schema import TABLES
from moodreel.library.store import Store
from moodreel.library.upkeep import check, compact, forget, format_findings
from small_films import read_rows


def sizes(folder):
    return {table: len(list((folder / table).iterdir())) for table in TABLES}


def test_compacting_makes_few_sorted_parts_of_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "WINDOWS_A_PART", 100)
    store = make_library(tmp_path / "lib", 40, 10, n_parts=20)
    before = read_rows(store)
    assert compact(store) == ()
    assert read_rows(store) == before
    assert sizes(tmp_path / "lib") == dict.fromkeys(TABLES, 4)
    spans = []
    for part in list_parts(store.place):
        table = upkeep._read(store, "windows", part)
        ids = table.column("file_id").to_pylist()
        assert ids == sorted(ids)
        spans.append((ids[0], ids[-1]))
    spans.sort()
    assert all(last < first for (_, last), (first, _) in pairwise(spans))


def test_a_compacted_library_is_not_compacted_again(tmp_path):
    store = make_library(tmp_path / "lib", 10, 5, n_parts=3)
    compact(store)
    (part,) = (tmp_path / "lib" / "files").iterdir()
    before = part.stat().st_mtime_ns
    compact(store)
    assert part.stat().st_mtime_ns == before


def test_an_empty_library_can_be_kept_in_order(tmp_path):
    store = Store.open(tmp_path / "lib", create=True)
    assert compact(store) == () and format_findings(check(store)) == "0 parts, none damaged"
    with pytest.raises(LibraryError, match=r"holds nothing of .*a\.mp4"):
        forget(store, "a.mp4")


def test_damage_is_found_set_aside_and_costs_its_own_files_alone(tmp_path):
    store = make_library(tmp_path / "lib", 20, 10, n_parts=4)
    paths = sorted((tmp_path / "lib" / "windows").iterdir())
    paths[0].write_bytes(paths[0].read_bytes()[:-200])
    paths[1].unlink()
    findings = check(store)
    assert len(findings.damaged) == 2
    assert f"{paths[0].name}: is damaged" in findings.damaged[0] and "is missing" in findings.damaged[1]
    assert len(compact(store)) == 2
    assert store.query("SELECT count(*), count(DISTINCT file_id) FROM windows") == [(100, 10)]
    assert store.query("SELECT count(*) FROM files") == [(10,)]
    assert (tmp_path / "lib" / "damaged" / f"windows-{paths[0].name}").is_file()
    assert check(store).damaged == ()


def test_what_is_forgotten_is_nowhere(tmp_path):
    store = make_library(tmp_path / "lib", 20, 10, n_parts=4)
    ((path, file_id),) = store.query("SELECT path, file_id FROM files ORDER BY path LIMIT 1")
    assert forget(store, path) == 1
    assert store.query("SELECT count(*) FROM files WHERE path = ?", [path]) == [(0,)]
    for part in (tmp_path / "lib").rglob("*.parquet"):
        table = upkeep.read_table(part, part.parent.name)
        assert file_id not in table.column("file_id").to_pylist()
    assert forget(store, "/films/weddings/") == 5
    assert store.query("SELECT count(*), count(DISTINCT folder) FROM files") == [(14, 3)]
    assert store.query("SELECT count(DISTINCT file_id) FROM windows") == [(14,)]


def test_leavings_of_killed_runs_are_told_and_swept(tmp_path):
    store = make_library(tmp_path / "lib", 4, 5, n_parts=2)
    next((tmp_path / "lib" / "files").iterdir()).unlink()
    (tmp_path / "lib" / "windows" / ".moodreel-part-abcdefgh.parquet").touch()
    assert check(store).n_left == 3
    compact(store)
    assert check(store).n_left == 0 and sizes(tmp_path / "lib") == dict.fromkeys(TABLES, 1)


class Killed(BaseException):
    """Stands for the end of the process."""


class Fragile(Folder):
    """A folder whose user is killed before a certain change."""

    def __init__(self, folder, steps):
        super().__init__(folder)
        self.steps = steps

    def step(self):
        self.steps -= 1
        if self.steps < 0:
            raise Killed

    def write(self, name, fill):
        self.step()
        super().write(name, fill)

    def remove(self, name):
        self.step()
        super().remove(name)


def begin(folder):
    """Make a library of four files in two parts; return its rows."""
    store = Store.open(folder, create=True)
    for number in (0, 2):
        store.write("1of1", make_rows(number, number + 2, 5))
    return read_rows(store)


ACTIONS = {
    "merge": lambda store: store.write("1of1", make_rows(4, 5, 5)),  # the third part of three that become one
    "compact": compact,
    "forget": lambda store: forget(store, "/films/weddings/clip 0000000.mp4"),
}


@pytest.mark.parametrize("action", list(ACTIONS))
def test_broken_off_anywhere_nothing_is_lost(tmp_path, action, monkeypatch):
    monkeypatch.setattr(stores, "FAN", 3)
    monkeypatch.setattr(upkeep, "WINDOWS_A_PART", 10)
    before = begin(tmp_path / "whole")
    ACTIONS[action](Store.open(tmp_path / "whole"))
    after = read_rows(Store.open(tmp_path / "whole"))
    steps, is_killed = 0, True
    while is_killed:
        begin(tmp_path / str(steps))
        try:
            ACTIONS[action](Store(Fragile(tmp_path / str(steps), steps)))
            is_killed = False
        except Killed:
            assert read_rows(Store.open(tmp_path / str(steps))) in (before, after)
        steps += 1
    assert steps > 6 and read_rows(Store.open(tmp_path / str(steps - 1))) == after
