"""The grid of overlapping windows that a clip's answer over time is given on."""

from __future__ import annotations

import math

WINDOW_S = 2.0
HOP_S = 1.0


def count_windows(duration_s: float) -> int:
    """Return how many windows cover a clip: at least one, the last cut at the clip's end.

    Args:
        duration_s: length of the clip in seconds, from 0.
    """
    beyond_first_s = round(duration_s - WINDOW_S, 6)  # 3.0000000001 s is 3 s
    return 1 + max(0, math.ceil(beyond_first_s / HOP_S))


def window_times(index: int, duration_s: float) -> tuple[float, float]:
    """Return start and end of one window in seconds.

    Args:
        index: number of the window, from 0.
        duration_s: length of the clip in seconds.
    """
    start_s = index * HOP_S
    return start_s, min(start_s + WINDOW_S, duration_s)
