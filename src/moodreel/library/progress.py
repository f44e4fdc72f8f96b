"""How an index run goes, told on stderr: files done, rate, time left, failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from moodreel.library.index import Counts
from moodreel.library.reading import Outcome
from moodreel.library.sources import Spool
from moodreel.media.find import tell_kinds
from moodreel.output.clock import format_clock
from moodreel.output.terminal import Terminal, tell_progress
from moodreel.text import printable

_QUIET_S = 60.0
"""How often a line is written where stderr is no terminal."""


@dataclass
class Progress:
    """Tells a user how a run goes.

    Attributes:
        quiet: nothing but errors.
        verbose: each file too.
    """

    quiet: bool
    verbose: bool
    _terminal: Terminal = field(init=False)
    _n_files: int = field(default=0, init=False)
    _n_known: int = field(default=0, init=False)
    _n_read: int = field(default=0, init=False)
    _n_failed: int = field(default=0, init=False)
    _began_s: float = field(default_factory=time.monotonic, init=False)
    _told_s: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        self._terminal = Terminal(self.quiet, self.verbose)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show progress while the block runs; Ctrl-C ends the block alone."""
        with suppress(KeyboardInterrupt), self._terminal.show_total():
            yield

    def begin(self, spool: Spool) -> None:
        """All files are found."""
        self._n_files = spool.count
        for problem in spool.problems:
            self._terminal.say(f"error: {problem}")
        if spool.skipped:
            self._terminal.note(tell_kinds(spool.skipped))

    def known(self, n: int) -> None:
        """So many files more need not be read."""
        self._n_known += n
        self._show()

    def done(self, outcome: Outcome) -> None:
        """A file was read, or could not be."""
        self._n_read += 1
        self._n_failed += outcome.reason is not None
        if outcome.reason is not None:
            self._terminal.say(f"error: {outcome.reason}")
        else:
            self._terminal.tell(f"read {printable(outcome.origin.path)}")
        self._show()

    def _show(self) -> None:
        n_done = self._n_known + self._n_read
        rate_hz = self._n_read / max(1e-9, time.monotonic() - self._began_s)
        left_s = (self._n_files - n_done) / rate_hz if rate_hz else None
        told = tell_progress(n_done, self._n_files, self._n_failed, left_s, rate_hz)
        if self._terminal.show(told, n_done / max(1, self._n_files)):
            return
        if time.monotonic() - self._told_s > _QUIET_S:
            self._told_s = time.monotonic()
            self._terminal.note(told)

    def conclude(self, counts: Counts | None, library: str) -> None:
        """Say what came of the run.

        Args:
            counts: how it went; `None` where it was broken off.
            library: as the user named it.
        """
        took = format_clock(time.monotonic() - self._began_s)
        if counts is None:
            n_done = self._n_known + self._n_read
            self._terminal.say(f"interrupted: {n_done} of {self._n_files} files done; the same command goes on")
            return
        told = [f"{counts.read} read", f"{counts.known - counts.failed_before} there already"]
        told += [f"{counts.copied} there under another name or time"] if counts.copied else []
        told += [f"{counts.failed} failed"] if counts.failed else []
        before = f"{counts.failed_before} failed before (--retry-failed tries them again)"
        told += [before] if counts.failed_before else []
        self._terminal.note(f"{', '.join(told)}, in {took}: moodreel library {printable(library)} shows what is there")
