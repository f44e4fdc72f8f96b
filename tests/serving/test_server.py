"""The server as a process: many clients, slow ones, workers that die or hang, bombs; and what it refuses to be."""

import asyncio
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import chirp
from media_files import write_clip, write_image, write_sound
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server import early_answers as linger
from moodreel.serving.server.spool import open_spool
from moodreel.serving.server.uploads import Terms, receive_form
from running_server import ASYNC, begin, client_of, running_server, upload, wait_until
from tiny_bundle import write_tiny_bundle

UNFINISHED = (
    b"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
)


@pytest.fixture(scope="module")
def server(tiny_bundle):
    """A real server with two workers and eight places to wait; yields its address and process."""
    with running_server(tiny_bundle, "--queue", "8") as (address, process):
        yield address, process


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_sound(tmp_path_factory.mktemp("sounds") / "a.wav", 1, sound=chirp)


def workers_of(pid):
    """Ids of a server's workers."""
    children = {int(one) for path in Path(f"/proc/{pid}/task").glob("*/children") for one in path.read_text().split()}
    return {
        child for child in children if b"moodreel.serving.worker.main" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def predict(client, clip):
    """Upload a clip and return its prediction, however long a busy machine takes."""
    place = client.post("/v1/predictions", files=upload(clip), headers=ASYNC).headers["location"]
    return wait_until(lambda job: job["state"] in ("done", "failed"), client, place)["prediction"]


def test_fifty_clients_at_once(server, sound):
    address, _ = server

    def post(_):
        return httpx2.post(f"{address}/v1/predictions", files=upload(sound), timeout=120)

    with ThreadPoolExecutor(50) as clients:
        responses = list(clients.map(post, range(50)))
    statuses = [response.status_code for response in responses]
    assert set(statuses) <= {200, 202, 429} and len(statuses) - statuses.count(429) >= 10, statuses
    assert all(int(one.headers["retry-after"]) >= 1 for one in responses if one.status_code == 429)
    assert {one.json()["label"] for one in responses if one.status_code == 200} <= {"surprise"}
    with httpx2.Client(base_url=address, timeout=60) as client:
        wait_until(lambda health: health["places_taken"] == 0, client)
        assert predict(client, sound)["label"] == "surprise"


def test_a_slow_upload_holds_nobody_up(server, sound):
    address, _ = server
    host, port = address.removeprefix("http://").split(":")
    with httpx2.Client(base_url=address, timeout=60) as client:
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(UNFINISHED)
            wait_until(lambda health: health["places_taken"] == 1, client)
            assert predict(client, sound)["label"] == "surprise"
        wait_until(lambda health: health["places_taken"] == 0, client)


@pytest.mark.parametrize(("header", "status"), [(b"", b"401"), (b"Authorization: Bearer secret\r\n", b"413")])
def test_a_refusal_reaches_a_client_that_is_still_sending(guarded_address, header, status):
    host, port = guarded_address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(UNFINISHED.replace(b"1000", b"24000000").replace(b"Host", header + b"Host"))
        select.select([client], [], [], 60)  # the answer is there; a browser sends on before it looks
        client.sendall(bytes(12_000_000))
        client.sendall(bytes(12_000_000 - len(b"--b\r\n")))
        assert client.recv(100).split()[1] == status


def test_what_keeps_coming_after_a_refusal_is_read_for_a_while_only(monkeypatch):
    monkeypatch.setattr(linger, "LONGEST_S", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}
    asyncio.run(linger.Linger(Response("no", 401))(scope, receive, send))
    assert [one.get("more_body", False) for one in sent[1:]] == [True, False] and sent[1]["body"] == b"no"


@pytest.mark.parametrize("limit", ["upload_idle_s", "upload_s"])
def test_a_slow_upload_is_let_go(limit, tmp_path):
    async def receive():
        await asyncio.Event().wait()

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "headers": headers}, receive)
    with pytest.raises(ProblemError) as raised:
        asyncio.run(receive_form(request, tmp_path, Limits(**{limit: 0.05}), Terms(1, print, print)))
    assert raised.value.problem.kind == "upload-too-slow" and list(tmp_path.iterdir()) == []


def test_a_killed_worker_costs_its_clip_alone(server, sound, long_clip):
    address, process = server
    with httpx2.Client(base_url=address, timeout=60) as client:
        places = [begin(client, long_clip) for _ in range(2)]
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        for place in places:
            job = wait_until(lambda job: job["state"] == "failed", client, place)
            assert job["problem"]["type"] == "urn:moodreel:problem:worker-died"
        assert predict(client, sound)["label"] == "surprise"


