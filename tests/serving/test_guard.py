"""Who may ask, with headers of every kind: what a stranger sends is refused for what it is, and is no fault of ours."""

import asyncio

import pytest
from hypothesis import example, given, settings, strategies as st
from starlette.websockets import WebSocketDisconnect

TOKEN = "secret"
BOUND = settings(max_examples=200, derandomize=True, database=None)
NAMES = ["host", "origin", "authorization", "sec-fetch-site", "content-type", "content-length", "prefer", "accept"]
ODD = [
    b"http://[",
    b"http://[::1",
    b"http://a]b",
    b"http://%zz",
    b"http://127.0.0.1:99999999",
    b"\xff\xfe\x80",
    "http://ℂ℀".encode(),
    b"http://" + b"a" * 100_000,
    b"Bearer \xff",
    b"Bearer " + b"s" * 100_000,
    b"9" * 5000,
    b"multipart/form-data; boundary=\xff",
    b"null",
    b"",
]


def ask(guarded, headers, path, method="GET"):
    """Call the application with headers no client would write; returns the status."""
    sent, waiting = [], [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return waiting.pop() if waiting else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": raw, "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1), "state": {}}
    guarded.portal.call(guarded.app, scope, receive, send)
    return sent[0]["status"]


values = st.binary(max_size=60) | st.sampled_from(ODD) | st.text(max_size=30).map(str.encode)


@BOUND
@example({"origin": b"http://["}, "/healthz", "GET")
@example({"content-length": b"9" * 5000, "content-type": b"multipart/form-data; boundary=b"}, "/v1/predictions", "POST")
@given(
    st.dictionaries(st.sampled_from(NAMES), values),
    st.sampled_from(["/", "/healthz", "/v1/models", "/v1/predictions", "/metrics"]),
    st.sampled_from(["GET", "POST"]),
)
def test_no_header_makes_the_server_fail(guarded, headers, path, method):
    own = {"host": b"127.0.0.1", "authorization": f"Bearer {TOKEN}".encode()}
    assert ask(guarded, own | headers, path, method) < 500


@pytest.mark.parametrize("origin", [one for one in ODD if one], ids=range(len(ODD) - 1))
def test_a_malformed_origin_is_a_foreign_one(guarded, origin):
    """`http://[` once became a 500."""
    assert ask(guarded, {"host": b"127.0.0.1", "origin": origin}, "/healthz") == 403


@pytest.mark.parametrize("shown", [b"Bearer \xff", b"Bearer", b"\xff", b"Bearer " + b"x" * 100_000, b"Bearer \xc3\xa9"])
def test_a_malformed_token_is_a_wrong_one(guarded, shown):
    assert ask(guarded, {"host": b"127.0.0.1", "authorization": shown}, "/v1/models") == 401


def test_half_a_character_as_a_live_token_is_a_wrong_one(guarded):
    """It was logged as a fault of the server."""
    with guarded.websocket_connect("ws://127.0.0.1/v1/stream") as live:
        live.send_text('{"type": "start", "token": "\\ud800"}')
        assert live.receive_json()["problem"]["type"] == "urn:moodreel:problem:unauthorized"


def test_a_live_client_of_a_malformed_origin_is_refused(guarded):
    connection = guarded.websocket_connect("ws://127.0.0.1/v1/stream", headers={"Origin": "http://["})
    with pytest.raises(WebSocketDisconnect) as refused, connection:
        pass
    assert refused.value.reason == "foreign-origin"
