"""Thumbnails that are kept in a library: made once, and gone with the file that they show."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field

from moodreel.errors import MoodreelError
from moodreel.library.place import Folder, Place
from moodreel.library.store import Store

FOLDER = "thumbnails"
MOST_KEPT = 100_000
"""Thumbnails that a library keeps, about a gigabyte; others are made each time."""

_NAME = re.compile(r"([0-9a-f]{16})-\d+\.jpg")


@dataclass
class KeptThumbnails:
    """The thumbnails in one library.

    Attributes:
        place: the library's.
    """

    place: Place
    _count: int | None = field(default=None, init=False)

    def read(self, file_id: str, second: int) -> bytes | None:
        """Return a JPEG; `None` where none is kept, or the library is out of reach."""
        with suppress(MoodreelError):
            return self.place.read(_name(file_id, second))
        return None

    def write(self, file_id: str, second: int, picture: bytes) -> bool:
        """Keep a JPEG; returns whether it could be: a library may be read-only, its disk full."""
        with suppress(MoodreelError):
            if self._count is None:
                self._count = len(self.place.list(FOLDER))
            if self._count < MOST_KEPT:
                self.place.write_bytes(_name(file_id, second), picture)
                self._count += 1
                return True
        return False


def _name(file_id: str, second: int) -> str:
    return f"{FOLDER}/{file_id}-{second}.jpg"


def forget_thumbnails(store: Store) -> int:
    """Remove the thumbnails of files that stand in a library no more, and what was half written.

    Returns:
        How many were removed.

    Raises:
        LibraryError: the library cannot be reached.
    """
    place = store.place
    names = place.list(FOLDER)
    kept = {file_id for (file_id,) in store.query("SELECT file_id FROM files")} if names else set()
    gone = [name for name in names if (found := _NAME.fullmatch(name)) is None or found[1] not in kept]
    if isinstance(place, Folder):
        gone += [path.name for path in (place.folder / FOLDER).glob(".moodreel-*")]
    for name in gone:
        place.remove(f"{FOLDER}/{name}")
    return len(gone)
