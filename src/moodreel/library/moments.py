"""Windows that match and follow each other become one moment; done piece by piece, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import QueryError

_ROUNDING_S = 1e-6
"""By how much windows that follow each other may lie apart."""
_LEAST_WEIGHT_S = 1e-6
"""What a window of no length counts, as that of a picture."""
_MOST_WAITING = 4096
"""Moments that may wait before those that are not among the best are let go."""

Array = npt.NDArray[Any]


class OrderError(Exception):
    """Rows did not come file by file, person by person, in the order of time."""


@dataclass(frozen=True)
class Joining:
    """How windows become moments.

    Attributes:
        min_s: how long a moment must be, in seconds.
        gap_s: how far windows of one moment may lie apart.
        hysteresis: by how much a probability may fall short of what is asked for while a moment goes on.
    """

    min_s: float = 0.0
    gap_s: float = 0.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            QueryError: names the option.
        """
        ranges = {"min_s": 86_400.0, "gap_s": 86_400.0, "hysteresis": 1.0}
        for name, most in ranges.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise QueryError(f"{name} is {value:g}, expected 0 to {most:g}")


@dataclass(frozen=True)
class Runs:
    """Stretches of time, one an entry of each array, in the order of files, persons and times.

    Attributes:
        key: the file, a number.
        person: the person in the file, 0 for what is seen and heard.
        start_s: where it begins.
        end_s: where it ends.
        is_match: whether some of it fits the query without slack.
        weight: time that it holds, in seconds.
        sums: values times `weight`, shape (n, n_values).
    """

    key: Array
    person: Array
    start_s: Array
    end_s: Array
    is_match: Array
    weight: Array
    sums: Array

    @classmethod
    def of_windows(
        cls, key: Array, person: Array, times_s: tuple[Array, Array], is_match: Array, values: Array
    ) -> Runs:
        """Make each window a stretch of its own.

        Args:
            key: the file, a number.
            person: the person in the file.
            times_s: where each begins, and ends.
            is_match: whether it fits the query without slack.
            values: shape (n, n_values).
        """
        start_s, end_s = times_s
        weight = np.maximum(end_s - start_s, _LEAST_WEIGHT_S)
        return cls(key, person, start_s, end_s, is_match, weight, values * weight[:, None])

    def __len__(self) -> int:
        return len(self.key)

    @property
    def means(self) -> Array:
        """The values, averaged over time, shape (n, n_values)."""
        means: Array = self.sums / self.weight[:, None]
        return means

    @property
    def score(self) -> Array:
        """The first value, averaged over time."""
        score: Array = self.sums[:, 0] / self.weight
        return score

    def take(self, chosen: Array | slice) -> Runs:
        """Return some of them."""
        return Runs(*(getattr(self, one.name)[chosen] for one in fields(self)))

    @staticmethod
    def concatenate(several: Iterable[Runs]) -> Runs:
        """Put at least one after another."""
        held = list(several)
        return Runs(*(np.concatenate([getattr(one, field.name) for one in held]) for field in fields(Runs)))


class MomentJoiner:
    """Joins windows as they come."""

    def __init__(self, joining: Joining) -> None:
        self._joining = joining
        self._open: Runs | None = None
        self._files: list[Array] = []

    def join(self, pieces: Iterable[Runs]) -> Iterator[Runs]:
        """Yield the moments of all windows that come, in order.

        Raises:
            OrderError: the windows come in no order.
        """
        for piece in pieces:
            if len(piece):
                yield self._add(piece)
        if self._open is not None:
            yield self._choose(self._open)
        keys = np.concatenate(self._files) if self._files else np.zeros(0)
        if len(np.unique(keys)) < len(keys):
            raise OrderError

    def _add(self, piece: Runs) -> Runs:
        """Take windows in; returns the moments that they end."""
        is_new_file = piece.key[1:] != piece.key[:-1]
        is_new_person = is_new_file | (piece.person[1:] != piece.person[:-1])
        self._check_order(piece, is_new_file, is_new_person)
        is_apart = piece.start_s[1:] > piece.end_s[:-1] + self._reach_s
        joined = _join(piece, np.flatnonzero(np.concatenate([[True], is_new_person | is_apart])))
        if self._open is not None:
            joined = self._continue(self._open, joined)
        self._open = joined.take(slice(-1, None))
        return self._choose(joined.take(slice(0, -1)))

    @property
    def _reach_s(self) -> float:
        return self._joining.gap_s + _ROUNDING_S

    def _continue(self, before: Runs, joined: Runs) -> Runs:
        """Put the stretch that the last piece left open before those of the next one, or into the first of them."""
        first = joined.take(slice(0, 1))
        is_same_file = bool(first.key[0] == before.key[0])
        is_same = is_same_file and bool(first.person[0] == before.person[0])
        is_back = is_same_file and bool(first.person[0] < before.person[0])
        if is_back or (is_same and first.start_s[0] < before.start_s[0]):
            raise OrderError
        both = Runs.concatenate([before, first])
        if is_same and first.start_s[0] <= before.end_s[0] + self._reach_s:
            both = _join(both, np.array([0]))
        return Runs.concatenate([both, joined.take(slice(1, None))])

    def _check_order(self, piece: Runs, is_new_file: Array, is_new_person: Array) -> None:
        is_earlier = ~is_new_person & (piece.start_s[1:] < piece.start_s[:-1])
        is_before = ~is_new_file & (piece.person[1:] < piece.person[:-1])
        if np.any(is_earlier) or np.any(is_before):
            raise OrderError
        is_continued = self._open is not None and piece.key[0] == self._open.key[0]
        self._files += [piece.key[: int(not is_continued)], piece.key[1:][is_new_file]]

    def _choose(self, runs: Runs) -> Runs:
        """Return the stretches that are moments: those that match somewhere, and are long enough."""
        is_long = runs.end_s - runs.start_s >= self._joining.min_s - _ROUNDING_S
        return runs.take(runs.is_match & is_long)


def _join(rows: Runs, begins: Array) -> Runs:
    ends = np.concatenate([begins[1:], [len(rows)]]) - 1
    return Runs(
        rows.key[begins],
        rows.person[begins],
        rows.start_s[begins],
        rows.end_s[ends],
        np.logical_or.reduceat(rows.is_match, begins),
        np.add.reduceat(rows.weight, begins),
        np.add.reduceat(rows.sums, begins, axis=0),
    )


def keep_best(moments: Iterable[Runs], limit: int | None) -> Runs | None:
    """Return the moments whose first value is highest, best first; of equals the one that came first.

    Args:
        moments: in any number of pieces.
        limit: how many; `None` for all.

    Returns:
        The moments, `None` where there is not one.
    """
    held: list[Runs] = []
    n_held, floor = 0, -np.inf
    for piece in moments:
        better = piece if limit is None else piece.take(piece.score > floor)
        held.append(better)
        n_held += len(better)
        if limit is not None and n_held > 2 * limit + _MOST_WAITING:
            held = [_sort(Runs.concatenate(held), limit)]
            n_held, floor = limit, held[0].score[-1]
    best = _sort(Runs.concatenate(held), limit) if held else None
    return best if best is not None and len(best) else None


def _sort(runs: Runs, limit: int | None) -> Runs:
    return runs.take(np.argsort(-runs.score, kind="stable")[:limit])
