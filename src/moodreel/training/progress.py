"""How far a phase of training is: a bar with the time left on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

Show = Callable[[int], None]
"""Takes how many steps are done."""

_SAY_EVERY_S = 10.0
_is_shown = True


def hide_bars() -> None:
    """Show no bars in this process, which shares its terminal with others that do."""
    global _is_shown  # noqa: PLW0603  # a process has one terminal
    _is_shown = False


@contextmanager
def phase(name: str, n_steps: int | None = None) -> Iterator[Show]:
    """Say on stderr that a phase goes on, how far it is, and how long it still takes.

    Args:
        name: of the phase, in words.
        n_steps: steps in all; `None` where nobody can tell.

    Yields:
        What is called with the number of steps done.
    """
    begun_s = time.monotonic()
    with _bar(name, n_steps) if _is_shown and sys.stderr.isatty() else _lines(name, n_steps) as show:
        yield show
    number = "" if n_steps is None else f" {n_steps} of {n_steps},"
    logger.info("%s:%s %.0f s", name, number, time.monotonic() - begun_s)


@contextmanager
def _bar(name: str, n_steps: int | None) -> Iterator[Show]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    left = (
        [TimeElapsedColumn()] if n_steps is None else [MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")]
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *left)
    shared = sys.stdout is not None and sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shared) as bars:
        bar = bars.add_task(escape(name), total=n_steps)
        yield lambda done: bars.update(bar, completed=done)


@contextmanager
def _lines(name: str, n_steps: int | None) -> Iterator[Show]:
    begun_s = said_s = time.monotonic()

    def show(done: int) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        if n_steps and done and now_s - said_s >= _SAY_EVERY_S:
            left_s = (now_s - begun_s) / done * (n_steps - done)
            logger.info("%s: %d of %d, %.0f s left", name, done, n_steps, left_s)
            said_s = now_s

    yield show
