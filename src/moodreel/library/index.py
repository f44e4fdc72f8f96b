"""Files into a library: what is there already is not read, and what comes of each file is written at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from moodreel.batch.clips import map_clips
from moodreel.batch.on_ray import joined_cluster
from moodreel.batch.shards import WHOLE, Shard
from moodreel.library.describe import to_text
from moodreel.library.lock import writing
from moodreel.library.long_files import read_portion
from moodreel.library.reading import Outcome, Task, fail, make_settings, read_file
from moodreel.library.sources import Source, Spool, find_sources
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer
from moodreel.text import printable

_ASKED_AT_ONCE = 4096
"""Files that the library is asked about in one query."""


class Listener(Protocol):
    """What is told how a run goes."""

    def begin(self, spool: Spool) -> None:
        """All files are found."""

    def known(self, n: int) -> None:
        """So many files more need not be read."""

    def done(self, outcome: Outcome) -> None:
        """A file was read, or could not be; its rows are written."""


@dataclass
class Counts:
    """How a run went.

    Attributes:
        found: files that were meant.
        known: those that need not be read.
        failed_before: those that failed in an earlier run and were not tried again.
        read: those that were read.
        copied: those whose rows were there under another name or time.
        failed: those that could not be read.
        missing: names under which nothing was found.
    """

    found: int = 0
    known: int = 0
    failed_before: int = 0
    read: int = 0
    copied: int = 0
    failed: int = 0
    missing: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count what came of a file."""
        if outcome.reason is not None:
            self.failed += 1
        elif outcome.copy_of is not None:
            self.copied += 1
        else:
            self.read += 1


@dataclass(frozen=True)
class Wish:
    """How files are to be read.

    Attributes:
        jobs: processes that read files.
        ray: the Ray cluster whose actors read them instead; `None` for processes here.
        shard: which share of the files.
        adapts: whether answers are adapted to the person by the file alone.
        retry_failed: whether to try again what failed in an earlier run.
        takes_covers: whether covers and thumbnails beside clips are files too.
    """

    jobs: int = 1
    ray: str | None = None
    shard: Shard = WHOLE
    adapts: bool = True
    retry_failed: bool = False
    takes_covers: bool = False


def index_media(
    media: Iterable[str],
    store: Store,
    recognizer: Recognizer,
    wish: Wish | None = None,
    listener: Listener | None = None,
) -> Counts:
    """Read into a library what is not in it, or not as it is now.

    Args:
        media: files, folders, parts of files, URLs.
        store: the library.
        recognizer: what reads them.
        wish: how.
        listener: is told how it goes.

    Returns:
        How many files were read and how many were not.

    Raises:
        LibraryError: somebody else writes the library, or it cannot be reached.
        OutputError: the disk is full; all that was told is kept.
        BundleError: the bundle cannot be used.
    """
    wish = wish or Wish()
    with writing(store.place, wish.shard), find_sources(media, wish.shard, takes_covers=wish.takes_covers) as spool:
        store.refresh()
        run = _Run(store, recognizer.fingerprint, wish, listener)
        run.begin(spool)
        with _read_all(run.find_tasks(spool), recognizer, wish) as outcomes:
            for outcome in outcomes:
                run.take(outcome)
    store.refresh()
    return run.counts


@contextmanager
def _read_all(tasks: Iterator[Task], recognizer: Recognizer, wish: Wish) -> Iterator[Iterator[Outcome]]:
    """Read files as they come, in processes here or on a cluster, where long ones are shared out."""
    with joined_cluster(wish.ray) as crew:
        function: Any = read_file if crew is None else read_portion
        read = partial(function, recognizer=recognizer, adapts=wish.adapts)
        found: Generator[Outcome] = map_clips(read, tasks, wish.jobs, fail, in_order=False, isolated=True, crew=crew)
        with closing(found) as outcomes:
            yield outcomes


@dataclass
class _Run:
    """One run over the files of one spool."""

    store: Store
    bundle: str
    wish: Wish
    listener: Listener | None
    counts: Counts = field(default_factory=Counts)

    def begin(self, spool: Spool) -> None:
        self.counts.found, self.counts.missing = spool.count, len(spool.problems)
        if self.listener is not None:
            self.listener.begin(spool)

    def find_tasks(self, spool: Spool) -> Iterator[Task]:
        """Yield the files that must be read."""
        for sources in spool.read(_ASKED_AT_ONCE):
            seen = [source if source.is_url and source.size_bytes > 0 else source.look() for source in sources]
            tasks = self._choose(seen)
            self.counts.known += len(seen) - len(tasks)
            if self.listener is not None:
                self.listener.known(len(seen) - len(tasks))
            yield from tasks

    def _choose(self, seen: Sequence[Source]) -> list[Task]:
        held = self._ask_of_paths(seen)
        tasks = [task for source in seen if (task := self._check(source, held.get(to_text(source.path)))) is not None]
        alike = self._ask_of_sizes(tasks)
        return [replace(task, known=alike.get((task.source.size_bytes, task.settings), {})) for task in tasks]

    def _check(self, source: Source, row: tuple[Any, ...] | None) -> Task | None:
        """Return the task of reading a file; `None` where its row says that there is no need."""
        settings = make_settings(source, adapts=self.wish.adapts)
        task = Task(source, self.bundle, settings, is_held=row is not None and row[0] == "ok")
        now = (source.size_bytes, source.modified_s, self.bundle, settings)
        if row is None or row[1:] != now or source.size_bytes < 0:
            return task
        self.counts.failed_before += row[0] != "ok" and not self.wish.retry_failed
        return task if row[0] != "ok" and self.wish.retry_failed else None

    def _ask_of_paths(self, seen: Sequence[Source]) -> Mapping[str, tuple[Any, ...]]:
        query = (
            "SELECT path, status, size_bytes, modified_s, bundle, settings FROM files WHERE path IN (SELECT unnest(?))"
        )
        return {row[0]: row[1:] for row in self.store.query(query, [[to_text(source.path) for source in seen]])}

    def _ask_of_sizes(self, tasks: Sequence[Task]) -> Mapping[tuple[int, str], dict[str, str]]:
        """Return the files that may be the same under another name or time: ids by content, by size and settings."""
        if not tasks:
            return {}
        query = (
            "SELECT size_bytes, settings, content_hash, file_id FROM files"
            " WHERE status = 'ok' AND bundle = ? AND size_bytes IN (SELECT unnest(?))"
        )
        found: dict[tuple[int, str], dict[str, str]] = {}
        rows = self.store.query(query, [self.bundle, [task.source.size_bytes for task in tasks]])
        for size_bytes, settings, content_hash, file_id in rows:
            found.setdefault((size_bytes, settings), {})[content_hash] = file_id
        return found

    def take(self, outcome: Outcome) -> None:
        """Write what came of a file."""
        if outcome.copy_of is not None:
            outcome = self._copy(outcome, outcome.copy_of)
        if outcome.rows is not None:
            self.store.write(str(self.wish.shard), outcome.rows)
        self.counts.add(outcome)
        if self.listener is not None:
            self.listener.done(outcome)

    def _copy(self, outcome: Outcome, file_id: str) -> Outcome:
        """Give a file the rows of another one of the same content."""
        rows = self.store.read_file(file_id)
        if rows is None:
            told = f"{printable(outcome.origin.path)}: what it is a copy of has changed meanwhile; index it again"
            return Outcome(outcome.origin, reason=told)
        return replace(outcome, rows=rows.renamed(outcome.origin.columns()))
