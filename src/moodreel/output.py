"""Where the predict command's answers go: stdout, files, pictures; with progress and errors on stderr.

Files appear whole or not at all: each is written beside its place under a temporary name and then moved. Where answers
follow each other as lines, each is written to the temporary file at once: a run that is killed leaves them there.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from moodreel.container import printable
from moodreel.errors import MoodreelError, OutputError
from moodreel.prediction import Prediction, format_csv, format_vtt

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells count: 128 and the number of the signal."""

LINED = ("table", "jsonl", "csv")
"""Formats whose answers follow each other line by line."""

SUFFIXES = {"table": ".txt", "json": ".json", "jsonl": ".jsonl", "csv": ".csv", "vtt": ".vtt"}


@dataclass
class Report:
    """Collects the answers of one run.

    Attributes:
        format: one of `SUFFIXES`.
        output: file for all answers; for `vtt` and several clips a folder with one file a clip; `None` is stdout.
        plot: PNG of the timeline; a folder with several clips.
        overlay: MP4 with faces and emotions drawn in; a folder with several clips.
            A place without a suffix is a folder, for all three.
        quiet: nothing on stderr but errors.
        verbose: say what is being done.
    """

    format: str
    output: Path | None
    plot: Path | None
    overlay: Path | None
    quiet: bool
    verbose: bool
    n_failed: int = field(default=0, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _files: ExitStack = field(default_factory=ExitStack, init=False)
    _lines: IO[str] | None = field(default=None, init=False)
    _names: dict[Path, str] = field(default_factory=dict, init=False)
    _is_list: bool = field(default=False, init=False)
    _n_answers: int = field(default=0, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _progress: Progress | None = field(default=None, init=False)
    _task: TaskID | None = field(default=None, init=False)

    @property
    def exit_status(self) -> int:
        """0 when every clip was predicted, 1 when some failed, 130 when the user broke off."""
        if self._is_interrupted:
            return INTERRUPTED_STATUS
        return 1 if self.n_failed else 0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Count and show a clip's failure, so that the other clips still get their result."""
        try:
            yield
        except MoodreelError as error:
            self.n_failed += 1
            self._say(f"error: {error}")

    @contextmanager
    def open(self, clips: Sequence[Path], *, is_list: bool) -> Iterator[None]:
        """Show progress while answers come in; write what is written at the end, also when the user breaks off.

        Args:
            clips: the clips whose answers are to come.
            is_list: whether JSON is a list, as when a folder or several clips were named, however many there are.

        Raises:
            OutputError: the targets do not fit several clips, would overwrite a clip, or cannot be written.
        """
        self._names = name_apart(clips)
        self._is_list = is_list and self.format == "json"
        self._check_targets()
        with self._files:
            try:
                with self._show_progress():
                    yield
            except KeyboardInterrupt:
                self._is_interrupted = True
        self._write_collected()
        if self._is_interrupted:
            self._say(f"interrupted: {self._n_answers} of {len(clips)} clips done")

    @property
    def _is_several(self) -> bool:
        return len(self._names) > 1

    def progress(self, path: Path) -> Callable[[float], None] | None:
        """Return what to call with the done share (0-1) of a clip, `None` where no progress is shown."""
        if self.verbose:
            self._say(f"reading {printable(str(path))}")
        if self._progress is None:
            return None
        from rich.markup import escape

        bar, description = self._progress, escape(printable(path.name))
        if self._task is not None:
            bar.remove_task(self._task)
        task = self._task = bar.add_task(description, total=1.0)
        return lambda share: bar.update(task, completed=min(share, 1.0))

    def add(self, path: Path, prediction: Prediction) -> None:
        """Take one clip's answer: print or write it, and draw its pictures.

        Raises:
            OutputError: something cannot be written.
        """
        for warning in () if self.quiet else prediction.warnings:
            self._say(f"warning: {printable(prediction.clip)}: {warning}")
        self._print_or_collect(path, prediction)
        self._draw(path, prediction)

    def _print_or_collect(self, path: Path, prediction: Prediction) -> None:
        text = format_one(prediction, self.format, first=self._n_answers == 0)
        self._n_answers += 1
        folder = self._folder_for_vtt()
        if folder is not None:
            write_text(folder / f"{self._names[path]}.vtt", text)
        elif self.format in LINED:
            self._add_lines(join_texts([text], is_list=False))
        else:
            self._texts.append(text)

    def _add_lines(self, text: str) -> None:
        if self.output is None:
            self._print(text)
            return
        if self._lines is None:
            temporary = self._files.enter_context(whole_file(self.output))
            self._lines = self._files.enter_context(_open_text(temporary))
        self._lines.write(text)
        self._lines.flush()

    def _draw(self, path: Path, prediction: Prediction) -> None:
        if self.plot is None and self.overlay is None:
            return
        from moodreel import render

        if self.plot is not None:
            with whole_file(self._target(self.plot, path, ".png")) as temporary:
                render.write_plot(prediction, temporary)
        if self.overlay is not None:
            with whole_file(self._target(self.overlay, path, ".mp4")) as temporary:
                render.write_overlay(path, prediction, temporary)

    def _target(self, place: Path, clip: Path, suffix: str) -> Path:
        return place / f"{self._names[clip]}{suffix}" if _may_be_folder(place) else place

    def _check_targets(self) -> None:
        for option, place in (("--plot", self.plot), ("--overlay", self.overlay)):
            if place is not None and self._is_several and not _may_be_folder(place):
                shown = printable(str(place))
                raise OutputError(f"{option} {shown}: {len(self._names)} clips were given; name a folder instead")
        if self.format == "vtt" and self._is_several and self._folder_for_vtt() is None:
            raise OutputError("--format vtt: several clips need a folder each cue file goes to: add --output FOLDER")
        taken = {os.path.realpath(clip) for clip in self._names}
        for target in self._targets():
            if os.path.realpath(target) in taken:
                raise OutputError(
                    f"{printable(str(target))}: is a clip to read or asked for twice; choose another place"
                )
            taken.add(os.path.realpath(target))
        for target in self._targets(most=1):
            check_writable(target)

    def _targets(self, most: int | None = None) -> Iterator[Path]:
        """Yield the files to be written, of all clips or of the first `most` ones."""
        clips, folder = list(self._names)[:most], self._folder_for_vtt()
        if self.output is not None and folder is None:
            yield self.output
        for clip in clips:
            if folder is not None:
                yield folder / f"{self._names[clip]}.vtt"
            if self.plot is not None:
                yield self._target(self.plot, clip, ".png")
            if self.overlay is not None:
                yield self._target(self.overlay, clip, ".mp4")

    def _folder_for_vtt(self) -> Path | None:
        if self.format != "vtt" or self.output is None:
            return None
        return self.output if _may_be_folder(self.output) else None

    def _write_collected(self) -> None:
        if not self._texts:
            return
        text = join_texts(self._texts, is_list=self._is_list)
        if self.output is None:
            self._print(text)
        else:
            write_text(self.output, text)

    @contextmanager
    def _show_progress(self) -> Iterator[None]:
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as self._progress:
            yield
        self._progress = self._task = None

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

    def _say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(f"moodreel: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"moodreel: {text}", file=sys.stderr)


def format_one(prediction: Prediction, format: str, *, first: bool) -> str:
    """Write one answer as text; `first` says whether a header row may stand above it."""
    if format == "jsonl":
        return prediction.to_json(indent=None)
    if format == "csv":
        return format_csv([prediction], header=first)
    if format == "vtt":
        return format_vtt(prediction)
    if format == "json":
        return prediction.to_json()
    from moodreel.table import format_table

    return format_table(prediction)


def join_texts(texts: Sequence[str], *, is_list: bool) -> str:
    """Join answers to one text that ends in a newline; `is_list` makes a JSON list of them."""
    if is_list:
        return "[\n" + ",\n".join(text.strip() for text in texts) + "\n]\n"
    return "".join(text if text.endswith("\n") else text + "\n" for text in texts)


def name_apart(clips: Sequence[Path]) -> dict[Path, str]:
    """Give each clip a name for the files made of it: its stem, numbered where an earlier clip has it already.

    Args:
        clips: paths, each once.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for clip in clips:
        name, number = clip.stem, 1
        while name.casefold() in taken:  # file systems may ignore case
            number += 1
            name = f"{clip.stem}-{number}"
        taken.add(name.casefold())
        names[clip] = name
    return names


def drop_stdout() -> None:
    """Send what is still to come on stdout nowhere, so that leaving the program does not fail on it again."""
    with Path(os.devnull).open("wb") as nowhere, suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def is_folder(place: Path) -> bool:
    """Return whether a folder stands there; unlike `Path.is_dir`, also for a name that no file can have."""
    return stat.S_ISDIR(_mode(place))


def _may_be_folder(place: Path) -> bool:
    return is_folder(place) or not (place.suffix or _mode(place))


def _mode(place: Path) -> int:
    """Return what kind of file stands there, 0 for none."""
    try:
        return place.stat().st_mode
    except (OSError, ValueError):
        return 0


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before any work is done.

    Raises:
        OutputError: the path is a folder, pipe or device, or its folder cannot be made or written.
    """
    with whole_file(path, discard=True):
        pass


@contextmanager
def whole_file(path: Path, *, discard: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path` and move it there when the block ends well.

    Args:
        path: where the file shall stand.
        discard: only check that writing would work.

    Raises:
        OutputError: the place cannot be written.
    """
    temporary: Path | None = None
    shown, path = printable(str(path)), Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    if _mode(path) and not stat.S_ISREG(_mode(path)):
        kind = "folder" if is_folder(path) else "pipe or device"
        raise OutputError(f"{shown}: is a {kind}; name a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".moodreel-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if not discard:
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{shown}: cannot be written ({reason}); choose another place") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    with whole_file(path) as temporary, _open_text(temporary) as file:
        file.write(text)


def _open_text(path: Path) -> IO[str]:
    # Names of files may hold bytes that are no UTF-8; the escape that stands for them is valid JSON too.
    return path.open("w", encoding="utf-8", errors="backslashreplace")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
