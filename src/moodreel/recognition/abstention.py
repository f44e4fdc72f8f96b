"""When an answer rests on too little to rely on: one rule for clips, people, segments and stretches."""

from __future__ import annotations

ABSTAIN_BELOW = 0.33
"""Least top probability to rely on, where a bundle states none: as in the default bundle."""
LEANING = 0.05
"""An answer whose top probability lies less than this above the threshold only leans to its label."""


def is_weak(top: float | None, abstain_below: float) -> bool:
    """Tell whether an answer is too weak to rely on, and is marked as abstained.

    Args:
        top: probability of its label, 0-1; `None` with nothing to go by.
        abstain_below: the bundle's threshold, 0-1.
    """
    return top is None or top < abstain_below


def is_leaning(top: float | None, abstain_below: float) -> bool:
    """Tell whether an answer lies so little above the threshold that it only leans to its label."""
    return top is not None and abstain_below <= top < abstain_below + LEANING
