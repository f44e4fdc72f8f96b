"""Finding the files of a corpus folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from moodreel.corpora.sample import CorpusProblem, Sample, natural_key

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".ts", ".webm", ".wmv",
})
AUDIO_SUFFIXES = frozenset({
    ".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav",
    ".wma",
})
# fmt: on
CLIP_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
"""Endings of clips; pictures are none, since corpora carry frames and aligned faces beside their clips."""

FEATURE_SUFFIXES = (".arff", ".csv", ".txt", ".mat")
"""Endings of files of sound features, the preferred one first."""


def find_files(root: Path, suffixes: frozenset[str]) -> tuple[Path, ...]:
    """List the files below a folder, linked folders included, each real folder once.

    Args:
        root: an existing folder.
        suffixes: the lower-case endings wanted, with their dot; any case matches.

    Returns:
        Paths that begin with `root`, numbers in their names counted as numbers. Hidden files and folders are left out.
    """
    found = (folder / name for folder, names in _walk(root) for name in names)
    wanted = [path for path in found if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return tuple(sorted(wanted, key=lambda path: natural_key(path.as_posix())))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), names


def find_clips(root: Path) -> tuple[Path, ...]:
    """List the videos and sound files below a folder, as `find_files` does."""
    return find_files(root, CLIP_SUFFIXES)


def group_problems(failures: Iterable[tuple[str, Path]]) -> tuple[CorpusProblem, ...]:
    """Gather failures of one reason into one `CorpusProblem` each.

    Args:
        failures: pairs of a reason and a file.

    Returns:
        One problem a reason, in the order in which the reasons first came.
    """
    paths_by_reason: dict[str, list[Path]] = defaultdict(list)
    for reason, path in failures:
        paths_by_reason[reason].append(path)
    return tuple(CorpusProblem(reason, tuple(paths)) for reason, paths in paths_by_reason.items())


def keep_one_form(
    samples: Iterable[Sample], take_of: Callable[[Sample], str] = lambda sample: sample.clip_id
) -> tuple[tuple[Sample, ...], tuple[CorpusProblem, ...]]:
    """Keep one file per take where a corpus holds several: video rather than sound alone, then the first path.

    CREMA-D ships each take as FLV, WAV and MP3, RAVDESS with and without its other track; used together they would
    stand on both sides of a split or count twice.

    Args:
        samples: the clips; the order decides between equals.
        take_of: names the take of a clip.

    Returns:
        The clips kept, sorted by `clip_id`, and a problem that lists the files left out.
    """
    kept: dict[str, Sample] = {}
    left_out: list[tuple[str, Path]] = []
    for sample in sorted(samples, key=lambda sample: sample.path.suffix.lower() not in VIDEO_SUFFIXES):
        first = kept.setdefault(take_of(sample), sample)
        if first is not sample:
            left_out.append((_second_form_reason(first, sample), sample.path))
    ordered = sorted(kept.values(), key=lambda sample: natural_key(sample.clip_id))
    return tuple(ordered), group_problems(left_out)


def _second_form_reason(first: Sample, second: Sample) -> str:
    if first.path.name == second.path.name:
        return "two clips of one name, the first kept"
    return "another form of a take that is there already, left out (point at its folder to use it)"


def list_folders(root: Path) -> tuple[Path, ...]:
    """List the visible folders that stand directly in a folder, in the order of their names."""
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return tuple(sorted(folders, key=lambda path: natural_key(path.name)))


def relative_id(path: Path, root: Path) -> str:
    """Name a clip by its path below the corpus folder, without suffix and with forward slashes."""
    return path.relative_to(root).with_suffix("").as_posix()
