"""One function over many clips, in several processes: what a clip does to its reader, the other clips never notice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from moodreel.batch.worker import Worker, WorkerDiedError

S = TypeVar("S")
T = TypeVar("T")

CRASHED = "reading it ended the process: it is damaged or needs too much memory"

MOST_DEATHS = 2
"""Workers that a clip may end before it is given up."""
_AHEAD = 4
"""Clips a worker that are under way or wait for their turn to be handed on."""


def map_clips(
    read: Callable[[S], T],
    clips: Iterable[S],
    workers: int,
    on_crash: Callable[[S], T],
    *,
    in_order: bool = True,
    isolated: bool = False,
) -> Generator[T, None, None]:
    """Read many clips; what comes of each is passed on as soon as it is there.

    Memory does not grow with the number of clips: they are taken from `clips` as workers come to them.

    Args:
        read: reads one clip; with several workers it must be picklable, as functions of a module are.
        clips: the clips.
        workers: processes; one reads in this process.
        on_crash: what stands for a clip that took its process with it, twice; asked with processes only.
        in_order: pass on in the order of the clips; else as they are done, so that a long one holds up nobody.
        isolated: read in a process of its own with one worker too.

    Yields:
        What `read` returns. What it raises ends the map, as does Ctrl-C: the workers have ended by then.

    Raises:
        MoodreelError: a process could not be started.
    """
    if workers <= 1 and not isolated:
        yield from map(read, clips)
        return
    team = _Team(read, max(1, workers), on_crash, iter(clips), in_order)
    try:
        yield from team.run()
    except BaseException:
        team.interrupt()
        raise
    finally:
        team.end()


@dataclass(eq=False)
class _Task(Generic[S]):
    """A clip on its way.

    Attributes:
        clip: the clip.
        deaths: workers that ended while they read it.
        outcome: what came of it, in a tuple of one; empty before.
    """

    clip: S
    deaths: int = 0
    outcome: tuple[Any, ...] = ()


@dataclass
class _Team(Generic[S, T]):
    """Some workers and the clips that they are at."""

    read: Callable[[S], T]
    size: int
    on_crash: Callable[[S], T]
    source: Iterator[S]
    in_order: bool
    _workers: list[Worker[_Task[S]]] = field(default_factory=list, init=False)
    _again: deque[_Task[S]] = field(default_factory=deque, init=False)
    _under_way: dict[_Task[S], None] = field(default_factory=dict, init=False)  # a set that keeps its order
    _is_over: bool = field(default=False, init=False)

    def run(self) -> Iterator[T]:
        """Hand out and take back until there is nothing left."""
        while True:
            self._hand_out()
            if not self._under_way:
                return
            self._take_back()
            yield from self._pass_on()

    def interrupt(self) -> None:
        """Have everybody give up."""
        for worker in self._workers:
            worker.interrupt()

    def end(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()

    def _hand_out(self) -> None:
        for fill in range(2):  # everybody gets a clip before anybody gets a second one
            for worker in self._workers:
                if len(worker.tasks) <= fill and worker.has_room and (task := self._next()) is not None:
                    worker.hand(task, task.clip)
            while not fill and len(self._workers) < self.size and (task := self._next()) is not None:
                self._workers.append(Worker(self.read))
                self._workers[-1].hand(task, task.clip)

    def _next(self) -> _Task[S] | None:
        if self._again:
            return self._again.popleft()
        if self._is_over or len(self._under_way) >= self.size * _AHEAD:
            return None
        for clip in self.source:
            task = _Task(clip)
            self._under_way[task] = None
            return task
        self._is_over = True
        return None

    def _take_back(self) -> None:
        by_connection = {worker.connection: worker for worker in self._workers if worker.tasks}
        if not by_connection:  # all that is under way is done and waits for its turn
            return
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]  # sockets and handles are none of ours
            try:
                answer = worker.take()
            except WorkerDiedError:
                self._bury(worker)
            else:
                if answer is not None:
                    answer[0].outcome = (answer[1],)

    def _bury(self, worker: Worker[_Task[S]]) -> None:
        """Give the clips of a dead worker to others; the one that it was at has had one death more."""
        self._workers.remove(worker)
        worker.end()
        first = worker.tasks.popleft()
        first.deaths += 1
        if first.deaths >= MOST_DEATHS:
            first.outcome = (self.on_crash(first.clip),)
        else:
            self._again.append(first)
        self._again.extend(worker.tasks)

    def _pass_on(self) -> Iterator[T]:
        for task in list(self._under_way):
            if task.outcome:
                del self._under_way[task]
                yield task.outcome[0]
            elif self.in_order:
                return
