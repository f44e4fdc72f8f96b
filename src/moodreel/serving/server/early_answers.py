"""An answer that comes before the request was read to its end, and how it still reaches the client."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

IDLE_S = 1.0
LONGEST_S = 10.0
"""How long the rest of a request is read: as long as it keeps coming, up to this."""


class Linger:
    """Reads on after an early answer, and throws away what comes.

    A connection that is closed on data nobody read is reset, and a reset can take the answer with it: the client then
    sees a broken connection instead of "a token is needed" or "this clip is too large" (RFC 9112, section 9.6).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and hold the end of the answer back until the request has ended too."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        is_read = False

        async def receive_on() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)  # a lost client sends nothing more either
            return message

        async def read_on() -> None:
            while not is_read:
                async with asyncio.timeout(IDLE_S):
                    await receive_on()

        async def send_on(message: Message) -> None:
            if is_read or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(LONGEST_S):
                    await read_on()
            except TimeoutError:
                pass  # the client was told; what it still sends is its own loss
            await send({"type": "http.response.body"})

        await self._app(scope, receive_on, send_on)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
