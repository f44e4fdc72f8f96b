"""The datum of a corpus: one labelled clip, and the corpus that holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moodreel.text import printable

UNKNOWN_SPEAKER = "unknown"
"""What `Sample.speaker` says where the corpus does not tell who speaks."""

SPLITS = ("train", "valid", "test")
"""The names of the sides of an official split, whatever the corpus calls them."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Sample:
    """One labelled clip.

    Attributes:
        path: the media file.
        label: one of `moodreel.labels.EMOTIONS`. The reader of a layout may give the corpus's own name: `read_corpus`
            makes it one.
        speaker: who is seen and heard, or the film where the corpus groups by film; `UNKNOWN_SPEAKER` where unknown.
        clip_id: name of the clip, unique within its corpus and the same on every machine.
        split: side of the corpus's official split, one of `SPLITS`; `None` where there is none.
        corpus: name of the corpus.
        start_s: where the clip begins in the file, in seconds.
        end_s: where it ends, in seconds; `None` for the file's end.
        features_path: a file of sound features that came with the corpus; `None` where there is none.
        gender: `female` or `male` where the corpus tells.
        age: age of the speaker in years where the corpus tells.
        label_place: the row or folder that the label stands in, for messages; empty where the file's name tells it.
    """

    path: Path
    label: str
    speaker: str
    clip_id: str
    split: str | None
    corpus: str
    start_s: float = 0.0
    end_s: float | None = None
    features_path: Path | None = None
    gender: str | None = None
    age: int | None = None
    label_place: str = field(default="", compare=False)


@dataclass(frozen=True)
class CorpusProblem:
    """Files of a corpus that were left out, and why.

    Attributes:
        reason: what is wrong with them, in one line.
        paths: the files; never empty.
    """

    reason: str
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        """One line: how many, why, and the first of them."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.reason}: {printable(str(self.paths[0]))}{more}"


@dataclass(frozen=True)
class Corpus:
    """A folder of labelled clips, read.

    Attributes:
        name: name of the corpus; the known layouts give their own, others take the folder's.
        root: the folder or manifest it was read from.
        samples: the clips in the order of their `clip_id`, numbers counted as numbers.
        problems: what was left out.
        layout: how the folder was understood: a name out of `moodreel.corpora.find_layouts`.
        class_map: what the user said of the corpus's own classes, see `moodreel.labels.read_class_map`.
    """

    name: str
    root: Path
    samples: tuple[Sample, ...]
    problems: tuple[CorpusProblem, ...]
    layout: str
    class_map: Mapping[str, str] = field(default_factory=dict)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The known speakers in the order of their names, numbers counted as numbers."""
        known = {sample.speaker for sample in self.samples} - {UNKNOWN_SPEAKER}
        return tuple(sorted(known, key=natural_key))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Key that sorts names as people do: `actor2` before `actor10`.

    Args:
        name: any text.

    Returns:
        One triple for each run of digits or other characters.
    """
    runs = (run for run in _DIGITS.split(name) if run)
    return tuple((0, int(run), run) if run.isdecimal() else (1, 0, run) for run in runs)
