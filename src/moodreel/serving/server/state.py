"""The folder of a server that outlives it: its jobs, and the clips that no worker has read yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moodreel.errors import MoodreelError
from moodreel.serving.server.jobs import Job
from moodreel.serving.server.spool import open_spool
from moodreel.serving.server.store import JobStore, open_store
from moodreel.serving.server.uploads import UPLOAD_PREFIX

_JOBS, _CLIPS = "jobs.sqlite", "moodreel-clips"


@dataclass(frozen=True)
class State:
    """What a server has on disk.

    Attributes:
        folder: where uploads lie until they are read.
        store: its jobs; `None` where they end with it.
        jobs: what an earlier server left.
    """

    folder: Path
    store: JobStore | None = None
    jobs: list[Job] = field(default_factory=list)


@contextmanager
def open_state(place: Path | None) -> Iterator[State]:
    """Open a server's folder; clips that belong to no job are deleted.

    Args:
        place: the folder, made where it is not there; `None` for one that goes at the end, with all jobs.

    Raises:
        MoodreelError: another server uses it, or it cannot be used.
    """
    if place is None:
        with open_spool() as folder:
            yield State(folder)
        return
    clips = place / _CLIPS
    try:
        for folder in (place, clips):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MoodreelError(
            f"{place}: jobs cannot be kept there ({error.strerror}); choose another --state, or use --no-keep-jobs"
        ) from None
    store = open_store(place / _JOBS, clips)  # refuses a second server
    try:
        jobs = store.read()
        _clear(clips, {job.path for job in jobs if not job.now.is_finished})
        yield State(clips, store, jobs)
    finally:
        store.close()


def _clear(clips: Path, wanted: set[Path]) -> None:
    for left in clips.glob(f"{UPLOAD_PREFIX}*"):
        if left not in wanted and left.is_file():
            left.unlink()
