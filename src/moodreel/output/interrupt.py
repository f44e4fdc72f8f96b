"""Ctrl-C, noted when it comes and acted on where that is safe.

Python raises `KeyboardInterrupt` wherever it happens to be. While PyAV's C code asks our file object for bytes, that is
a place where the exception is swallowed or taken for a damaged file, and the run would go on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupt:
    """What the user wants of a run that can stop between two steps.

    Attributes:
        has_come: whether the user has pressed Ctrl-C.
    """

    def __init__(self) -> None:
        self.has_come = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note Ctrl-C instead of raising; a second one raises at once, for a step that takes too long.

        Signals reach the main thread alone, and a run in the background may ignore them: then all stays as it is.
        """
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Stop here if the user wants that.

        Raises:
            KeyboardInterrupt: Ctrl-C has come.
        """
        if self.has_come:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self.has_come = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
