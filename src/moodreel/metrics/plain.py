"""Figures as plain values, for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


def to_plain(figure: Any) -> Any:
    """Turn a dataclass of figures, such as `Scores` or `Calibration`, into values that strict JSON takes.

    Args:
        figure: a dataclass, sequence, mapping, number, text or `None`.

    Returns:
        Dictionaries, lists and plain values; NaN and infinity, which JSON lacks, become `None`.
    """
    if dataclasses.is_dataclass(figure) and not isinstance(figure, type):
        return {field.name: to_plain(getattr(figure, field.name)) for field in dataclasses.fields(figure)}
    if isinstance(figure, dict):
        return {key: to_plain(value) for key, value in figure.items()}
    if isinstance(figure, list | tuple):
        return [to_plain(value) for value in figure]
    return None if isinstance(figure, float) and not math.isfinite(figure) else figure
