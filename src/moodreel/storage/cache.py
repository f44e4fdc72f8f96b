"""A cache of arrays on disk, addressed by content: the same clip read in the same way is read once.

An entry is written to a file of its own and moved into place, so that a kill leaves nothing half-written and two
processes that compute the same entry do not harm each other. Entries hold arrays only, never pickles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import MediaError, OutputError

Arrays = Mapping[str, npt.NDArray[Any]]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Cache:
    """A folder of cached arrays.

    Attributes:
        folder: where entries stand, as `ab/abcdef….npz`; made when first written to.
    """

    folder: Path

    def read(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of an entry; `None` where there is none, or it is damaged."""
        try:
            with np.load(self._path(key), allow_pickle=False) as entry:
                return {name: entry[name] for name in entry.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, key: str, arrays: Arrays) -> None:
        """Store an entry, in one step as seen by other processes.

        Args:
            key: from `make_key`.
            arrays: named arrays of numbers or text.

        Raises:
            OutputError: the disk is full or the folder not writable; nothing half-written is left.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write_whole(path, arrays)
        except OSError as error:
            raise OutputError(f"{path}: the feature cache cannot be written ({error.strerror or error})") from error

    def _write_whole(self, path: Path, arrays: Arrays) -> None:
        handle, partial = tempfile.mkstemp(suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes the names for options
            Path(partial).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(partial).unlink()
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


def default_cache() -> Cache:
    """Return the user's feature cache: `$MOODREEL_CACHE`, else `$XDG_CACHE_HOME/moodreel`, else `~/.cache/moodreel`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Cache(Path(os.environ.get("MOODREEL_CACHE") or Path(base) / "moodreel"))


def make_key(*parts: Any) -> str:
    """Return the address of an entry: a hash of everything that it depends on.

    Args:
        parts: JSON types; equal parts give equal keys on every machine.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content, remembered while its size and time of change stay.

    Raises:
        MediaError: the file cannot be read.
    """
    try:
        status = path.stat()
        return _hash_content(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=100_000)
def _hash_content(path: Path, _size: int, _changed_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
