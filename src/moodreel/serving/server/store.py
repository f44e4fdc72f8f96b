"""Jobs in a file of SQLite, so that they outlive the server; what is deleted there is overwritten."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moodreel.errors import MoodreelError
from moodreel.serving.protocol.problems import KINDS, Problem
from moodreel.serving.protocol.replies import TextFormat
from moodreel.serving.server.jobs import Job, JobState

log = logging.getLogger(__name__)

_APPLICATION, _VERSION = 0x6D6F6F64, 1
_COLUMNS = {
    "id": "TEXT PRIMARY KEY", "clip": "TEXT", "file": "TEXT", "batch": "TEXT", "webhook": "TEXT", "state": "TEXT",
    "received_at": "REAL", "finished_at": "REAL", "n_begun": "INTEGER", "is_answered": "INTEGER", "is_told": "INTEGER",
    "problem": "TEXT", "detail": "TEXT", "prediction": "TEXT", "csv": "TEXT", "vtt": "TEXT",
}  # fmt: skip
_CREATE = f"CREATE TABLE IF NOT EXISTS jobs ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})"
# Not INSERT OR REPLACE, which would give the row another place: the order of rows is that of the uploads.
_WRITE = (
    f"INSERT INTO jobs VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = :{name}' for name in _COLUMNS)}"
)


class JobStore:
    """The file. Made by `open_store`.

    A fault of the disk while the server runs costs what a restart would have kept, and no answer.
    """

    def __init__(self, connection: sqlite3.Connection, uploads: Path) -> None:
        self._connection = connection
        self._uploads = uploads

    def write(self, job: Job) -> None:
        """Write down how a job stands."""
        row = _describe(job)
        self._try(lambda: self._connection.execute(_WRITE, row))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete jobs, and overwrite where they stood."""

        def run() -> None:
            self._connection.executemany("DELETE FROM jobs WHERE id = ?", [(id,) for id in ids])
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._try(run)

    def read(self) -> list[Job]:
        """Return all jobs in the order in which they came; rows that make no sense are deleted."""
        jobs, damaged = [], []
        for row in self._connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY rowid").fetchall():
            try:
                jobs.append(_restore(dict(zip(_COLUMNS, row, strict=True)), self._uploads))
            except (ValueError, TypeError, KeyError, RecursionError):
                damaged.append(row[0])
        if damaged:
            self.delete(damaged)
        return jobs

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _try(self, run: Callable[[], object]) -> None:
        try:
            run()
        except sqlite3.Error as error:
            log.error("jobs cannot be kept (%s); free some space, or start with --no-keep-jobs", error)


def open_store(path: Path, uploads: Path) -> JobStore:
    """Open a file of jobs, or make it.

    Args:
        path: the file; nobody but this user can read it.
        uploads: the folder in which the clips of its jobs lie.

    Raises:
        MoodreelError: it cannot be opened, another server holds it, it is damaged, or it is none of ours.
    """
    try:
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace("database is locked", "another server does")
        raise MoodreelError(
            f"{path}: jobs cannot be kept there ({reason}); choose another --state, or use --no-keep-jobs"
        ) from None
    return JobStore(connection, uploads)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # until it is closed or its process ends, however that ends
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and marks != [_APPLICATION, _VERSION]:
        raise sqlite3.DatabaseError("it was made by another program or version")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing, a power cut the last moments at most
    with connection:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute(_CREATE)


def _describe(job: Job) -> dict[str, Any]:
    now, texts = job.now, job.now.texts or {}
    return {
        "id": job.id,
        "clip": job.clip,
        "file": job.path.name,
        "batch": job.batch,
        "webhook": job.webhook,
        "state": now.state,
        "received_at": _to_date(job.received_s),
        "finished_at": _to_date(job.finished_s),
        "n_begun": job.n_begun,
        "is_answered": job.is_answered,
        "is_told": job.is_told,
        "problem": now.problem.kind if now.problem else None,
        "detail": now.problem.detail if now.problem else None,
        "prediction": None if now.prediction is None else json.dumps(now.prediction),
        **{format.value: texts.get(format) for format in TextFormat},
    }


def _restore(row: dict[str, Any], uploads: Path) -> Job:
    """Return the job of a row; one that was being read waits again.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: no server has written it.
    """
    job = Job(row["clip"], uploads / Path(row["file"]).name, batch=row["batch"], webhook=row["webhook"], id=row["id"])
    job.received_s, job.finished_s = _from_date(row["received_at"]), _from_date(row["finished_at"])
    job.n_begun, job.is_kept = int(row["n_begun"]), True
    job.is_answered, job.is_told = bool(row["is_answered"]), bool(row["is_told"])
    if row["state"] == "failed":
        KINDS[row["problem"]]
        job.now = JobState("failed", problem=Problem(row["problem"], row["detail"]))
    elif row["state"] == "done":
        texts = {format.value: row[format.value] for format in TextFormat}
        job.now = JobState("done", 1.0, json.loads(row["prediction"]), texts)
    return job


def _to_date(monotonic_s: float) -> float:
    """Return the Unix time of a moment, which another process can make something of."""
    return time.time() - (time.monotonic() - monotonic_s)


def _from_date(at: float) -> float:
    """Return the moment of a Unix time; none lies ahead, though a clock may have been set back."""
    return time.monotonic() - max(0.0, time.time() - at)
