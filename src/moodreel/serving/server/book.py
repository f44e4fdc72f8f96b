"""All jobs that can be asked for: kept for a while, then forgotten; with a store they outlive the server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import Problem, ProblemError
from moodreel.serving.server.jobs import Job, JobState, describe_batch
from moodreel.serving.server.store import JobStore
from moodreel.serving.server.webhooks import Event, Webhooks

_LONGEST_WAIT_S = 24 * 3600.0
"""A clip that no server has read by then is not read any more."""
_MOST_BEGUN = 2


class JobBook:
    """All jobs that can be asked for, and how many more may come.

    A place is taken before the upload begins, so that a busy server refuses a clip and not its last byte.
    """

    def __init__(self, limits: Limits, webhooks: Webhooks, store: JobStore | None = None) -> None:
        self._limits = limits
        self._webhooks = webhooks
        self._store = store
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._being_told: set[str] = set()
        self._taken = 0
        self._spent_s = 1.0

    @property
    def taken(self) -> int:
        """Clips being uploaded, waiting or read."""
        return self._taken

    def take_place(self) -> None:
        """Take a place for one clip.

        Raises:
            ProblemError: all are taken; says when to come back.
        """
        limits = self._limits
        if self._taken >= limits.places:
            wait_s = min(60, max(1, round(self._spent_s * self._taken / limits.workers)))
            detail = f"{self._taken} clips are being read or wait; come back in {wait_s} s"
            raise ProblemError("queue-full", detail, {"Retry-After": str(wait_s)})
        self._taken += 1

    def leave_place(self, spent_s: float | None = None) -> None:
        """Give a place back.

        Args:
            spent_s: how long a worker was busy with the clip.
        """
        self._taken -= 1
        if spent_s is not None:
            self._spent_s += (spent_s - self._spent_s) / 10

    def add(self, job: Job) -> None:
        """Let a job be asked for."""
        self.forget()
        self._jobs[job.id] = job

    def find(self, id: str) -> Job:
        """Return a job.

        Raises:
            ProblemError: there is none, or it has been forgotten.
        """
        self.forget()
        if id not in self._jobs:
            raise self._gone("job")
        return self._jobs[id]

    def find_batch(self, id: str) -> list[Job]:
        """Return the jobs of a batch that are left, at least one, in the order of their clips.

        Raises:
            ProblemError: there is none, or all have been forgotten.
        """
        self.forget()
        jobs = self._batch_of(id)
        if not jobs:
            raise self._gone("batch")
        return jobs

    def remove(self, jobs: Sequence[Job]) -> None:
        """Let jobs be asked for no longer."""
        self._drop(jobs)
        for batch in {job.batch for job in jobs if job.batch}:
            if left := self._batch_of(batch):
                self._announce(left[0])

    def keep(self, job: Job) -> None:
        """Let a job outlive the server: from now on a client knows its id."""
        job.is_kept = True
        self._write(job)

    def begin(self, job: Job) -> None:
        """Note that a worker has taken a job."""
        job.n_begun += 1
        job.change(JobState("running"))
        self._write(job)

    def settle(self, job: Job) -> None:
        """Note that a job is finished, and tell the web hook that waits for it or for its batch."""
        if job.id in self._jobs:
            self._write(job)
            self._announce(job)

    def put_back(self, job: Job) -> bool:
        """Leave a job to the next server, where one will know of it; returns whether."""
        if self._store is None or not job.is_kept:
            return False
        if job.now.state == "running":
            job.n_begun -= 1  # that it was not read to its end is not its doing
            job.change(JobState())
        self._write(job)
        return True

    def resume(self, jobs: Sequence[Job]) -> list[Job]:
        """Go on with what an earlier server left.

        Args:
            jobs: of its store.

        Returns:
            Those that are to be read; each has taken a place, however many there are.
        """
        self._jobs.update((job.id, job) for job in jobs)
        unread = []
        for job in jobs:
            if not job.now.is_finished and (problem := _refuse(job)):
                job.fail(problem)
                self._write(job)
            if job.now.is_finished:
                self._announce(job)
            else:
                unread.append(job)
        self._taken += len(unread)
        self.forget()
        return unread

    def forget(self) -> None:
        """Forget what has been kept long enough."""
        open_batches = {job.batch for job in self._jobs.values() if job.batch and not job.now.is_finished}
        finished = [one for one in self._jobs.values() if one.now.is_finished and one.batch not in open_batches]
        oldest_s = time.monotonic() - self._limits.keep_s
        n_surplus = len(finished) - self._limits.kept_jobs
        ranked = sorted(finished, key=lambda job: (not job.is_answered, job.finished_s))
        gone = [job for number, job in enumerate(ranked) if number < n_surplus or job.finished_s < oldest_s]
        if gone:
            self._drop(gone)

    def _batch_of(self, id: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.batch == id]

    def _write(self, job: Job) -> None:
        if self._store is not None and job.is_kept:
            self._store.write(job)

    def _announce(self, job: Job) -> None:
        jobs = self._batch_of(job.batch) if job.batch else [job]
        if job.is_told or (job.batch or job.id) in self._being_told or not all(one.now.is_finished for one in jobs):
            return
        self._being_told.add(job.batch or job.id)
        kind, data = ("batch", describe_batch(jobs)) if job.batch else ("prediction", job.to_dict(is_whole=False))
        self._webhooks.tell(job.webhook, Event(f"{kind}.{data['state']}", data), partial(self._note_told, jobs))

    def _note_told(self, jobs: Sequence[Job]) -> None:
        self._being_told.discard(jobs[0].batch or jobs[0].id)
        for job in jobs:
            job.is_told = True
            if job.id in self._jobs:
                self._write(job)

    def _drop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._jobs.pop(job.id, None)
        if self._store is not None and any(job.is_kept for job in jobs):
            self._store.delete([job.id for job in jobs])

    def _gone(self, what: str) -> ProblemError:
        kept_min = self._limits.keep_s / 60
        detail = f"no {what} of that id; answers are kept for {kept_min:.0f} min, upload the clip again"
        return ProblemError("not-found", detail)


def _refuse(job: Job) -> Problem | None:
    """Tell why a job that an earlier server left is not read any more."""
    if job.n_begun >= _MOST_BEGUN:
        return Problem("worker-died", f"{job.clip}: the server broke off each time it read it; convert or cut it")
    if time.monotonic() - job.received_s > _LONGEST_WAIT_S or not job.path.is_file():
        return Problem("stopping", f"{job.clip}: the server stopped before it was read; upload it again")
    return None
