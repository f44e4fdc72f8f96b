"""Searches of a library, off the event loop, one at a time, each within a bound of time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from moodreel.errors import LibraryError, QueryError
from moodreel.library.parts import PartName, list_parts
from moodreel.library.shown import ServedFile, ShownLibrary
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import ProblemError

log = logging.getLogger(__name__)

LOOKS_EVERY_S = 10.0
"""How often it is looked whether the library has changed."""
_MOST_KEPT = 32
_MOST_FILES = 4096
_FILE_KNOWN_S = 60.0
"""How long a file that stood in the library is served without looking again: players ask often."""
_INTERRUPTS_EVERY_S = 0.05
_STOPS_WITHIN_S = 5.0
_SHARE_OF_LOOKING = 0.05

Result = TypeVar("Result")


class Searches:
    """Asks one library. DuckDB works in a thread of its own, so that the server goes on meanwhile."""

    def __init__(self, library: ShownLibrary, limits: Limits) -> None:
        self._library = library
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "moodreel-library")
        self._n_open = 0
        self._current: object = None
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._files: OrderedDict[str, tuple[float, ServedFile]] = OrderedDict()
        self._parts: list[PartName] | None = None
        self._next_look_s = 0.0

    async def start(self) -> None:
        """Read what searches need into memory.

        Raises:
            LibraryError: the library cannot be read.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    async def stop(self) -> None:
        """End, whatever is being searched."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        until_s = time.monotonic() + _STOPS_WITHIN_S
        while self._current is not None and time.monotonic() < until_s:
            self._library.interrupt()
            await asyncio.sleep(_INTERRUPTS_EVERY_S)

    async def ask(self, key: Hashable, function: Callable[[ShownLibrary], Result]) -> Result:
        """Call a function with the library, or return what it gave before.

        Args:
            key: what is asked, by which the answer is kept as long as the library does not change; `None` to keep none.
            function: what to do.

        Raises:
            ProblemError: the query is wrong, takes too long, the library cannot be read, or too many wait.
        """
        if self._n_open >= self._limits.searches:
            raise ProblemError("queue-full", f"{self._n_open} searches wait; come back in 1 s", {"Retry-After": "1"})
        token = object()
        self._n_open += 1
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._call, token, key, function)
        work.add_done_callback(self._leave)
        done, _ = await asyncio.wait([work], timeout=self._limits.search_s)
        if not done:
            if not work.cancel() or self._current is token:
                self._break_off(token)
            raise ProblemError(
                "search-too-slow", f"nothing was found within {self._limits.search_s:g} s; ask for less at a time"
            )
        return _take(work)

    async def find_file(self, file_id: str) -> ServedFile:
        """Return a file of the library.

        Raises:
            ProblemError: none of that id stands in it.
        """
        known_s, file = self._files.get(file_id, (-_FILE_KNOWN_S, None))
        if file is not None and time.monotonic() - known_s < _FILE_KNOWN_S:
            return file
        await self.find_files([file_id])
        if file_id not in self._files:
            raise ProblemError("not-found", "no file of that id stands in the library; search again")
        return self._files[file_id][1]

    async def find_files(self, file_ids: Sequence[str]) -> dict[str, ServedFile]:
        """Return files of the library by their ids; those that stand not in it are left out."""
        found = await self.ask(None, lambda library: library.find_files(file_ids))
        for file_id in file_ids:
            self._files.pop(file_id, None)
        self._files.update((file_id, (time.monotonic(), file)) for file_id, file in found.items())
        while len(self._files) > _MOST_FILES:
            self._files.popitem(last=False)
        return found

    def _leave(self, work: asyncio.Future[Any]) -> None:
        self._n_open -= 1
        if not work.cancelled():
            work.exception()  # it was told, or nobody waits for it

    def _break_off(self, token: object) -> None:
        """Break off a search, again until it has ended: a call between two reads of DuckDB is lost."""
        if self._current is token:
            self._library.interrupt()
            asyncio.get_running_loop().call_later(_INTERRUPTS_EVERY_S, self._break_off, token)

    def _call(self, token: object, key: Hashable, function: Callable[[ShownLibrary], Result]) -> Result:
        self._current = token
        try:
            if time.monotonic() >= self._next_look_s:
                self._look()
            found = cast(Result, self._kept[key]) if key in self._kept else function(self._library)
            if key is not None:
                self._kept[key] = found
                self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return found
        finally:
            self._current = None

    def _look(self) -> None:
        """Take in what was indexed since the last look; what takes long is done the more seldom."""
        begun_s = time.monotonic()
        parts = list_parts(self._library.store.place)
        if parts != self._parts:
            self._kept.clear()
            self._library.store.refresh()
            self._library.refresh()
            self._library.warm()
            self._parts = parts
        spent_s = time.monotonic() - begun_s
        self._next_look_s = time.monotonic() + max(LOOKS_EVERY_S, spent_s / _SHARE_OF_LOOKING)


def _take(work: asyncio.Future[Result]) -> Result:
    """Return what a search gave, or tell why it gave nothing, without a word on where the library lies."""
    try:
        return work.result()
    except QueryError as error:
        raise ProblemError("bad-query", str(error), pointer=error.pointer) from None
    except LibraryError as error:
        log.error("%s", error)
        detail = "the library cannot be read just now; whoever runs the server finds the reason on its screen"
        raise ProblemError("library-unreadable", detail) from None
