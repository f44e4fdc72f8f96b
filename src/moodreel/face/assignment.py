"""The cheapest one-to-one assignment of few things to few others, without SciPy (whose import takes half a second)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.floating[Any]]


def assign_pairs(costs: Costs, unlikely: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the summed cost is least; what stays alone costs `unlikely`.

    The Hungarian method (Kuhn 1955) by shortest augmenting paths (Jonker and Volgenant 1987), O(n^3).

    Args:
        costs: shape (rows, columns), finite.
        unlikely: pairs of this cost or more are not made.

    Returns:
        Pairs of row and column, by row.
    """
    rows, columns = costs.shape
    if rows == 0 or columns == 0:
        return []
    capped = np.minimum(costs, unlikely)
    chosen = _solve(capped) if rows <= columns else [(row, column) for column, row in _solve(capped.T)]
    return sorted((row, column) for row, column in chosen if costs[row, column] < unlikely)


def _solve(costs: Costs) -> list[tuple[int, int]]:
    """Solve with at most as many rows as columns; index 0 of the helper arrays is a border."""
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=np.intp)
    for row in range(1, rows + 1):
        came_from, end = _shortest_path(costs, row, row_price, column_price, owner)
        while end:
            owner[end] = owner[came_from[end]]
            end = int(came_from[end])
    return [(int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column]]


def _shortest_path(
    costs: Costs, row: int, row_price: Costs, column_price: Costs, owner: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], int]:
    """Grow alternating paths from a row until a free column is reached; updates the prices and `owner[0]`."""
    columns = costs.shape[1]
    slack = np.full(columns + 1, np.inf)
    came_from = np.zeros(columns + 1, dtype=np.intp)
    used = np.zeros(columns + 1, dtype=bool)
    owner[0], at = row, 0
    while owner[at]:
        used[at] = True
        here = int(owner[at])
        reduced = costs[here - 1] - row_price[here] - column_price[1:]
        better = ~used[1:] & (reduced < slack[1:])
        slack[1:][better], came_from[1:][better] = reduced[better], at
        free = np.where(used, np.inf, slack)
        free[0] = np.inf
        at = int(np.argmin(free))
        step = free[at]
        row_price[owner[used]] += step
        column_price[used] -= step
        slack[~used] -= step
    return came_from, at
