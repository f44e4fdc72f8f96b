"""Long films read by several workers: each reads a stretch of the picture or the sound, one joins what they found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from moodreel.batch.clips import Parts
from moodreel.errors import BundleError, MoodreelError
from moodreel.library.describe import describe_file
from moodreel.library.place import open_system, reaching
from moodreel.library.reading import Outcome, Task, check_unchanged, hash_source, read_file
from moodreel.library.sources import Source
from moodreel.media.defence import name_clip
from moodreel.recognition.recognizer import Recognizer
from moodreel.recognition.stretches import SceneStretch
from moodreel.text import printable

LEAST_BYTES = 4 << 20
"""A quarter of an hour of film at 35 kbit/s; smaller files are not looked into before they are read."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a long film's picture, or its sound.

    Attributes:
        task: the film.
        number: of the stretch, from 0; `None` for the sound.
        count: how many stretches there are.
    """

    task: Task
    number: int | None
    count: int


@dataclass(frozen=True)
class Joined:
    """A long film whose pieces were read.

    Attributes:
        task: the film.
        content_hash: of its bytes before they were.
        stretches: what was heard, then what was seen; `None` where a piece could not be read by itself.
    """

    task: Task
    content_hash: str
    stretches: Sequence[SceneStretch | None]


Portion = Task | Piece | Joined


def read_portion(
    portion: Portion, recognizer: Recognizer, *, adapts: bool
) -> Outcome | Parts[Portion] | SceneStretch | None:
    """Read a file, or say how it is shared out; read a stretch, or join those of a file. Runs in a worker.

    Raises:
        BundleError: the bundle cannot be used, for this file as for any other.
    """
    if isinstance(portion, Piece):
        return _read_stretch(portion, recognizer)
    if isinstance(portion, Joined):
        return _join(portion, recognizer, adapts=adapts)
    return _share_out(portion, recognizer) or read_file(portion, recognizer, adapts=adapts)


def _share_out(task: Task, recognizer: Recognizer) -> Parts[Portion] | None:
    """Take a whole file that is long into its stretches; `None` where it is to be read as any other."""
    task = replace(task, source=task.source.look())
    source = task.source
    if source.size_bytes < LEAST_BYTES or source.start_s or source.end_s is not None:
        return None
    try:
        with name_clip(source.path), _open(source) as media:
            count = recognizer.count_stretches(media, name=source.path)
        content_hash = hash_source(source) if count > 1 else ""
    except BundleError:
        raise
    except MoodreelError:  # who reads it says what is wrong
        return None
    if count < 2 or content_hash in task.known:
        return None
    pieces = [Piece(task, number, count) for number in (None, *range(count))]  # the sound takes longest
    return Parts(pieces, partial(Joined, task, content_hash))


def _read_stretch(piece: Piece, recognizer: Recognizer) -> SceneStretch | None:
    source = piece.task.source
    try:
        with name_clip(source.path), _open(source) as media:
            if piece.number is None:
                return recognizer.observe_sound(media, channels=source.channel)
            return recognizer.observe_stretch(media, piece.number, piece.count)
    except BundleError:
        raise
    except MoodreelError:  # it declares more than it holds, or is damaged: in one go more is known
        return None


def _join(joined: Joined, recognizer: Recognizer, *, adapts: bool) -> Outcome:
    task = joined.task
    stretches = [stretch for stretch in joined.stretches if stretch is not None]
    evidence = None
    if len(stretches) == len(joined.stretches):
        evidence = recognizer.join_stretches(task.source.path, stretches[1:], stretches[0])
    try:
        check_unchanged(task.source)
    except MoodreelError:
        evidence = None
    if evidence is None:
        return read_file(task, recognizer, adapts=adapts)
    origin = task.origin(joined.content_hash)
    prediction = recognizer.conclude(evidence, [evidence] if adapts else ())
    return Outcome(origin, rows=describe_file(origin, prediction, evidence))


@contextmanager
def _open(source: Source) -> Iterator[Path | IO[bytes]]:
    """Open a file; of one far away only what is read comes here."""
    if not source.is_url:
        yield Path(source.file)
        return
    system, path = open_system(source.file)
    with reaching(printable(source.file)), system.open(path, "rb") as opened:
        yield opened
