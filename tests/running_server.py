"""Servers for tests: in this process behind a test client, and as the real command in a process of its own."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

from starlette.testclient import TestClient

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.server.app import Settings, create_app
from moodreel.serving.server.guard import Access

LONGEST_WAIT_S = 180.0
_ASK_EVERY_S = 0.01
ASYNC = {"Prefer": "respond-async"}


@contextmanager
def client_of(bundle, *, token=None, names=(), host="127.0.0.1", settings=(), **limits):
    """Start an application with one worker and yield a client of it; `settings` are further ones of `Settings`."""
    bounds = Limits(**{"workers": 1, "answer_within_s": 60, **limits})
    settings = Settings(str(bundle), Access(host, names, token), bounds, **dict(settings))
    with TestClient(create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def running_server(bundle, *options, **environment):
    """Start `moodreel serve` on a free port and yield its address and process."""
    command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", "--model", str(bundle), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"the server did not start: {line} {process.stderr.read()}"
        yield found.group(), process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until(told, client, path="/healthz"):
    """Ask until what a path says fulfils a condition; a worker that is waited for needs the processor too."""
    asked_until_s = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < asked_until_s:
        if told(answer := client.get(path).json()):
            return answer
        time.sleep(_ASK_EVERY_S)
    raise AssertionError(f"it never came: {answer}")


def begin(client, clip):
    """Upload a clip and wait until a worker reads it; returns the job's place."""
    place = client.post("/v1/predictions", files=upload(clip), headers=ASYNC).headers["location"]
    wait_until(lambda job: job["state"] == "running", client, place)
    return place


def upload(path, name=None):
    """Return what httpx posts as the clip."""
    return {"file": (name or path.name, path.read_bytes())}
