"""How many processes are worth starting."""

from __future__ import annotations

import os


def count_cores() -> int:
    """Return how many processor cores this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
