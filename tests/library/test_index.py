"""Files into a library: each read once, anew when it has changed, and nothing lost by what is bad."""

import os
import shutil
from fractions import Fraction

import numpy as np
import pytest

from media_files import write_clip, write_wav
from moodreel.batch.clips import map_clips
from moodreel.errors import LibraryError
from moodreel.library import index
from moodreel.library.index import Wish, index_media
from moodreel.library.lock import writing
from moodreel.library.store import Store
from moodreel.library.upkeep import check, compact
from moodreel.recognition.recognizer import Recognizer
from small_films import read_rows, write_films
from tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer.promise(write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"), threads=1)


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Read here what needs no process of its own: starting one takes longer than reading."""
    if "process" not in request.keywords:
        monkeypatch.setattr(index, "map_clips", lambda read, clips, jobs, fail, **_: map_clips(read, clips, 1, fail))


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "films", 5)


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "lib", create=True)


def counts_of(counts):
    return {name: value for name, value in vars(counts).items() if value and name != "found"}


def test_rows_say_what_predicting_says(films, store, recognizer):
    index_media([str(films)], store, recognizer)
    path = films / "reel 0" / "clip 000.mp4"
    told = Recognizer.load(recognizer.bundle.path, threads=1).predict(path)
    ((label, confidence, duration_s, n_people, has_face, has_voice, width_px),) = store.query(
        "SELECT label, confidence, duration_s, n_people, has_face, has_voice, width_px FROM files WHERE path = ?",
        [str(path)],
    )
    assert (label, duration_s, n_people, width_px) == (told.label, told.duration_s, len(told.people), 160)
    assert confidence == pytest.approx(max(told.probabilities))
    assert has_face == (told.face.state == "ok") and has_voice == (told.voice.state == "ok")
    windows = store.query(
        "SELECT person, start_s, end_s, windows.p_angry, face_angry, voice_surprise, face_state, voice_state"
        " FROM windows JOIN files USING (file_id) WHERE path = ? ORDER BY person, start_s",
        [str(path)],
    )
    (segment,) = told.segments
    first = windows[0]
    assert first[:3] == (0, segment.start_s, segment.end_s) and first[6:] == told.states(segment)
    assert first[3] == pytest.approx(segment.probabilities[0])
    assert first[4] == (None if segment.face is None else pytest.approx(segment.face[0]))
    assert [row[0] for row in windows] == [0, *(person.id for person in told.people for _ in told.lane(person))]


def test_a_second_run_reads_nothing(films, store, recognizer):
    assert counts_of(index_media([str(films)], store, recognizer)) == {"read": 4, "failed": 1}
    before = read_rows(store)
    assert counts_of(index_media([str(films)], store, recognizer)) == {"known": 5, "failed_before": 1}
    assert read_rows(store) == before


def test_failures_are_rows_and_tried_again_when_asked(films, store, recognizer):
    index_media([str(films)], store, recognizer)
    ((path, reason),) = store.query("SELECT path, reason FROM files WHERE status = 'failed'")
    assert path.endswith("clip 003.mp4") and "is not media that moodreel reads" in reason
    again = index_media([str(films)], store, recognizer, Wish(retry_failed=True))
    assert counts_of(again) == {"known": 4, "failed": 1}
    write_clip(films / "reel 0" / "clip 003.mp4", 1)
    assert counts_of(index_media([str(films)], store, recognizer)) == {"known": 4, "read": 1}
    assert store.query("SELECT count(*) FROM files WHERE status = 'failed'") == [(0,)]


def test_changed_files_and_bundles_are_read_anew_and_old_rows_go(films, store, recognizer, tmp_path):
    index_media([str(films)], store, recognizer)
    changed = films / "reel 0" / "clip 000.mp4"
    write_clip(changed, 4)
    assert counts_of(index_media([str(films)], store, recognizer)) == {"read": 1, "known": 4, "failed_before": 1}
    (row,) = store.query("SELECT duration_s, count(*) OVER () FROM files WHERE path = ?", [str(changed)])
    assert row[0] == pytest.approx(4, abs=0.1) and row[1] == 1
    other = Recognizer.promise(write_tiny_bundle(tmp_path / "other", version="2"), threads=1)
    assert counts_of(index_media([str(films)], store, other)) == {"read": 4, "failed": 1}
    assert store.query("SELECT DISTINCT bundle FROM files") == [(other.fingerprint,)]
    assert store.query("SELECT count(DISTINCT file_id) FROM windows") == [(4,)]


def test_moved_copied_and_touched_files_are_not_read_again(films, store, recognizer):
    index_media([str(films)], store, recognizer)
    first = films / "reel 0" / "clip 000.mp4"
    shutil.copy(first, films / "copy.mp4")
    os.utime(films / "reel 1" / "clip 001.mp4", (1e9, 1e9))
    again = index_media([str(films)], store, recognizer)
    assert counts_of(again) == {"known": 4, "failed_before": 1, "copied": 2}
    query = (
        "SELECT person, start_s, windows.p_angry FROM windows JOIN files USING (file_id) WHERE path = ? ORDER BY ALL"
    )
    assert store.query(query, [str(first)]) == store.query(query, [str(films / "copy.mp4")]) != []
    assert store.query("SELECT date_s FROM files WHERE name = 'clip 001.mp4'") == [(1e9,)]


def test_settings_make_other_rows(films, store, recognizer):
    path = films / "reel 0" / "clip 000.mp4"
    index_media([str(path)], store, recognizer)
    assert counts_of(index_media([str(path)], store, recognizer, Wish(adapts=False))) == {"read": 1}
    assert counts_of(index_media([f"{path}#t=0,0.5"], store, recognizer)) == {"read": 1}
    assert store.query("SELECT name FROM files ORDER BY name") == [("clip 000.mp4",), ("clip 000.mp4#t=,0.5",)]


@pytest.mark.process
def test_shards_together_are_the_whole(films, store, recognizer, tmp_path):
    index_media([str(films)], store, recognizer)
    from moodreel.batch.shards import Shard

    shared = Store.open(tmp_path / "shared", create=True)
    found = [index_media([str(films)], shared, recognizer, Wish(shard=Shard(n, 2))).found for n in (1, 2)]
    assert sum(found) == 5
    assert read_rows(shared) == read_rows(store)
    assert counts_of(index_media([str(films)], shared, recognizer))["known"] == 5, "the shards' rows count for all"


def test_a_file_that_is_gone_costs_no_rows(films, store, recognizer):
    """A share that was not mounted must not empty the library."""
    index_media([str(films)], store, recognizer)
    path = films / "reel 0" / "clip 000.mp4"
    path.rename(path.with_suffix(".away"))
    counts = index_media([str(path), str(films / "never.mp4")], store, recognizer)
    assert counts_of(counts) == {"failed": 2}
    assert store.query("SELECT status FROM files WHERE path = ?", [str(path)]) == [("ok",)]
    assert store.query("SELECT count(*) FROM files WHERE name = 'never.mp4'") == [(0,)]
    assert check(store).gone == (str(path),)


def test_a_file_that_changes_while_it_is_read_fails_and_is_read_next_time(films, store, recognizer, monkeypatch):
    from moodreel.library import reading

    path = films / "reel 0" / "clip 000.mp4"
    describe = reading.describe_file

    def change(*arguments):
        write_clip(path, 2)
        return describe(*arguments)

    loaded = Recognizer.load(recognizer.bundle.path, threads=1)
    source = reading.Source(str(path)).look()
    settings = reading.make_settings(source, adapts=True)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "describe_file", change)
        outcome = reading.read_file(reading.Task(source, loaded.fingerprint, settings), loaded, adapts=True)
    assert outcome.reason.endswith("changed while it was read; index it again when it is whole")
    store.write("1of1", outcome.rows)
    assert counts_of(index_media([str(path)], store, recognizer)) == {"read": 1}


@pytest.mark.process
def test_a_clip_that_ends_its_reader_is_a_failed_file(films, store, recognizer, monkeypatch):
    monkeypatch.setenv("MOODREEL_TEST_CRASH", "clip 001")
    from readers_in_processes import CrashingRecognizer

    crashing = CrashingRecognizer.promise(recognizer.bundle.path, threads=1)
    assert counts_of(index_media([str(films)], store, crashing)) == {"read": 3, "failed": 2}
    ((reason,),) = store.query("SELECT reason FROM files WHERE name = 'clip 001.mp4'")
    assert reason.endswith("reading it ended the process: it is damaged or needs too much memory")
    assert counts_of(index_media([str(films)], store, recognizer)) == {"known": 5, "failed_before": 2}


def test_links_in_a_circle_and_names_of_no_encoding(films, store, recognizer):
    (films / "loop").symlink_to(films)
    (films / "nowhere.mp4").symlink_to(films / "none.mp4")
    odd = os.fsencode(films) + b"/b\xffd name.mp4"
    shutil.copy(films / "reel 0" / "clip 000.mp4", os.fsdecode(odd))
    counts = index_media([str(films)], store, recognizer)
    assert counts_of(counts) == {"read": 5, "failed": 2}
    assert store.query("SELECT name FROM files WHERE name LIKE 'b%'") == [("b\\udcffd name.mp4",)]
    assert counts_of(index_media([str(films)], store, recognizer)) == {"known": 6, "failed_before": 1, "failed": 1}
    assert check(store).gone == ()


def test_what_cannot_be_found_costs_itself_alone(films, store, recognizer, tmp_path):
    (tmp_path / "empty").mkdir()
    counts = index_media([str(tmp_path / "empty"), str(films)], store, recognizer)
    assert counts_of(counts) == {"read": 4, "failed": 1, "missing": 1}


def test_a_second_writer_is_told_who_holds_the_library(films, store, recognizer):
    from moodreel.batch.shards import WHOLE, Shard

    with writing(store.place, WHOLE):
        with pytest.raises(LibraryError, match=rf"is written by process {os.getpid()} on .* since 20.*wait until"):
            index_media([str(films)], store, recognizer)
        with pytest.raises(LibraryError, match="is written by process"):
            compact(store)
    with writing(store.place, Shard(1, 3)), writing(store.place, Shard(2, 3)):
        for other in (Shard(1, 3), Shard(1, 2), WHOLE, None):
            with (
                pytest.raises(LibraryError, match=r"is written by process .*shard [12]/3"),
                writing(store.place, other),
            ):
                pass
    index_media([str(films)], store, recognizer)


@pytest.mark.process
def test_a_bundle_that_cannot_be_used_is_told_once(films, store, tmp_path):
    from moodreel.errors import BundleError

    folder = write_tiny_bundle(tmp_path / "broken")
    promised = Recognizer.promise(folder, threads=1)
    (folder / "face.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match=r"face\.onnx: damaged or altered"):
        index_media([str(films)], store, promised)
    assert store.query("SELECT count(*) FROM files") == [(0,)]


def write_slow_video(path, hours):
    """A picture every ten seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 10))
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 48, "yuv420p", {"preset": "ultrafast"}
        for index in range(hours * 360):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 256, np.uint8))
            frame.pts, frame.time_base = index, Fraction(10, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_file_of_hours_has_windows_to_its_end(store, recognizer, tmp_path):
    index_media([str(write_slow_video(tmp_path / "long.mp4", 3))], store, recognizer)
    ((n, end_s, overlaps),) = store.query(
        "SELECT count(*), max(end_s), count(*) FILTER (start_s < before) FROM"
        " (SELECT *, lag(end_s) OVER (ORDER BY start_s) AS before FROM windows WHERE person = 0)"
    )
    assert end_s == pytest.approx(10_800, abs=10) and n > 10_700 and overlaps == 0


def test_many_tiny_files_make_few_parts(store, recognizer, tmp_path):
    (tmp_path / "tiny").mkdir()
    for number in range(300):
        write_wav(tmp_path / "tiny" / f"{number}.wav", np.zeros((800, 1), np.float32))
    assert counts_of(index_media([str(tmp_path / "tiny")], store, recognizer))["read"] == 300
    ((n,),) = store.query("SELECT count(*) FROM files")
    assert n == 300 and len(list((tmp_path / "lib" / "files").iterdir())) < 80
