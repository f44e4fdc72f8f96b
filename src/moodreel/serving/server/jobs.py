"""Jobs: one uploaded clip each, from the upload to the answer; kept for a while, then forgotten."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.problems import Problem, ProblemError

FINISHED = ("done", "failed")


@dataclass(frozen=True)
class JobState:
    """A job at one instant.

    Attributes:
        state: `queued`, `running`, `done` or `failed`.
        progress: share done, 0-1.
        prediction: the answer as `prediction.schema.json` describes it, once done.
        texts: the answer in other formats by name, once done.
        problem: why it failed, once failed.
    """

    state: str = "queued"
    progress: float = 0.0
    prediction: dict[str, Any] | None = None
    texts: dict[str, str] | None = None
    problem: Problem | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED


class Job:
    """One clip to be read.

    Attributes:
        id: what the client asks for it by; cannot be guessed.
        clip: the clip as the client named it.
        path: the uploaded file, which goes when the job is finished.
        now: where it stands.
        finished_s: monotonic time at which it was finished.
        is_answered: whether a client has waited for its answer, so that it is forgotten before others.
    """

    def __init__(self, clip: str, path: Path) -> None:
        self.id = secrets.token_urlsafe(16)
        self.clip = clip
        self.path = path
        self.now = JobState()
        self.finished_s = 0.0
        self.is_answered = False
        self._changed = asyncio.Event()

    def change(self, state: JobState) -> None:
        """Go on to another state and tell whoever waits for it."""
        self.now = state
        self.finished_s = time.monotonic() if state.is_finished else 0.0
        self._changed.set()
        self._changed = asyncio.Event()
        if state.is_finished:
            self.path.unlink(missing_ok=True)

    def fail(self, problem: Problem) -> None:
        """Finish without an answer."""
        self.change(JobState("failed", self.now.progress, problem=problem))

    async def next_state(self, seen: JobState | None) -> JobState:
        """Wait for another state than the one that was seen; changes in quick succession may be one."""
        while self.now is seen:
            await self._changed.wait()
        return self.now

    async def finish(self) -> JobState:
        """Wait for the last state."""
        state = self.now
        while not state.is_finished:
            state = await self.next_state(state)
        return state

    def to_dict(self) -> dict[str, Any]:
        """Return the job as the API shows it."""
        now = self.now
        return {
            "id": self.id,
            "clip": self.clip,
            "state": now.state,
            "progress": round(now.progress, 3),
            "prediction": now.prediction,
            "problem": now.problem.to_dict() if now.problem else None,
        }


class JobBook:
    """All jobs that can be asked for, and how many more may come.

    A place is taken before the upload begins, so that a busy server refuses a clip and not its last byte.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: OrderedDict[str, Job] = OrderedDict()
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
        if self._taken >= limits.workers + limits.waiting_jobs:
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
        self._forget()
        self._jobs[job.id] = job

    def find(self, id: str) -> Job:
        """Return a job.

        Raises:
            ProblemError: there is none, or it has been forgotten.
        """
        self._forget()
        if id not in self._jobs:
            kept_min = self._limits.keep_s / 60
            detail = f"no job of that id; answers are kept for {kept_min:.0f} min, upload the clip again"
            raise ProblemError("not-found", detail)
        return self._jobs[id]

    def remove(self, job: Job) -> None:
        """Let a job be asked for no longer."""
        self._jobs.pop(job.id, None)

    def _forget(self) -> None:
        finished = [job for job in self._jobs.values() if job.now.is_finished]
        oldest_s = time.monotonic() - self._limits.keep_s
        n_surplus = len(finished) - self._limits.kept_jobs
        for number, job in enumerate(sorted(finished, key=lambda job: (not job.is_answered, job.finished_s))):
            if number < n_surplus or job.finished_s < oldest_s:
                self.remove(job)
