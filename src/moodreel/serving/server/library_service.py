"""The library that a server serves: what asks it, and what draws its files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from moodreel.library.shown import ShownLibrary
from moodreel.library.thumbnails import KeptThumbnails
from moodreel.serving.protocol.limits import Limits
from moodreel.serving.protocol.options import WorkerOptions
from moodreel.serving.server.searches import Searches
from moodreel.serving.server.thumbnails import Thumbnails


@dataclass(frozen=True)
class LibraryService:
    """The library of one server.

    Attributes:
        searches: what asks it.
        thumbnails: what draws its files.
    """

    searches: Searches
    thumbnails: Thumbnails


@asynccontextmanager
async def open_library(
    location: str | None, options: WorkerOptions, limits: Limits
) -> AsyncIterator[LibraryService | None]:
    """Open a library to be served.

    Args:
        location: its folder or URL; `None` for none.
        options: of the server's workers.
        limits: how much the server takes on.

    Raises:
        LibraryError: there is none, or it cannot be read.
    """
    if location is None:
        yield None
        return
    library = ShownLibrary.open(location)
    searches = Searches(library, limits)
    thumbnails = Thumbnails(KeptThumbnails(library.store.place), replace(options, role="pictures"), limits)
    try:
        await searches.start()
        yield LibraryService(searches, thumbnails)
    finally:
        await thumbnails.stop()
        await searches.stop()
