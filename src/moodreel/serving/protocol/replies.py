"""What a worker may say while it reads a clip, checked: it decodes hostile media, so nothing it says is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moodreel.serving.protocol.problems import KINDS, Problem
from moodreel.text import printable

_LONGEST_DETAIL = 2000


class TextFormat(StrEnum):
    """Formats in which an answer comes besides JSON: two of `moodreel.output.formats`."""

    CSV = "csv"
    VTT = "vtt"


@dataclass(frozen=True)
class Taken:
    """The worker has begun with a job: what goes wrong from now on may be the clip's doing.

    Attributes:
        job: id of the job.
    """

    job: str


@dataclass(frozen=True)
class Progress:
    """The worker goes on.

    Attributes:
        share: done so far, 0-1.
    """

    share: float


@dataclass(frozen=True)
class Finished:
    """The worker has read the clip.

    Attributes:
        prediction: as `prediction.schema.json` describes it.
        texts: the answer in each `TextFormat`.
    """

    prediction: dict[str, Any]
    texts: dict[str, str]


Reply = Taken | Progress | Problem | Finished


def read_reply(head: Mapping[str, Any]) -> Reply:
    """Read what a worker said of a clip.

    Args:
        head: of its message.

    Raises:
        EOFError: it does not speak as agreed, and nothing more is to be expected of it.
    """
    check_tellable(head)
    match head:
        case {"taken": str(job)}:
            return Taken(job)
        case {"progress": int() | float() as share} if 0 <= share <= 1:
            return Progress(float(share))
        case {"prediction": dict(prediction), "texts": {"csv": str(csv), "vtt": str(vtt)}}:
            return Finished(prediction, {TextFormat.CSV: csv, TextFormat.VTT: vtt})
    return read_problem(head)


def read_problem(head: Mapping[str, Any]) -> Problem:
    """Read what a worker could not do.

    Raises:
        EOFError: it says no such thing.
    """
    match head:
        case {"problem": str(kind), "detail": str(detail)} if kind in KINDS:
            return Problem(kind, printable(detail)[:_LONGEST_DETAIL])
    raise EOFError(f"a worker's message of an unknown kind, with the keys {sorted(map(str, head))[:10]}")


def check_tellable(head: Mapping[str, Any]) -> None:
    """Refuse what JSON cannot carry on to a client: NaN, infinity, half a character, nesting without end.

    Raises:
        EOFError: it holds such a thing.
    """
    try:
        json.dumps(head, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise EOFError("a worker's message that no client could read") from error
