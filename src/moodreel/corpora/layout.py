"""What a layout of a corpus is: a name, how its folders are recognised, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moodreel.corpora.sample import Corpus


@dataclass(frozen=True)
class Layout:
    """A way in which corpora lie on disk.

    Attributes:
        name: what `--layout` calls it.
        shape: what its folders look like, in a few words.
        recognise: what speaks for this layout in a folder, in words for people; empty where nothing does. Takes the
            folder and all clips below it.
        read: a folder to its clips.
    """

    name: str
    shape: str
    recognise: Callable[[Path, Sequence[Path]], str]
    read: Callable[[Path], Corpus]


def count_names(clips: Sequence[Path], pattern: Callable[[str], object]) -> str:
    """Return how many clips have names of a pattern, in words; empty for none.

    Args:
        clips: the files.
        pattern: takes a stem and tells whether it fits, as `re.Pattern.fullmatch` does.
    """
    n_files = sum(bool(pattern(clip.stem)) for clip in clips)
    return f"{n_files} file names" if n_files else ""
