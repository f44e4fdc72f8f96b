"""`WS /v1/stream`: live sound and pictures in, every half second what the last two seconds show.

The client's first message is text: `{"type": "start", "sound": {"format": "pcm16", "rate_hz": 16000}}`, with a `token`
where the server asks for one. Then come binary messages: one byte for the kind (0 sound, 1 picture), then mono PCM of
16 bits (little-endian) or one Opus packet, or a JPEG. The text `{"type": "reset"}` says that somebody else has come.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.failures import log_failure
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import Message
from moodreel.serving.protocol.problems import Problem, ProblemError
from moodreel.serving.protocol.replies import check_tellable, read_problem
from moodreel.serving.server.inbox import Inbox
from moodreel.serving.server.service import Service, service_of
from moodreel.serving.server.worker_process import Worker, start_worker
from moodreel.timeline import WINDOW_S

router = APIRouter()

EVERY_S = 0.5
SOUND_FORMATS = ("pcm16", "opus")
RATES_HZ = range(8_000, 48_001)

_WINDOW_DEADLINE_S = 20.0
_POLICY_VIOLATION, _NORMAL, _FAILED = 1008, 1000, 1011


@dataclass(frozen=True)
class SoundFormat:
    """How live sound is encoded.

    Attributes:
        format: one of `SOUND_FORMATS`.
        rate_hz: samples per second; Opus says its own.
    """

    format: str = "pcm16"
    rate_hz: int = 16_000


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Serve one live client, from its first message to whatever ends it."""
    service = service_of(socket)
    await socket.accept()
    try:
        await _serve(socket, service)
    except ProblemError as error:
        await _close(socket, error.problem, service.limits)
    except (EOFError, MoodreelError):
        await _close(socket, Problem("worker-died", "reading the stream broke off; connect again"), service.limits)
    except (WebSocketDisconnect, RuntimeError, OSError):
        pass  # the client has gone; a send to it may fail in its own ways
    except Exception as error:
        log_failure(error)
        await _close(socket, Problem("internal", "an error of the server; please report it"), service.limits)


async def _serve(socket: WebSocket, service: Service) -> None:
    sound = await _read_start(socket, service)
    if service.n_streams >= service.limits.streams:
        raise ProblemError("queue-full", f"{service.n_streams} live streams are running; come back later")
    service.n_streams += 1
    worker: Worker | None = None
    try:
        worker = await start_worker(replace(service.options, role="stream"))
        await worker.send(Message({"start": {"format": sound.format, "rate_hz": sound.rate_hz}}))
        ready = {"type": "ready", "model": service.bundle.title, "every_s": EVERY_S, "window_s": WINDOW_S}
        await _send(socket, ready, service.limits)
        inbox = Inbox(service.limits)
        await _first_of(_fill(socket, inbox), _tell(socket, service, inbox, worker))
    finally:
        service.n_streams -= 1
        if worker is not None:
            await worker.kill()
    with suppress(RuntimeError):
        await socket.close(_NORMAL)


async def _read_start(socket: WebSocket, service: Service) -> SoundFormat:
    try:
        async with asyncio.timeout(service.limits.stream_idle_s):
            start = await socket.receive_json()
    except (ValueError, KeyError):
        start = None
    except TimeoutError:
        raise ProblemError("bad-stream", "no start message came; send it first") from None
    if not isinstance(start, dict) or start.get("type") != "start":
        raise ProblemError("bad-stream", 'the first message must be text: {"type": "start", "sound": {...}}')
    if not service.access.is_token(str(start.get("token"))):
        service.access.check_token(socket.headers)
    return read_sound_format(start.get("sound", {}))


def read_sound_format(value: object) -> SoundFormat:
    """Read the `sound` of a start message.

    Args:
        value: what the client sent; an empty object for the defaults.

    Raises:
        ProblemError: it is malformed.
    """
    entries: dict[str, Any] = value if isinstance(value, dict) else {"": value}
    try:
        sound = SoundFormat(**entries)
    except TypeError:
        sound = SoundFormat("")
    if sound.format not in SOUND_FORMATS or type(sound.rate_hz) is not int or sound.rate_hz not in RATES_HZ:
        raise ProblemError("bad-stream", "sound: expected format pcm16 or opus, and rate_hz from 8000 to 48000")
    return sound


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run until one ends, then end the others; what the first one raised is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _fill(socket: WebSocket, inbox: Inbox) -> None:
    """Take what the client sends, until it says stop or goes."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _NORMAL))
        if message.get("bytes") is not None:
            inbox.put(message["bytes"])
        elif _is_reset(message["text"]):
            inbox.reset()
        else:
            return  # any other text ends the stream: there is nothing else to say


def _is_reset(text: str) -> bool:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("type") == "reset"


async def _tell(socket: WebSocket, service: Service, inbox: Inbox, worker: Worker) -> None:
    """Tell the client every half second what its last media show; never about the same media twice."""
    limits, begun_s = service.limits, time.monotonic()
    next_s = begun_s + EVERY_S
    while (now_s := time.monotonic()) < begun_s + limits.stream_s:
        await asyncio.sleep(max(0.0, next_s - now_s))
        next_s = max(next_s + EVERY_S, time.monotonic())  # a worker that is behind skips windows and never queues them
        message, last_s = inbox.take(), inbox.last_s
        if message is not None:
            window = await _ask(worker, message)
            latency_s = time.monotonic() - last_s
            service.metrics.windows.inc()
            service.metrics.window_latency_s.observe(latency_s)
            received = {"pictures": inbox.n_pictures, "sound_bytes": inbox.n_sound_bytes, "dropped": inbox.n_dropped}
            told = {"type": "window", **window, "latency_ms": round(latency_s * 1000), "received": received}
            await _send(socket, told, limits)
        elif time.monotonic() - last_s > limits.stream_idle_s:
            raise ProblemError("bad-stream", f"nothing came for {limits.stream_idle_s:.0f} s; connect again")
    raise ProblemError("bad-stream", f"a stream lasts at most {limits.stream_s:.0f} s; connect again")


async def _ask(worker: Worker, message: Message) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_WINDOW_DEADLINE_S):
            await worker.send(message)
            head = (await worker.receive()).head
    except TimeoutError:
        raise ProblemError("took-too-long", "reading the stream takes too long; send smaller pictures") from None
    check_tellable(head)
    if "problem" in head:
        problem = read_problem(head)
        raise ProblemError(problem.kind, problem.detail)
    return head


async def _send(socket: WebSocket, told: dict[str, Any], limits: Limits) -> None:
    """Send a message to a client, which may not keep the server waiting."""
    try:
        async with asyncio.timeout(limits.stream_idle_s):
            await socket.send_json(told)
    except TimeoutError:
        raise WebSocketDisconnect(_POLICY_VIOLATION) from None


async def _close(socket: WebSocket, problem: Problem, limits: Limits) -> None:
    with suppress(WebSocketDisconnect, RuntimeError, OSError):
        await _send(socket, {"type": "problem", "problem": problem.to_dict()}, limits)
        await socket.close(_FAILED if problem.status >= 500 else _POLICY_VIOLATION, problem.kind)
