"""Thumbnails of a library's files: kept ones, and new ones drawn by a worker, one at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from moodreel.errors import MoodreelError
from moodreel.library.shown import ServedFile
from moodreel.library.thumbnails import KeptThumbnails
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import Message
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.protocol.problems import ProblemError
from moodreel.serving.server.worker_process import Worker, start_worker

MOST_BYTES = 256 * 1024
_JPEG = b"\xff\xd8\xff"
_MOST_HELD = 256
_DRAWN_A_WORKER = 500
_NOTHING = b""
"""What stands for a picture that there is none of."""


@dataclass(frozen=True)
class Wanted:
    """A picture that is asked for.

    Attributes:
        file: of what.
        second: when, in whole seconds from the start of what was indexed.
    """

    file: ServedFile
    second: int

    @property
    def at_s(self) -> float:
        """The instant in the file itself: the middle of that second, where what was indexed lasts so long."""
        return self.file.offset_s + min(self.second + 0.5, self.file.duration_s / 2 + self.second / 2)


class Thumbnails:
    """Gives the picture of a file at a time. The server itself decodes nothing."""

    def __init__(self, kept: KeptThumbnails, options: WorkerOptions, limits: Limits) -> None:
        self._kept = kept
        self._options = options
        self._limits = limits
        self._held: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._drawing: dict[tuple[str, int], asyncio.Task[bytes]] = {}
        self._turn = asyncio.Lock()
        self._worker: Worker | None = None
        self._n_drawn = 0

    async def stop(self) -> None:
        """End the worker."""
        for task in self._drawing.values():
            task.cancel()
        await asyncio.gather(*self._drawing.values(), return_exceptions=True)
        await self._end_worker()

    async def give(self, wanted: Wanted) -> bytes:
        """Return a JPEG.

        Raises:
            ProblemError: there is no picture, or too many wait.
        """
        key = (wanted.file.id, wanted.second)
        picture = self._held.get(key)
        if picture is None:
            if key not in self._drawing:
                self._begin(key, wanted)
            picture = await asyncio.shield(self._drawing[key])
        if not picture:
            raise ProblemError("no-picture", f"{wanted.file.name}: no picture can be made of it")
        return picture

    def _begin(self, key: tuple[str, int], wanted: Wanted) -> None:
        if len(self._drawing) >= self._limits.waiting_thumbnails:
            detail = f"{len(self._drawing)} thumbnails wait; come back in 5 s"
            raise ProblemError("queue-full", detail, {"Retry-After": "5"})
        task = self._drawing[key] = asyncio.create_task(self._make(key, wanted))
        task.add_done_callback(lambda _: self._drawing.pop(key, None))

    async def _make(self, key: tuple[str, int], wanted: Wanted) -> bytes:
        picture = await asyncio.to_thread(self._kept.read, *key)
        if picture is None:
            picture = await self._draw(wanted)
            if picture:
                await asyncio.to_thread(self._kept.write, *key, picture)
        self._held[key] = picture
        while len(self._held) > _MOST_HELD:
            self._held.popitem(last=False)
        return picture

    async def _draw(self, wanted: Wanted) -> bytes:
        """Let the worker draw; one that dies or hangs over a file costs that picture alone."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._limits.thumbnail_s):
                    worker = await self._find_worker()
                    await worker.send(Message({"file": wanted.file.path, "at_s": wanted.at_s}))
                    reply = await worker.receive()
            except (EOFError, TimeoutError, MoodreelError):
                await self._end_worker()
                return _NOTHING
            except asyncio.CancelledError:
                await self._end_worker()
                raise
            self._n_drawn += 1
            picture = reply.payload
            return picture if picture.startswith(_JPEG) and len(picture) <= MOST_BYTES else _NOTHING

    async def _find_worker(self) -> Worker:
        worker = self._worker
        if worker is None or not worker.is_alive or self._n_drawn >= _DRAWN_A_WORKER or self._has_grown(worker):
            await self._end_worker()
            self._worker, self._n_drawn = await start_worker(self._options), 0
        assert self._worker is not None
        return self._worker

    def _has_grown(self, worker: Worker) -> bool:
        return worker.has_grown(self._limits.memory_bytes // 2)

    async def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.kill()