def test_a_worker_that_hangs_is_ended(tiny_bundle, sound, long_clip):
    with client_of(tiny_bundle, job_s=3) as client:
        place = begin(client, long_clip)
        for worker in workers_of(os.getpid()):
            os.kill(worker, signal.SIGSTOP)
        job = wait_until(lambda job: job["state"] == "failed", client, place)
        assert job["problem"]["type"] == "urn:moodreel:problem:took-too-long"
        assert predict(client, sound)["label"] == "surprise"


def test_a_deleted_job_stops(server, sound, long_clip):
    address, _ = server
    with httpx2.Client(base_url=address, timeout=60) as client:
        place = begin(client, long_clip)
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == 404
        wait_until(lambda health: health["places_taken"] == 0, client)
        assert predict(client, sound)["label"] == "surprise"


def test_head_does_not_wait_for_a_job(server, long_clip):
    address, _ = server
    with httpx2.Client(base_url=address, timeout=60) as client:
        place = begin(client, long_clip)
        head = client.head(f"{place}/events")
        assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream")
        assert client.get(place).json()["state"] == "running"
        client.delete(place)
        wait_until(lambda health: health["places_taken"] == 0, client)


def test_a_client_that_goes_takes_its_job_with_it(server, long_clip):
    address, _ = server
    with httpx2.Client(base_url=address, timeout=60) as client:
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/v1/predictions", files=upload(long_clip), timeout=httpx2.Timeout(60, read=0.5))
        wait_until(lambda health: health["places_taken"] == 0, client)


def test_bombs_of_8k_frames(client, tiny_bundle, sound, tmp_path):
    black = np.zeros((4320, 7680, 3), np.uint8)
    picture = write_image(tmp_path / "bomb.png", black, codec="png", pix_fmt="rgb24")
    video = write_clip(tmp_path / "bomb.mp4", 1, rate=1, size=(7680, 4320), frames=lambda _: black, audio_codec=None)
    assert picture.stat().st_size + video.stat().st_size < 2_000_000, "a bomb is small before it goes off"
    for path in (picture, video):
        problem = client.post("/v1/predictions", files=upload(path)).json()
        assert problem["type"] == "urn:moodreel:problem:picture-too-large" and "7680x4320" in problem["detail"]
    with client_of(tiny_bundle, picture_px=10**9, memory_bytes=256 * 2**20, job_s=60) as client:
        for path in (picture, video):  # let in, a bomb may fit into the worker, end it or hang it: no more than that
            assert client.post("/v1/predictions", files=upload(path)).status_code in (200, 422, 500, 504)
        assert predict(client, sound)["label"] == "surprise"


@pytest.mark.parametrize("deed", ["bytearray(2**28)", "open('file', 'wb', buffering=0).write(b'x')"])
def test_the_kernel_holds_a_worker_to_its_bounds(deed, tmp_path):
    script = f"from moodreel.serving.worker.main import bound_process as bound; bound(2**26); {deed}"
    run = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 1 and run.stderr.splitlines()[-1].startswith(("MemoryError", "OSError")), run.stderr


def test_live_clients_that_vanish_leave_nothing(server):
    address, process = server
    with httpx2.Client(base_url=address, timeout=60) as client:
        with connect(address.replace("http", "ws") + "/v1/stream") as live:
            live.send('{"type": "start"}')
            assert '"ready"' in live.recv()
            n_workers = len(workers_of(process.pid))
            live.socket.shutdown(socket.SHUT_RDWR)  # as when a cable is pulled: no word of goodbye
        wait_until(lambda health: health["streams"] == 0, client)
        wait_until(lambda _: len(workers_of(process.pid)) < n_workers, client)


def test_live_messages_are_bounded(server):
    address, _ = server
    with connect(address.replace("http", "ws") + "/v1/stream", max_size=None) as live:
        live.send('{"type": "start"}')
        live.recv()
        with pytest.raises(ConnectionClosed):
            live.send(b"\x01" + b"x" * 2_000_000)
            live.recv()


