"""What a client is told when something fails: problem details (RFC 9457), each kind named once here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from moodreel.errors import MoodreelError

MEDIA_TYPE = "application/problem+json"

KINDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "bad-request": (400, "The request is malformed"),
        "bad-upload": (400, "The upload is malformed"),
        "unauthorized": (401, "A token is needed"),
        "foreign-origin": (403, "Another site may not use this server"),
        "not-found": (404, "There is nothing here"),
        "method-not-allowed": (405, "This address does not take that method"),
        "upload-too-slow": (408, "The upload took too long"),
        "no-picture": (404, "There is no picture"),
        "not-ready": (409, "The answer is not ready"),
        "file-gone": (410, "The file is gone"),
        "upload-too-large": (413, "The clip is too large"),
        "not-multipart": (415, "The upload is no multipart form"),
        "wrong-host": (421, "The server is not called that"),
        "bad-range": (416, "The range lies outside the file"),
        "bad-media": (422, "The clip cannot be read"),
        "clip-too-long": (422, "The clip is too long"),
        "picture-too-large": (422, "The picture is too large"),
        "bad-parameter": (422, "A parameter is malformed"),
        "bad-query": (422, "The query cannot be understood"),
        "bad-stream": (422, "The live stream is malformed"),
        "bad-webhook": (422, "The web hook may not be called"),
        "queue-full": (429, "The server is busy"),
        "internal": (500, "The server failed"),
        "worker-died": (500, "Reading the clip failed"),
        "library-unreadable": (503, "The library cannot be read"),
        "stopping": (503, "The server is stopping"),
        "search-too-slow": (504, "The search took too long"),
        "took-too-long": (504, "Reading the clip took too long"),
    }
)
"""Kind -> HTTP status and title."""


@dataclass(frozen=True)
class Problem:
    """One failure as the client sees it.

    Attributes:
        kind: one of `KINDS`.
        detail: one line: what, where, what was expected, the way out.
        headers: further headers of the answer, such as `Retry-After`.
        pointer: of a query that cannot be understood two lines, the query and carets under the mistake; else empty.
    """

    kind: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pointer: str = ""

    @property
    def status(self) -> int:
        """HTTP status."""
        return KINDS[self.kind][0]

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as RFC 9457 writes it."""
        status, title = KINDS[self.kind]
        told = {"type": f"urn:moodreel:problem:{self.kind}", "title": title, "status": status, "detail": self.detail}
        return told | ({"pointer": self.pointer} if self.pointer else {})


class ProblemError(MoodreelError):
    """Carries a problem up to whoever answers the client.

    Attributes:
        problem: what to tell the client.
    """

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.problem = Problem(kind, detail, headers or {}, pointer)
