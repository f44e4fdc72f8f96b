"""Finding the same recording among thousands of fingerprints: by an index over parts of words, not by all pairs.

Two clips come into question where parts of their words agree at one shift in time more than once. Only then are they
laid over each other and their bits counted. With 10,000 clips of four seconds that takes seconds (docs/evaluation.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from moodreel.leaks.fingerprints import N_BITS, PICTURE_HOP_S, SOUND_HOP_S, Fingerprint, Track, Words

Ints = npt.NDArray[np.int64]

FEWEST_VOTES = 2
MOST_NEIGHBOURS = 400
"""Words that many others share say nothing; each is held against so many of them at most."""

_SHIFT_BITS, _CLIP_BITS = 22, 20
_MOST_SHIFTS = 3


@dataclass(frozen=True)
class Likeness:
    """When two tracks are taken for the same recording.

    Attributes:
        kind: `sound` or `picture`.
        hop_s: seconds from word to word.
        limits: active words that lie over each other, rising, and the part of their bits that may differ from so many
            on, 0-1; between strangers it is a half.
        key_bits: lower or upper bits of a word that must agree to make two clips candidates.
    """

    kind: str
    hop_s: float
    limits: tuple[tuple[int, float], ...]
    key_bits: int

    def most_wrong(self, n_words: int) -> float:
        """Part of the bits of so many words that may differ, 0-1; negative where the words are too few."""
        return max((wrong for fewest, wrong in self.limits if n_words >= fewest), default=-1.0)


SOUND = Likeness("sound", SOUND_HOP_S, limits=((30, 0.25),), key_bits=20)
PICTURE = Likeness("picture", PICTURE_HOP_S, limits=((16, 0.16), (25, 0.20)), key_bits=16)
"""Set on drawn heads, which are alike by make: of 115,000 pairs of takes the nearest differ in .17 below 2.5 s, in .22
above. Real copies differ in .10 to .22 (docs/evaluation.md)."""


@dataclass(frozen=True)
class Match:
    """Two clips that are the same recording.

    Attributes:
        first: index of the one.
        second: index of the other, larger.
        kind: `bytes` (one file, or parts of it that overlap), `sound` or `picture`.
        wrong: part of the bits that differ, 0-1; 0 for `bytes`.
        overlap_s: seconds compared; 0 for `bytes`.
    """

    first: int
    second: int
    kind: str
    wrong: float
    overlap_s: float


def find_matches(prints: Sequence[Fingerprint], sides: Sequence[str]) -> tuple[Match, ...]:
    """Find clips of different sides that are the same recording.

    Args:
        prints: one per clip, fewer than a million.
        sides: the side each stands on; clips of one side are not held against each other.

    Returns:
        One match a pair and kind, byte-identical pairs as `bytes` alone; in the order of the clips.
    """
    numbers = np.unique(np.array(sides), return_inverse=True)[1].astype(np.int64) if sides else np.zeros(0, np.int64)
    same_bytes = list(_find_same_bytes(prints, sides))
    known = {(match.first, match.second) for match in same_bytes}
    found = [
        match
        for likeness, tracks in ((SOUND, [p.sound for p in prints]), (PICTURE, [p.picture for p in prints]))
        for match in find_alike(tracks, numbers, likeness)
        if (match.first, match.second) not in known
    ]
    return tuple(sorted(same_bytes + found, key=lambda match: (match.first, match.second, match.kind)))


def _find_same_bytes(prints: Sequence[Fingerprint], sides: Sequence[str]) -> Iterator[Match]:
    clips: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(prints):
        clips[one.sha256].append(index)
    for same in clips.values():
        for first, second in combinations(same, 2):
            if sides[first] != sides[second] and prints[first].overlaps(prints[second]):
                yield Match(first, second, "bytes", 0.0, 0.0)


def find_alike(tracks: Sequence[Track], sides: Ints, likeness: Likeness) -> Iterator[Match]:
    """Find pairs of tracks that are the same recording.

    Args:
        tracks: of one kind.
        sides: number of the side of each track, shape (n_tracks,); pairs of one side are left out.
        likeness: when two are taken for the same.

    Yields:
        The pairs, each once.
    """
    shifts: dict[tuple[int, int], list[int]] = defaultdict(list)
    for first, second, shift in _find_candidates(tracks, sides, likeness.key_bits):
        if len(shifts[first, second]) < _MOST_SHIFTS:
            shifts[first, second].append(shift)
    for (first, second), candidates in shifts.items():
        near = {shift + step for shift in candidates for step in (-1, 0, 1)}
        measured = [_compare(tracks[first], tracks[second], shift) for shift in sorted(near)]
        alike = [(wrong, n_words) for wrong, n_words in measured if wrong <= likeness.most_wrong(n_words)]
        if alike:
            wrong, n_words = min(alike)
            yield Match(first, second, likeness.kind, wrong, n_words * likeness.hop_s)


def _find_candidates(tracks: Sequence[Track], sides: Ints, key_bits: int) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of clips and a shift at which parts of their words agree, those of most agreement first."""
    rows = [np.flatnonzero(track.active) for track in tracks]
    clips = np.repeat(np.arange(len(tracks)), [len(row) for row in rows]).astype(np.int64)
    if not len(clips):
        return
    places = np.concatenate(rows).astype(np.int64)
    words = np.concatenate([track.words[row] for track, row in zip(tracks, rows, strict=True)])
    keys = (words & np.uint32((1 << key_bits) - 1), words >> np.uint32(N_BITS - key_bits))
    votes = np.concatenate([part for key in keys for part in _vote(key, clips, places, sides)])
    codes, counts = np.unique(votes, return_counts=True)
    often = counts >= FEWEST_VOTES
    codes, counts = codes[often], counts[often]
    for code in codes[np.argsort(-counts, kind="stable")].tolist():
        pair, shift = code >> _SHIFT_BITS, (code & ((1 << _SHIFT_BITS) - 1)) - (1 << (_SHIFT_BITS - 1))
        yield pair >> _CLIP_BITS, pair & ((1 << _CLIP_BITS) - 1), shift


def _vote(keys: Words, clips: Ints, places: Ints, sides: Ints) -> Iterator[Ints]:
    """Yield a code of (first clip, second clip, shift) for each two words of one key."""
    order = np.argsort(keys, kind="stable")  # within a key the clips stay in their order
    keys, clips, places = keys[order], clips[order], places[order]
    yield np.zeros(0, np.int64)
    left = np.arange(len(keys))
    for step in range(1, MOST_NEIGHBOURS + 1):
        left = left[left + step < len(keys)]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            return
        kept = left[sides[clips[left]] != sides[clips[left + step]]]
        shift = places[kept] - places[kept + step] + (1 << (_SHIFT_BITS - 1))
        yield (((clips[kept] << _CLIP_BITS) | clips[kept + step]) << _SHIFT_BITS) | shift


def _compare(first: Track, second: Track, shift: int) -> tuple[float, int]:
    """Lay word i of the second over word i + shift of the first: part of differing bits, and words compared."""
    low, high = max(0, shift), min(len(first.words), len(second.words) + shift)
    if high <= low:
        return 1.0, 0
    here, there = slice(low, high), slice(low - shift, high - shift)
    both = first.active[here] & second.active[there]
    n_words = int(both.sum())
    if not n_words:
        return 1.0, 0
    differing = np.bitwise_count(first.words[here][both] ^ second.words[there][both])
    return float(differing.mean()) / N_BITS, n_words
