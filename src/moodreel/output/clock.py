"""Times as people read them."""

from __future__ import annotations


def format_clock(time_s: float) -> str:
    """Write a time as `m:ss`, from an hour on as `h:mm:ss`; fractions of a second are rounded."""
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes}:{seconds:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
