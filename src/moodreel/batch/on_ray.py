"""Ray as one more place where workers come from: an actor a core, on whatever machines a cluster has."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from moodreel.batch.worker import SLOTS, WorkerDiedError
from moodreel.errors import MoodreelError
from moodreel.extras import advise
from moodreel.text import first_line, printable

_LOOK_AROUND_S = 5.0
"""How often it is looked whether machines have come or gone."""
_MOST_FAILED_STARTS = 8
_ENDINGS = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError")


@contextmanager
def joined_cluster(address: str | None) -> Iterator[RayCrew | None]:
    """Be part of a Ray cluster while the block runs; one that this process belongs to already is left as it is.

    Args:
        address: `auto`, or what `ray.init` takes: `HOST:PORT`, `ray://HOST:PORT`, `local`; `None` for no cluster.

    Yields:
        The workers that it has; `None` where there is none, and clips are read here.

    Raises:
        MoodreelError: Ray is not installed, or there is no such cluster.
    """
    if address is None:
        yield None
        return
    try:
        import ray
    except ImportError:
        raise MoodreelError(f"--ray needs Ray: {advise('ray')}") from None
    if ray.is_initialized():
        yield RayCrew()
        return
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")  # else it puts a function of its own in the place of print
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what later versions do
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # each kind of address has its own
        told = f"no cluster is reached ({printable(first_line(error))})"
        raise MoodreelError(f"--ray {printable(address)}: {told}; `ray start --head` starts one") from None
    try:
        yield RayCrew()
    finally:
        ray.shutdown()


@dataclass
class RayCrew:
    """Workers that are actors of the cluster that this process belongs to, each with a core of its own."""

    _n_failed_starts: int = field(default=0, init=False)
    _n_cores: int = field(default=1, init=False)
    _counted_s: float = field(default=-math.inf, init=False)

    def count(self) -> int:
        """Return how many cores the cluster has had lately, at least one, so that one that can grow does."""
        import ray

        if time.monotonic() - self._counted_s > _LOOK_AROUND_S:
            self._n_cores = max(1, int(ray.cluster_resources().get("CPU", 0)))
            self._counted_s = time.monotonic()
        return self._n_cores

    def start(self, read: Callable[[Any], Any]) -> RayWorker:
        """Start one, which gets clips once a core is free for it."""
        return RayWorker(read, self)

    def wait(self, workers: Sequence[RayWorker]) -> Sequence[RayWorker]:
        """Wait until some have something to say or have died, and return those."""
        import ray

        by_answer = {worker.next_answer: worker for worker in workers}
        ready, _ = ray.wait(list(by_answer), num_returns=1, timeout=_LOOK_AROUND_S)
        if ready:
            ready, _ = ray.wait(list(by_answer), num_returns=len(by_answer), timeout=0)
        return [by_answer[answer] for answer in ready]

    def note_start(self, failure: Exception | None) -> None:
        """Count the starts in a row that failed.

        Raises:
            MoodreelError: there are too many of them.
        """
        self._n_failed_starts = 0 if failure is None else self._n_failed_starts + 1
        if failure is not None and self._n_failed_starts > _MOST_FAILED_STARTS:
            told = printable(first_line(failure))
            raise MoodreelError(f"--ray: no worker can be started ({told}); each machine needs the same moodreel")


class RayWorker:
    """One actor, started when made; it stands where a `moodreel.batch.worker.Worker` could.

    Attributes:
        tasks: what it holds, the one that it reads first.
    """

    def __init__(self, read: Callable[[Any], Any], crew: RayCrew) -> None:
        """Ask for it; it says when it is there."""
        import ray

        self.tasks: deque[Any] = deque()
        self._crew = crew
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0)(_Reader).remote(read)
        self._hello: Any = self._actor.greet.remote()
        self._answers: deque[Any] = deque()

    @property
    def has_room(self) -> bool:
        """Whether it takes another clip."""
        return self._hello is None and len(self.tasks) < SLOTS

    @property
    def is_awaited(self) -> bool:
        """Whether it has something to say soon."""
        return self._hello is not None or bool(self.tasks)

    @property
    def next_answer(self) -> Any:
        """Reference to what it says next."""
        return self._hello if self._hello is not None else self._answers[0]

    def hand(self, task: Any, clip: Any) -> None:
        """Hand it a clip."""
        self.tasks.append(task)
        self._answers.append(self._actor.read.remote(clip))

    def take(self) -> tuple[Any, Any] | None:
        """Return what came of the first of its clips; `None` where it has but said that it is there.

        Raises:
            WorkerDiedError: the actor, or the machine that it was on, has died.
            MoodreelError: no actor can be started.
            BaseException: what reading the clip raised.
        """
        if self._hello is not None:
            self._fetch(self._hello, is_start=True)
            self._hello = None
            return None
        outcome = self._fetch(self._answers[0], is_start=False)
        self._answers.popleft()
        return self.tasks.popleft(), outcome

    def _fetch(self, answer: Any, *, is_start: bool) -> Any:
        import ray

        try:
            outcome = ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            if not any(kind.__name__ in _ENDINGS for kind in type(error).__mro__):
                raise MoodreelError(f"--ray: {printable(first_line(error))}") from None
            if is_start:
                self._crew.note_start(error)
            raise WorkerDiedError from None
        if is_start:
            self._crew.note_start(None)
        return outcome

    def interrupt(self) -> None:
        """Have it give up what it reads."""
        self.end()

    def end(self) -> None:
        """End it."""
        import ray

        with suppress(Exception):  # it has died, or the cluster has
            ray.kill(self._actor)


class _Reader:
    """What an actor is: reads one clip after another."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def greet(self) -> None:
        """Be there."""

    def read(self, clip: Any) -> Any:
        """Read one clip."""
        return self._read(clip)
