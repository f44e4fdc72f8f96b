"""One file read for a library: hashed, predicted, described; what happens to it meanwhile is noticed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moodreel.batch.clips import CRASHED
from moodreel.errors import BundleError, MediaError, MoodreelError
from moodreel.library.describe import Origin, describe_failure, describe_file, write_settings
from moodreel.library.place import open_system, reaching
from moodreel.library.rows import Rows
from moodreel.library.sources import Source
from moodreel.media.defence import name_clip
from moodreel.recognition.recognizer import Recognizer
from moodreel.text import printable

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Task:
    """A file to be read.

    Attributes:
        source: which.
        bundle: fingerprint of the bundle.
        settings: how it is asked.
        known: ids of files of that size that were read alike, by the hash of their content.
        is_held: whether the library holds rows of the file as it once was, or as another bundle saw it.
    """

    source: Source
    bundle: str
    settings: str
    known: Mapping[str, str] = field(default_factory=dict)
    is_held: bool = False

    def origin(self, content_hash: str = "") -> Origin:
        """Return where its rows come from."""
        seen = self.source
        return Origin(seen.path, seen.size_bytes, seen.modified_s, self.bundle, self.settings, content_hash)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a file.

    Attributes:
        origin: which file it was when it was read.
        rows: its rows; `None` where what is there is to stay.
        copy_of: id of a file of the same content, whose rows are its own.
        reason: why it could not be read; `None` where it could.
    """

    origin: Origin
    rows: Rows | None = None
    copy_of: str | None = None
    reason: str | None = None


def make_settings(source: Source, *, adapts: bool) -> str:
    """Return how a bundle is asked about a file."""
    return write_settings(adapts=adapts, start_s=source.start_s, end_s=source.end_s, channel=source.channel)


def read_file(task: Task, recognizer: Recognizer, *, adapts: bool) -> Outcome:
    """Read one file; runs in a worker.

    Args:
        task: the file.
        recognizer: what reads it.
        adapts: whether the answer is adapted to the person.

    Raises:
        BundleError: the bundle cannot be used, for this file as for any other.
    """
    task = replace(task, source=task.source.look())
    source = task.source
    try:
        if source.size_bytes < 0:
            return Outcome(task.origin(), reason=f"{printable(source.path)}: no such file, or out of reach")
        with name_clip(source.path), _fetch(source) as (file, content_hash):
            origin = task.origin(content_hash)
            if content_hash in task.known:
                return Outcome(origin, copy_of=task.known[content_hash])
            rows = _read(source, file, origin, recognizer, adapts=adapts)
            check_unchanged(source)
    except BundleError:
        raise
    except _GoneError as error:  # nothing is known of what it holds now: a share that is not mounted loses nothing
        return Outcome(task.origin(), reason=str(error)) if task.is_held else fail(task, str(error))
    except MoodreelError as error:
        return fail(task, str(error))
    return Outcome(origin, rows=rows)


def fail(task: Task, reason: str = "") -> Outcome:
    """Return what stands for a file that could not be read, or that ended the processes that read it."""
    told = reason or f"{printable(task.source.path)}: {CRASHED}"
    origin = task.origin()
    return Outcome(origin, rows=describe_failure(origin, told), reason=told)


class _GoneError(MediaError):
    """The file's bytes cannot be read."""


@contextmanager
def _fetch(source: Source) -> Iterator[tuple[Path, str]]:
    """Give a local path of a file and the hash of its content; a file far away is fetched, and removed after."""
    if not source.is_url:
        yield Path(source.file), _hash_file(source.file)
        return
    suffix = Path(source.file).suffix
    with tempfile.NamedTemporaryFile(prefix="moodreel-", suffix=suffix if suffix.isalnum() else "") as target:
        yield Path(target.name), _download(source.file, target)


def hash_source(source: Source) -> str:
    """Return the hash of a file's content.

    Raises:
        MediaError: its bytes cannot be read.
    """
    if not source.is_url:
        return _hash_file(source.file)
    with Path(os.devnull).open("wb") as nowhere:
        return _download(source.file, nowhere)


def _hash_file(file: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(file).open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise _GoneError(f"{printable(file)}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()


def _download(url: str, target: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        system, path = open_system(url)
        with reaching(printable(url)), system.open(path, "rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
                target.write(block)
        target.flush()
    except (MoodreelError, OSError) as error:
        raise _GoneError(f"{printable(url)}: cannot be fetched ({error})") from None
    return digest.hexdigest()


def _read(source: Source, file: Path, origin: Origin, recognizer: Recognizer, *, adapts: bool) -> Rows:
    evidence = recognizer.observe(
        file, name=source.path, start_s=source.start_s, end_s=source.end_s, channels=source.channel
    )
    prediction = recognizer.conclude(evidence, [evidence] if adapts else ())
    return describe_file(origin, prediction, evidence)


def check_unchanged(source: Source) -> None:
    """Refuse a file that is another one now.

    Raises:
        MediaError: it has changed.
    """
    now = source.look()
    if (now.size_bytes, now.modified_s) != (source.size_bytes, source.modified_s):
        raise MediaError(f"{printable(source.path)}: changed while it was read; index it again when it is whole")
