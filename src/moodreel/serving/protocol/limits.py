"""How much a server takes on. Every queue, size and wait has a bound here."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        upload_bytes: largest clip.
        upload_s: longest time that an upload may take.
        upload_idle_s: longest time without a byte of it.
        clip_s: longest clip, as the file declares it.
        picture_px: most pixels of a picture; a 16 megapixel photograph fits, 8K does not.
        workers: processes that read clips, one clip at a time each.
        waiting_jobs: clips that may wait for them or be uploaded just now; one more is answered with 429.
        batch_files: clips that one request may bring.
        job_s: longest time that a clip may be worked on.
        memory_bytes: what a clip may take in a worker, on top of the opened networks.
        answer_within_s: a clip that is ready by then is answered at once, with 200 and not 202.
        keep_s: how long a finished job can be asked for.
        kept_jobs: finished jobs kept at most, the latest.
        streams: live streams at a time, each with a process of its own.
        stream_s: longest live stream.
        stream_idle_s: longest time in which a live client sends nothing, or takes nothing.
        message_bytes: largest message of a live stream: one JPEG, or a stretch of sound.
        flood_bytes: a live client that sends more in one second is cut off.
        searches: searches of a library that may run or wait, one at a time.
        search_s: longest time until a search has its answer.
        waiting_thumbnails: thumbnails that may be drawn or wait, one at a time.
        thumbnail_s: longest time that drawing one may take.
    """

    upload_bytes: int = 256 * MIB
    upload_s: float = 300.0
    upload_idle_s: float = 15.0
    clip_s: float = 1800.0
    picture_px: int = 4096 * 4096
    workers: int = 2
    waiting_jobs: int = 16
    batch_files: int = 100
    job_s: float = 600.0
    memory_bytes: int = 2048 * MIB
    answer_within_s: float = 10.0
    keep_s: float = 600.0
    kept_jobs: int = 64
    streams: int = 2
    stream_s: float = 3600.0
    stream_idle_s: float = 20.0
    message_bytes: int = MIB
    flood_bytes: int = 8 * MIB
    searches: int = 32
    search_s: float = 10.0
    waiting_thumbnails: int = 256
    thumbnail_s: float = 30.0

    @property
    def places(self) -> int:
        """Clips that may be uploaded, wait or be read at a time."""
        return self.workers + self.waiting_jobs
