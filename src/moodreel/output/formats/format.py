"""What an output format is: a name, a suffix, and how answers are written and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodreel.recognition.prediction import Prediction


BOM = "\ufeff"


def join_lines(texts: Sequence[str], is_list: bool) -> str:  # noqa: ARG001  # lines are lines, however many were asked for
    """Put answers one below the other.

    Args:
        texts: one an answer.
        is_list: whether a list was asked for, as when a folder or several clips were named.
    """
    return "".join(text if text.endswith("\n") else text + "\n" for text in texts)


@dataclass(frozen=True)
class Column:
    """A column of a format for spreadsheets.

    Attributes:
        name: what the first row calls it.
        meaning: what stands in it, in one clause.
    """

    name: str
    meaning: str


@dataclass(frozen=True)
class Format:
    """A way of writing predictions as text.

    Attributes:
        name: what `moodreel predict --format` calls it.
        suffix: of a file in it, with the dot.
        write: one answer to text; the second argument says whether no other stands above it.
        join: the texts of a run to one; the second argument says whether a list was asked for.
        is_by_line: whether answers follow each other line by line, so that each can be written as soon as it is there.
        is_file_each: whether several clips need a file each.
        describe: what it is, in a few words.
        columns: its columns, in order; none where it has no columns.
        write_failure: a clip that failed to text: its name, why, and whether nothing stands above; `None` where a
            failed clip has no place in the format.
    """

    name: str
    suffix: str
    write: Callable[[Prediction, bool], str]
    join: Callable[[Sequence[str], bool], str] = join_lines
    is_by_line: bool = False
    is_file_each: bool = False
    describe: str = ""
    columns: tuple[Column, ...] = ()
    write_failure: Callable[[str, str, bool], str] | None = None


def mark_bytes(format: Format) -> Format:
    """Return a format whose text begins with a byte order mark, by which Excel knows UTF-8."""
    failure = format.write_failure

    def write(prediction: Prediction, is_first: bool) -> str:
        return BOM * is_first + format.write(prediction, is_first)

    def write_failure(clip: str, error: str, is_first: bool) -> str:
        assert failure is not None
        return BOM * is_first + failure(clip, error, is_first)

    return replace(format, write=write, write_failure=write_failure if failure else None)
