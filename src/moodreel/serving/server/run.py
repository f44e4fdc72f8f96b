"""Starting a server: where it listens, what it refuses to be started as."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from moodreel.errors import MoodreelError
from moodreel.serving.server.app import Settings, create_app
from moodreel.serving.server.guard import is_loopback

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "MOODREEL_TOKEN"
_BACKLOG = 128
_STOP_S = 5
_MOST_CONNECTIONS = 256


def read_token() -> str | None:
    """Return the token of the environment, `None` where there is none.

    Raises:
        MoodreelError: it is empty or not plain text.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if token is not None and not (token.strip() == token and token.isascii() and token.isprintable() and token):
        raise MoodreelError(f"{TOKEN_VARIABLE}: expected printable ASCII without spaces around; choose another token")
    return token


def check_exposure(host: str, token: str | None, *, is_open: bool) -> None:
    """Refuse to let the network in without a token, unless that was asked for by name.

    Args:
        host: address to listen on.
        token: what clients must show.
        is_open: whether it was asked for.

    Raises:
        MoodreelError: the server would stand open.
    """
    if token is None and not is_open and not is_loopback(host):
        raise MoodreelError(
            f"--host {host}: anybody on the network could use the server; set {TOKEN_VARIABLE}, "
            "or ask for it with --allow-without-token"
        )


def choose_state(asked: Path | None, host: str, port: int) -> Path | None:
    """Return the folder in which a server keeps its jobs, made where it is not there.

    Args:
        asked: the folder that was asked for; by default the user's own for that address.
        host: address that it listens on.
        port: port that it listens on.

    Returns:
        The folder. `None` for a server that takes any port, which nobody finds again after a restart, and where the
        user's folder cannot be made, which nobody asked for.
    """
    if asked is not None:
        return asked.absolute()
    if not port:
        return None
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    name = "".join(sign if sign.isalnum() or sign in ".-" else "_" for sign in f"{host}-{port}")
    folder = Path(base) / "moodreel" / "serve" / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _log_to_stderr()
        log.warning("%s: cannot be made (%s), so jobs will not survive a restart", folder, error.strerror)
        return None
    return folder


def run(settings: Settings, port: int) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: what the server is started with.
        port: where it listens; 0 for any that is free.

    Raises:
        MoodreelError: the address cannot be listened on, or the bundle cannot be used.
    """
    _log_to_stderr()
    app = create_app(settings)
    listener = _listen(settings.access.host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",  # its tracebacks hold messages; what fails is told by `failures.py`
        access_log=False,  # it would tell who asked for what
        limit_concurrency=_MOST_CONNECTIONS,
        server_header=False,
        ws_max_size=settings.limits.message_bytes,
        ws_max_queue=4,
        ws_ping_interval=settings.limits.stream_idle_s,
        ws_ping_timeout=settings.limits.stream_idle_s,
        ws_per_message_deflate=False,  # JPEG and sound do not get smaller, and a small message could unpack to a large
        h11_max_incomplete_event_size=64 * 1024,
        timeout_graceful_shutdown=_STOP_S,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    server.has_library = settings.library is not None
    with listener, suppress(SystemExit):  # so uvicorn ends when the app could not start; why is told below
        server.run([listener])
    if not server.started:
        raise getattr(app.state, "failure", None) or MoodreelError("the server could not start; try another port")


def _log_to_stderr() -> None:
    logging.basicConfig(format="moodreel: %(message)s", level=logging.WARNING)


class _Server(uvicorn.Server):
    """Says where it listens once it does: its workers start before."""

    has_library = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(f"moodreel serves {address} (Ctrl-C stops it)", flush=True)
            if self.has_library:
                print(f"the library stands at {address}/library.html", flush=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MoodreelError(
            f"--host {host} --port {port}: cannot listen there ({reason}); choose another address or port"
        ) from None
    return listener
