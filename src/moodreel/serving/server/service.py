"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from starlette.requests import HTTPConnection

from moodreel.bundle import Bundle
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.server.book import JobBook
from moodreel.serving.server.guard import Access
from moodreel.serving.server.jobs import Job
from moodreel.serving.server.library_service import LibraryService
from moodreel.serving.server.metrics import Metrics
from moodreel.serving.server.pool import WorkerPool
from moodreel.serving.server.webhooks import Webhooks


@dataclass
class Service:
    """One running server.

    Attributes:
        bundle: the bundle it serves.
        access: who may use it.
        limits: how much it takes on.
        metrics: what it counts.
        book: its jobs.
        pool: its workers.
        webhooks: whom it tells.
        folder: where uploads lie until they are read.
        options: how its workers are started.
        library: its library; `None` where it was started without.
        n_streams: live streams now.
    """

    bundle: Bundle
    access: Access
    limits: Limits
    metrics: Metrics
    book: JobBook
    pool: WorkerPool
    webhooks: Webhooks
    folder: Path
    options: WorkerOptions
    library: LibraryService | None = None
    n_streams: int = 0

    def take(self, job: Job) -> None:
        """Queue a job whose clip has come."""
        self.metrics.upload_bytes.inc(job.path.stat().st_size)
        self.pool.add(job)


def service_of(connection: HTTPConnection) -> Service:
    """Return the server that a request or web socket came to."""
    return cast(Service, connection.app.state.service)
