"""Where the predict command's answers go: stdout, files, pictures; with progress and errors on stderr.

Answers that follow each other as lines are written at once: a run that is killed leaves them in the temporary file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from moodreel.errors import MoodreelError, OutputError
from moodreel.media.find import tell_skipped
from moodreel.media.parts import Part
from moodreel.output.formats import Format
from moodreel.output.interrupt import Interrupt
from moodreel.output.places import Targets, check_suffixes, name_apart
from moodreel.output.resume import (
    Kept,
    OtherAnswersError,
    can_go_on,
    check_header,
    copy_answers,
    is_there,
    make_key,
)
from moodreel.output.terminal import Terminal
from moodreel.recognition.prediction import Prediction
from moodreel.storage.whole_files import find_unfinished, hold, open_text, whole_file, write_text
from moodreel.text import printable

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells count: 128 and the number of the signal."""


@dataclass
class Report:
    """Collects the answers of one run.

    Attributes:
        format: how answers are written.
        output: file for all answers; a folder takes a file for each; `None` is stdout.
        plot: PNG, JPEG or SVG of the timeline; a folder with several clips.
        overlay: MP4 or MKV with faces and emotions drawn in; a folder with several clips.
            A place without a suffix is a folder, for all three.
        quiet: nothing on stderr but errors.
        verbose: say what is being done.
        overwrite: replace answers that are there already, rather than go on with them.
    """

    format: Format
    output: Path | None
    plot: Path | None
    overlay: Path | None
    quiet: bool
    verbose: bool
    overwrite: bool = False
    n_failed: int = field(default=0, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _interrupt: Interrupt = field(default_factory=Interrupt, init=False)
    _terminal: Terminal = field(init=False)
    _targets: Targets = field(init=False)
    _files: ExitStack = field(default_factory=ExitStack, init=False)
    _lines: IO[str] | None = field(default=None, init=False)
    _is_list: bool = field(default=False, init=False)
    _n_answers: int = field(default=0, init=False)
    _n_before: int = field(default=0, init=False)
    _kept: Kept = field(default_factory=Kept, init=False)
    _todo: list[Part] = field(default_factory=list, init=False)
    _n_rows: int = field(default=0, init=False)
    _texts: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        check_suffixes(self.plot, self.overlay)
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
        except OtherAnswersError:  # it would be said of every clip
            raise
        except MoodreelError as error:
            self.n_failed += 1
            self._terminal.say(f"error: {error}")
            if clip is not None:
                self._write_failure(clip, error)
        self._terminal.finish(self.n_failed)

    def note(self, text: str) -> None:
        """Tell the user one line, unless asked to be quiet."""
        self._terminal.note(text)

    def tell_skipped(self, skipped: Mapping[Path, str]) -> None:
        """Say what was left out of folders: in one line, and where asked for each file."""
        if not skipped:
            return
        self._terminal.note(tell_skipped(skipped))
        for path, kind in skipped.items():
            self._terminal.tell(f"skipped {printable(str(path))}: {kind}")

    def _write_failure(self, clip: Part, error: MoodreelError) -> None:
        """Give a failed clip its row where the format has one, in the one file or on stdout."""
        is_apart = self._targets.has_folder_of_answers
        if self.format.write_failure is not None and self.format.is_by_line and not is_apart:
            self._add_lines(self.format.write_failure(str(clip), str(error), not self._has_rows_above))
            self._n_rows += 1

    @contextmanager
    def open(
        self, clips: Sequence[Part], *, is_list: bool, model: str = "", folders: Sequence[Path] = ()
    ) -> Iterator[Sequence[Part]]:
        """Show progress while answers come in; write what is written at the end, also when the user breaks off.

        Args:
            clips: the clips whose answers are to come.
            is_list: whether the answers are a list where the format has such, as when a folder or several clips were
                named, however many there are.
            model: title of the model that answers; answers of another one are not gone on with.
            folders: the folders that were searched for the clips.

        Yields:
            The clips to be predicted: those not answered already.

        Raises:
            OutputError: the targets do not fit several clips, would overwrite a clip or older answers, or cannot be
                written.
        """
        self._targets = Targets(self.format, self.output, self.plot, self.overlay, name_apart(clips, folders))
        self._targets.check()
        self._is_list = is_list
        with self._files:
            self._go_on(model)
            self._todo = [clip for clip in clips if not self._is_answered(clip) or self._targets.lacks_picture(clip)]
            self._n_before = len(clips) - len(self._todo)
            self._tell_of_before(clips)
            sizes = [_size_bytes(clip) for clip in self._todo]
            try:
                with self._interrupt.noted(), self._terminal.show_progress(sizes, self._n_before):
                    yield self._todo
            except KeyboardInterrupt:
                self._is_interrupted = True
        self._write_collected()
        if self._is_interrupted:
            self._terminal.say(f"interrupted: {self._n_before + self._n_answers} of {len(clips)} clips done")

    def _go_on(self, model: str) -> None:
        """Go on with the answers of earlier runs, or refuse to replace them."""
        output = self.output
        if output is None or self._targets.has_folder_of_answers:
            return
        unfinished = find_unfinished(output)
        if self.overwrite:
            self._files.push(_Removal(unfinished))
        elif can_go_on(self.format):
            if is_there(output) or any(map(is_there, unfinished)):
                self._kept = copy_answers(output, self.format, model, self._open_lines(output))
                self._files.push(_Removal(self._kept.rescued))
        elif is_there(output):
            raise OutputError(
                f"{printable(str(output))}: is there already, and {self.format.name} cannot go on in a file; "
                "add --overwrite to replace it, or name another file"
            )

    def _is_answered(self, clip: Part) -> bool:
        if self.overwrite:
            return False
        return self._targets.is_answered(clip) or make_key(clip) in self._kept.answered

    def _tell_of_before(self, clips: Sequence[Part]) -> None:
        n_answered = sum(map(self._is_answered, clips))
        if n_answered or self._kept.answered:
            rescued = f", {self._kept.n_rescued} of a run that was killed" if self._kept.n_rescued else ""
            self._terminal.note(
                f"goes on with {printable(str(self.output))}: {n_answered} of {len(clips)} clips are answered "
                f"already{rescued}; --overwrite begins anew"
            )

    def progress(self, clip: Part) -> Callable[[float], None]:
        """Return what to call with the done share (0-1) of a clip; it raises `KeyboardInterrupt` after Ctrl-C."""
        show = self._terminal.start(clip)

        def report(share: float) -> None:
            self._interrupt.check()
            if show is not None:
                show(share)

        return report

    def count(self, clip: Part) -> None:
        """Note that a clip was read elsewhere, whose progress is not seen."""
        self._terminal.count(clip)

    def add(self, clip: Part, prediction: Prediction) -> None:
        """Take one clip's answer: print or write it, and draw its pictures.

        Raises:
            OutputError: something cannot be written.
        """
        for warning in prediction.warnings:
            self._terminal.warn(f"{printable(prediction.clip)}: {warning}")
        if not self._is_answered(clip):
            self._print_or_collect(clip, prediction)
        self._draw(clip, prediction)

    @property
    def _has_rows_above(self) -> bool:
        """Whether something stands above what comes next, of this run or an earlier one."""
        return bool(self._n_rows or self._kept.header or self._kept.answered)

    def _print_or_collect(self, clip: Part, prediction: Prediction) -> None:
        self._n_answers += 1
        place = self._targets.answer_of(clip)
        if place is not None:
            write_text(place, self.format.join([self.format.write(prediction, True)], False))
            return
        if self.output is not None and self._kept.header:
            check_header(self._kept, self.format.write(prediction, True), self.output)
        text = self.format.write(prediction, not self._has_rows_above)
        self._n_rows += 1
        if self.format.is_by_line:
            self._add_lines(self.format.join([text], False))
        else:
            self._texts.append(text)

    def _add_lines(self, text: str) -> None:
        if self.output is None:
            self._print(text)
            return
        lines = self._lines or self._open_lines(self.output)
        lines.write(text)
        lines.flush()

    def _open_lines(self, output: Path) -> IO[str]:
        temporary = self._files.enter_context(whole_file(output))
        self._lines = self._files.enter_context(open_text(temporary))
        hold(self._lines)
        return self._lines

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


@dataclass(frozen=True)
class _Removal:
    """Removes what killed runs left once it stands in the file itself, and not before."""

    paths: Sequence[Path]

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for path in self.paths:
                path.unlink(missing_ok=True)


def _size_bytes(clip: Part) -> int:
    with suppress(OSError, ValueError):
        return max(1, clip.path.stat().st_size)
    return 1


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that leaving the program does not fail on it again."""
    with Path(os.devnull).open("wb") as nowhere, suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
