"""Where the predict command's answers go: stdout, files, pictures; with progress and errors on stderr.

Answers that follow each other as lines are written at once: a run that is killed leaves them in the temporary file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from moodreel.errors import MoodreelError, OutputError
from moodreel.media.parts import Part
from moodreel.output.formats import Format
from moodreel.output.interrupt import Interrupt
from moodreel.output.places import Targets, name_apart
from moodreel.output.terminal import Terminal
from moodreel.recognition.prediction import Prediction
from moodreel.storage.whole_files import open_text, whole_file, write_text
from moodreel.text import printable

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells count: 128 and the number of the signal."""


@dataclass
class Report:
    """Collects the answers of one run.

    Attributes:
        format: how answers are written.
        output: file for all answers; for several clips that need a file each a folder; `None` is stdout.
        plot: PNG of the timeline; a folder with several clips.
        overlay: MP4 with faces and emotions drawn in; a folder with several clips.
            A place without a suffix is a folder, for all three.
        quiet: nothing on stderr but errors.
        verbose: say what is being done.
    """

    format: Format
    output: Path | None
    plot: Path | None
    overlay: Path | None
    quiet: bool
    verbose: bool
    n_failed: int = field(default=0, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _interrupt: Interrupt = field(default_factory=Interrupt, init=False)
    _terminal: Terminal = field(init=False)
    _targets: Targets = field(init=False)
    _files: ExitStack = field(default_factory=ExitStack, init=False)
    _lines: IO[str] | None = field(default=None, init=False)
    _is_list: bool = field(default=False, init=False)
    _n_answers: int = field(default=0, init=False)
    _n_rows: int = field(default=0, init=False)
    _texts: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._terminal = Terminal(self.quiet, self.verbose)

    @property
    def exit_status(self) -> int:
        """0 when every clip was predicted, 1 when some failed, 130 when the user broke off."""
        if self._is_interrupted:
            return INTERRUPTED_STATUS
        return 1 if self.n_failed else 0

    @contextmanager
    def guard(self, clip: Part | None = None) -> Iterator[None]:
        """Count and show a clip's failure, so that the other clips still get their result.

        Args:
            clip: the clip that is read; `None` before it is known which there are.
        """
        self._interrupt.check()
        try:
            yield
        except MoodreelError as error:
            self.n_failed += 1
            self._terminal.say(f"error: {error}")
            if clip is not None:
                self._write_failure(clip, error)

    def _write_failure(self, clip: Part, error: MoodreelError) -> None:
        """Give a failed clip its row where the format has one, in the one file or on stdout."""
        if self.format.write_failure is not None and self.format.is_by_line:
            self._add_lines(self.format.write_failure(str(clip), str(error), self._n_rows == 0))
            self._n_rows += 1

    @contextmanager
    def open(self, clips: Sequence[Part], *, is_list: bool) -> Iterator[None]:
        """Show progress while answers come in; write what is written at the end, also when the user breaks off.

        Args:
            clips: the clips whose answers are to come.
            is_list: whether the answers are a list where the format has such, as when a folder or several clips were
                named, however many there are.

        Raises:
            OutputError: the targets do not fit several clips, would overwrite a clip, or cannot be written.
        """
        self._targets = Targets(self.format, self.output, self.plot, self.overlay, name_apart(clips))
        self._targets.check()
        self._is_list = is_list
        with self._files:
            try:
                with self._interrupt.noted(), self._terminal.show_progress(len(clips)):
                    yield
            except KeyboardInterrupt:
                self._is_interrupted = True
        self._write_collected()
        if self._is_interrupted:
            self._terminal.say(f"interrupted: {self._n_answers} of {len(clips)} clips done")

    def progress(self, clip: Part) -> Callable[[float], None]:
        """Return what to call with the done share (0-1) of a clip; it raises `KeyboardInterrupt` after Ctrl-C."""
        show = self._terminal.start(clip)

        def report(share: float) -> None:
            self._interrupt.check()
            if show is not None:
                show(share)

        return report

    def add(self, clip: Part, prediction: Prediction) -> None:
        """Take one clip's answer: print or write it, and draw its pictures.

        Raises:
            OutputError: something cannot be written.
        """
        for warning in prediction.warnings:
            self._terminal.warn(f"{printable(prediction.clip)}: {warning}")
        self._print_or_collect(clip, prediction)
        self._draw(clip, prediction)

    def _print_or_collect(self, clip: Part, prediction: Prediction) -> None:
        text = self.format.write(prediction, self._n_rows == 0)
        self._n_rows += 1
        self._n_answers += 1
        place = self._targets.answer_of(clip)
        if place is not None:
            write_text(place, text)
        elif self.format.is_by_line:
            self._add_lines(self.format.join([text], False))
        else:
            self._texts.append(text)

    def _add_lines(self, text: str) -> None:
        if self.output is None:
            self._print(text)
            return
        if self._lines is None:
            temporary = self._files.enter_context(whole_file(self.output))
            self._lines = self._files.enter_context(open_text(temporary))
        self._lines.write(text)
        self._lines.flush()

    def _draw(self, clip: Part, prediction: Prediction) -> None:
        plot, overlay = self._targets.plot_of(clip), self._targets.overlay_of(clip)
        if plot is None and overlay is None:
            return
        from moodreel.output.overlay import write_overlay
        from moodreel.output.plot import write_plot

        if plot is not None:
            self._terminal.tell(f"drawing {printable(str(plot))}")
            with whole_file(plot) as temporary:
                write_plot(prediction, temporary, start_s=clip.start_s)
        if overlay is not None:
            self._terminal.tell(f"drawing {printable(str(overlay))}")
            with whole_file(overlay) as temporary:
                write_overlay(clip.path, prediction, temporary, start_s=clip.start_s, end_s=clip.end_s)

    def _write_collected(self) -> None:
        if not self._texts:
            return
        text = self.format.join(self._texts, self._is_list)
        if self.output is None:
            self._print(text)
        else:
            write_text(self.output, text)

    def _print(self, text: str) -> None:
        if sys.stdout is None:
            raise OutputError("stdout is closed; add --output FILE")
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has gone, as in `moodreel predict ... | head`: no error of ours
            drop_stdout()
            raise
        except OSError as error:
            drop_stdout()
            raise OutputError(f"the answer cannot be written to stdout ({error.strerror})") from None


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that leaving the program does not fail on it again."""
    with Path(os.devnull).open("wb") as nowhere, suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