def test_nothing_is_left_and_nothing_told_at_the_end(tiny_bundle, sound, long_clip, tmp_path):
    with running_server(tiny_bundle, TMPDIR=str(tmp_path)) as (address, process):
        with httpx2.Client(base_url=address, timeout=60) as client:
            client.post("/v1/predictions", files=upload(sound, "Eva Schmidt.wav"))
            begin(client, long_clip)
        assert len(list(tmp_path.glob("moodreel-uploads-*/*"))) == 1
        workers = workers_of(process.pid)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert not list(tmp_path.glob("moodreel-*")), "uploads are left behind"
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert "Eva" not in out + err and "127.0.0.1 " not in out + err and "Traceback" not in err, err


def test_a_start_deletes_what_a_killed_server_left(tiny_bundle, long_clip, tmp_path):
    def begin_on(address):
        with httpx2.Client(base_url=address, timeout=60) as client:
            begin(client, long_clip)
        return set(tmp_path.glob("moodreel-uploads-*/*"))

    with running_server(tiny_bundle, "--workers", "1", TMPDIR=str(tmp_path)) as (address, _):
        living = begin_on(address)
        with running_server(tiny_bundle, "--workers", "1", TMPDIR=str(tmp_path)) as (doomed, process):
            assert living < begin_on(doomed)
            process.kill()
            process.wait()
        assert len(set(tmp_path.glob("moodreel-uploads-*/*")) - living) == 1, "who has cleared up already?"
        with running_server(tiny_bundle, "--workers", "1", TMPDIR=str(tmp_path)):
            left = set(tmp_path.glob("moodreel-uploads-*/*"))
            assert left == living, "a dead server's clips are left, or a living one's are gone"
    assert list(tmp_path.glob("moodreel-*")) == []


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files: empty, and the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_only_looks_like_a_dead_servers_folder_stays(temporary, tmp_path_factory):
    precious = tmp_path_factory.mktemp("precious")
    (precious / "thesis.txt").touch()
    (temporary / "moodreel-uploads-link").symlink_to(precious)
    (temporary / "moodreel-uploads-file").touch()
    (temporary / "another-programs").mkdir()
    left = temporary / "moodreel-uploads-left"
    left.mkdir()
    (left / "link").symlink_to(precious)
    with open_spool() as folder:
        assert {path.name for path in temporary.iterdir()} == {
            "moodreel-uploads-link", "moodreel-uploads-file", "another-programs", folder.name
        }  # fmt: skip
        assert (precious / "thesis.txt").exists(), "a link was followed"
        assert folder.stat().st_mode & 0o777 == 0o700


def test_another_users_folder_stays(temporary, monkeypatch):
    (temporary / "moodreel-uploads-another").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with open_spool():
        assert (temporary / "moodreel-uploads-another").exists()


def serve(*options, **environment):
    command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", *options]
    settings = {"capture_output": True, "text": True, "timeout": 60, "env": {**os.environ, **environment}}
    return subprocess.run(command, check=False, **settings)


def test_starts_that_are_refused(tmp_path):
    foreign = write_tiny_bundle(tmp_path / "foreign")
    manifest = json.loads((foreign / "bundle.json").read_text())
    (foreign / "face.onnx").write_bytes(b"no graph")
    manifest["networks"]["face"]["sha256"] = hashlib.sha256(b"no graph").hexdigest()
    (foreign / "bundle.json").write_text(json.dumps(manifest))
    taken = socket.create_server(("127.0.0.1", 0))
    starts = {
        "--allow-without-token": (["--host", "0.0.0.0"], {}),
        "holds no bundle.json": (["--model", str(tmp_path)], {}),
        "not a network": (["--model", str(foreign)], {}),
        "choose another": (["--port", str(taken.getsockname()[1])], {}),
        "cannot listen": (["--host", "203.0.113.7"], {"MOODREEL_TOKEN": "secret"}),
        "MOODREEL_TOKEN": ([], {"MOODREEL_TOKEN": " "}),
        "choose another --state": (["--state", str(foreign / "bundle.json")], {}),
    }
    with ThreadPoolExecutor(2) as threads:
        runs = threads.map(lambda start: serve(*start[0], **start[1]), starts.values())
        refused = dict(zip(starts, runs, strict=True))
    taken.close()
    for words, run in refused.items():
        lines = run.stderr.strip().splitlines()
        assert run.returncode == 2 and len(lines) == 1, run.stderr
        assert words in lines[0], lines


def test_a_token_of_the_environment_is_asked_for(guarded_address):
    assert httpx2.get(f"{guarded_address}/v1/models").status_code == 401
    assert httpx2.get(f"{guarded_address}/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
