"""Where a library's files lie: a folder, or a URL that fsspec opens; each file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from moodreel.errors import LibraryError, MoodreelError
from moodreel.extras import advise
from moodreel.storage.cache import default_cache
from moodreel.storage.whole_files import whole_file
from moodreel.text import first_line, printable

CONNECT_S = 5.0
ANSWER_S = 20.0
MOST_ATTEMPTS = 3
"""How long and how often an object store is asked before it counts as out of reach."""

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory", "oss", "r2"})
"""Protocols where what is put is not seen before it is whole."""


class Place(ABC):
    """A library's place. Names of files are relative, with `/`.

    Attributes:
        shown: the place as messages name it.
    """

    shown: str

    @abstractmethod
    def list(self, folder: str) -> Sequence[str]:
        """Return the names of the files right in a folder, sorted; none where there is no such folder."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's bytes; `None` where there is none."""

    @abstractmethod
    def write(self, name: str, fill: Callable[[Path], None]) -> None:
        """Write a file whole or not at all.

        Args:
            name: where to.
            fill: writes it to a temporary path.

        Raises:
            MoodreelError: it cannot be written.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def fetch(self, folder: str, names: Sequence[str]) -> Sequence[Path]:
        """Return local paths of files of a folder, which never change once written.

        Raises:
            FileNotFoundError: one has gone.
        """

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small file whole or not at all."""
        self.write(name, lambda path: _fill(path, data))


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def open_place(location: str | os.PathLike[str]) -> Place:
    """Open a folder, or what a URL names; nothing need be there yet.

    Raises:
        LibraryError: nothing is installed that opens such a URL.
    """
    name = os.fspath(location)
    if name.startswith("file://"):
        return Folder(Path(unquote(urlsplit(name).path)))
    return Remote(name) if is_url(name) else Folder(Path(name))


def is_url(name: str) -> bool:
    """Return whether a name is a URL rather than a path."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.replace("+", "").isalnum() and len(scheme) > 1


class Folder(Place):
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = printable(str(folder))

    def list(self, folder: str) -> Sequence[str]:
        """List a folder."""
        try:
            with os.scandir(self.folder / folder) as found:
                return sorted(one.name for one in found if not one.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as error:
            raise LibraryError(f"{self.shown}: cannot be read ({first_line(error)})") from None

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise LibraryError(f"{self.shown}/{name}: cannot be read ({first_line(error)})") from None

    def write(self, name: str, fill: Callable[[Path], None]) -> None:
        """Write a file beside its place and move it there."""
        with whole_file(self.folder / name) as temporary:
            fill(temporary)

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.folder / name).unlink(missing_ok=True)

    def fetch(self, folder: str, names: Sequence[str]) -> Sequence[Path]:
        """Name the files where they are."""
        return [self.folder / folder / name for name in names]


class Remote(Place):
    """What a URL names. Files are fetched once into the user's cache, since they never change."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.shown = printable(self.url)
        self._system, self._root = open_system(self.url)
        digest = hashlib.sha256(self.url.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._cache = default_cache().folder / "libraries" / digest

    def list(self, folder: str) -> Sequence[str]:
        """List what stands under a prefix."""
        with reaching(self.shown), suppress(FileNotFoundError):
            self._system.invalidate_cache()
            found = self._system.ls(f"{self._root}/{folder}", detail=True)
            names = [one["name"].rsplit("/", 1)[-1] for one in found if one["type"] == "file"]
            return sorted(name for name in names if name and not name.startswith("."))
        return []

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        with reaching(self.shown), suppress(FileNotFoundError):
            return bytes(self._system.cat_file(f"{self._root}/{name}"))
        return None

    def write(self, name: str, fill: Callable[[Path], None]) -> None:
        """Write a file here and put it there; where a half of it could be seen, under another name first."""
        with tempfile.TemporaryDirectory(prefix="moodreel-") as folder:
            temporary = Path(folder, "part")
            fill(temporary)
            with reaching(self.shown):
                self._put(temporary, f"{self._root}/{name}")

    def _put(self, file: Path, target: str) -> None:
        if self.url.partition("://")[0] in _OBJECT_STORES:
            self._system.put_file(str(file), target)
            return
        folder, _, name = target.rpartition("/")
        self._system.makedirs(folder, exist_ok=True)
        self._system.put_file(str(file), f"{folder}/.moodreel-{name}")
        self._system.mv(f"{folder}/.moodreel-{name}", target)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with reaching(self.shown), suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")

    def fetch(self, folder: str, names: Sequence[str]) -> Sequence[Path]:
        """Fetch what is not in the cache, and forget there what is no longer asked for."""
        cache = self._cache / folder
        held = {path.name for path in cache.glob("*.parquet")} if cache.is_dir() else set()
        for name in sorted(set(names) - held):
            with whole_file(cache / name) as temporary, reaching(self.shown):
                self._system.get_file(f"{self._root}/{folder}/{name}", str(temporary))
        for name in held - set(names):
            (cache / name).unlink(missing_ok=True)
        return [cache / name for name in names]


def open_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it.

    Raises:
        LibraryError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(url, **_bounds(scheme))
    except ImportError as error:
        wanted = advise("library") if error.name == "fsspec" else printable(first_line(error))
        raise LibraryError(f"{printable(url)}: {scheme}:// cannot be opened: {wanted}") from None
    except ValueError as error:
        raise LibraryError(f"{printable(url)}: cannot be opened ({printable(first_line(error))})") from None
    if hasattr(system, "retries"):
        system.retries = MOST_ATTEMPTS
    return system, str(root).rstrip("/")


def _bounds(scheme: str) -> dict[str, Any]:
    """Say how long to wait for an answer, in the words of what opens such URLs."""
    if scheme not in ("s3", "s3a"):
        return {}
    retries = {"total_max_attempts": 1}  # s3fs tries again by itself
    config = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "retries": retries}
    return {"config_kwargs": config, "use_listings_cache": False}


@contextmanager
def reaching(shown: str) -> Iterator[None]:
    """Turn what a file system far away raises into one line; what is not there stays a `FileNotFoundError`.

    Raises:
        LibraryError: it cannot be reached, or refuses.
    """
    try:
        yield
    except (FileNotFoundError, MoodreelError):
        raise
    except Exception as error:  # each kind of file system has its own
        told = printable(first_line(error))
        raise LibraryError(f"{shown}: cannot be reached ({told}); nothing is lost: try again later") from None
