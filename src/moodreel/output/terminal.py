"""What a command says on stderr while it works: errors, warnings, and on a terminal a progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moodreel.media.parts import Part
from moodreel.output.clock import format_clock
from moodreel.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass
class Terminal:
    """Speaks on stderr.

    Attributes:
        quiet: nothing but errors, also where `verbose` is asked for.
        verbose: say what is being done.
    """

    quiet: bool
    verbose: bool
    _bars: Progress | None = field(default=None, init=False)
    _bar: TaskID | None = field(default=None, init=False)
    _all: TaskID | None = field(default=None, init=False)
    _sizes: Sequence[int] = field(default=(), init=False)
    _n_before: int = field(default=0, init=False)
    _n_started: int = field(default=0, init=False)
    _began_s: float = field(default=0.0, init=False)

    def say(self, text: str) -> None:
        """Write one line, above the bar where there is one."""
        if self._bars is not None:
            self._bars.console.print(f"moodreel: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"moodreel: {text}", file=sys.stderr)

    def warn(self, text: str) -> None:
        """Write one line unless asked to be quiet."""
        if not self.quiet:
            self.say(f"warning: {text}")

    def note(self, text: str) -> None:
        """Write one line of what the user should know, unless asked to be quiet."""
        if not self.quiet:
            self.say(text)

    def tell(self, text: str) -> None:
        """Write what is being done where asked to."""
        if self.verbose and not self.quiet:
            self.say(text)

    @contextmanager
    def show_progress(self, sizes: Sequence[int], n_before: int = 0) -> Iterator[None]:
        """Show a bar for each of some clips and one for all where stderr is a terminal; they are gone at the end.

        Args:
            sizes: of each clip to come, in bytes: what the time left is estimated by.
            n_before: clips that were done before.
        """
        self._sizes, self._n_before, self._n_started = sizes, n_before, 0
        self._began_s = time.monotonic()
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        with self._open_bars() as self._bars:
            if len(sizes) > 1:
                self._all = self._bars.add_task(tell_progress(n_before, n_before + len(sizes), 0, None), total=1.0)
            yield
        self._bars = self._bar = self._all = None

    @contextmanager
    def show_total(self) -> Iterator[None]:
        """Show one bar for many files read elsewhere, where stderr is a terminal; `show` moves it."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        with self._open_bars() as self._bars:
            self._all = self._bars.add_task("", total=1.0)
            yield
        self._bars = self._all = None

    def show(self, told: str, share: float) -> bool:
        """Move the bar for all files; returns whether there is one.

        Args:
            told: what to write beside it.
            share: how much is done, 0-1.
        """
        if self._bars is None or self._all is None:
            return False
        self._bars.update(self._all, description=told, completed=share)
        return True

    def _open_bars(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        # Only where both are one terminal may answers go through the bar's console; elsewhere stdout is a file or pipe.
        shared = sys.stdout is not None and sys.stdout.isatty()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        return Progress(*columns, console=console, transient=True, redirect_stdout=shared, redirect_stderr=False)

    def start(self, clip: Part) -> Callable[[float], None] | None:
        """Begin a clip; return what to call with its done share (0-1), `None` where no progress is shown."""
        self.count(clip)
        if self._bars is None:
            return None
        from rich.markup import escape

        bars = self._bars
        if self._bar is not None:
            bars.remove_task(self._bar)
        n_clips = self._n_before + len(self._sizes)
        number = f"{self._n_before + self._n_started} of {n_clips}: " if n_clips > 1 else ""
        bar = self._bar = bars.add_task(number + escape(printable(clip.name)), total=1.0)
        return lambda share: bars.update(bar, completed=min(share, 1.0))

    def count(self, clip: Part) -> None:
        """Note that a clip is read, here or elsewhere."""
        self._n_started += 1
        self.tell(f"reading {printable(str(clip))}")

    def finish(self, n_failed: int) -> None:
        """End a clip, well or not; say how many have failed by now, and how long the others will take."""
        if self._bars is None or self._all is None:
            return
        share = sum(self._sizes[: self._n_started]) / max(1, sum(self._sizes))
        took_s = time.monotonic() - self._began_s
        left_s = took_s * (1 - share) / share if share else None
        n_done, n_clips = self._n_before + self._n_started, self._n_before + len(self._sizes)
        rate_hz = self._n_started / took_s if took_s else None
        self.show(tell_progress(n_done, n_clips, n_failed, left_s, rate_hz), share)


def tell_progress(n_done: int, n_clips: int, n_failed: int, left_s: float | None, rate_hz: float | None = None) -> str:
    """Say how far a run is: "3 of 40 files done, 1 failed, 2.5 files/s, 12:30 left"."""
    failed = f", {n_failed} failed" if n_failed else ""
    if left_s is None or n_done >= n_clips:
        return f"{n_done} of {n_clips} files done{failed}"
    rate = "" if not rate_hz else f", {rate_hz:.1f} files/s" if rate_hz >= 1 else f", {60 * rate_hz:.1f} files/min"
    return f"{n_done} of {n_clips} files done{failed}{rate}, {format_clock(left_s)} left"
