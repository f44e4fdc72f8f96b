"""Time stamps as files really hold them, made usable: placed on one rising clock, and thinned to an even grid."""

from __future__ import annotations

import math

LONGEST_GAP_S = 30.0
"""A stamp further ahead than this is a jump, not a pause, unless another stream of the clip has got there too."""

LONGEST_REPEAT_S = 0.5
"""A clock that stands still or runs back for longer than this is a restart, and goes on at the nominal rate."""


class Clock:
    """Places what one stream delivers on a clock that never runs back and never leaps.

    Good stamps pass unchanged. A missing stamp is filled in at the nominal step; a stamp slightly behind its
    predecessor is held; a jump, forward or back, is closed up and the stamps after it keep their distances.

    Attributes:
        time_s: time of the last item, in seconds from the clip's start.
        jumps: how often stamps jumped.
    """

    def __init__(self, begin_s: float = 0.0) -> None:
        """Set the clock.

        Args:
            begin_s: when the first item is due, in seconds from the clip's start.
        """
        self.time_s = begin_s
        self.jumps = 0
        self._due_s = begin_s
        self._shift_s = 0.0
        self._held_s = 0.0

    def place(self, stamp_s: float | None, step_s: float, elsewhere_s: float = 0.0) -> float:
        """Return the time of the next item.

        Args:
            stamp_s: what the file says, in seconds from the clip's start; `None` or not finite where it says nothing.
            step_s: how long the item lasts nominally, in seconds, above 0.
            elsewhere_s: time the clip's other stream has reached, in seconds.

        Returns:
            Seconds from the clip's start, finite, never below 0 nor below the previous item's.
        """
        time_s = self._due_s if stamp_s is None or not math.isfinite(stamp_s) else stamp_s - self._shift_s
        earliest_s = self.time_s - LONGEST_REPEAT_S + self._held_s
        latest_s = max(self._due_s, elsewhere_s) + max(LONGEST_GAP_S, 3 * step_s)
        if not earliest_s <= time_s <= latest_s:
            self.jumps += 1
            self._shift_s += time_s - self._due_s
            time_s = self._due_s
        if time_s > self.time_s:
            self.time_s, self._due_s, self._held_s = time_s, time_s + step_s, 0.0
        else:
            self._held_s += step_s if self._due_s else 0.0
            self._due_s += step_s
        return self.time_s


class Grid:
    """Thins rising times to an even rate: takes the first item of each cell of a fixed grid."""

    def __init__(self, rate_hz: float, tolerance_s: float) -> None:
        """Store the grid.

        Args:
            rate_hz: items to take per second, above 0; `inf` takes all.
            tolerance_s: an item this much before a cell begins counts as in it (half a source frame, say).
        """
        self._rate_hz = rate_hz
        self._tolerance_s = min(tolerance_s, 0.5 / rate_hz)
        self._cell: float = -1

    def take(self, time_s: float) -> bool:
        """Return whether the item at `time_s` (seconds, not falling from call to call) is to be taken."""
        if math.isinf(self._rate_hz):
            return True
        cell = math.floor((time_s + self._tolerance_s) * self._rate_hz)
        taken = cell > self._cell
        self._cell = max(cell, self._cell)
        return taken
