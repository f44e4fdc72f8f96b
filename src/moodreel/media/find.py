"""Which files a user means: those named, and the media in the folders named."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from moodreel.errors import MediaError
from moodreel.media.container import DecodeError, open_container, open_source
from moodreel.text import printable


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


PICTURE_SUFFIXES = _suffixes("png jpg jpeg webp gif bmp tif tiff avif")
SUFFIXES = PICTURE_SUFFIXES | _suffixes(
    "mp4 m4v mov mkv webm avi mpg mpeg vob dv ts m2ts mts flv wmv asf ogv 3gp mxf "
    "wav mp3 m4a aac flac ogg oga opus wma aiff aif au amr caf"
)
"""File names that `find_media` takes from a folder unread; a file named itself may be called anything."""

OTHER_SUFFIXES = _suffixes(
    "srt vtt ass ssa sub idx txt md rst log csv tsv json jsonl xml yaml yml toml ini nfo html htm pdf doc docx odt rtf "
    "xls xlsx ods ppt pptx odp zip gz xz bz2 7z rar tar iso py pyc ipynb js css sh bat m r c h cpp exe dll so npz npy "
    "npm mat arff parquet h5 hdf5 pkl pt pth onnx db sqlite eaf textgrid praat sfv md5 sha1 sha256 torrent url part "
    "m3u m3u8 pls cue svg heic psd ttf otf"
)
"""Names of files that hold no clip, left out unread; what is called otherwise is looked into."""

_MOST_TRIED = 500
"""Packets of a file of an unknown name that are decoded before it counts as something else."""

COVERS = "covers or thumbnails"

_COVER = re.compile(
    r"(cover|folder|front|back|poster|fanart|backdrop|banner|landscape|clearlogo|clearart|thumb|thumbnail|albumart.*)\d*",
    re.IGNORECASE,
)
_COVER_OF_A_CLIP = re.compile(
    r"(?P<clip>.+)[-_. ](cover|poster|fanart|backdrop|banner|landscape|thumb|thumbnail)\d*", re.IGNORECASE
)


@dataclass
class Finder:
    """Replaces folders by the media in them, and remembers what it left out.

    Attributes:
        takes_covers: whether covers and thumbnails beside clips are clips too.
        skipped: files left out of folders, and what each is.
    """

    takes_covers: bool = False
    skipped: dict[Path, str] = field(default_factory=dict)

    def find(self, paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
        """Replace folders by the media files in them; see `find_media`."""
        found: dict[str, Path] = {}
        for path in map(Path, paths):
            files = sorted(chain.from_iterable(self.walk(path))) if is_folder(path) else [path]
            if not files:
                raise MediaError(
                    f"{printable(str(path))}: folder without media; expected files such as .mp4, .wav or .jpg"
                )
            for file in files:
                found.setdefault(os.path.realpath(file), file)
                self.skipped.pop(file, None)
        return list(found.values())

    def walk(self, folder: Path) -> Iterator[list[Path]]:
        """Yield the media of a folder and of all below it, folder by folder, each once; hidden ones are left out."""
        visited: set[str] = set()
        for root, folders, names in os.walk(folder, followlinks=True):
            here = os.path.realpath(root)
            folders[:] = [] if here in visited else sorted(name for name in folders if not name.startswith("."))
            if here not in visited:
                yield sorted(self._choose([Path(root, name) for name in names if not name.startswith(".")]))
            visited.add(here)

    def _choose(self, files: list[Path]) -> list[Path]:
        """Return the media among the files of one folder."""
        media = [file for file in files if _is_media(file)]
        clips = {file.stem.casefold() for file in media if not _is_picture(file)}
        clips |= {file.name.casefold() for file in media if not _is_picture(file)}
        covers = set() if self.takes_covers else {file for file in media if _is_picture(file) and _covers(file, clips)}
        left_out = {file: file.suffix.lower() or "without suffix" for file in set(files) - set(media)}
        self.skipped |= left_out | dict.fromkeys(covers, COVERS)
        return [file for file in media if file not in covers]


def find_media(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Replace folders by the media files in them.

    Args:
        paths: files, kept whatever they are called and whether or not they exist, and folders, searched to the bottom
            for files with one of `SUFFIXES`, and for others that turn out to be media, sorted by path. Hidden ones are
            left out, and pictures beside clips that are their covers or thumbnails.

    Returns:
        The files in the order given, each once.

    Raises:
        MediaError: a folder holds no media.
    """
    return Finder().find(paths)


def tell_skipped(skipped: Mapping[Path, str]) -> str:
    """Say in one line what was left out of folders, most frequent first: "skipped 14 files: 9 .srt, 5 .txt"."""
    return f"{tell_kinds(Counter(skipped.values()))}; --verbose lists them"


def tell_kinds(counts: Mapping[str, int]) -> str:
    """Say in one line how many files of which kind were left out."""
    n_files, sorted_counts = sum(counts.values()), sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kinds = (f"{count} {printable(kind)}{' (--all reads them)' * (kind == COVERS)}" for kind, count in sorted_counts)
    return f"skipped {n_files} file{'s' * (n_files != 1)}: {', '.join(kinds)}"


def is_folder(path: Path) -> bool:
    """Return whether a folder stands there; unlike `Path.is_dir` alone, also for a name that no file can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES


def _covers(picture: Path, clips: set[str]) -> bool:
    """Say whether a picture is the cover or a thumbnail of clips beside it, named without and with suffix."""
    stem = picture.stem.casefold()
    of_a_clip = _COVER_OF_A_CLIP.fullmatch(stem)
    return (
        stem in clips
        or (bool(clips) and bool(_COVER.fullmatch(stem)))
        or bool(of_a_clip and of_a_clip["clip"] in clips)
    )


def _is_media(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in SUFFIXES or (suffix not in OTHER_SUFFIXES and _holds_media(file))


def _holds_media(file: Path) -> bool:
    """Say whether a file of an unknown name decodes to a picture or sound; many a file looks like MP3 for a while."""
    try:
        source = open_source(file)
    except MediaError:
        return False
    try:
        with contextlib.closing(open_container(source)) as container:
            return any(_shows_something(packet) for packet in islice(container.demux(), _MOST_TRIED))
    except (MediaError, IndexError, *DecodeError):  # IndexError: see `Decoder`
        return False
    finally:
        source.close()


def _shows_something(packet: Any) -> bool:
    with contextlib.suppress(EOFError, *DecodeError):
        return packet.stream.type in ("video", "audio") and bool(packet.decode())
    return False
