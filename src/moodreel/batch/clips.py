"""One function over many clips, in several processes: what a clip does to its reader, the other clips never notice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from moodreel.batch.worker import SLOTS, Processes, WorkerDiedError

S = TypeVar("S")
T = TypeVar("T")

CRASHED = "reading it ended the process: it is damaged or needs too much memory"

MOST_DEATHS = 2
"""Workers that a clip may end before it is given up."""
_AHEAD = 4
"""Clips a worker that are under way or wait for their turn to be handed on."""


class Hand(Protocol):
    """Somebody who reads clips, a few of which are handed over at a time; `Worker` says what its members do."""

    tasks: deque[Any]

    @property
    def has_room(self) -> bool: ...  # noqa: D102

    @property
    def is_awaited(self) -> bool: ...  # noqa: D102

    def hand(self, task: Any, clip: Any) -> None: ...  # noqa: D102

    def take(self) -> tuple[Any, Any] | None: ...  # noqa: D102

    def interrupt(self) -> None: ...  # noqa: D102

    def end(self) -> None: ...  # noqa: D102


class Crew(Protocol):
    """Where workers come from: processes here, or actors on a cluster."""

    def count(self) -> int:
        """Return how many workers there may be now."""

    def start(self, read: Callable[[Any], Any]) -> Hand:
        """Start one more, which reads with `read`."""

    def wait(self, workers: Sequence[Any]) -> Iterable[Any]:
        """Wait until some have something to say, and return those; none where it is time to look around."""


@dataclass(frozen=True)
class Parts(Generic[S]):
    """What reading gives for a clip that several workers had better share.

    Attributes:
        pieces: clips of their own.
        join: makes of what came of them, in their order, one more clip, of which the outcome comes.
    """

    pieces: Sequence[S]
    join: Callable[[Sequence[Any]], S]


def map_clips(
    read: Callable[[S], T],
    clips: Iterable[S],
    workers: int,
    on_crash: Callable[[S], T],
    *,
    in_order: bool = True,
    isolated: bool = False,
    crew: Crew | None = None,
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
        crew: where workers come from; `None` for processes here. To one from elsewhere `read` may say `Parts`.

    Yields:
        What `read` returns. What it raises ends the map, as does Ctrl-C: the workers have ended by then.

    Raises:
        MoodreelError: a process could not be started.
    """
    if workers <= 1 and not isolated and crew is None:
        yield from map(read, clips)
        return
    team = _Team(read, crew or Processes(max(1, workers)), on_crash, iter(clips), in_order)
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
        given: what is handed to a worker: the clip, or what its pieces were joined to.
        whole: the clip that it is a piece of.
        deaths: workers that ended while they read it.
        outcome: what came of it, in a tuple of one; empty before.
        pieces: what it was taken into.
        join: makes one clip of what came of the pieces.
    """

    clip: S
    whole: _Task[S] | None = None
    deaths: int = 0
    outcome: tuple[Any, ...] = ()
    pieces: Sequence[_Task[S]] = ()
    join: Callable[[Sequence[Any]], S] | None = None
    given: S = field(init=False)

    def __post_init__(self) -> None:
        self.given = self.clip

    def take_apart(self, parts: Parts[S]) -> None:
        """Have others read it piece by piece."""
        self.pieces, self.join = [_Task(piece, self) for piece in parts.pieces], parts.join

    def put_together(self) -> bool:
        """Join what came of its pieces; returns whether all of it is there, and not joined before."""
        if self.join is None or not all(piece.outcome for piece in self.pieces):
            return False
        self.given, self.join = self.join([piece.outcome[0] for piece in self.pieces]), None
        self.pieces, self.deaths = (), 0
        return True


@dataclass
class _Team(Generic[S, T]):
    """Some workers and the clips that they are at."""

    read: Callable[[S], T]
    crew: Crew
    on_crash: Callable[[S], T]
    source: Iterator[S]
    in_order: bool
    _workers: dict[Hand, None] = field(default_factory=dict, init=False)  # a set that keeps its order, as below
    _roomy: dict[Hand, None] = field(default_factory=dict, init=False)  # those that may take another clip
    _waiting: deque[_Task[S]] = field(default_factory=deque, init=False)
    _again: deque[_Task[S]] = field(default_factory=deque, init=False)  # these go first
    _under_way: dict[_Task[S], None] = field(default_factory=dict, init=False)
    _done: deque[_Task[S]] = field(default_factory=deque, init=False)
    _is_over: bool = field(default=False, init=False)

    def run(self) -> Iterator[T]:
        """Hand out and take back until there is nothing left."""
        while True:
            self._draw()
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

    def _draw(self) -> None:
        """Take clips from the source, as many as workers will soon come to."""
        most = self.crew.count() * _AHEAD
        while not self._is_over and len(self._under_way) < most:
            for clip in self.source:
                task = _Task(clip)
                self._under_way[task] = None
                self._waiting.append(task)
                break
            else:
                self._is_over = True

    def _hand_out(self) -> None:
        n_wanted = self.crew.count()
        if len(self._workers) < n_wanted:
            n_tasks = len(self._again) + len(self._waiting) + sum(len(worker.tasks) for worker in self._workers)
            while len(self._workers) < min(n_wanted, n_tasks):
                worker = self.crew.start(self.read)
                self._workers[worker] = self._roomy[worker] = None
        for fill in range(SLOTS):  # everybody gets a clip before anybody gets a second one
            for worker in list(self._roomy) if self._again or self._waiting else ():
                if len(worker.tasks) <= fill and worker.has_room and (task := self._next()) is not None:
                    worker.hand(task, task.given)
                if len(worker.tasks) >= SLOTS:
                    del self._roomy[worker]

    def _next(self) -> _Task[S] | None:
        waiting = self._again or self._waiting
        while waiting:
            task = waiting.popleft()
            if not (task.whole or task).outcome:  # else its clip was given up over another piece
                return task
            waiting = self._again or self._waiting
        return None

    def _take_back(self) -> None:
        awaited = [worker for worker in self._workers if worker.is_awaited]
        if not awaited:  # all that is under way is done and waits for its turn
            return
        for worker in self.crew.wait(awaited):
            try:
                answer = worker.take()
            except WorkerDiedError:
                self._bury(worker)
            else:
                self._roomy[worker] = None
                if answer is not None:
                    self._note(*answer)

    def _note(self, task: _Task[S], outcome: Any) -> None:
        if isinstance(outcome, Parts):
            task.take_apart(outcome)
            self._again.extend(task.pieces)
            return
        self._finish(task, outcome)
        if task.whole is not None and task.whole.put_together():
            self._again.append(task.whole)

    def _finish(self, task: _Task[S], outcome: Any) -> None:
        task.outcome = (outcome,)
        if task in self._under_way:
            self._done.append(task)

    def _bury(self, worker: Hand) -> None:
        """Give the clips of a dead worker to others; the one that it was at has had one death more."""
        del self._workers[worker]
        self._roomy.pop(worker, None)
        worker.end()
        if not worker.tasks:
            return
        first = worker.tasks.popleft()
        first.deaths += 1
        if first.deaths >= MOST_DEATHS:
            whole = first.whole or first
            if not whole.outcome:
                self._finish(whole, self.on_crash(whole.clip))
        else:
            self._again.append(first)
        self._again.extend(worker.tasks)

    def _pass_on(self) -> Iterator[T]:
        if self.in_order:
            while self._under_way and (task := next(iter(self._under_way))).outcome:
                del self._under_way[task]
                yield task.outcome[0]
            self._done.clear()
        while self._done:
            task = self._done.popleft()
            del self._under_way[task]
            yield task.outcome[0]
