"""Live streams: sound and pictures in, windows out; and clients that stall, flood, lie or vanish."""

import asyncio
import io
import json
import re
from pathlib import Path

import av
import jsonschema
import numpy as np
import pytest
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from conftest import chirp
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import PICTURE, RESET, SOUND, Message
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server.inbox import Inbox
from moodreel.serving.server.stream import _send
from moodreel.serving.worker.live import SoundDecoder, decode_picture, open_stream_handler
from running_server import client_of
from tiny_bundle import NARROW_OFFSETS, write_tiny_bundle, write_tiny_joint_bundle

STREAM = "ws://127.0.0.1/v1/stream"
START = {"type": "start", "sound": {"format": "pcm16", "rate_hz": 16_000}}


@pytest.fixture(scope="module")
def adapting_bundle(tmp_path_factory):
    adaptation = {"face": NARROW_OFFSETS, "voice": NARROW_OFFSETS}
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "adapting", adaptation=adaptation)


@pytest.fixture(scope="module")
def client(adapting_bundle):
    with client_of(adapting_bundle, streams=1) as client:
        yield client


@pytest.fixture(scope="module")
def jpeg(portrait_frames):
    out = io.BytesIO()
    Image.fromarray(portrait_frames[0]).save(out, "JPEG")
    return bytes([PICTURE]) + out.getvalue()


def pcm(seconds=1.0, rate_hz=16_000):
    samples = chirp(np.arange(round(seconds * rate_hz)) / rate_hz)
    return bytes([SOUND]) + (samples * 32767).astype("<i2").tobytes()


SECOND = pcm()[1:]


