"""The folder in which uploads lie until they are read, and what servers that were killed left of theirs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "moodreel-uploads-"


@contextmanager
def open_spool() -> Iterator[Path]:
    """Make a folder that this user alone can read, and delete it at the end; delete those of dead servers first.

    A server holds a lock on its folder (`flock`), which the kernel takes from it however it ends: a folder whose lock
    can be had is nobody's. Workers do not inherit it.

    Yields:
        The folder.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with _lock(left) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="moodreel-new-"))
    with _lock(made):
        # Named only now, or a server that starts at the same time could take it for one that was left.
        folder = made.rename(made.with_name(PREFIX + made.name.removeprefix("moodreel-new-")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock; tell whether it could be had."""
    descriptor = _take_lock(folder)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _take_lock(folder: Path) -> int | None:
    """Lock a folder of this user's own, until the descriptor that is returned is closed; `None` if that cannot be."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: what a killed server left stays there
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # a link leads anywhere
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
