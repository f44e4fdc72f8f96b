"""A library as its page shows it: nothing says where the files lie, whatever is asked."""

import pytest

from made_library import file_id, make_library
from moodreel.errors import LibraryError, QueryError
from moodreel.library.curves import MOST_POINTS, MOST_SEGMENTS, choose_emotion, draw_curves, read_lanes
from moodreel.library.grammar import parse_query
from moodreel.library.overview import MOST_BUCKETS, look_over
from moodreel.library.shown import ShownLibrary, shorten
from moodreel.library.thumbnails import KeptThumbnails, forget_thumbnails
from moodreel.library.upkeep import compact, forget


@pytest.fixture(scope="module", params=[False, True], ids=["from files", "from memory"])
def library(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "lib"
    make_library(folder, 120, 20, n_parts=3)
    library = ShownLibrary.open(folder)
    assert not request.param or library.warm()
    return library


@pytest.mark.parametrize(
    ("folders", "shown"),
    [
        ([], {}),
        (["/"], {"/": ""}),
        (["/home/anna/films"], {"/home/anna/films": ""}),
        (["/home/anna/a", "/home/anna/b/c"], {"/home/anna/a": "a", "/home/anna/b/c": "b/c"}),
        (["/home/anna/a", "/home/anna"], {"/home/anna/a": "a", "/home/anna": ""}),
        (["/home/anna/a", "/home/anna/a-b"], {"/home/anna/a": "a", "/home/anna/a-b": "a-b"}),
        (["/home/anna/a", "/mnt/disk/a/b"], {"/home/anna/a": "a", "/mnt/disk/a/b": "b"}),
        (["/home/anna/a", "/mnt/disk/a"], {"/home/anna/a": "a", "/mnt/disk/a": "a (2)"}),
        (["s3://bucket/x/a", "s3://bucket/x/b"], {"s3://bucket/x/a": "a", "s3://bucket/x/b": "b"}),
        (["/films/a/b", "s3://bucket"], {"/films/a/b": "b", "s3://bucket": "bucket"}),
    ],
)
def test_folders_are_called_by_what_tells_them_apart(folders, shown):
    assert shorten(folders) == shown


def test_moments_are_of_relative_names(library):
    found = library.search("happy > 0.3", limit=50)
    assert len(found) == 50
    for moment in found:
        assert moment.file.split("/")[0] in ("weddings", "interviews", "talks", "calls")


@pytest.mark.parametrize(
    "query", ["file like '/%'", "file like '%films%'", "folder like '/films%'", "folder like '/%'"]
)
def test_asking_does_not_find_out_where_files_lie(library, query):
    assert len(library.search(query)) == 0
    assert len(library.search("folder = 'talks'")) > 0


def test_files_are_looked_up_where_they_lie(library):
    (file,) = library.find_files([file_id(7), "f" * 16, "'; DROP VIEW files; --"]).values()
    assert file.path == "/films/calls/clip 0000007.mp4" and file.id == file_id(7) and file.duration_s == 20
    assert library.find_files([file_id(96)]) == {}, "a file that failed is no file to be served"


def test_a_part_of_a_file_is_served_as_the_file(tmp_path):
    store = make_library(tmp_path, 1, 5)
    rows = store.read_file(file_id(0))
    names = {"path": "/films/a#1/film.mp4#t=61,90", "name": "film.mp4#t=61,90", "indexed_s": 2e9}
    store.write("1of1", rows.renamed({**names, "folder": "/films/a#1", "file_id": "a" * 16, "modified_s": 0.0}))
    file = ShownLibrary.open(tmp_path).find_files(["a" * 16])["a" * 16]
    assert (file.path, file.offset_s, file.name) == ("/films/a#1/film.mp4", 61.0, "film.mp4#t=61,90")


def test_the_overview_counts_what_numpy_counts(library):
    told = library.read(look_over)
    assert (told.n_files, told.n_failed, told.n_windows) == (119, 1, 2400)
    assert sum(one.n_files for one in told.folders) == 119 and {one.value for one in told.folders} >= {"talks"}
    assert [(one.value, one.n_files) for one in told.people] == [(0, 24), (2, 95)]
    assert told.face.n_files == 95 and told.lengths[0].value == 10
    assert told.unit == "day" and len(told.strip) <= MOST_BUCKETS
    assert sum(one.n_files for one in told.strip) == 119
    for bucket in told.strip:
        assert 0 <= sum(bucket.shares.values()) <= 1.0001
    assert "/films" not in str(told.to_dict())


def test_an_empty_library_has_an_overview(tmp_path):
    from moodreel.library.store import Store

    Store.open(tmp_path / "lib", create=True)
    library = ShownLibrary.open(tmp_path / "lib")
    told = library.read(look_over)
    assert (told.n_files, told.strip, told.folders) == (0, [], [])
    assert len(library.search("happy > 0.1")) == 0


def test_a_curve_runs_around_its_moment(library):
    query = parse_query("face.happy > 0.3 or sad > 0.99")
    moments = library.search("happy > 0.6", limit=5)[:5]
    emotions = [choose_emotion(query, moment) for moment in moments]
    assert set(emotions) == {"happy"}
    for moment, curve in zip(
        moments, library.read(lambda connection: draw_curves(connection, moments, emotions)), strict=True
    ):
        assert curve.times_s == sorted(curve.times_s) and 0 < len(curve.times_s) <= MOST_POINTS
        inside = [v for t, v in zip(curve.times_s, curve.values, strict=True) if moment.start_s < t < moment.end_s]
        assert min(inside) > 0.6, "the curve does not show what was found"


def test_lanes_of_a_long_file_are_averaged(tmp_path):
    make_library(tmp_path, 1, 3 * MOST_SEGMENTS)
    lanes = ShownLibrary.open(tmp_path).read(lambda connection: read_lanes(connection, file_id(0)))
    assert len(lanes[0]) == MOST_SEGMENTS and lanes[0][0]["end_s"] == 3.0
    assert lanes[0][-1]["end_s"] == 3 * MOST_SEGMENTS


def test_a_search_can_be_broken_off(library):
    library.interrupt()
    assert len(library.search("happy > 0.5", limit=3)) == 3, "breaking off nothing broke the next search"


def test_thumbnails_go_with_their_file(tmp_path):
    store = make_library(tmp_path / "lib", 3, 2)
    kept = KeptThumbnails(store.place)
    assert all(kept.write(file_id(number), 1, b"jpeg") for number in range(3))
    assert kept.read(file_id(1), 1) == b"jpeg" and kept.read(file_id(1), 2) is None
    (tmp_path / "lib" / "thumbnails" / ".moodreel-half").write_bytes(b"")
    forget(store, "/films/interviews")
    assert sorted(path.name for path in (tmp_path / "lib" / "thumbnails").iterdir()) == sorted(
        f"{file_id(number)}-1.jpg" for number in (0, 2)
    )
    kept.write("f" * 16, 1, b"of a file that was replaced")
    compact(store)
    assert kept.read("f" * 16, 1) is None and kept.read(file_id(0), 1) == b"jpeg"
    assert forget_thumbnails(store) == 0


def test_a_library_that_cannot_be_written_keeps_no_thumbnails(tmp_path):
    store = make_library(tmp_path / "lib", 1, 1)
    (tmp_path / "lib" / "thumbnails").write_text("a file where a folder should be")
    assert not KeptThumbnails(store.place).write(file_id(0), 1, b"jpeg")
    assert KeptThumbnails(store.place).read(file_id(0), 1) is None


def test_no_query_is_made_of_nothing(library):
    with pytest.raises(QueryError):
        library.search("")
    with pytest.raises(LibraryError):
        ShownLibrary.open("/nowhere/at/all")
