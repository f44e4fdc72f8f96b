"""One function over many clips, in several processes: what a clip does to its reader, the other clips never notice."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from moodreel.corpora.sample import Sample

T = TypeVar("T")

CRASHED = "reading it ended the process: it is damaged or needs too much memory"

_AHEAD = 4
"""Clips a worker that are under way or wait for their turn to be handed on."""


def map_clips(
    read: Callable[[Sample], T], samples: Iterable[Sample], workers: int, on_crash: Callable[[Sample], T]
) -> Iterator[T]:
    """Read many clips; what comes of each is passed on in their order, as soon as it is there.

    Args:
        read: reads one clip; with several workers it must be picklable, as functions of a module are.
        samples: the clips.
        workers: processes; one reads in this process.
        on_crash: what stands for a clip that took its process with it, twice; asked with several workers only.

    Yields:
        What `read` returns. What it raises ends the map, as does Ctrl-C: the workers have ended by then.
    """
    if workers <= 1:
        yield from map(read, samples)
        return
    waiting, under_way = deque(samples), deque[tuple[Sample, Future[T]]]()
    pool = _open_pool(workers)
    try:
        while waiting or under_way:
            try:
                while waiting and len(under_way) < workers * _AHEAD:
                    under_way.append((waiting[0], _submit(pool, read, waiting[0])))
                    waiting.popleft()
                outcome = under_way[0][1].result()
            except BrokenProcessPool:  # of one of these clips, nobody knows which
                suspects = [sample for sample, _ in under_way]
                under_way.clear()
                pool.shutdown()
                yield from map(partial(_read_alone, read, on_crash), suspects)
                pool = _open_pool(workers)
            else:
                under_way.popleft()
                yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _open_pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, since forking a process in which networks run can hang.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_ignore_interrupts)


def _read_alone(read: Callable[[Sample], T], on_crash: Callable[[Sample], T], sample: Sample) -> T:
    with _open_pool(1) as pool:
        try:
            return _submit(pool, read, sample).result()
        except BrokenProcessPool:
            return on_crash(sample)


def _submit(pool: ProcessPoolExecutor, read: Callable[[Sample], T], sample: Sample) -> Future[T]:
    """Queue a clip; a worker that starts for it inherits that Ctrl-C is held back until it can ignore it."""
    with _interrupts_held():
        return pool.submit(_read, read, sample)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupts() -> None:
    """Let Ctrl-C, which reaches every process of a terminal, end what is being read and not what waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _read(read: Callable[[Sample], T], sample: Sample) -> T:
    """Read one clip in a worker; Ctrl-C is raised here, so that half-written files are cleared away."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return read(sample)
    finally:
        _ignore_interrupts()
