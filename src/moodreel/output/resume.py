"""Going on with answers that an earlier run wrote: which clips they answer, and the lines to keep."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from moodreel.errors import OutputError
from moodreel.media.find import is_folder
from moodreel.media.parts import Part
from moodreel.output.formats import Format
from moodreel.storage.whole_files import file_mode, find_unfinished
from moodreel.text import printable

_WAY_OUT = "name another file, or add --overwrite to replace it"


class OtherAnswersError(OutputError):
    """The file holds answers that new ones may not stand beside."""


@dataclass(frozen=True)
class Answer:
    """One clip's lines in a file of answers.

    Attributes:
        clip: as the file names it; empty for the header of a table.
        model: which model answered; empty where the file does not say.
        text: the lines.
    """

    clip: str
    model: str
    text: str


@dataclass(frozen=True)
class Kept:
    """What of earlier runs goes on.

    Attributes:
        answered: keys of the clips that need no answer (`make_key`).
        n_rescued: how many of these stood in what a killed run left alone.
        header: first line of a table; empty where there is none.
        rescued: what killed runs left and is not needed once the file is written.
    """

    answered: frozenset[str] = frozenset()
    n_rescued: int = 0
    header: str = ""
    rescued: tuple[Path, ...] = ()


def make_key(clip: Part | str) -> str:
    """Return what tells whether two names mean one clip: the whole path, with its part and channel."""
    name = str(clip)
    try:
        path = os.path.realpath(name)
    except (OSError, ValueError):  # no name that a file can have
        path = name
    return path.encode("utf-8", "backslashreplace").decode()  # as files of answers hold it


def can_go_on(format: Format) -> bool:
    """Return whether a file in a format can be added to."""
    return format.is_by_line and format.suffix in _READERS


def check_options(format: Format, output: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Refuse `--resume` and `--overwrite` where they contradict each other or cannot be followed.

    Raises:
        OutputError: names the options.
    """
    if resume and overwrite:
        raise OutputError("--resume and --overwrite: give one of them")
    if resume and output is None:
        raise OutputError("--resume: add --output FILE, which it goes on with")
    if resume and not (can_go_on(format) or format.is_file_each or (output is not None and is_folder(output))):
        raise OutputError(f"--resume: {format.name} cannot go on in a file; use --format jsonl or csv, or --overwrite")


def is_there(place: Path) -> bool:
    """Return whether a place holds something already."""
    return bool(file_mode(place)) and not place.is_dir() and place.stat().st_size > 0


def copy_answers(output: Path, format: Format, model: str, target: IO[str]) -> Kept:
    """Copy what earlier runs answered, the killed ones too, each clip once.

    Args:
        output: the file of answers, which need not be there.
        format: its format, one that `can_go_on`.
        model: title of the model that is to go on; empty for any.
        target: where to copy to.

    Raises:
        OutputError: the file is none of moodreel's, or another model's.
    """
    sources = [(output, True)] if is_there(output) else []
    sources += [(path, False) for path in find_unfinished(output) if is_there(path)]
    answered: set[str] = set()
    header, n_rescued, rescued = "", 0, []
    for path, is_whole in sources:
        for answer in _read(path, format, output, is_whole=is_whole):
            if not _fits(answer, header, model):
                if is_whole:
                    raise _describe_other(answer, model, output)
                break
            if not answer.clip:
                target.write("" if header else answer.text)
                header = answer.text
            elif (key := make_key(answer.clip)) not in answered:
                answered.add(key)
                n_rescued += not is_whole
                target.write(answer.text)
        else:
            rescued += [] if is_whole else [path]
    target.flush()
    return Kept(frozenset(answered), n_rescued, header, tuple(rescued))


def _fits(answer: Answer, header: str, model: str) -> bool:
    """Say whether an answer may stand in one file with others: a table has one header, and all answers one model."""
    if not answer.clip:
        return not header or answer.text == header
    return not (answer.model and model) or answer.model == model


def _describe_other(answer: Answer, model: str, output: Path) -> OtherAnswersError:
    held, asked = printable(answer.model), printable(model)
    return OtherAnswersError(
        f"{printable(str(output))}: holds answers of the model {held!r}, not of {asked!r}; {_WAY_OUT}"
    )


def check_header(kept: Kept, text: str, output: Path) -> None:
    """Refuse to add to a table of other columns.

    Args:
        kept: what stands above.
        text: an answer as it would stand alone, with its header.
        output: the file of answers.

    Raises:
        OtherAnswersError: the columns differ.
    """
    if kept.header and not text.lstrip("\ufeff").startswith(kept.header.lstrip("\ufeff")):
        raise OtherAnswersError(f"{printable(str(output))}: has other columns than are to be written; {_WAY_OUT}")


def _read(path: Path, format: Format, output: Path, *, is_whole: bool) -> Iterator[Answer]:
    try:
        with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield from _READERS[format.suffix](file, is_whole)
    except OSError as error:
        raise OutputError(f"{printable(str(path))}: cannot be read ({error.strerror or error})") from None
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error, RecursionError):
        if is_whole:
            shown = printable(str(output))
            raise OtherAnswersError(f"{shown}: is no file of answers as {format.name}; {_WAY_OUT}") from None


def _read_objects(file: IO[str], is_whole: bool) -> Iterator[Answer]:
    for line in file:
        if line.endswith("\n") or is_whole:
            answer = json.loads(line)
            yield Answer(str(answer["clip"]), str(answer.get("model", "")), line.rstrip("\n") + "\n")


def _read_table(file: IO[str], is_whole: bool) -> Iterator[Answer]:
    rows = _read_rows(file)
    columns, header = next(rows)
    names = [column.lstrip("\ufeff") for column in columns]
    at = names.index("clip")
    yield Answer("", "", header)
    if not is_whole:  # the row that a kill cut off is no row
        rows = (row for row in rows if len(row[0]) == len(columns) and row[1].endswith("\n"))
    groups = ((clip, list(group)) for clip, group in groupby(rows, key=lambda row: row[0][at]))
    held: tuple[str, list[tuple[list[str], str]]] | None = None
    for group in groups:  # one behind: of the last clip of a killed run rows may be missing
        if held is not None:
            yield from _join_rows(*held, names)
        held = group
    if held is not None and is_whole:
        yield from _join_rows(*held, names)


def _join_rows(clip: str, rows: list[tuple[list[str], str]], names: list[str]) -> Iterator[Answer]:
    """Yield the answer that some rows are; nothing for a row that tells of a failure, which is tried again."""
    first = dict(zip(names, rows[0][0], strict=True))
    if not first.get("error"):
        text = "".join(text for _, text in rows)
        yield Answer(_strip_apostrophe(clip), first.get("model", ""), text if text.endswith("\n") else text + "\n")


def _strip_apostrophe(clip: str) -> str:
    """Undo what keeps spreadsheets from taking a name for a formula."""
    return clip[1:] if clip.startswith("'") and clip[1:].startswith(tuple("=+-@\t\r\n＝＋－＠")) else clip


def _read_rows(file: IO[str]) -> Iterator[tuple[list[str], str]]:
    """Yield each row and its text; a quoted name may hold line breaks."""
    taken: list[str] = []

    def take() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line

    for row in csv.reader(take()):
        yield row, "".join(taken)
        taken.clear()


_READERS: dict[str, Callable[[IO[Any], bool], Iterator[Answer]]] = {".jsonl": _read_objects, ".csv": _read_table}