def test_windows_come_back(client, jpeg):
    with client.websocket_connect(STREAM) as socket:
        socket.send_json(START)
        ready = socket.receive_json()
        assert (ready["type"], ready["every_s"], ready["window_s"]) == ("ready", 0.5, 2.0)
        socket.send_bytes(pcm())
        socket.send_bytes(jpeg)
        window = socket.receive_json()
        assert window["type"] == "window" and window["label"] == "surprise"
        assert window["modalities"]["face"]["state"] == window["modalities"]["voice"]["state"] == "ok"
        assert sum(window["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert window["latency_ms"] >= 0 and window["box_px"][0] < window["box_px"][2]
        assert window["received"] == {"pictures": 1, "sound_bytes": 32_000, "dropped": 0}
        socket.send_bytes(bytes([PICTURE]) + b"no JPEG")
        assert socket.receive_json()["damaged"] == 1, "a damaged picture ends nothing"
        socket.send_json({"type": "stop"})
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    assert client.get("/healthz").json()["streams"] == 0


def test_a_reset_is_passed_on_and_other_text_ends_the_stream(client):
    with client.websocket_connect(STREAM) as socket:
        socket.send_json(START)
        socket.receive_json()
        for _ in range(2):
            socket.send_json({"type": "reset"})
            assert socket.receive_json()["type"] == "window"
        socket.send_text("[" * 100_000)
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_a_reset_makes_the_stream_forget_who_was_there(adapting_bundle, portrait_frames):
    """The pictures differ, for what never varies is not adapted to."""
    handle, told = open_stream_handler(str(adapting_bundle), 10**6), []
    handle(Message({"start": {"format": "pcm16", "rate_hz": 16_000}}), told.append)

    def hear(end_s, *more):
        shown = io.BytesIO()
        Image.fromarray(portrait_frames[0] // (1 + end_s % 3)).save(shown, "JPEG")
        contents = {SOUND: SECOND, PICTURE: shown.getvalue(), RESET: b""}
        parts = [(kind, end_s - 0.1, len(contents[kind])) for kind in (SOUND, PICTURE, *more)]
        handle(Message({"end_s": end_s, "parts": parts}, SECOND + shown.getvalue()), told.append)
        return told[-1].head["adaptation"]

    learnt = [hear(end_s) for end_s in range(1, 22)][-1]
    assert learnt["voice_stretches"] >= 8 and learnt["moved"] > 0
    after = hear(22, RESET)
    assert (after["voice_stretches"], after["moved"]) == (1, 0), "what was learnt of somebody else is still taken out"
    assert [hear(end_s)["voice_stretches"] for end_s in range(23, 30)][-1] > 2, "it adapts to nobody any more"


def test_a_joint_bundle_reads_streams_too(tmp_path, jpeg):
    with client_of(write_tiny_joint_bundle(tmp_path / "joint"), streams=1) as joint:
        assert joint.get("/v1/models").json()["models"][0]["is_live"] is True
        with joint.websocket_connect(STREAM) as socket:
            socket.send_json(START)
            assert socket.receive_json()["type"] == "ready"
            socket.send_bytes(pcm())
            socket.send_bytes(jpeg)
            window = socket.receive_json()
    assert window["type"] == "window" and sum(window["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_description_holds_the_messages(client, jpeg):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]

    def check(message, name):
        assert name in document["info"]["description"]
        jsonschema.validate(message, {"$ref": f"#/components/schemas/{name}", "components": document["components"]})

    for name in ("StreamStart", "StreamReset", "StreamReady", "StreamWindow", "StreamProblem"):
        check(schemas[name]["examples"][0], name)
    check({"type": "start", "token": "secret"}, "StreamStart")
    with client.websocket_connect(STREAM) as socket:
        socket.send_json(schemas["StreamStart"]["examples"][0])
        check(socket.receive_json(), "StreamReady")
        for media in (jpeg, pcm(), pcm(0.1)):
            socket.send_bytes(media)
            check(window := socket.receive_json(), "StreamWindow")
            assert set(window) == set(schemas["StreamWindow"]["required"]), "a key is not told of"
        socket.send_bytes(b"")
        check(socket.receive_json(), "StreamProblem")


def test_there_is_one_stream_only(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1/v1/streams"):
        pass


STARTS = ["hello", '"start"', "{}", '{"type": "start", "sound": {"format": "mp3"}}', '{"type": "start", "sound": 3}',
          '{"type": "start", "sound": {"rate_hz": 1e9}}', '{"type": "start", "sound": {"volume": 1}}']  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_a_malformed_start_is_told(client, start):
    with client.websocket_connect(STREAM) as socket:
        socket.send_text(start)
        assert told(socket) == "bad-stream"


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x07abc"])
def test_a_malformed_message_is_told(client, message):
    with client.websocket_connect(STREAM) as socket:
        socket.send_json(START)
        socket.receive_json()
        socket.send_bytes(message)
        assert told(socket) == "bad-stream"


def told(socket):
    """The kind of the problem that ends a stream."""
    while (message := socket.receive_json())["type"] != "problem":
        pass
    with pytest.raises(WebSocketDisconnect):
        socket.receive_json()
    return message["problem"]["type"].removeprefix("urn:moodreel:problem:")


def test_streams_are_bounded(client):
    with client.websocket_connect(STREAM) as first:
        first.send_json(START)
        first.receive_json()
        with client.websocket_connect(STREAM) as second:
            second.send_json(START)
            assert told(second) == "queue-full"


def test_other_sites_cannot_open_one(client):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM, headers=headers):
            pass


def test_a_token_may_come_in_the_first_message(guarded):
    for token, kind in (("wrong", "problem"), (None, "problem"), ("secret", "ready")):
        with guarded.websocket_connect(STREAM) as socket:
            socket.send_json({**START, "token": token})
            assert socket.receive_json()["type"] == kind


def test_a_silent_client_is_let_go(tiny_bundle):
    with client_of(tiny_bundle, stream_idle_s=1.0) as client:
        with client.websocket_connect(STREAM) as socket:
            assert told(socket) == "bad-stream"  # not even a start came
        with client.websocket_connect(STREAM) as socket:
            socket.send_json(START)
            assert socket.receive_json()["type"] == "ready"
            assert told(socket) == "bad-stream"
            assert client.get("/healthz").json()["streams"] == 0


def test_a_client_that_takes_nothing_is_let_go():
    class Stuck:
        async def send_json(self, _):
            await asyncio.Event().wait()

    with pytest.raises(WebSocketDisconnect):
        asyncio.run(_send(Stuck(), {}, Limits(stream_idle_s=0.01)))


def test_what_a_worker_has_not_read_is_bounded():
    inbox = Inbox(Limits())
    for _ in range(100):
        inbox.put(bytes([PICTURE]) + b"x" * 1000)
        inbox.put(pcm(0.1))
    parts = inbox.take().head["parts"]
    assert sum(kind == PICTURE for kind, _, _ in parts) == 8
    assert sum(size for kind, _, size in parts if kind == SOUND) <= 2**18
    assert inbox.n_dropped == 200 - len(parts) and inbox.n_pictures == 100
    assert inbox.take() is None


def test_of_many_resets_the_last_waits():
    inbox = Inbox(Limits())
    inbox.put(pcm(0.1))
    for _ in range(100):
        inbox.reset()
    inbox.put(pcm(0.1))
    assert [kind for kind, _, _ in inbox.take().head["parts"]] == [SOUND, RESET, SOUND]


def test_a_flood_is_cut_off():
    inbox = Inbox(Limits(flood_bytes=10_000))
    with pytest.raises(ProblemError, match="in one second"):
        for _ in range(100_000):
            inbox.put(bytes([PICTURE]) + b"x" * 1000)
    with pytest.raises(ProblemError, match="at most"):
        Inbox(Limits(message_bytes=10)).put(b"\x01" + b"x" * 10)


def test_opus_is_decoded():
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "flt"
    samples = chirp(np.arange(48_000) / 48_000).astype(np.float32)
    packets = []
    for start in range(0, 48_000, 960):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="flt", layout="mono")
        frame.sample_rate = 48_000
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    decoder = SoundDecoder("opus", 16_000)
    decoded = np.concatenate([block for packet in packets for block in decoder.decode(packet)])
    assert len(decoded) == pytest.approx(16_000, abs=700)
    assert np.abs(decoded).max() == pytest.approx(np.abs(samples).max(), abs=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_pcm_of_any_rate_becomes_16_khz(rate_hz):
    decoder = SoundDecoder("pcm16", rate_hz)
    n_samples = sum(len(block) for _ in range(10) for block in decoder.decode(pcm(0.1, rate_hz)[1:]))
    assert n_samples == pytest.approx(16_000, abs=100)


def test_hostile_pictures_are_refused():
    png, large = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (10, 10)).save(png, "PNG")
    Image.new("RGB", (200, 200)).save(large, "JPEG")
    for data in (b"", b"\xff\xd8\xff", png.getvalue(), large.getvalue(), large.getvalue()[:300]):
        with pytest.raises((ValueError, OSError)):
            decode_picture(data, 0.0, 100 * 100)
    assert decode_picture(large.getvalue(), 0.0, 200 * 200).pixels.shape == (200, 200, 3)


def test_the_samples_of_the_docs_are_what_is_said(client):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    components = client.get("/openapi.json").json()["components"]
    kinds = []
    for line in block.splitlines():
        message = json.loads(line)
        kinds.append(message["type"])
        name = f"Stream{message['type'].capitalize()}"
        jsonschema.validate(message, {"$ref": f"#/components/schemas/{name}", "components": components})
    assert kinds == ["start", "ready", "window", "reset", "problem"]
