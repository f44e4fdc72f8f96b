"""Speakers dealt out to folds so that each fold holds about as many clips, of each class too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_MOST_PASSES = 50
_MOST_SWAPPED = 1000
"""Of more speakers none are swapped: each is so small a part that moving them one by one balances as well."""
_LEAST_GAIN = 1e-9
_HEAVIER = 10.0
_MOST_TIMES_WEIGHED = 5
"""A class that lies in one fold alone weighs so much more then, so many times, before the split is refused."""


def balance(counts: Counts, n_folds: int) -> npt.NDArray[np.int64]:
    """Deal speakers out.

    Consecutive groups of speakers and groups dealt largest speaker first are both improved, by moving a speaker or
    swapping two, until nothing helps; the consecutive ones are kept unless the others are better.

    Args:
        counts: clips by speaker and class, shape (n_speakers, n_classes), in the order of the speakers.
        n_folds: from 2 to n_speakers.

    Returns:
        The fold of each speaker, from 0; none is empty, and folds are in the order of their first speakers.
    """
    shares = _shares(counts)
    for _ in range(_MOST_TIMES_WEIGHED):
        fold_of = _balance(shares, n_folds)
        heaped = _find_heaped(shares, fold_of, n_folds)
        if not heaped.any():
            break
        shares[:, heaped] *= _HEAVIER
    return _in_order(fold_of, n_folds)


def _balance(shares: Float64, n_folds: int) -> npt.NDArray[np.int64]:
    starts = (_consecutive(len(shares), n_folds), _deal(shares, n_folds))
    dealt = [_improve(shares, start, n_folds) for start in starts]
    costs = [_cost(_sum_folds(shares, fold_of, n_folds)) for fold_of in dealt]
    return dealt[int(costs[1] < costs[0] - _LEAST_GAIN)]


def _find_heaped(shares: Float64, fold_of: npt.NDArray[np.int64], n_folds: int) -> npt.NDArray[np.bool_]:
    """Tell which classes lie in one fold alone, so that it could not be tested, though several speakers show them."""
    n_holding = (_sum_folds(shares, fold_of, n_folds) > 0).sum(axis=0)
    heaped: npt.NDArray[np.bool_] = (n_holding == 1) & ((shares > 0).sum(axis=0) > 1)
    return heaped


def _shares(counts: Counts) -> Float64:
    """Return each speaker's share of every class and, as a further column that weighs as much as all, of all clips."""
    by_class = counts[:, counts.sum(axis=0) > 0]
    per_class = by_class / by_class.sum(axis=0)
    of_all = counts.sum(axis=1, keepdims=True) / counts.sum() * np.sqrt(per_class.shape[1])
    return np.hstack([per_class, of_all])


def _consecutive(n_speakers: int, n_folds: int) -> npt.NDArray[np.int64]:
    """Return groups of as equal size as can be, the larger first."""
    size, n_larger = divmod(n_speakers, n_folds)
    return np.repeat(np.arange(n_folds), [size + (fold < n_larger) for fold in range(n_folds)])


def _deal(shares: Float64, n_folds: int) -> npt.NDArray[np.int64]:
    """Give the largest speaker first to the fold that it suits best; empty folds come before others."""
    fold_of = np.zeros(len(shares), dtype=np.int64)
    sums = np.zeros((n_folds, shares.shape[1]))
    for row in np.argsort(-shares.sum(axis=1), kind="stable"):
        fold = int(np.argmin((sums * shares[row]).sum(axis=1) + sums.sum(axis=1) * _LEAST_GAIN))
        fold_of[row] = fold
        sums[fold] += shares[row]
    return fold_of


def _sum_folds(shares: Float64, fold_of: npt.NDArray[np.int64], n_folds: int) -> Float64:
    return np.stack([shares[fold_of == fold].sum(axis=0) for fold in range(n_folds)])


def _cost(sums: Float64) -> float:
    """Return the sum of squares, least where all folds are alike, for what they sum to is given."""
    return float((sums**2).sum())


def _improve(shares: Float64, start: npt.NDArray[np.int64], n_folds: int) -> npt.NDArray[np.int64]:
    fold_of = start.copy()
    sums, sizes = _sum_folds(shares, fold_of, n_folds), np.bincount(fold_of, minlength=n_folds)
    for _ in range(_MOST_PASSES):
        changed = [_place(row, shares, fold_of, sums, sizes) for row in range(len(shares))]
        if not any(changed):
            break
    return fold_of


def _place(
    row: int, shares: Float64, fold_of: npt.NDArray[np.int64], sums: Float64, sizes: npt.NDArray[np.int64]
) -> bool:
    """Move one speaker, or swap it with another, where that helps most; all arrays are changed in place."""
    own, here = shares[row], fold_of[row]
    moves = 2 * ((sums - sums[here] + own) @ own)  # what the sum of squares grows by
    moves[here] = 0.0
    if sizes[here] == 1:
        moves[:] = 0.0
    swaps = np.zeros(1)
    if len(shares) <= _MOST_SWAPPED:
        given = own - shares  # to the other's fold, for what that gives back
        swaps = 2 * (given * (sums[fold_of] - sums[here] + given)).sum(axis=1)
        swaps[fold_of == here] = 0.0
    if min(moves.min(), swaps.min()) > -_LEAST_GAIN:
        return False
    if moves.min() <= swaps.min():
        there = int(moves.argmin())
        sizes[[here, there]] += (-1, 1)
        _shift(sums, here, there, own)
    else:
        other = int(swaps.argmin())
        there = int(fold_of[other])
        fold_of[other] = here
        _shift(sums, here, there, own - shares[other])
    fold_of[row] = there
    return True


def _shift(sums: Float64, here: int, there: int, what: Float64) -> None:
    sums[here] -= what
    sums[there] += what


def _in_order(fold_of: npt.NDArray[np.int64], n_folds: int) -> npt.NDArray[np.int64]:
    first = [int(np.argmax(fold_of == fold)) for fold in range(n_folds)]
    rank = np.argsort(np.argsort(first))
    renamed: npt.NDArray[np.int64] = rank[fold_of]
    return renamed
