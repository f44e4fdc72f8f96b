"""Decoding and analysing side by side: one thread reads ahead while another works on what was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

from moodreel.media.frames import Frame
from moodreel.media.sounds import Sound

T = TypeVar("T")

AHEAD = 16
"""Items read ahead: 3 s of analysed frames, 11 MB. Enough for the decoder to go on while a chunk of voice is heard."""


@contextmanager
def read_ahead(items: Iterable[T], ahead: int = AHEAD) -> Iterator[Iterator[T]]:
    """Iterate in a thread of its own, a few items ahead of the consumer.

    It gains time where both sides leave the interpreter, as ffmpeg and ONNX Runtime do. The thread has ended when the
    block is left, however it is left.

    Args:
        items: what to iterate over; nobody else may touch it within the block.
        ahead: most items that wait for the consumer, at least 1; one more is in the making.

    Yields:
        The same items in the same order; what iterating raises is raised by it too, in its place.
    """
    ready: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    room, left = Semaphore(ahead), Event()

    def produce() -> None:
        try:
            for item in items:
                room.acquire()
                if left.is_set():
                    return
                ready.put((item,))
            ready.put(None)
        except BaseException as error:  # it belongs to the consumer
            ready.put(error)

    def consume() -> Iterator[T]:
        while (taken := ready.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            room.release()
            yield taken[0]

    thread = Thread(target=produce, name="moodreel-read-ahead", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        left.set()
        room.release()
        thread.join()


def report_progress(
    items: Iterable[Frame | Sound], duration_s: float, progress: Callable[[float], None] | None
) -> Iterator[Frame | Sound]:
    """Pass a clip's stream on, and tell how much of the clip has been passed on.

    Args:
        items: the stream of a clip.
        duration_s: length of the clip in seconds as declared; 0 where it is not known, and the share stays 0.
        progress: called with the share done, 0-1, which never falls.
    """
    done = 0.0
    for item in items:
        if progress is not None:
            done = max(done, min(1.0, start_of(item) / duration_s)) if duration_s > 0 else 0.0
            progress(done)
        yield item


def start_of(item: Frame | Sound) -> float:
    """Return where a frame or a block of sound stands, in seconds from the clip's start."""
    return item.time_s if isinstance(item, Frame) else item.start_s
