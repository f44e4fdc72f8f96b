"""The tables of a library: what was written is there once, in few files, whatever was killed or damaged."""

import json
import sys

import pytest

from made_library import make_library, make_rows
from moodreel.errors import LibraryError, OutputError
from moodreel.library.parts import WHOLE, list_parts
from moodreel.library.schema import COLUMNS, TABLES, arrow_schema
from moodreel.library.store import Store
from moodreel.library.upkeep import compact


def ask(store, query):
    return store.connect().execute(query).fetchall()


def test_what_is_written_is_there(tmp_path):
    store = make_library(tmp_path / "lib", 20, 30)
    for table, columns in COLUMNS.items():
        described = ask(store, f"DESCRIBE {table}")
        assert [row[0] for row in described] == [one.name for one in columns]
    assert ask(store, "SELECT count(*), count(DISTINCT file_id) FROM windows") == [(600, 20)]
    assert ask(store, "SELECT count(*) FROM files WHERE status = 'ok'") == [(20,)]
    assert ask(store, "SELECT typeof(alike) FROM windows LIMIT 1") == [("FLOAT[32]",)]


def test_an_empty_library_has_tables_of_the_same_columns(tmp_path):
    full, empty = make_library(tmp_path / "full", 2, 2), Store.open(tmp_path / "empty", create=True)
    for table in TABLES:
        described = [row[:2] for row in ask(empty, f"DESCRIBE {table}")]
        assert described == [row[:2] for row in ask(full, f"DESCRIBE {table}")]
        assert ask(empty, f"SELECT count(*) FROM {table}") == [(0,)]


def test_what_is_read_again_replaces_what_was_there(tmp_path):
    store = make_library(tmp_path / "lib", 4, 5)
    later = make_rows(2, 3, 7)
    files = later.files.set_column(
        later.files.schema.names.index("indexed_s"), arrow_schema("files").field("indexed_s"), [[2e9]]
    )
    store.write(WHOLE, type(later)(files, later.windows, later.people))
    assert ask(store, "SELECT count(*), count(DISTINCT path) FROM files") == [(4, 4)]
    assert ask(store, "SELECT count(*) FROM windows") == [(3 * 5 + 7,)]


def test_parts_stay_few_and_hold_the_same(tmp_path):
    store = Store.open(tmp_path / "lib", create=True)
    for number in range(130):
        store.write("2of3", make_rows(number, number + 1, 3))
    levels = [part.level for part in list_parts(store.place)]
    assert levels.count(0) == 2 and levels.count(1) == 2
    for table in TABLES:
        assert len(list((tmp_path / "lib" / table).iterdir())) == 4
    assert ask(store, "SELECT count(*), count(DISTINCT file_id) FROM windows") == [(390, 130)]


def test_what_a_killed_run_left_does_not_count(tmp_path):
    store = make_library(tmp_path / "lib", 4, 5, n_parts=2)
    next((tmp_path / "lib" / "files").iterdir()).unlink()
    assert ask(store, "SELECT count(*) FROM windows") == [(10,)]


@pytest.mark.parametrize("name", ["it's [odd] *?", "ä ö"])
def test_a_folder_may_be_called_anything(tmp_path, name):
    store = make_library(tmp_path / name, 2, 2)
    assert ask(store, "SELECT count(*) FROM windows") == [(4,)]


def test_a_library_of_another_version_is_refused(tmp_path):
    make_library(tmp_path / "lib", 2, 2)
    (tmp_path / "lib" / "library.json").write_text(json.dumps({"moodreel_library": 2}))
    with pytest.raises(LibraryError, match="version 2, expected 1; use the moodreel that made it"):
        Store.open(tmp_path / "lib")


@pytest.mark.parametrize("manifest", ["", "[]", "{}", "[" * 100_000])
def test_a_damaged_manifest_is_told(tmp_path, manifest):
    make_library(tmp_path / "lib", 2, 2)
    (tmp_path / "lib" / "library.json").write_text(manifest)
    with pytest.raises(LibraryError, match=r"library\.json: is damaged or no library's"):
        Store.open(tmp_path / "lib")


def test_no_library_is_told(tmp_path):
    with pytest.raises(LibraryError, match="holds no library; make one with moodreel index"):
        Store.open(tmp_path)


def test_a_part_that_is_cut_off_is_named(tmp_path):
    store = make_library(tmp_path / "lib", 2, 2)
    (part,) = (tmp_path / "lib" / "windows").iterdir()
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(LibraryError, match=rf"{part.name}: is damaged .*--compact` sets it aside"):
        store.connect()


def test_a_part_with_damage_inside_is_named(tmp_path):
    store = make_library(tmp_path / "lib", 20, 200)
    (part,) = (tmp_path / "lib" / "windows").iterdir()
    data = bytearray(part.read_bytes())
    data[4:-2000] = bytes(len(data) - 2004)
    part.write_bytes(data)
    with pytest.raises(LibraryError, match=rf"{part.name}: is damaged"), store.guard():
        ask(store, "SELECT sum(p_angry) FROM windows")


def test_a_reader_goes_on_while_a_writer_merges(tmp_path):
    make_library(tmp_path / "lib", 12, 5, n_parts=6)
    reader = Store.open(tmp_path / "lib")
    assert reader.query("SELECT count(*) FROM windows") == [(60,)]
    compact(Store.open(tmp_path / "lib"))
    assert reader.query("SELECT count(*), count(DISTINCT file_id) FROM windows") == [(60, 12)]


@pytest.mark.parametrize("module", ["duckdb", "pyarrow"])
def test_what_is_not_installed_is_told(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LibraryError, match=rf"a library needs {module}: pip install .*library"):
        Store.open(tmp_path, create=True)


def test_a_place_that_nothing_opens_is_told(monkeypatch):
    with pytest.raises(LibraryError, match=r"^nothing://lib: cannot be opened \("):
        Store.open("nothing://lib")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(LibraryError, match=r"^s3://lib: s3:// cannot be opened: pip install .*library"):
        Store.open("s3://lib")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        Store.open(tmp_path / "file" / "lib", create=True)
