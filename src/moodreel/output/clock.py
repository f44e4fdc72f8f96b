"""Times as people read them, and round instants for time axes."""

from __future__ import annotations

import math

TICKS_S = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 36_000)
"""Distances of ticks, where they are not single seconds or fractions of one."""
AXIS_PX = 920
"""Length of the axis of a short clip, which has four to eleven ticks."""


def format_clock(time_s: float) -> str:
    """Write a time as `m:ss`, from an hour on as `h:mm:ss`; fractions of a second are rounded."""
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes}:{seconds:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def name_tick(time_s: float, last_s: float) -> str:
    """Write an instant on an axis: in seconds where it ends within a minute, else as a clock.

    Args:
        time_s: the instant.
        last_s: where the axis ends.
    """
    return f"{time_s:g} s" if last_s <= 60 or time_s % 1 else format_clock(time_s)


def ticks_s(duration_s: float, start_s: float = 0.0, axis_px: int = AXIS_PX) -> list[float]:
    """Return round instants to mark on a time axis, four to eleven on a short one; none for a still picture.

    Args:
        duration_s: length of the clip in seconds, from 0.
        start_s: where the axis begins.
        axis_px: length of the axis; a longer one has more ticks.
    """
    if duration_s <= 0:
        return []
    step_s = _choose_step_s(duration_s / 4 / max(1.0, axis_px / AXIS_PX))
    first, last = math.ceil(start_s / step_s - 1e-6), math.floor((start_s + duration_s) / step_s + 1e-6)
    return [round(index * step_s, 6) for index in range(first, last + 1)]


def _choose_step_s(most_s: float) -> float:
    """Return the largest round distance of ticks up to a length."""
    if most_s >= TICKS_S[-1]:
        return float(TICKS_S[-1] * math.floor(most_s / TICKS_S[-1]))
    if most_s >= TICKS_S[0]:
        return float(max(step_s for step_s in TICKS_S if step_s <= most_s))
    unit_s = 10.0 ** math.floor(math.log10(most_s))
    return max(unit_s * times for times in (1, 2, 5) if unit_s * times <= most_s)
