"""The leakage guard: speakers, files and recordings that stand on both sides of a test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from moodreel.corpora import SPLITS, UNKNOWN_SPEAKER, Sample, natural_key
from moodreel.leaks.fingerprints import Fingerprint
from moodreel.leaks.matching import find_matches
from moodreel.leaks.training_clips import KnownClip
from moodreel.text import printable

TESTED = "tested"
_MOST_LISTED = 20


@dataclass(frozen=True)
class Leak:
    """Two clips of different sides that are one recording.

    Attributes:
        clip: the one; of an evaluation, the tested one.
        side: where it stands.
        twin: the other.
        twin_side: where that stands.
        kind: `bytes` (the files are the same), `sound` or `picture` (the recording is).
        wrong: part of the fingerprints' bits that differ, 0-1.
        overlap_s: seconds that were compared.
    """

    clip: str
    side: str
    twin: str
    twin_side: str
    kind: str
    wrong: float
    overlap_s: float

    def __str__(self) -> str:
        """One line, for people."""
        how = "the same file as" if self.kind == "bytes" else f"the same {self.kind} ({1 - self.wrong:.0%} alike) as"
        return printable(f"{self.clip} ({self.side}) is {how} {self.twin} ({self.twin_side})")


@dataclass(frozen=True)
class LeakReport:
    """What was found on both sides.

    Attributes:
        against: what clips were held against, in words; empty where there was nothing to hold them against.
        shared_speakers: known speakers (or films) that stand on more than one side.
        leaks: recordings that stand on more than one side.
        leaked: tested clips that leak, by speaker or recording; in a check of a corpus all clips that do.
        unread: clips without a fingerprint, since they cannot be read.
        same_files: files of which different parts stand on more than one side, in words; no leak of a recording, but
            the scenes share their film.
        suspected: pairs of clips of different named speakers that are alike by their picture alone: drawn figures or
            one studio, or a speaker under two names. For people to look at; they count in no `leaked`.
    """

    against: str
    shared_speakers: tuple[str, ...]
    leaks: tuple[Leak, ...]
    leaked: tuple[str, ...]
    unread: tuple[str, ...]
    same_files: tuple[str, ...] = ()
    suspected: tuple[Leak, ...] = ()


def find_leaks(clips: Sequence[KnownClip], against: str) -> LeakReport:
    """Find speakers and recordings that stand on more than one side.

    Args:
        clips: with the side each stands on.
        against: what this check is, in words.
    """
    read = [clip for clip in clips if clip.fingerprint is not None]
    matches = find_matches([c.fingerprint for c in read if c.fingerprint], [c.side for c in read])
    otherwise_alike = {(m.first, m.second) for m in matches if m.kind != "picture"}
    doubtful = [
        (m.first, m.second) not in otherwise_alike and _are_named_apart(read[m.first], read[m.second]) for m in matches
    ]
    pairs = [(_tested_first(read[m.first], read[m.second]), m) for m in matches]
    found = [Leak(a.name, a.side, b.name, b.side, m.kind, m.wrong, m.overlap_s) for (a, b), m in pairs]
    leaks = tuple(one for one, doubt in zip(found, doubtful, strict=True) if not doubt)
    shared = _shared_speakers(clips)
    sides = {TESTED} if any(clip.side == TESTED for clip in clips) else {clip.side for clip in clips}
    leaked = {clip.name for clip in clips if clip.side in sides and (clip.corpus, clip.speaker) in shared}
    leaked |= {
        name for one in leaks for name, side in ((one.clip, one.side), (one.twin, one.twin_side)) if side in sides
    }
    return LeakReport(
        against=against,
        shared_speakers=tuple(sorted({speaker for _, speaker in shared}, key=natural_key)),
        leaks=leaks,
        leaked=tuple(sorted(leaked, key=natural_key)),
        unread=tuple(clip.name for clip in clips if clip.fingerprint is None),
        same_files=tuple(_name_same_files(clips)),
        suspected=tuple(one for one, doubt in zip(found, doubtful, strict=True) if doubt),
    )


def _are_named_apart(first: KnownClip, second: KnownClip) -> bool:
    """Whether two clips name different speakers; those of different corpora are different people."""
    speakers = {(clip.corpus, clip.speaker) for clip in (first, second)}
    return len(speakers) == 2 and UNKNOWN_SPEAKER not in (first.speaker, second.speaker)


def _name_same_files(clips: Sequence[KnownClip]) -> Iterator[str]:
    """Say, a line a file, of which files different parts stand on different sides."""
    parts: dict[str, list[tuple[KnownClip, Fingerprint]]] = defaultdict(list)
    for clip in clips:
        if clip.fingerprint is not None:
            parts[clip.fingerprint.sha256].append((clip, clip.fingerprint))
    for same in parts.values():
        sides = {clip.side for clip, _ in same}
        apart = next(
            (
                (first, second)
                for (first, one), (second, other) in combinations(same, 2)
                if first.side != second.side and not one.overlaps(other)
            ),
            None,
        )
        if apart is not None:
            first, second = _tested_first(*apart)
            yield printable(
                f"{first.name} ({first.side}) and {second.name} ({second.side}) are different parts of one file, "
                f"of which {len(same)} parts stand on {len(sides)} sides"
            )


def _tested_first(first: KnownClip, second: KnownClip) -> tuple[KnownClip, KnownClip]:
    return (second, first) if second.side == TESTED else (first, second)


def _shared_speakers(clips: Sequence[KnownClip]) -> set[tuple[str, str]]:
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        if clip.speaker != UNKNOWN_SPEAKER:
            sides[clip.corpus, clip.speaker].add(clip.side)
    return {speaker for speaker, stood in sides.items() if len(stood) > 1}


def corpus_sides(samples: Sequence[Sample]) -> tuple[tuple[str, ...], str]:
    """Say on which side each clip of a corpus stands, and what is checked so.

    By its own split; where it gives none, each speaker is a side, for any speaker-independent split would part them;
    where speakers are unknown too, each clip is.
    """
    if all(sample.split is not None for sample in samples):
        return tuple(sample.split or "" for sample in samples), "the sides of the corpus's own split"
    if any(sample.speaker != UNKNOWN_SPEAKER for sample in samples):
        return tuple(f"speaker {sample.speaker}" for sample in samples), "the speakers of the corpus"
    return tuple(sample.clip_id for sample in samples), "each clip against all others"


def other_sides(tested: Sequence[Sample], corpus: Sequence[Sample]) -> tuple[Sample, ...]:
    """Choose the clips of a corpus that the tested ones must not repeat: the other sides of its own split."""
    own = {sample.split for sample in tested}
    return tuple(sample for sample in corpus if sample.split in SPLITS and sample.split not in own)


def join_reports(reports: Sequence[LeakReport]) -> LeakReport:
    """Put the reports of several folds together."""
    if len(reports) == 1:
        return reports[0]
    return LeakReport(
        against="; ".join(dict.fromkeys(report.against for report in reports if report.against)),
        shared_speakers=tuple(sorted({s for report in reports for s in report.shared_speakers}, key=natural_key)),
        leaks=tuple(leak for report in reports for leak in report.leaks),
        leaked=tuple(name for report in reports for name in report.leaked),
        unread=tuple(name for report in reports for name in report.unread),
        same_files=tuple(dict.fromkeys(line for report in reports for line in report.same_files)),
        suspected=tuple(leak for report in reports for leak in report.suspected),
    )


def format_leaks(report: LeakReport) -> str:
    """Write what was found as lines for a terminal."""
    lines = [f"leaks: held against {report.against}" if report.against else "leaks: nothing to hold the clips against"]
    if report.shared_speakers:
        names = ", ".join(map(printable, report.shared_speakers[:_MOST_LISTED]))
        lines.append(f"leak: {len(report.shared_speakers)} speakers on more than one side: {names}")
    lines += [f"leak: {leak}" for leak in report.leaks[:_MOST_LISTED]]
    if len(report.leaks) > _MOST_LISTED:
        lines.append(f"leak: {len(report.leaks) - _MOST_LISTED} more pairs")
    lines += [f"suspicion: {leak}; their speakers are named apart" for leak in report.suspected[:_MOST_LISTED]]
    if len(report.suspected) > _MOST_LISTED:
        lines.append(f"suspicion: {len(report.suspected) - _MOST_LISTED} more pairs")
    lines += [f"one file: {line}" for line in report.same_files[:_MOST_LISTED]]
    if len(report.same_files) > _MOST_LISTED:
        lines.append(f"one file: {len(report.same_files) - _MOST_LISTED} more files")
    kinds = Counter(leak.kind for leak in report.leaks)
    if report.against:
        counts = ", ".join(f"{count} by {kind}" for kind, count in sorted(kinds.items())) or "none"
        lines.append(f"leaks: {len(report.leaks)} pairs ({counts}), {len(report.shared_speakers)} speakers")
    if report.suspected:
        lines.append(f"suspicions: {len(report.suspected)} pairs by picture alone; look at them, they are not left out")
    if report.unread:
        lines.append(f"leaks: {len(report.unread)} clips cannot be read and were not checked")
    return "\n".join(lines)
