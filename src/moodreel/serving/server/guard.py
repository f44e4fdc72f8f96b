"""Who may ask: the Host header, the site a browser shows, the token; and the headers that each answer carries."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moodreel.serving.protocol.problems import MEDIA_TYPE, Problem, ProblemError
from moodreel.serving.server.metrics import Metrics

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
_CALLS = "/v1/"
TICKET_S = 12 * 3600
"""How long an address that a call gave out can be asked for without the token."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but the server's own files runs in the page, and nothing leaves for elsewhere."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        host: address it listens on.
        names: further names that clients may know it by.
        token: what they must show; `None` for nothing.
        secret: what tickets are made with; of this process alone.
    """

    host: str
    names: tuple[str, ...] = ()
    token: str | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return is_loopback(self.host)

    def check_host(self, headers: Headers) -> None:
        """Refuse a name that the server does not go by.

        A page of another site can have its own name point to this machine (DNS rebinding); the browser then sends that
        name. A literal address cannot be pointed elsewhere, so a server on the network answers to any of its own.

        Raises:
            ProblemError: the name is foreign.
        """
        name = _host_of(f"//{headers.get('host', '')}")
        if name in {*LOOPBACK_NAMES, *map(str.lower, (self.host, *self.names))} or (
            not self.is_local and _is_address(name)
        ):
            return
        raise ProblemError("wrong-host", "unknown name in the Host header; allow it with --allow-host NAME")

    def check_site(self, headers: Headers, path: str) -> None:
        """Refuse what the page of another site asks for: browsers send forms and sockets across sites unasked.

        They send no Origin with a GET, but say which site it is for (to localhost and over HTTPS). A link to the page
        may stand anywhere; one to a call may not.

        Raises:
            ProblemError: the request comes from a page that is not this server's.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")  # none: typed in, or no browser
        is_foreign_call = path.startswith(_CALLS) and site not in ("none", "same-origin")
        if is_foreign_call or (origin is not None and _place_of(origin) != headers.get("host")):
            raise ProblemError("foreign-origin", "the request comes from another site's page; open this server's own")

    def check_token(self, headers: Headers) -> None:
        """Refuse a request without the token.

        Raises:
            ProblemError: it is missing or wrong.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if self.token is not None and not (scheme.lower() == "bearer" and self.is_token(token.strip())):
            detail = "send the header 'Authorization: Bearer TOKEN' with the token the server was started with"
            raise ProblemError("unauthorized", detail, {"WWW-Authenticate": "Bearer"})

    def is_token(self, token: str) -> bool:
        """Tell whether a token is the right one, in a time that does not depend on how much of it is right."""
        # A token in a live client's JSON may hold half a character.
        return self.token is None or hmac.compare_digest(token.encode(errors="surrogatepass"), self.token.encode())

    def sign(self, path: str) -> str:
        """Return an address for a player or a picture, for which browsers send no token: with a ticket instead.

        Args:
            path: of a call that only reads.
        """
        return path if self.token is None else f"{path}?ticket={self._make_ticket(path, int(time.time()) + TICKET_S)}"

    def is_ticket(self, path: str, query: bytes) -> bool:
        """Tell whether a request carries the ticket of its address, which only somebody with the token was given."""
        (ticket,) = parse_qs(query.decode("latin-1")).get("ticket", [""])[:1]
        until = ticket.partition(".")[0]
        if not (until.isascii() and until.isdigit() and len(until) < 12 and int(until) > time.time()):
            return False
        return hmac.compare_digest(self._make_ticket(path, int(until)).encode(), ticket.encode())

    def _make_ticket(self, path: str, until_s: int) -> str:
        return f"{until_s}.{hmac.new(self.secret, f'{until_s} {path}'.encode(), 'sha256').hexdigest()}"


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


class Guard:
    """Stands before the application: checks, counts and closes each request."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may be answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._access.check_host(headers)
            self._access.check_site(headers, scope["path"])
            # A browser cannot send headers with a web socket, so live clients may show their token in a message.
            if scope["type"] == "http" and _needs_token(scope["path"]) and not self._has_ticket(scope):
                self._access.check_token(headers)
        except ProblemError as error:
            await _refuse(error.problem, scope, send)
            return
        if scope["type"] == "http":
            await self._count(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _has_ticket(self, scope: Scope) -> bool:
        return scope["method"] in ("GET", "HEAD") and self._access.is_ticket(scope["path"], scope["query_string"])

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun_s = time.monotonic()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
                answered.setdefault("Cache-Control", "no-store" if _needs_token(scope["path"]) else "no-cache")
                # The route's pattern and not the address: addresses hold the ids of jobs.
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._metrics.requests.labels(method, route, str(message["status"])).inc()
                self._metrics.request_s.labels(route).observe(time.monotonic() - begun_s)
            await send(message)

        await self._app(scope, receive, send_on)


def _needs_token(path: str) -> bool:
    return path.startswith(_CALLS) or path == "/metrics"


async def _refuse(problem: Problem, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.kind})  # before accepting: HTTP 403
        return
    body = json.dumps(problem.to_dict()).encode()
    length = {"Content-Length": str(len(body))}
    headers = {"Content-Type": MEDIA_TYPE, "Connection": "close", **length, **HEADERS, **problem.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # such as an unclosed bracket
        return None


def _place_of(origin: str) -> str:
    """Return host and port of a site; empty, which no server is called, where the Origin is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_address(name: str | None) -> bool:
    try:
        ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return True
