"""Files that appear whole or not at all: written beside their place under a temporary name, then moved there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import OutputError
from moodreel.text import printable

try:
    import fcntl
except ImportError:  # Windows, where an open file can be neither moved nor deleted
    fcntl = None  # type: ignore[assignment]

_LONGEST_TAG_BYTES = 100


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before any work is done; nothing is left there, folders neither.

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
    made: list[Path] = []
    shown, path = printable(str(path)), Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    mode = file_mode(path)
    if mode and not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "pipe or device"
        raise OutputError(f"{shown}: is a {kind}; name a file to write")
    try:
        made = _missing_folders(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_temporary_prefix(path), suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if not discard:
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            made = []
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{shown}: cannot be written ({reason}); choose another place") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        _remove_empty(made)


def _missing_folders(folder: Path) -> list[Path]:
    """Return a folder and those above it that are not there, the innermost first."""
    return [one for one in (folder, *folder.parents) if not os.path.lexists(one)]


def _remove_empty(folders: Iterable[Path]) -> None:
    """Take out folders in which nothing stands, from the innermost to the first in which something does."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def find_unfinished(path: Path) -> list[Path]:
    """Return what killed runs left of a file, the oldest first: temporary files that no process holds any more."""
    path = Path(os.path.realpath(path))
    name = re.compile(rf"{re.escape(_temporary_prefix(path))}[a-z0-9_]{{8}}{re.escape(path.suffix)}")
    with contextlib.suppress(OSError, ValueError):
        found = [one for one in path.parent.iterdir() if name.fullmatch(one.name) and not _is_held(one)]
        return sorted(found, key=lambda one: one.stat().st_mtime_ns)
    return []


def hold(file: IO[Any]) -> None:
    """Mark an open file as being written, until it is closed or its process ends, however that ends."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(path: Path) -> bool:
    if fcntl is None:
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _temporary_prefix(path: Path) -> str:
    """Name the file in its temporary one, so that what a killed run leaves is known for what it is."""
    tag = path.stem
    if len(os.fsencode(tag)) > _LONGEST_TAG_BYTES:
        tag = hashlib.sha256(os.fsencode(tag)).hexdigest()[:16]
    return f".moodreel-{tag}-"


@contextmanager
def whole_folder(path: Path, *, discard: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path` and move it there when the block ends well.

    Args:
        path: where the folder shall stand; nothing but an empty folder may be there.
        discard: only check that writing would work.

    Raises:
        OutputError: there is something already, or the place cannot be written.
    """
    temporary: Path | None = None
    shown = printable(str(path))
    try:
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise OutputError(f"{shown}: is there already; name a new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".moodreel-", dir=path.parent))
        yield temporary
        if not discard:
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{shown}: cannot be written ({error.strerror or error}); choose another place") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    with whole_file(path) as temporary, open_text(temporary) as file:
        file.write(text)


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as one `.npz`, without a pickle, whole or not at all.

    Raises:
        OutputError: the place cannot be written.
        ValueError: an array holds Python objects.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def open_text(path: Path) -> IO[str]:
    """Open a text file to write as UTF-8, whatever its text holds."""
    # Names of files may hold bytes that are no UTF-8; the escape that stands for them is valid JSON too.
    return path.open("w", encoding="utf-8", errors="backslashreplace")


def file_mode(place: Path) -> int:
    """Return what kind of file stands there, as `os.stat` codes it; 0 for none or a name that no file can have."""
    try:
        return place.stat().st_mode
    except (OSError, ValueError):
        return 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
