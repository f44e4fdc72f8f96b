"""Where the predict command's answers go: stdout, files, pictures; with progress and errors on stderr.

Files appear whole or not at all: each is written beside its place under a temporary name and then moved.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moodreel.errors import MoodreelError, OutputError
from moodreel.prediction import Prediction, format_csv, format_vtt

if TYPE_CHECKING:
    from rich.progress import Progress

SUFFIXES = {"table": ".txt", "json": ".json", "jsonl": ".jsonl", "csv": ".csv", "vtt": ".vtt"}


@dataclass
class Report:
    """Collects the answers of one run.

    Attributes:
        format: one of `SUFFIXES`.
        output: file for all answers; for `vtt` and several clips a folder with one file a clip; `None` is stdout.
        plot: PNG of the timeline; a folder with several clips.
        overlay: MP4 with faces and emotions drawn in; a folder with several clips.
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
    _n_clips: int = field(default=0, init=False)
    _n_printed: int = field(default=0, init=False)
    _predictions: list[Prediction] = field(default_factory=list, init=False)
    _progress: Progress | None = field(default=None, init=False)

    @property
    def exit_status(self) -> int:
        """0 when every clip was predicted, 1 when some failed."""
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
    def open(self, n_clips: int) -> Iterator[None]:
        """Show progress while answers come in; write what is written at the end.

        Raises:
            OutputError: the targets do not fit several clips, or cannot be written.
        """
        self._n_clips = n_clips
        self._check_targets()
        with self._show_progress():
            yield
        self._write_collected()

    def progress(self, path: Path) -> Callable[[float], None] | None:
        """Return what to call with the done share (0-1) of a clip, `None` where no progress is shown."""
        if self.verbose:
            self._say(f"reading {one_line(str(path))}")
        if self._progress is None:
            return None
        bar, task = self._progress, self._progress.add_task(one_line(path.name), total=1.0)
        return lambda share: bar.update(task, completed=min(share, 1.0))

    def add(self, path: Path, prediction: Prediction) -> None:
        """Take one clip's answer: print or write it, and draw its pictures.

        Raises:
            OutputError: something cannot be written.
        """
        for warning in () if self.quiet else prediction.warnings:
            self._say(f"warning: {one_line(prediction.clip)}: {warning}")
        self._draw(path, prediction)
        self._print_or_collect(path, prediction)

    def _print_or_collect(self, path: Path, prediction: Prediction) -> None:
        folder = self._folder_for_vtt()
        if folder is not None:
            write_text(folder / f"{path.stem}.vtt", format_vtt(prediction))
        elif self.output is None and self.format in ("jsonl", "table", "csv"):
            self._print(format_one(prediction, self.format, first=self._n_printed == 0))
            self._n_printed += 1
        else:
            self._predictions.append(prediction)

    def _draw(self, path: Path, prediction: Prediction) -> None:
        from moodreel import render

        if self.plot is not None:
            with whole_file(self._target(self.plot, path, ".png")) as temporary:
                render.write_plot(prediction, temporary)
        if self.overlay is not None:
            with whole_file(self._target(self.overlay, path, ".mp4")) as temporary:
                render.write_overlay(path, prediction, temporary)

    def _target(self, place: Path, clip: Path, suffix: str) -> Path:
        return place / f"{clip.stem}{suffix}" if self._n_clips > 1 or place.is_dir() else place

    def _check_targets(self) -> None:
        for option, place in (("--plot", self.plot), ("--overlay", self.overlay)):
            if place is not None and self._n_clips > 1 and (place.suffix or place.is_file()):
                raise OutputError(f"{option} {str(place)!r}: {self._n_clips} clips were given; name a folder instead")
        if self.format == "vtt" and self._n_clips > 1 and self._folder_for_vtt() is None:
            raise OutputError("--format vtt: several clips need a folder each cue file goes to: add --output FOLDER")
        if self.output is not None and self._folder_for_vtt() is None:
            check_writable(self.output)

    def _folder_for_vtt(self) -> Path | None:
        several = self._n_clips > 1 and self.output is not None and not self.output.suffix
        return self.output if self.format == "vtt" and several else None

    def _write_collected(self) -> None:
        if self._folder_for_vtt() is not None:
            return
        if self.output is not None:
            write_text(self.output, format_all(self._predictions, self.format, several=self._n_clips > 1))
        elif self.format in ("json", "vtt") and self._predictions:
            self._print(format_all(self._predictions, self.format, several=self._n_clips > 1))

    @contextmanager
    def _show_progress(self) -> Iterator[None]:
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as self._progress:
            yield
        self._progress = None

    def _print(self, text: str) -> None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

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


def format_all(predictions: list[Prediction], format: str, *, several: bool) -> str:
    """Write all answers as one text; JSON becomes a list where several clips were asked for."""
    if format == "json" and several:
        return json.dumps([one.to_dict() for one in predictions], indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    texts = [format_one(one, format, first=index == 0) for index, one in enumerate(predictions)]
    return "".join(text if text.endswith("\n") else text + "\n" for text in texts)


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before any work is done.

    Raises:
        OutputError: the path is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise OutputError(f"{one_line(str(path))}: is a folder; name a file to write")
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
        raise OutputError(f"{one_line(str(path))}: cannot be written ({reason}); choose another place") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def one_line(text: str) -> str:
    """Return a name on one line: control characters are escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
