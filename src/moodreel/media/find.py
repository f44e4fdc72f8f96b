"""Which files a user means: those named, and the media in the folders named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from moodreel.errors import MediaError
from moodreel.text import printable

SUFFIXES = frozenset(
    f".{suffix}"
    for suffixes in (
        "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts flv wmv asf ogv 3gp mxf",
        "wav mp3 m4a aac flac ogg oga opus wma aiff aif au amr caf",
        "png jpg jpeg webp gif bmp tif tiff avif",
    )
    for suffix in suffixes.split()
)
"""File names that `find_media` takes from a folder, by suffix; a file named itself may be called anything."""


def find_media(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Replace folders by the media files in them.

    Args:
        paths: files, kept whatever they are called and whether or not they exist, and folders, searched to the bottom
            for files with one of `SUFFIXES`, sorted by path, hidden ones left out.

    Returns:
        The files in the order given, each once.

    Raises:
        MediaError: a folder holds no media.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        files = _walk(path) if is_folder(path) else [path]
        if not files:
            raise MediaError(f"{printable(str(path))}: folder without media; expected files such as .mp4, .wav or .jpg")
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def is_folder(path: Path) -> bool:
    """Return whether a folder stands there; unlike `Path.is_dir` alone, also for a name that no file can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _walk(folder: Path) -> list[Path]:
    files: list[Path] = []
    visited: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        folders[:] = [] if here in visited else sorted(name for name in folders if not name.startswith("."))
        if here not in visited:
            files += [Path(root, name) for name in names if _is_media_name(name)]
        visited.add(here)
    return sorted(files)


def _is_media_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
