"""A process that reads one clip after another, and what it says to the process that hands them out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from moodreel.errors import MoodreelError

S = TypeVar("S")

SLOTS = 2
"""Clips that a worker holds: the one that it reads, and the next, so that it need not wait to be handed one."""
_END_S = 10.0
"""How long a worker may take to end once it is told to."""
_ANSWER_S = 0.05
_READY = "ready"


class WorkerDiedError(Exception):
    """The process has ended: of the clip that it read."""


class Worker(Generic[S]):
    """One process, started when made.

    Attributes:
        tasks: what it holds, the one that it reads first.
        connection: becomes readable when it has something to say, or has died.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        """Start it.

        Args:
            read: reads one clip; it must be picklable, as functions of a module are.
        """
        # Spawned, since forking a process in which networks run can hang.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.tasks: deque[S] = deque()
        self._is_ready = False
        self._process = context.Process(target=_work, args=(theirs, read), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()  # so that its death is noticed here

    @property
    def has_room(self) -> bool:
        """Whether it takes another clip."""
        return len(self.tasks) < SLOTS

    @property
    def is_awaited(self) -> bool:
        """Whether it has something to say soon."""
        return bool(self.tasks)

    def hand(self, task: S, clip: Any) -> None:
        """Hand it a clip; a worker that has died says so when it is asked for what it has read."""
        self.tasks.append(task)
        with suppress(OSError):
            self.connection.send(clip)

    def take(self) -> tuple[S, Any] | None:
        """Return what came of the first of its clips; `None` where it had something else to say.

        Raises:
            WorkerDiedError: the process has ended.
            MoodreelError: it ended before it could read anything.
            BaseException: what reading the clip raised.
        """
        try:
            is_well, said = self.connection.recv()
        except (EOFError, OSError):
            if self._is_ready:
                raise WorkerDiedError from None
            raise MoodreelError("a process that reads clips could not be started: use fewer --jobs") from None
        if said == _READY and not self._is_ready:
            self._is_ready = True
            return None
        if not is_well:
            raise said
        return self.tasks.popleft(), said

    def interrupt(self) -> None:
        """Have it give up what it reads, as Ctrl-C does, so that nothing half-written is left."""
        if not self.tasks or self._process.pid is None or not self._process.is_alive():
            return
        if not self.connection.poll(_ANSWER_S):  # what a terminal's Ctrl-C has reached is not to be disturbed again
            if sys.platform == "win32":
                self._process.terminate()
            else:
                os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """Wait for its end."""
        self.connection.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@dataclass(frozen=True)
class Processes:
    """Workers that are processes of this machine.

    Attributes:
        most: how many there may be.
    """

    most: int

    def count(self) -> int:
        """Return how many there may be."""
        return self.most

    def start(self, read: Callable[[Any], Any]) -> Worker[Any]:
        """Start one."""
        return Worker(read)

    def wait(self, workers: Sequence[Worker[Any]]) -> Sequence[Worker[Any]]:
        """Wait until some have something to say or have died, and return those."""
        ready = set(wait([worker.connection for worker in workers]))
        return [worker for worker in workers if worker.connection in ready]


def _work(connection: Connection, read: Callable[[Any], Any]) -> None:
    """Read what is handed over until nobody hands over anything; runs in the process."""
    _ignore_interrupts()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the other side has gone
        connection.send((True, _READY))
        while _answer(connection, read, connection.recv()):
            pass


def _answer(connection: Connection, read: Callable[[Any], Any], clip: Any) -> bool:
    """Read one clip and say what came of it; returns whether to go on."""
    try:
        answer: tuple[bool, Any] = True, _read(read, clip)
    except BaseException as error:
        answer = False, error
    try:
        connection.send(answer)
    except OSError:
        raise
    except Exception as error:  # what cannot be pickled; nothing of it has been sent
        connection.send((False, RuntimeError(f"cannot be handed from process to process: {error}; {answer[1]!r}")))
    return not isinstance(answer[1], KeyboardInterrupt)


def _end_with_parent() -> None:
    """End when the process that hands out clips was killed: nobody waits for the answer any more."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back here; a process that starts meanwhile inherits that until it can ignore it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupts() -> None:
    """Let Ctrl-C, which reaches every process of a terminal, end what is being read and not what waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _read(read: Callable[[Any], Any], clip: Any) -> Any:
    """Read one clip; Ctrl-C is raised here, so that half-written files are cleared away."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return read(clip)
    finally:
        _ignore_interrupts()
