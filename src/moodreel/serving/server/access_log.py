"""The access log: a line of JSON for each request, with nothing in it that tells of a person."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moodreel.errors import MoodreelError
from moodreel.serving.server.guard import METHODS

log = logging.getLogger(__name__)


class Lines(WatchedFileHandler):
    """A file to which lines are added; begun anew when it was moved away."""

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry as a line of JSON."""
        self.handle(logging.makeLogRecord({"msg": json.dumps(entry)}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - logging's name
        """Say that a line could not be written; the request has its answer."""
        log.error("the access log cannot be written; free some space, or start without --access-log")


def open_lines(path: Path) -> Lines:
    """Open an access log, to go on with what is there.

    Raises:
        MoodreelError: it cannot be written.
    """
    try:
        return Lines(path, encoding="utf-8")
    except OSError as error:
        raise MoodreelError(f"--access-log {path}: cannot be written ({error.strerror}); choose another file") from None


class AccessLog:
    """Adds a line for each request once it is answered, and for each live stream once it has ended.

    No addresses, names of clips, ids of jobs or tokens: of an address, the route's pattern alone.
    """

    def __init__(self, app: ASGIApp, lines: Lines) -> None:
        self._app = app
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        begun_s, status, n_bytes = time.monotonic(), 0, 0

        async def send_on(message: Message) -> None:
            nonlocal status, n_bytes
            status = status or _status_of(message)
            n_bytes += len(message.get("body", b"")) + len(message.get("text") or "") + len(message.get("bytes") or b"")
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            entry = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": _method_of(scope),
                "route": getattr(scope.get("route"), "path", "other"),
                "status": status,
                "duration_s": round(time.monotonic() - begun_s, 4),
                "bytes": n_bytes,
            }
            self._lines.add(entry)


def _status_of(message: Message) -> int:
    """Return the HTTP status that a message tells; 0 for none. A web socket that is closed unopened is refused."""
    match message["type"]:
        case "http.response.start":
            return int(message["status"])
        case "websocket.accept":
            return 101
        case "websocket.close":
            return 403
    return 0


def _method_of(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return "GET"
    return str(scope["method"]) if scope["method"] in METHODS else "other"
