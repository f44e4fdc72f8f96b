"""A library and its media on an object store: over real HTTP, against a server of this machine."""

import http.server
import threading
import time

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from made_library import make_library, make_rows
from moodreel.errors import LibraryError
from moodreel.library import lock, place
from moodreel.library.index import Wish, index_media
from moodreel.library.store import Store
from moodreel.library.upkeep import compact, forget
from moodreel.recognition.recognizer import Recognizer
from small_films import read_rows, write_films
from tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer("127.0.0.1", 0)
    started.start()
    yield "http://{}:{}".format(*started.get_host_and_port())
    started.stop()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """An empty bucket; returns its URL."""
    point_to(server, monkeypatch)
    monkeypatch.setenv("MOODREEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lock, "_SETTLE_S", 0.0)
    import s3fs

    name = f"bucket-{time.time_ns()}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


def point_to(endpoint, monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()


def upload(folder, url):
    import s3fs

    system = s3fs.S3FileSystem()
    for path in folder.rglob("*.*"):
        system.put_file(str(path), f"{url}/{path.relative_to(folder).as_posix()}")


def test_media_and_library_far_away(bucket, tmp_path):
    films = write_films(tmp_path / "films", 5)
    upload(films, f"{bucket}/films")
    recognizer = Recognizer.promise(write_tiny_bundle(tmp_path / "tiny"), threads=1)
    store = Store.open(f"{bucket}/lib", create=True)
    counts = index_media([f"{bucket}/films"], store, recognizer, Wish(jobs=2))
    assert (counts.read, counts.failed) == (4, 1)
    here = Store.open(tmp_path / "lib", create=True)
    index_media([str(films)], here, recognizer, Wish(jobs=2))
    columns = "name, content_hash, status, duration_s, width_px, label, confidence, n_people"
    query = f"SELECT {columns} FROM files ORDER BY name"
    assert store.query(query) == here.query(query)
    source = "windows JOIN files USING (file_id)"
    windows = f"SELECT name, windows.* EXCLUDE file_id FROM {source} ORDER BY name, start_s, person"
    assert store.query(windows) == here.query(windows)
    assert store.query("SELECT DISTINCT folder FROM files WHERE folder LIKE '%reel 0'") == [(f"{bucket}/films/reel 0",)]
    again = index_media([f"{bucket}/films"], Store.open(f"{bucket}/lib"), recognizer)
    assert (again.known, again.read) == (5, 0)
    one = index_media([f"{bucket}/films/reel 0/clip 000.mp4", f"{bucket}/none"], store, recognizer)
    assert (one.known, one.missing) == (1, 1)


def test_upkeep_far_away(bucket, tmp_path):
    store = make_library(f"{bucket}/lib", 12, 4, n_parts=3)
    before = read_rows(store)
    compact(store)
    assert read_rows(Store.open(f"{bucket}/lib")) == before
    assert forget(store, "/films/weddings") == 3
    assert len(read_rows(store)["files"]) == 9
    held = {path.name for path in (tmp_path / "cache").rglob("*.parquet")}
    assert len(held) == 1, "parts that are gone stay in the cache"


def test_parts_are_fetched_once(bucket, monkeypatch):
    make_library(f"{bucket}/lib", 4, 4)
    read_rows(Store.open(f"{bucket}/lib"))
    store = Store.open(f"{bucket}/lib")
    monkeypatch.setattr(store.place._system, "get_file", lambda *_, **__: pytest.fail("fetched again"))
    assert store.connect().execute("SELECT count(*) FROM windows").fetchall() == [(16,)]


def test_a_second_writer_is_told_who_holds_it(bucket):
    from moodreel.batch.shards import WHOLE, Shard

    store = Store.open(f"{bucket}/lib", create=True)
    with lock.writing(store.place, WHOLE):
        for other in (WHOLE, Shard(1, 2), None):
            with pytest.raises(LibraryError, match="is written by process"), lock.writing(store.place, other):
                pass
    with lock.writing(store.place, Shard(1, 2)), lock.writing(store.place, Shard(2, 2)):
        pass


def test_who_has_died_holds_nothing(bucket, monkeypatch):
    store = Store.open(f"{bucket}/lib", create=True)
    gone = lock._describe("1of1", "token")
    store.place.write_bytes("writers/1of1.json", gone.replace(b'"pid": ', b'"pid": 99999'))
    with lock.writing(store.place, None):
        pass
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "another")
    store.place.write_bytes("writers/1of1.json", lock._describe("1of1", "token"))
    monkeypatch.undo()
    later = time.time() + 120
    monkeypatch.setattr(lock.time, "time", lambda: later)
    with lock.writing(store.place, None):
        pass


def serve(answer):
    """Start a server that answers every request with a function; returns it and its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self):
            answer(self)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def fail(handler):
    handler.send_response(500)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize("answer", [fail, lambda _: time.sleep(30)], ids=["500", "stalls"])
def test_a_store_that_fails_is_one_line_within_bounds(answer, monkeypatch, tmp_path):
    server, url = serve(answer)
    point_to(url, monkeypatch)
    monkeypatch.setenv("MOODREEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(place, "ANSWER_S", 0.3)
    began_s = time.monotonic()
    with pytest.raises(LibraryError, match=r"^s3://bucket/lib: cannot be reached \(.*\); nothing is lost") as told:
        Store.open("s3://bucket/lib", create=True)
    assert "\n" not in str(told.value)
    assert time.monotonic() - began_s < 15
    server.shutdown()


def test_a_store_that_fails_for_a_while_loses_nothing(bucket, monkeypatch):
    store = make_library(f"{bucket}/lib", 2, 2)
    before = read_rows(store)
    writer = Store.open(f"{bucket}/lib")
    put = writer.place._system.put_file

    def break_off(source, target, **options):
        if "/files/" in target:
            raise OSError("connection reset")
        put(source, target, **options)

    monkeypatch.setattr(writer.place._system, "put_file", break_off)
    with pytest.raises(LibraryError, match="connection reset"):
        writer.write("1of1", make_rows(2, 3, 2))
    monkeypatch.setattr(writer.place._system, "put_file", put)
    assert read_rows(Store.open(f"{bucket}/lib")) == before
    writer.write("1of1", make_rows(2, 3, 2))
    assert len(read_rows(Store.open(f"{bucket}/lib"))["files"]) == 3
