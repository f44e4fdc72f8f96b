"""A fixed number of workers and the queue before them. One that crashes or hangs costs its clip alone."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.messages import Message
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.protocol.problems import Problem
from moodreel.serving.server.jobs import Job, JobBook, JobState
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.worker_process import Worker, start_worker

log = logging.getLogger(__name__)

_RETRY_S = 5.0
_CLIPS_A_WORKER = 500
"""A worker is replaced after so many clips: what a decoder leaks or hostile media left behind ends with it."""


class WorkerPool:
    """Reads the clips of jobs, several at a time."""

    def __init__(self, options: WorkerOptions, limits: Limits, book: JobBook, metrics: Metrics) -> None:
        self._options = options
        self._limits = limits
        self._book = book
        self._metrics = metrics
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
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
        """End all workers; jobs that are not finished fail."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        while not self._queue.empty():
            job = self._queue.get_nowait()
            job.fail(Problem("stopping", f"{job.clip}: the server stopped; upload it again"))

    def add(self, job: Job) -> None:
        """Queue a job, whose place has been taken."""
        self._book.add(job)
        self._queue.put_nowait(job)

    def cancel(self, job: Job) -> None:
        """Stop a job, whatever it is doing, and forget it."""
        self._book.remove(job)
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
                job = await self._queue.get()
                await self._run(worker, job)
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

    async def _run(self, worker: Worker, job: Job) -> None:
        begun_s = time.monotonic()
        try:
            if not job.now.is_finished:
                await self._read(worker, job)
        finally:
            spent_s = time.monotonic() - begun_s
            self._book.leave_place(spent_s)
            self._metrics.job_s.labels(job.now.problem.kind if job.now.problem else "ok").observe(spent_s)

    async def _read(self, worker: Worker, job: Job) -> None:
        """Read a clip in a task of its own, which deleting the job cancels; whatever cuts it short ends the worker."""
        task = self._running[job] = asyncio.create_task(self._ask(worker, job))
        try:
            async with asyncio.timeout(self._limits.job_s):
                await asyncio.wait([task])
            task.result()
        except TimeoutError:
            job.fail(Problem("took-too-long", f"{job.clip}: not read within {self._limits.job_s:.0f} s; cut it"))
        except EOFError:
            detail = f"{job.clip}: reading it broke off; it is damaged or needs too much memory: convert or cut it"
            job.fail(Problem("worker-died", detail))
        except asyncio.CancelledError:
            if not task.cancelled():  # the pool is stopping, and not this job alone
                job.fail(Problem("stopping", f"{job.clip}: the server stopped; upload it again"))
                raise
        finally:
            del self._running[job]
            if not task.done() or task.cancelled() or task.exception():
                task.cancel()
                with suppress(asyncio.CancelledError, EOFError):
                    await task
                await worker.kill()

    async def _ask(self, worker: Worker, job: Job) -> None:
        job.change(JobState("running"))
        await worker.send(Message({"path": str(job.path), "name": job.clip}))
        while not job.now.is_finished:
            head = (await worker.receive()).head
            if "progress" in head:
                job.change(replace(job.now, progress=float(head["progress"])))
            elif "problem" in head:
                self._note(head)
                job.fail(Problem(head["problem"], head["detail"]))
            else:
                job.change(JobState("done", 1.0, head["prediction"], head["texts"]))

    def _note(self, head: dict[str, str]) -> None:
        if head["problem"] == "internal":  # told without a clip's name or contents
            log.error("a worker failed: %s", head["detail"])
