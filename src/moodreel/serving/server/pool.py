"""A fixed number of workers and the queue before them. One that crashes or hangs costs its clip alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.failures import log_failure
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import Message
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.protocol.problems import Problem
from moodreel.serving.protocol.replies import Finished, Progress, Taken, read_reply
from moodreel.serving.server.book import JobBook
from moodreel.serving.server.jobs import Job, JobState
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.worker_process import Worker, start_worker

log = logging.getLogger(__name__)

_RETRY_S = 5.0
_CLIPS_A_WORKER = 500
"""A worker is replaced after so many clips: what a decoder leaks or hostile media left behind ends with it."""

_TAKE_S = 30.0
"""How long a worker that has nothing else to do may take to begin with a clip."""


class NotTakenError(EOFError):
    """A worker did not begin with a clip."""


@dataclass(frozen=True, order=True)
class _Entry:
    """A job in the queue.

    Attributes:
        number: its turn; a job that is given back keeps it.
        job: the job.
        is_second_try: whether a worker has failed to take it already.
    """

    number: int
    job: Job = field(compare=False)
    is_second_try: bool = field(default=False, compare=False)


class WorkerPool:
    """Reads the clips of jobs, several at a time."""

    def __init__(self, options: WorkerOptions, limits: Limits, book: JobBook, metrics: Metrics) -> None:
        self._options = options
        self._limits = limits
        self._book = book
        self._metrics = metrics
        self._queue: asyncio.PriorityQueue[_Entry] = asyncio.PriorityQueue()
        self._numbers = count()
        self._open: set[Job] = set()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._slots: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the workers.

        Raises:
            MoodreelError: the bundle cannot be used, or a process cannot start.
        """
        first = await start_worker(self._options)
        workers: list[Worker | None] = [first, *[None] * (self._limits.workers - 1)]
        self._slots = [asyncio.create_task(self._serve(worker)) for worker in workers]

    async def stop(self) -> None:
        """End all workers; jobs that are not finished wait for the next server, or fail."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        for job in self._open:
            if not self._book.put_back(job):
                job.fail(Problem("stopping", f"{job.clip}: the server stopped; upload it again"))

    def add(self, job: Job) -> None:
        """Queue a job, whose place has been taken."""
        self._book.add(job)
        self._open.add(job)
        self._queue.put_nowait(_Entry(next(self._numbers), job))

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Stop jobs, whatever they are doing, and forget them."""
        self._book.remove(jobs)
        for job in jobs:
            if not job.now.is_finished:
                job.fail(Problem("not-found", "the job was deleted"))
            if job in self._running:
                self._running[job].cancel()

    async def _serve(self, worker: Worker | None) -> None:
        """Read one clip after another in one worker at a time."""
        n_clips = 0
        try:
            while True:
                if worker is None or n_clips >= _CLIPS_A_WORKER or self._is_spent(worker):
                    worker, n_clips = await self._replace(worker), 0
                await self._run(worker, await self._queue.get())
                n_clips += 1
        finally:
            if worker is not None:
                await worker.kill()

    def _is_spent(self, worker: Worker) -> bool:
        """Tell whether a worker has gone, or a clip has left it with less than half of its memory for the next."""
        return not worker.is_alive or worker.has_grown(self._limits.memory_bytes // 2)

    async def _replace(self, worker: Worker | None) -> Worker:
        if worker is not None:
            await worker.kill()
            self._metrics.workers_replaced.inc()
        while True:
            try:
                return await start_worker(self._options)
            except MoodreelError as error:
                log.error("%s; trying again in %.0f s", error, _RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def _run(self, worker: Worker, entry: _Entry) -> None:
        begun_s, job = time.monotonic(), entry.job
        try:
            if not job.now.is_finished and not await self._read(worker, entry):
                self._queue.put_nowait(replace(entry, is_second_try=True))
                return
        except Exception as error:  # a fault of ours costs this clip, not the slot
            log_failure(error)
            job.fail(Problem("internal", f"{job.clip}: the server failed; please report it"))
        finally:
            if job.now.is_finished:
                self._leave(job, time.monotonic() - begun_s)

    def _leave(self, job: Job, spent_s: float) -> None:
        self._open.discard(job)
        self._book.leave_place(spent_s)
        self._book.settle(job)
        self._metrics.job_s.labels(job.now.problem.kind if job.now.problem else "ok").observe(spent_s)

    async def _read(self, worker: Worker, entry: _Entry) -> bool:
        """Read a clip in a task of its own, which deleting the job cancels; whatever cuts it short ends the worker.

        Returns:
            Whether the job is finished; else the worker had gone before, and the clip deserves another.
        """
        job = entry.job
        task = self._running[job] = asyncio.create_task(self._ask(worker, job))
        try:
            async with asyncio.timeout(self._limits.job_s):
                await asyncio.wait([task])
            task.result()
        except TimeoutError:
            job.fail(Problem("took-too-long", f"{job.clip}: not read within {self._limits.job_s:.0f} s; cut it"))
        except NotTakenError:
            if not entry.is_second_try:
                return False
            job.fail(Problem("worker-died", f"{job.clip}: no worker takes it; try again later"))
        except EOFError:
            detail = f"{job.clip}: reading it broke off; it is damaged or needs too much memory: convert or cut it"
            job.fail(Problem("worker-died", detail))
        except asyncio.CancelledError:
            if not task.cancelled():  # the pool is stopping, and not this job alone
                raise
        finally:
            del self._running[job]
            if not task.done() or task.cancelled() or task.exception():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await worker.kill()
        return True

    async def _ask(self, worker: Worker, job: Job) -> None:
        await self._hand_over(worker, job)
        self._book.begin(job)
        while not job.now.is_finished:
            match read_reply((await worker.receive()).head):
                case Progress(share):
                    job.change(replace(job.now, progress=share))
                case Finished(prediction, texts):
                    job.change(JobState("done", 1.0, prediction, texts))
                case Problem() as problem:
                    self._note(problem)
                    job.fail(problem)
                case reply:
                    raise EOFError(f"a worker says {reply} in the midst of a clip")

    async def _hand_over(self, worker: Worker, job: Job) -> None:
        """Give a clip to a worker; that it died or went astray since its last one is not this clip's doing.

        Raises:
            NotTakenError: it does not take the clip.
        """
        try:
            async with asyncio.timeout(_TAKE_S):
                await worker.send(Message({"job": job.id, "path": str(job.path), "name": job.clip}))
                reply = read_reply((await worker.receive()).head)
        except (EOFError, TimeoutError) as error:
            raise NotTakenError from error
        if reply != Taken(job.id):
            raise NotTakenError

    def _note(self, problem: Problem) -> None:
        if problem.kind == "internal":  # told without a clip's name or contents
            log.error("a worker failed: %s", problem.detail)
