"""Jobs: one uploaded clip each, from the upload to the answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel.serving.protocol.problems import Problem

FINISHED = ("done", "failed")


def make_id() -> str:
    """Return an id that cannot be guessed."""
    return secrets.token_urlsafe(16)


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
        batch: id of the batch that it came with; empty for none.
        webhook: the address that is told when it is finished, or its batch; empty for none.
        now: where it stands.
        received_s: monotonic time at which it came.
        finished_s: monotonic time at which it was finished.
        n_begun: how often a server has begun to read it.
        is_answered: whether a client has waited for its answer, so that it is forgotten before others.
        is_kept: whether a client knows its id, so that it outlives the server.
        is_told: whether nothing is left to be said to the web hook.
    """

    def __init__(self, clip: str, path: Path, *, batch: str = "", webhook: str = "", id: str = "") -> None:
        self.id = id or make_id()
        self.clip = clip
        self.path = path
        self.batch = batch
        self.webhook = webhook
        self.now = JobState()
        self.received_s = time.monotonic()
        self.finished_s = 0.0
        self.n_begun = 0
        self.is_answered = False
        self.is_kept = False
        self.is_told = not webhook
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

    def to_dict(self, *, is_whole: bool = True) -> dict[str, Any]:
        """Return the job as the API shows it.

        Args:
            is_whole: whether its prediction is shown too.
        """
        now = self.now
        return {
            "id": self.id,
            "clip": self.clip,
            "state": now.state,
            "progress": round(now.progress, 3),
            "prediction": now.prediction if is_whole else None,
            "problem": now.problem.to_dict() if now.problem else None,
        }


def describe_batch(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return a batch as the API shows it: its jobs without their predictions.

    Args:
        jobs: of one batch, at least one.
    """
    states = {job.now.state for job in jobs}
    shares = [1.0 if job.now.is_finished else job.now.progress for job in jobs]
    return {
        "id": jobs[0].batch,
        "state": "done" if states <= set(FINISHED) else "queued" if states == {"queued"} else "running",
        "progress": round(sum(shares) / len(shares), 3),
        "jobs": [job.to_dict(is_whole=False) for job in jobs],
    }
