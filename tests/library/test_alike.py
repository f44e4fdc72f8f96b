"""Moments like an example: the nearest by their vectors, wherever the example stands."""

import os

import numpy as np
import pytest

from made_library import make_library
from made_windows import make_file, make_window, write_library
from media_files import write_wav
from moodreel.errors import LibraryError, MediaError, QueryError
from moodreel.library.alike_vector import alike_vector
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.library.search import Library
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer


@pytest.fixture(scope="module", params=["files", "memory"])
def library(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("libraries") / "made"
    make_library(folder, 12, 20, n_parts=2)
    library = Library.open(folder)
    if request.param == "memory":
        assert library.warm()
    return library


def rows_of(library):
    return library.sql("select w.*, path from windows w join files using (file_id) order by path, start_s").to_pylist()


def nearest(rows, vector, n):
    """Return path and start of the windows nearest to a vector, by NumPy."""
    distances = np.linalg.norm(np.array([row["alike"] for row in rows]) - np.asarray(vector), axis=1)
    return [(rows[place]["path"], rows[place]["start_s"]) for place in np.argsort(distances)[:n]]


def test_the_nearest_come_first_and_the_example_itself_is_left_out(library):
    rows = rows_of(library)
    example = rows[25]
    found = library.like(f"{example['path']}#t={example['start_s']},{example['end_s']}", limit=5)
    others = [row for row in rows if (row["path"], row["start_s"]) != (example["path"], example["start_s"])]
    first = {place for one in found[:1] for place in [(one.file, one.start_s)]}
    assert first <= set(nearest(others, example["alike"], 3))
    assert len(found) == 5 and list(found.score) == sorted(found.score, reverse=True)
    assert all(not (one.file == example["path"] and one.start_s < example["end_s"] < one.end_s) for one in found)


def test_every_window_is_ranked_by_its_distance(library):
    rows = rows_of(library)
    example = rows[3]
    found = library.like(f"{example['path']}#t=3,4", "start >= 0", limit=20)
    by_score = {(one.file, one.start_s): one.score for one in found if one.end_s - one.start_s == 1}
    assert len(by_score) > 10
    for row in rows:
        if (row["path"], row["start_s"]) in by_score:
            distance = np.linalg.norm(np.array(row["alike"]) - np.array(example["alike"]))
            assert by_score[row["path"], row["start_s"]] == pytest.approx(1 / (1 + distance), rel=1e-4)


def test_a_query_narrows_what_is_alike(library):
    path = rows_of(library)[0]["path"]
    found = library.like(f"{path}#t=0,1", "file like '%weddings%' and happy > .1", limit=10)
    assert len(found) and all("weddings" in one.file for one in found)
    with pytest.raises(QueryError):
        library.like(path, "anrgy > .1")


def test_a_moment_of_several_windows_counts_each_by_its_length(tmp_path):
    def window(number, start_s, value):
        return make_window(number, start_s, start_s + 1, {"happy": 1.0}, alike=[value] + [0.0] * (ALIKE_WIDTH - 1))

    windows = [window(1, 0, 0.0), window(1, 1, 1.0), window(2, 0, 0.5), window(3, 0, 0.0), window(4, 0, 1.0)]
    library = write_library(tmp_path / "l", windows, files=(1, 2, 3, 4))
    assert library.like("/films/clip 1.mp4#t=0,2")[0].file == "/films/clip 2.mp4"
    assert library.like("/films/clip 1.mp4#t=0,1")[0].file == "/films/clip 3.mp4"
    assert library.like("/films/clip 1.mp4#t=1,2")[0].file == "/films/clip 4.mp4"


def test_windows_in_which_nobody_is_seen_or_heard_are_like_nothing(tmp_path):
    windows = [make_window(1, 0, 1, {"happy": 1.0}), make_window(2, 0, 1, {}, label=None)]
    windows += [make_window(3, 0, 1, {"happy": 1.0}, alike=None)]
    library = write_library(tmp_path / "l", windows, files=(1, 2, 3))
    assert len(library.like("/films/clip 1.mp4")) == 0


def test_a_part_that_was_indexed_as_a_part_is_found_under_its_file(tmp_path):
    windows = [make_window(1, 10, 11, {"happy": 1.0}), make_window(2, 0, 1, {"happy": 1.0})]
    files = [make_file(1, path="/films/a.mp4#t=10,12"), make_file(2)]
    found = write_library(tmp_path / "l", windows, files=files).like("/films/a.mp4#t=10,11")
    assert [one.file for one in found] == ["/films/clip 2.mp4"]


def test_an_example_from_elsewhere_is_read(tmp_path, tiny_bundle, face_clip):
    prediction = Recognizer.load(tiny_bundle).predict(face_clip)
    vectors = [alike_vector(segment).tolist() for segment in prediction.segments]
    windows = [make_window(1, 0, 1, {"happy": 1.0}, alike=list(np.mean(vectors, axis=0)))]
    windows += [make_window(2, 0, 1, {"happy": 1.0}, alike=[9.0] * ALIKE_WIDTH)]
    library = write_library(tmp_path / "l", windows, files=(1, 2), model=str(tiny_bundle))
    found = library.like(os.fspath(face_clip))
    assert found[0].file == "/films/clip 1.mp4" and found[0].score > 0.5 > found[1].score
    assert len(library.like(f"{face_clip}#t=0,1")) == 2


def test_examples_that_say_nothing_are_refused_in_one_line(tmp_path, tiny_bundle):
    library = write_library(tmp_path / "l", [make_window(1, 0, 1, {"happy": 1.0})], model=str(tiny_bundle))
    with pytest.raises(MediaError, match="no such file"):
        library.like(str(tmp_path / "gone.mp4"))
    with pytest.raises(MediaError, match="is no time"):
        library.like("a.mp4#t=x,y")
    silence = write_wav(tmp_path / "silence.wav", np.zeros((32_000, 1), np.float32))
    with pytest.raises(LibraryError, match="nobody is seen or heard there"):
        library.like(str(silence))


def test_an_empty_library_holds_nothing_alike(tmp_path, tiny_bundle, face_clip):
    Store.open(tmp_path / "l", create=True)
    assert len(Library.open(tmp_path / "l", model=str(tiny_bundle)).like(str(face_clip))) == 0
