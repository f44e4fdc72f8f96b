"""The access log: a line for each request, and nothing in it that tells of a person."""

import json
import logging

import pytest
from starlette.websockets import WebSocketDisconnect

from moodreel.errors import MoodreelError
from moodreel.serving.server.access_log import open_lines
from running_server import upload


def test_each_request_is_a_line_without_names_or_addresses(client, access_log, sound):
    access_log.write_bytes(b"")
    response = client.post("/v1/predictions", files=upload(sound, "Eva Schmidt.wav"))
    place = response.headers["content-location"]
    client.get(place, headers={"Authorization": "Bearer geheim", "User-Agent": "Eva's phone"})
    client.get("/Eva?token=geheim")
    client.request("BREW", "/healthz", headers={"Host": "evil.example"})
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://evil.example/v1/stream"):
        pass
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as live:
        live.send_text("no start")
        live.receive_json()
    text = access_log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(one["method"], one["route"], one["status"]) for one in lines] == [
        ("POST", "/v1/predictions", 200),
        ("GET", "/v1/predictions/{id}", 200),
        ("GET", "other", 404),
        ("other", "other", 421),
        ("GET", "other", 403),
        ("GET", "/v1/stream", 101),
    ]
    assert lines[0]["bytes"] == len(response.content) and lines[0]["duration_s"] > 0
    assert all(set(one) == {"time", "method", "route", "status", "duration_s", "bytes"} for one in lines)
    for word in ("Eva", "127.0.0.1", "testclient", "geheim", place.split("/")[-1]):
        assert word not in text, f"{word} is in the log"


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path):
    lines = open_lines(tmp_path / "log")
    lines.add({"status": 200})
    (tmp_path / "log").rename(tmp_path / "log.1")
    lines.add({"status": 404})
    assert (tmp_path / "log").read_text() == '{"status": 404}\n' and (tmp_path / "log.1").read_text()
    lines.close()


def test_a_log_that_cannot_be_written_is_told(tmp_path, caplog):
    with pytest.raises(MoodreelError, match=r"--access-log .*: cannot be written"):
        open_lines(tmp_path)
    lines = open_lines(tmp_path / "log")
    lines.stream.close()
    with caplog.at_level(logging.ERROR):
        lines.add({"status": 200})
    assert "the access log cannot be written" in caplog.text
