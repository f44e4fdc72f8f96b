"""The pool of workers: one that dies, hangs or says odd things costs at most the clip it reads, and never its slot."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from moodreel.serving.protocol.replies import read_reply
from moodreel.serving.server import worker_process
from running_server import client_of, upload

# A real process with the pipes of a worker and nothing behind them: what it says stands in the clip's name.
FAKE = """
import json, os, pathlib, sys, time
out, folder = sys.stdout.buffer, pathlib.Path(sys.argv[1])

def say(head, payload=b""):
    out.write(json.dumps({**head, "bytes": len(payload)}).encode() + b"\\n" + payload)
    out.flush()

say({"ready": True})
while line := sys.stdin.buffer.readline():
    head = json.loads(line)
    with (folder / "asked").open("a") as file:
        print(head["name"], file=file)
    deed = (folder / head["name"]).read_text() if (folder / head["name"]).exists() else ""
    if deed.startswith("before"):
        (folder / head["name"]).unlink() if "once" in deed else None
        exec(deed.split(":", 1)[1])
    say({"taken": head["job"]})
    if deed.startswith("after"):
        exec(deed.split(":", 1)[1])
    say({"progress": 0.5})
    say({"prediction": {"label": "happy"}, "texts": {"csv": "", "vtt": ""}})
"""

ODD = {
    "no JSON": "out.write(b'hello\\n')",
    "no text": "out.write(b'\\xff\\xfe\\n')",
    "a list": "out.write(b'[]\\n')",
    "a number": "out.write(b'1\\n')",
    "endless nesting": "out.write(b'[' * 200_000 + b'\\n')",
    "a huge number": "out.write(b'9' * 10_000 + b'\\n')",
    "an endless line": "out.write(b'x' * (65 * 2**20))",
    "empty": "say({})",
    "unknown": "say({'frobnicate': 1})",
    "unknown problem": "say({'problem': 'none of ours', 'detail': 'x'})",
    "problem without detail": "say({'problem': 'internal'})",
    "detail is no text": "say({'problem': 'internal', 'detail': [1]})",
    "progress is text": "say({'progress': 'much'})",
    "progress is nothing": "say({'progress': None})",
    "progress is NaN": "out.write(b'{\"progress\": NaN}\\n')",
    "progress beyond all": "say({'progress': 1e300})",
    "prediction is text": "say({'prediction': 'happy', 'texts': {}})",
    "no texts": "say({'prediction': {}})",
    "texts are numbers": "say({'prediction': {}, 'texts': {'csv': 1}})",
    "NaN inside": "say({'prediction': {'duration_s': float('nan')}, 'texts': {}})",
    "half a character": "say({'prediction': {'clip': '\\ud800'}, 'texts': {}})",
    "taken twice": "say({'taken': head['job']})",
    "negative bytes": 'out.write(b\'{"progress": 0.5, "bytes": -1}\\n\')',
    "bytes are text": 'out.write(b\'{"progress": 0.5, "bytes": "9"}\\n\')',
    "bytes are half": 'out.write(b\'{"progress": 0.5, "bytes": 0.5}\\nx\')',
    "endless bytes": 'out.write(b\'{"progress": 0.5, "bytes": 999999999999}\\n\')',
    "an end": "sys.exit()",
}


@pytest.fixture
def fake(tiny_bundle, tmp_path, monkeypatch):
    """A client of a server whose one worker does what files in a folder say."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(worker_process, "COMMAND", (sys.executable, str(tmp_path / "fake.py"), str(tmp_path)))
    with client_of(tiny_bundle, job_s=30) as client:
        yield client


def post(client, name):
    return client.post("/v1/predictions", files={"file": (name, b"x")})


def asked(folder, name):
    return (folder / "asked").read_text().splitlines().count(name)


def test_a_worker_that_died_while_idle_costs_no_clip(tiny_bundle, sound):
    with client_of(tiny_bundle) as client:
        for _ in range(3):
            for worker in workers():
                os.kill(worker, signal.SIGKILL)
            response = client.post("/v1/predictions", files=upload(sound))
            assert response.status_code == 200 and response.json()["label"] == "surprise", response.text


def workers():
    children = {int(one) for path in Path("/proc/self/task").glob("*/children") for one in path.read_text().split()}
    return {one for one in children if b"moodreel.serving.worker" in Path(f"/proc/{one}/cmdline").read_bytes()}


@pytest.mark.parametrize("deed", ["sys.exit()", "say({'taken': 'another'})", "say({'progress': 0.5})", "say({})"])
def test_a_worker_that_takes_no_clip_costs_none(fake, tmp_path, deed):
    """It died or went astray before: the clip is given to a fresh one."""
    (tmp_path / "a").write_text(f"before once:{deed}")
    assert post(fake, "a").json() == {"label": "happy"}
    assert asked(tmp_path, "a") == 2


def test_a_clip_that_no_worker_takes_is_tried_twice_and_no_more(fake, tmp_path):
    (tmp_path / "a").write_text("before:sys.exit()")
    response = post(fake, "a")
    assert response.status_code == 500 and response.json()["type"].endswith("worker-died")
    assert asked(tmp_path, "a") == 2
    assert post(fake, "b").status_code == 200


@pytest.mark.parametrize("name", ODD)
def test_odd_messages_cost_their_clip_and_not_the_slot(fake, tmp_path, name):
    """Each once ended a slot for good, or made its answer a failure of the server: later clips waited for ever."""
    (tmp_path / "a").write_text(f"after:{ODD[name]}; out.flush(); sys.exit()")
    response = post(fake, "a")
    assert response.status_code == 500 and response.json()["type"] == "urn:moodreel:problem:worker-died", response.text
    assert asked(tmp_path, "a") == 1, "a clip that ends workers is not given to another"
    assert post(fake, "b").json() == {"label": "happy"}
    assert fake.get("/healthz").json()["places_taken"] == 0


def test_a_fault_of_the_server_costs_a_clip_and_not_the_slot(fake, monkeypatch):
    def fail(_):
        raise KeyError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr("moodreel.serving.server.pool.read_reply", fail)
        assert post(fake, "a").json()["type"] == "urn:moodreel:problem:internal"
    assert post(fake, "b").status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, derandomize=True, database=None)
@given(st.dictionaries(st.sampled_from(["taken", "progress", "problem", "detail", "prediction", "texts"]), json_values))
def test_whatever_is_read_of_a_worker_can_be_told_to_a_client(head):
    try:
        reply = read_reply(head)
    except EOFError:
        return
    json.dumps(vars(reply), default=dict, allow_nan=False, ensure_ascii=False).encode()
