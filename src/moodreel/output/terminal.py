"""What a command says on stderr while it works: errors, warnings, and on a terminal a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moodreel.media.parts import Part
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
    _n_clips: int = field(default=1, init=False)
    _n_started: int = field(default=0, init=False)

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

    def tell(self, text: str) -> None:
        """Write what is being done where asked to."""
        if self.verbose and not self.quiet:
            self.say(text)

    @contextmanager
    def show_progress(self, n_clips: int) -> Iterator[None]:
        """Show a bar for each of some clips where stderr is a terminal; it is gone at the end."""
        self._n_clips, self._n_started = n_clips, 0
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import Progress

        # Only where both are one terminal may answers go through the bar's console; elsewhere stdout is a file or pipe.
        shared = sys.stdout is not None and sys.stdout.isatty()
        console = Console(stderr=True)
        with Progress(console=console, transient=True, redirect_stdout=shared, redirect_stderr=False) as self._bars:
            yield
        self._bars = self._bar = None

    def start(self, clip: Part) -> Callable[[float], None] | None:
        """Begin a clip; return what to call with its done share (0-1), `None` where no progress is shown."""
        self._n_started += 1
        self.tell(f"reading {printable(str(clip))}")
        if self._bars is None:
            return None
        from rich.markup import escape

        bars = self._bars
        if self._bar is not None:
            bars.remove_task(self._bar)
        number = f"{self._n_started} of {self._n_clips}: " if self._n_clips > 1 else ""
        bar = self._bar = bars.add_task(number + escape(printable(clip.name)), total=1.0)
        return lambda share: bars.update(bar, completed=min(share, 1.0))
