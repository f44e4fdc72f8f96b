"""The grid of overlapping windows that a clip's answer over time is given on."""

from __future__ import annotations

import math

WINDOW_S = 2.0
HOP_S = 1.0
TAIL_S = 0.25
"""A rest shorter than this gets no window of its own; the window before it reaches to the end."""

STRETCH_S = 600.0
"""Length of the stretches by which long clips are read; what is followed over time begins anew with each."""


def stretch_at(time_s: float) -> int:
    """Return the number of the stretch that an instant lies in, from 0."""
    return int(time_s // STRETCH_S)


def count_stretches(duration_s: float) -> int:
    """Return how many stretches a clip of this length is read by; a short rest goes with the last one.

    Args:
        duration_s: in seconds, from 0.
    """
    return max(1, round(duration_s / STRETCH_S))


def stretch_times(number: int, count: int) -> tuple[float, float]:
    """Return start and end of one of several stretches in seconds; the last one ends at infinity."""
    return number * STRETCH_S, math.inf if number == count - 1 else (number + 1) * STRETCH_S


def count_windows(duration_s: float) -> int:
    """Return how many windows cover a clip: at least one.

    Args:
        duration_s: length of the clip in seconds, from 0.
    """
    return 1 + max(0, math.ceil((duration_s - WINDOW_S - TAIL_S) / HOP_S))


def window_times(index: int, duration_s: float) -> tuple[float, float]:
    """Return start and end of one window in seconds; the last window ends with the clip.

    Args:
        index: number of the window, from 0.
        duration_s: length of the clip in seconds.
    """
    start_s = index * HOP_S
    is_last = index == count_windows(duration_s) - 1
    return start_s, duration_s if is_last else start_s + WINDOW_S


def windows_between(first_s: float, last_s: float, duration_s: float) -> range:
    """Return the numbers of the windows that may hold an instant between two; all others hold none.

    Args:
        first_s: the earlier instant in seconds, from 0.
        last_s: the later one.
        duration_s: length of the clip in seconds.
    """
    first = max(0, math.floor((first_s - WINDOW_S - TAIL_S) / HOP_S))
    return range(first, min(count_windows(duration_s), math.floor(last_s / HOP_S) + 1))
