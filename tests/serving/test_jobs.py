"""Jobs that outlive the server: after a stop, after a kill; and what lies on disk meanwhile."""

import sqlite3
import time

import httpx2
import pytest

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import Problem
from moodreel.serving.server.book import JobBook
from moodreel.serving.server.jobs import Job, JobState
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.run import choose_state
from moodreel.serving.server.state import open_state
from moodreel.serving.server.store import open_store
from moodreel.serving.server.webhooks import WebhookRules, Webhooks
from running_server import ASYNC, begin, client_of, running_server, upload, wait_until


def post(client, clip, name=None):
    return client.post("/v1/predictions", files=upload(clip, name), headers=ASYNC).headers["location"]


def finished(job):
    return job["state"] in ("done", "failed")


def bytes_in(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_answers_and_clips_that_wait_outlive_a_stop(tiny_bundle, sound, long_clip, tmp_path):
    state = {"state": tmp_path / "state"}
    with client_of(tiny_bundle, settings=state) as client:
        answered = client.post("/v1/predictions", files=upload(sound)).headers["content-location"]
        done = client.get(answered).json()
        begun, waits = begin(client, long_clip), post(client, sound, "Eva Schmidt.wav")
    assert len(list((tmp_path / "state" / "moodreel-clips").iterdir())) == 2
    assert (tmp_path / "state" / "jobs.sqlite").stat().st_mode & 0o077 == 0, "others may read it"
    with client_of(tiny_bundle, settings=state) as client:
        assert client.get(answered).json() == done and done["state"] == "done"
        assert client.get(f"{answered}/timeline.vtt").text.startswith("WEBVTT")
        assert client.get("/healthz").json()["places_taken"] == 2
        assert wait_until(lambda job: job["state"] != "queued", client, begun)["state"] == "running"
        client.delete(begun)
        assert wait_until(finished, client, waits)["prediction"]["label"] == "surprise"
        assert list((tmp_path / "state" / "moodreel-clips").iterdir()) == [], "clips that were read are on disk"
        assert b"Eva Schmidt" in bytes_in(tmp_path)
        client.delete(waits)
        assert b"Eva Schmidt" not in bytes_in(tmp_path), "what was deleted is on disk"


def test_a_killed_server_goes_on_where_it_was(tiny_bundle, sound, long_clip, tmp_path):
    options = ("--workers", "1", "--state", str(tmp_path))
    with running_server(tiny_bundle, *options) as (address, process):
        with httpx2.Client(base_url=address, timeout=60) as client:
            begun = begin(client, long_clip)
            waits = client.post("/v1/batches", files=[("file", ("b.wav", sound.read_bytes()))]).headers["location"]
        process.kill()
        process.wait()
    orphan = tmp_path / "moodreel-clips" / "clip-orphan"
    orphan.touch()
    (tmp_path / "moodreel-clips" / "clip-folder").mkdir()
    with running_server(tiny_bundle, *options) as (address, _), httpx2.Client(base_url=address, timeout=60) as client:
        assert client.get(begun).json()["state"] in ("queued", "running")
        assert client.delete(begun).status_code == 204
        batch = wait_until(lambda batch: batch["state"] == "done", client, waits)
        assert [(job["clip"], job["state"]) for job in batch["jobs"]] == [("b.wav", "done")]
        assert not orphan.exists(), "a clip of no job stays for ever"


def test_answers_are_not_kept_longer_because_of_a_restart(tiny_bundle, sound, tmp_path):
    state = {"state": tmp_path}
    with client_of(tiny_bundle, settings=state) as client:
        place = client.post("/v1/predictions", files=upload(sound)).headers["content-location"]
    with client_of(tiny_bundle, settings=state, keep_s=0) as client:
        assert client.get(place).status_code == 404
    assert b"a.wav" not in bytes_in(tmp_path)


def test_a_job_whose_id_nobody_knows_ends_with_its_server(tiny_bundle, sound, tmp_path):
    """Its client waits for the answer, and uploads the clip again when the connection breaks."""
    with open_state(tmp_path) as state:
        book = make_book(state.store)
        assert not book.put_back(Job("a.wav", sound)) and state.store.read() == []


def make_book(store=None, **limits):
    return JobBook(Limits(**limits), Webhooks(WebhookRules(), Metrics()), store)


def make_job(folder, name="a.wav", state=None, **changes):
    path = folder / f"clip-{name}"
    path.touch()
    job = Job(name, path)
    job.now, job.is_kept = state or JobState(), True
    vars(job).update(changes)
    return job


LEFT = {
    "broke off each time": lambda job: vars(job).update(n_begun=2),
    "upload it again": lambda job: job.path.unlink(),
    "stopped before it was read": lambda job: vars(job).update(received_s=time.monotonic() - 100_000),
}


@pytest.mark.parametrize("words", LEFT)
def test_what_is_not_read_any_more_says_why(tmp_path, words):
    job = make_job(tmp_path)
    LEFT[words](job)
    book = make_book()
    assert book.resume([job]) == [] and book.taken == 0
    assert words in book.find(job.id).now.problem.detail and not job.path.exists()


def test_a_job_comes_back_as_it_was(tmp_path):
    store = open_store(tmp_path / "jobs.sqlite", tmp_path)
    done = JobState("done", 1.0, {"label": "happy", "clip": "день.wav"}, {"csv": "a,b\n", "vtt": "WEBVTT\n"})
    jobs = [
        make_job(tmp_path, "день.wav", done, is_answered=True, batch="b", webhook="https://example.org/", is_told=True),
        make_job(tmp_path, "b.wav", JobState("failed", problem=Problem("bad-media", "b.wav: no media")), n_begun=1),
        make_job(tmp_path, "c.wav"),
    ]
    for job in jobs:
        job.finished_s = time.monotonic() - 100
        for _ in range(2):
            store.write(job)
    for job, read in zip(jobs, store.read(), strict=True):
        for name in ("id", "clip", "path", "batch", "webhook", "now", "n_begun", "is_answered", "is_told", "is_kept"):
            assert getattr(read, name) == getattr(job, name), name
        assert read.finished_s == pytest.approx(job.finished_s, abs=1)
    store.close()


def test_rows_that_make_no_sense_are_left_out(tmp_path):
    store = open_store(tmp_path / "jobs.sqlite", tmp_path)
    states = {"done": {"prediction": "{"}, "failed": {"problem": "none of ours"}, "queued": {"n_begun": "often"}}
    for state, changes in states.items():
        job = make_job(tmp_path, state)
        store.write(job)
        values = ", ".join(f"{name} = '{value}'" for name, value in ({"state": state} | changes).items())
        store._connection.execute(f"UPDATE jobs SET {values} WHERE id = ?", (job.id,))
    sound = make_job(tmp_path)
    store.write(sound)
    assert [job.id for job in store.read()] == [sound.id] and len(store.read()) == 1
    store._connection.execute("UPDATE jobs SET file = '../../etc/passwd'")
    assert store.read()[0].path == tmp_path / "passwd", "a path leads out of the folder"
    store.close()


def write_foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE jobs (id)")
    connection.close()


REFUSED = {
    "damaged": lambda path: path.write_bytes(b"no database at all " * 100),
    "of another program": write_foreign,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path, kind):
    path = tmp_path / "jobs.sqlite"
    REFUSED[kind](path)
    before = bytes_in(tmp_path)
    with pytest.raises(MoodreelError, match=r"jobs\.sqlite: jobs cannot be kept there .*--no-keep-jobs$"):
        open_store(path, tmp_path)
    assert bytes_in(tmp_path) == before


def test_two_servers_do_not_share_a_folder(tmp_path):
    with open_state(tmp_path), pytest.raises(MoodreelError, match="another server does"), open_state(tmp_path):
        pass
    with open_state(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(MoodreelError, match="choose another --state"), open_state(tmp_path / "file"):
        pass


def test_a_full_disk_costs_no_answer(tmp_path, caplog):
    store = open_store(tmp_path / "jobs.sqlite", tmp_path)
    store._connection.execute("PRAGMA query_only = ON")  # what cannot be written fails as on a full disk
    book = make_book(store)
    job = make_job(tmp_path)
    book.add(job)
    book.keep(job)
    assert book.find(job.id) is job and "jobs cannot be kept" in caplog.text
    store.close()


def test_each_address_has_a_folder_of_its_own(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of user"))
    folder = choose_state(None, "::1", 8000)
    assert folder == tmp_path / "of user" / "moodreel" / "serve" / "__1-8000" and folder.stat().st_mode & 0o077 == 0
    assert choose_state(None, "::1", 0) is None, "nobody finds a server at any port again"
    assert choose_state(tmp_path, "::1", 0) == tmp_path
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert choose_state(None, "::1", 8000) is None and "will not survive" in caplog.text
