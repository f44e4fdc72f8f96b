"""What a corpus holds, for `moodreel corpus DIR`: clips, classes, speakers, unreadable files, imbalance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from moodreel.corpora.files import group_problems
from moodreel.corpora.sample import UNKNOWN_SPEAKER, Corpus, CorpusProblem, Sample, natural_key
from moodreel.errors import MediaError
from moodreel.labels import EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.text import printable

LARGE_IMBALANCE = 3.0
"""Ratio of the largest to the smallest class from which a warning is given."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Durations:
    """How long the clips are, in seconds.

    Attributes:
        n_known: clips whose file states a length.
        total_s: all of them together.
        shortest_s: the shortest.
        median_s: the middle one.
        longest_s: the longest.
    """

    n_known: int
    total_s: float
    shortest_s: float
    median_s: float
    longest_s: float

    def __str__(self) -> str:
        """One line, for people."""
        span = f"{self.shortest_s:.1f}-{self.longest_s:.1f} s (median {self.median_s:.1f} s)"
        return f"{self.total_s / 60:.1f} min in {self.n_known} clips of {span}"


@dataclass(frozen=True)
class CorpusDescription:
    """What a corpus holds.

    Attributes:
        name: name of the corpus.
        root: where it was read from.
        layout: how the folder was understood.
        n_clips: labelled clips, unreadable ones included.
        n_speakers: known speakers.
        counts: clips by speaker (`UNKNOWN_SPEAKER` too), then by emotion, all of `EMOTIONS` in their order.
        splits: clips by side of the official split; empty where there is none.
        imbalance: clips of the largest class per clip of the smallest, of the classes present; 1 or more.
        durations: lengths; `None` where files were not opened or none states its length.
        unreadable: files that cannot be opened, by reason; `None` where files were not opened.
        problems: files that the reader left out.
        warnings: what stands in the way of training or of figures that hold, one line each.
    """

    name: str
    root: Path
    layout: str
    n_clips: int
    n_speakers: int
    counts: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, int]
    imbalance: float
    durations: Durations | None
    unreadable: tuple[CorpusProblem, ...] | None
    problems: tuple[CorpusProblem, ...]
    warnings: tuple[str, ...]

    @property
    def class_counts(self) -> dict[str, int]:
        """Clips by emotion, all of `EMOTIONS` in their order."""
        return {label: sum(row[label] for row in self.counts.values()) for label in EMOTIONS}

    def to_json(self) -> dict[str, Any]:
        """Give the description as plain values that `json.dumps` takes."""
        return {
            "name": self.name,
            "root": str(self.root),
            "layout": self.layout,
            "clips": self.n_clips,
            "classes": self.class_counts,
            "speakers": {speaker: dict(row) for speaker, row in self.counts.items()},
            "splits": dict(self.splits),
            "imbalance": round(self.imbalance, 3),
            "durations": None if self.durations is None else vars(self.durations),
            "unreadable": None if self.unreadable is None else [_problem_to_json(p) for p in self.unreadable],
            "problems": [_problem_to_json(problem) for problem in self.problems],
            "warnings": list(self.warnings),
        }


def _problem_to_json(problem: CorpusProblem) -> dict[str, Any]:
    return {"reason": problem.reason, "files": [str(path) for path in problem.paths]}


def describe_corpus(corpus: Corpus, check_media: bool = False, progress: Progress | None = None) -> CorpusDescription:
    """Count what a corpus holds.

    Args:
        corpus: a corpus with at least one clip, as `read_corpus` gives it.
        check_media: whether to open every file, to find the unreadable and to measure lengths.
        progress: called after every file opened with the number done and the number of all.

    Returns:
        The counts, and warnings about classes that are missing, small or known from one speaker only.
    """
    durations, unreadable = _open_all(corpus.samples, progress) if check_media else (None, None)
    counts = _count(corpus)
    class_counts = Counter(sample.label for sample in corpus.samples)
    return CorpusDescription(
        name=corpus.name,
        root=corpus.root,
        layout=corpus.layout,
        n_clips=len(corpus.samples),
        n_speakers=len(corpus.speakers),
        counts=counts,
        splits=MappingProxyType(Counter(s.split for s in corpus.samples if s.split is not None)),
        imbalance=max(class_counts.values()) / min(class_counts.values()),
        durations=durations,
        unreadable=unreadable,
        problems=corpus.problems,
        warnings=(*_warn(class_counts, counts), *_warn_of_splits(corpus.samples)),
    )


def _count(corpus: Corpus) -> Mapping[str, Mapping[str, int]]:
    counts = Counter((sample.speaker, sample.label) for sample in corpus.samples)
    names = sorted({speaker for speaker, _ in counts}, key=natural_key)
    rows = {name: MappingProxyType({label: counts[name, label] for label in EMOTIONS}) for name in names}
    return MappingProxyType(rows)


