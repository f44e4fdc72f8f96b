"""Web hooks: a program elsewhere is told that a job or batch is finished, and can tell that it was this server.

Messages follow Standard Webhooks (https://www.standardwebhooks.com), version 1. An address is called only where whoever
runs the server allowed it: one that calls what anybody names is a way into the network behind it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from moodreel import __version__
from moodreel.errors import MoodreelError
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server.guard import is_loopback
from moodreel.serving.server.metrics import Metrics

log = logging.getLogger(__name__)

SECRET_VARIABLE = "MOODREEL_WEBHOOK_SECRET"
RETRIES_S = (1.0, 5.0, 25.0, 125.0)
"""Waits between the attempts; after the last, nobody is told."""

_ATTEMPT_S = 10.0
_MOST_AT_A_TIME = 8
_MOST_WAITING = 1000
_LONGEST_LINE = 4096
_LETTERS = re.compile(r"""[^\x00-\x20"<>\\^`{|}\x7f-\U0010ffff]{1,2000}""")
_SECRET_BYTES = range(24, 65)
_PORTS = {"https": 443, "http": 80}
_TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True)
class WebhookRules:
    """Whom a server may call.

    Attributes:
        allowed: beginnings of addresses, as `https://example.org/moods/`.
        secret: what messages are signed with.
    """

    allowed: tuple[str, ...] = ()
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Event:
    """What is told.

    Attributes:
        type: `prediction.done`, `prediction.failed` or `batch.done`.
        data: the job or batch, without predictions; its `id` is that of the message too, however often it is sent.
    """

    type: str
    data: dict[str, Any]


def read_rules(allowed: Sequence[str]) -> WebhookRules:
    """Return the rules of a server, with the secret of the environment.

    Args:
        allowed: beginnings of addresses that may be called.

    Raises:
        MoodreelError: one is no such beginning, or the secret is missing or malformed.
    """
    for url in allowed:
        try:
            parts = _split(url)
        except ValueError:
            parts = None
        if parts is None or parts.query:
            raise MoodreelError(
                f"--webhook-allow {url}: expected the beginning of an address, as https://example.org/moods/; "
                "http:// is for this machine alone"
            )
    return WebhookRules(tuple(allowed), _read_secret() if allowed else b"")


def _read_secret() -> bytes:
    text = os.environ.get(SECRET_VARIABLE, "").removeprefix("whsec_")
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in _SECRET_BYTES:
        raise MoodreelError(
            f"{SECRET_VARIABLE}: --webhook-allow needs a secret of 24 to 64 bytes in base64; make one with "
            "`openssl rand -base64 32`"
        )
    return secret


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message.

    Args:
        secret: that sender and receiver share.
        id: of the message.
        timestamp: Unix time at which it is sent.
        body: of the message.
    """
    digest = hmac.new(secret, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Calls the web hooks of one server."""

    def __init__(self, rules: WebhookRules, metrics: Metrics) -> None:
        self._rules = rules
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_MOST_AT_A_TIME)

    def check(self, url: str) -> None:
        """Refuse an address that may not be called.

        Args:
            url: as a client named it.

        Raises:
            ProblemError: it is malformed or not allowed.
        """
        try:
            parts = _split(url)
        except ValueError:
            raise ProblemError("bad-webhook", "expected an address as https://example.org/moods/done") from None
        if not any(_begins(parts, _split(one)) for one in self._rules.allowed):
            raise ProblemError("bad-webhook", "the server may not call that address; allow it with --webhook-allow URL")

    def tell(self, url: str, event: Event, then: Callable[[], None]) -> None:
        """Send a message, trying again for some minutes.

        Args:
            url: an address that was checked.
            event: what to tell.
            then: called when nothing is left to be done, whether it arrived or was given up.
        """
        if len(self._tasks) >= _MOST_WAITING:
            self._give_up("too many wait", then)
            return
        task = asyncio.create_task(self._deliver(url, event, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, url: str, event: Event, then: Callable[[], None]) -> None:
        try:
            self.check(url)  # again: it may come from a server before, which was started with other rules
        except ProblemError:
            self._give_up("its address is not allowed any more", then)
            return
        told = {"type": event.type, "timestamp": datetime.now(UTC).isoformat(timespec="seconds"), "data": event.data}
        body, reason = json.dumps(told).encode(), ""
        for wait_s in (0.0, *RETRIES_S):
            await asyncio.sleep(wait_s)
            async with self._turns:
                status, reason = await self._attempt(_split(url), event.data["id"], body)
            if 200 <= status < 300:
                self._metrics.webhooks.labels("delivered").inc()
                then()
                return
            if 300 <= status < 500 and status not in _TRY_AGAIN:
                break
        self._give_up(reason, then)

    def _give_up(self, reason: str, then: Callable[[], None]) -> None:
        log.warning("a web hook was given up: %s", reason)
        self._metrics.webhooks.labels("given up").inc()
        then()

    async def _attempt(self, url: SplitResult, id: str, body: bytes) -> tuple[int, str]:
        """Send a message once; returns the status of the answer, 0 for none, and the same in words."""
        timestamp = int(time.time())
        signature = sign(self._rules.secret, id, timestamp, body)
        headers = {
            "Host": url.netloc,
            "User-Agent": f"moodreel/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                status = await _post(url, "\r\n".join(lines).encode("ascii") + body)
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:  # TimeoutError is an OSError
            return 0, f"no answer ({type(error).__name__})"
        return status, f"status {status}"


async def _post(url: SplitResult, request: bytes) -> int:
    """Send a request and return the status of its answer, of which nothing else is read: no redirect is followed."""
    context = ssl.create_default_context() if url.scheme == "https" else None
    port = url.port or _PORTS[url.scheme]
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=context, limit=_LONGEST_LINE)
    try:
        writer.write(request)
        await writer.drain()
        version, status = (await reader.readuntil(b"\n")).split()[:2]
        if not version.startswith(b"HTTP/1."):
            raise ValueError("no HTTP")
        return int(status)
    finally:
        with suppress(OSError):
            writer.transport.abort()


def _split(url: str) -> SplitResult:
    """Return the parts of an address that could be called.

    Raises:
        ValueError: there is no such address.
    """
    if not _LETTERS.fullmatch(url):
        raise ValueError
    parts = urlsplit(url)
    segments = unquote(unquote(parts.path)).replace("\\", "/").split("/")
    if parts.username is not None or parts.password is not None or parts.fragment or {".", ".."} & set(segments):
        raise ValueError
    if not parts.hostname or parts.port == 0:
        raise ValueError
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)):
        return parts
    raise ValueError


def _begins(url: SplitResult, allowed: SplitResult) -> bool:
    """Tell whether an address lies at or below an allowed one."""
    if _place_of(url) != _place_of(allowed):
        return False
    folder = allowed.path.rstrip("/")
    return url.path in (allowed.path, folder) or url.path.startswith(f"{folder}/")


def _place_of(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or _PORTS[url.scheme]
