"""What server and workers say to each other: a line of JSON, then as many bytes as it announces.

Never a pickle: a worker that hostile media has taken over can say nothing that runs code in the server.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import IO, Any

SOUND, PICTURE = 0, 1
"""First byte of a binary message."""

RESET = 2
"""Beside them in what a worker is handed: somebody else has come, and what was before is not adapted to."""

LONGEST_LINE = 64 * 2**20
"""Bytes of one line: half an hour of several people fits many times."""

LONGEST_PAYLOAD = 64 * 2**20
"""Bytes that may follow a line."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        head: JSON object.
        payload: bytes that belong to it.
    """

    head: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the message as it goes through a pipe."""
        return json.dumps({**self.head, "bytes": len(self.payload)}).encode() + b"\n" + self.payload


def read_message(pipe: IO[bytes]) -> Message | None:
    """Wait for the next message; `None` when the other side has gone."""
    line = pipe.readline()
    if not line:
        return None
    head = json.loads(line)
    return Message(head, pipe.read(head.pop("bytes", 0)))


async def receive_message(pipe: asyncio.StreamReader) -> Message:
    """Wait for the next message.

    Raises:
        EOFError: the other side has gone, or does not speak as agreed.
    """
    try:
        head = json.loads(await pipe.readline())
        n_bytes = head.pop("bytes", 0)
        if n_bytes > LONGEST_PAYLOAD:
            raise ValueError("too long")
        return Message(head, await pipe.readexactly(n_bytes))
    except (ValueError, AttributeError, TypeError, RecursionError, OSError, asyncio.IncompleteReadError) as error:
        raise EOFError from error