def _open_all(
    samples: Sequence[Sample], progress: Progress | None
) -> tuple[Durations | None, tuple[CorpusProblem, ...]]:
    lengths_s: list[float] = []
    failures: list[tuple[str, Path]] = []
    for n_done, sample in enumerate(samples, start=1):
        try:
            with name_clip(sample.path):
                lengths_s.append(_measure_s(sample))
        except MediaError as error:
            failures.append((str(error).removeprefix(printable(f"{sample.path}: ")), sample.path))
        if progress is not None:
            progress(n_done, len(samples))
    return _summarise([length_s for length_s in lengths_s if length_s > 0]), group_problems(failures)


def _measure_s(sample: Sample) -> float:
    with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
        return clip.duration_s


def _summarise(lengths_s: Sequence[float]) -> Durations | None:
    if not lengths_s:
        return None
    lengths = np.array(lengths_s)
    return Durations(
        n_known=len(lengths),
        total_s=float(lengths.sum()),
        shortest_s=float(lengths.min()),
        median_s=float(np.median(lengths)),
        longest_s=float(lengths.max()),
    )


def _warn(classes: Counter[str], counts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    warnings = []
    missing = [label for label in EMOTIONS if label not in classes]
    if missing:
        warnings.append(f"no clip of {', '.join(missing)}")
    n_unknown = sum(counts.get(UNKNOWN_SPEAKER, {}).values())
    if n_unknown:
        warnings.append(f"speakers of {n_unknown} clips unknown: name them with --speakers or --speakers-csv")
    elif len(counts) == 1:
        warnings.append("one speaker only: nothing can be said of unseen speakers")
    else:
        warnings += _warn_of_lone_speakers(counts)
    if len(classes) > 1 and max(classes.values()) >= LARGE_IMBALANCE * min(classes.values()):
        small = min(classes, key=lambda label: classes[label])
        warnings.append(f"classes are unequal: {small} has {classes[small]} clips, the largest {max(classes.values())}")
    return tuple(warnings)


def _warn_of_lone_speakers(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    speakers = {label: [name for name, row in counts.items() if row[label]] for label in EMOTIONS}
    lone = {label: names[0] for label, names in speakers.items() if len(names) == 1}
    return [f"{label} comes from one speaker ({name}): it cannot be tested on another" for label, name in lone.items()]


def _warn_of_splits(samples: Sequence[Sample]) -> list[str]:
    n_without = sum(sample.split is None for sample in samples)
    if n_without in (0, len(samples)):
        return []
    return [f"{n_without} of {len(samples)} clips have no split, the others do: train goes on with --fold only"]


def render_description(description: CorpusDescription, n_speakers: int = 30) -> Group:
    """Lay a description out for a terminal.

    Args:
        description: what to show.
        n_speakers: how many speakers to give a row of their own; the rest share one.

    Returns:
        What `rich.console.Console.print` takes.
    """
    found = f"{_number(description.n_clips, 'clip')} of {_number(description.n_speakers, 'known speaker')}"
    lines = [f"{description.name}: {found} (layout {description.layout})"]
    if description.splits:
        lines.append("official split: " + ", ".join(f"{side} {n}" for side, n in description.splits.items()))
    lines.append(f"largest class / smallest class: {description.imbalance:.2f}")
    lines += _describe_media(description)
    lines += [f"left out: {len(problem.paths)} × {problem}" for problem in description.problems]
    lines += [f"warning: {warning}" for warning in description.warnings]
    return Group(_tabulate(description, n_speakers), *(escape(printable(line)) for line in lines))


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _describe_media(description: CorpusDescription) -> list[str]:
    lines = []
    if description.durations is not None:
        lines.append(f"length: {description.durations}")
    if description.unreadable is not None:
        n_unreadable = sum(len(problem.paths) for problem in description.unreadable)
        lines.append(f"unreadable: {n_unreadable} of {description.n_clips} files")
        lines += [f"unreadable: {len(problem.paths)} × {problem}" for problem in description.unreadable]
    return lines


def _tabulate(description: CorpusDescription, n_speakers: int) -> Table:
    table = Table(title=f"clips by speaker and emotion: {escape(printable(str(description.root)))}")
    table.add_column("speaker")
    for label in (*EMOTIONS, "all"):
        table.add_column(label, justify="right")
    ranked = sorted(description.counts.items(), key=lambda item: natural_key(item[0]))
    rows = [(speaker, dict(row)) for speaker, row in ranked[:n_speakers]]
    rest = [row for _, row in ranked[n_speakers:]]
    if rest:
        rows.append((f"{len(rest)} more", {label: sum(row[label] for row in rest) for label in EMOTIONS}))
    rows.append(("all", description.class_counts))
    for name, row in rows:
        table.add_row(escape(printable(name)), *(str(row[label] or "·") for label in EMOTIONS), str(sum(row.values())))
    return table
