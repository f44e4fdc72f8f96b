"""What a live client sent and no worker has read yet: never much, the oldest goes first."""

from __future__ import annotations

import time
from collections import deque

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import PICTURE, RESET, SOUND, Message
from moodreel.serving.protocol.problems import ProblemError

_MOST_PICTURES = 8
_MOST_SOUND_BYTES = 2**18
"""Sound that may wait: 2.7 s at 48 kHz, 8 s at 16 kHz, minutes of Opus."""


class Inbox:
    """The media of one live client on their way to its worker.

    Attributes:
        n_pictures: pictures received so far.
        n_sound_bytes: bytes of sound received so far.
        n_dropped: messages that were dropped so far.
        last_s: monotonic time of the last message.
    """

    def __init__(self, limits: Limits) -> None:
        self.n_pictures = 0
        self.n_sound_bytes = 0
        self.n_dropped = 0
        self.last_s = time.monotonic()
        self._limits = limits
        self._begun_s = self.last_s
        self._waiting: deque[tuple[int, float, bytes]] = deque()
        self._second = 0
        self._second_bytes = 0

    def put(self, data: bytes) -> None:
        """Take one binary message.

        Raises:
            ProblemError: it is of no known kind, too large, or one of a flood.
        """
        self._check(data)
        self.last_s = time.monotonic()
        kind = data[0]
        if kind == PICTURE:
            self.n_pictures += 1
        else:
            self.n_sound_bytes += len(data) - 1
        self._waiting.append((kind, self.last_s - self._begun_s, data[1:]))
        self._make_room()

    def reset(self) -> None:
        """Take note that somebody else has come; of several that wait, the last counts."""
        self.last_s = time.monotonic()
        self._waiting = deque(entry for entry in self._waiting if entry[0] != RESET)
        self._waiting.append((RESET, self.last_s - self._begun_s, b""))

    def take(self) -> Message | None:
        """Return what waits as a message to the worker; `None` when nothing does."""
        if not self._waiting:
            return None
        parts = list(self._waiting)
        self._waiting.clear()
        head = {"end_s": parts[-1][1], "parts": [(kind, time_s, len(data)) for kind, time_s, data in parts]}
        return Message(head, b"".join(data for _, _, data in parts))

    def _check(self, data: bytes) -> None:
        if len(data) < 2 or data[0] not in (SOUND, PICTURE):
            raise ProblemError("bad-stream", "a binary message starts with a byte 0 (sound) or 1 (JPEG), then its data")
        if len(data) > self._limits.message_bytes:
            raise ProblemError("bad-stream", f"a message is at most {self._limits.message_bytes} bytes long; send less")
        second = int(time.monotonic())
        self._second_bytes = len(data) + (self._second_bytes if second == self._second else 0)
        self._second = second
        if self._second_bytes > self._limits.flood_bytes:
            raise ProblemError("bad-stream", f"over {self._limits.flood_bytes} bytes came in one second; send less")

    def _make_room(self) -> None:
        for kind, most in ((PICTURE, _MOST_PICTURES), (SOUND, _MOST_SOUND_BYTES)):
            while self._measure(kind) > most:
                oldest = next(entry for entry in self._waiting if entry[0] == kind)
                self._waiting.remove(oldest)
                self.n_dropped += 1

    def _measure(self, kind: int) -> int:
        return sum(1 if kind == PICTURE else len(data) for other, _, data in self._waiting if other == kind)
