"""`moodreel index --ray`: the library is row by row the one that this machine makes alone, whatever dies meanwhile."""

import numpy as np
import pytest
from typer.testing import CliRunner

import readers_in_processes as readers
from media_files import syllables, write_clip, write_wav
from moodreel.cli.demo_clip import pan_portrait
from moodreel.cli.main import app
from moodreel.library.index import Wish, index_media
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer
from ray_cluster import other_node, started_cluster
from small_films import write_films
from tiny_bundle import write_tiny_bundle

pytest.importorskip("ray")

LONG_S = 1000.0


class NodeKiller:
    """Takes a machine away once some files are done."""

    def __init__(self, cluster, after):
        self.cluster, self.after, self.outcomes = cluster, after, []

    def begin(self, spool):
        pass

    def known(self, n):
        pass

    def done(self, outcome):
        self.outcomes.append(outcome)
        if len(self.outcomes) == self.after:
            self.cluster.remove_node(other_node(self.cluster), allow_graceful=False)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Short clips of every kind, two that end their readers, and a film of two stretches, deadly in one go."""
    folder = write_films(tmp_path_factory.mktemp("films"), 10)
    faces = [np.asarray(frame) for frame in pan_portrait(20, (160, 120))]
    write_clip(
        folder / "long film.mkv",
        LONG_S,
        size=(160, 120),
        rate=0.5,
        frames=lambda index: faces[index % 20],
        audio_codec="pcm_s16le",
        sound=lambda time_s: np.where(time_s % 60 < 12, syllables(120)(time_s), 0.0),
    )
    for name in ("dying", "deadly"):
        write_wav(folder / f"{name}.wav", syllables(len(name) * 25)(np.arange(16_000) / 16_000)[:, None])
    return folder


def test_rows_are_those_of_this_machine_though_workers_and_a_machine_die(tmp_path, films):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    alone = Store.open(tmp_path / "alone", create=True)
    index_media([str(films)], alone, Recognizer.promise(bundle, threads=1), Wish(jobs=1))
    shared = Store.open(tmp_path / "shared", create=True)
    with pytest.MonkeyPatch.context() as patch, started_cluster(patch) as cluster:
        killer = NodeKiller(cluster, 4)
        counts = index_media(
            [str(films)],
            shared,
            readers.DyingRecognizer.promise(bundle, threads=1),
            Wish(ray=cluster.address),
            killer,
        )
    assert counts.found == 13 and len(killer.outcomes) == 13, "a file was lost, or read twice"
    expected, found = as_rows(alone), as_rows(shared)
    (deadly,) = [row for row in found["files"].values() if row["name"] == "deadly.wav"]
    assert deadly["status"] == "failed" and "ended the process" in deadly["reason"]
    may_differ = {"deadly.wav"}
    if any(row["name"] == "dying.wav" and row["status"] == "failed" for row in found["files"].values()):
        may_differ.add("dying.wav")  # it was on the machine that went
    for table in found:
        assert leave_out(found[table], may_differ) == leave_out(expected[table], may_differ), (
            f"{table}: another answer than one machine gives"
        )
    assert len(found["files"]) == 13 and len(found["windows"]) > LONG_S / 2


def as_rows(store):
    """Return the rows of each table by file, person and start."""
    ids = dict(store.query("SELECT file_id, name FROM files"))
    keyed = {}
    for table in ("files", "windows", "people"):
        rows = store.connect().execute(f"SELECT * FROM {table}")
        names = [column[0] for column in rows.description]
        dicts = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        keyed[table] = {
            (ids[row["file_id"]], row.get("person"), row.get("start_s")): row | {"indexed_s": None} for row in dicts
        }
        assert len(keyed[table]) == len(dicts), f"{table}: a row stands twice"
    return keyed


def leave_out(rows, names):
    return {key: row for key, row in rows.items() if key[0] not in names}


def test_processes_here_and_a_cluster_are_not_asked_for_at_once(tmp_path):
    command = ["index", str(tmp_path), "--library", str(tmp_path / "lib"), "--ray", "auto", "--jobs", "2"]
    result = CliRunner().invoke(app, command)
    assert "give one of them" in str(result.exception) and not (tmp_path / "lib").exists()
