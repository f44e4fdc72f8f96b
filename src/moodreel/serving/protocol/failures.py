"""Failures of the program itself: told by where they happened and not on what, which could identify a person."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

log = logging.getLogger(__name__)


def describe_failure(error: BaseException) -> str:
    """Return the kind of an exception and its last places in the code.

    Args:
        error: as it was caught; its message is left out.
    """
    places = traceback.extract_tb(error.__traceback__)[-3:]
    shown = ", ".join(f"{Path(place.filename).name}:{place.lineno}" for place in places)
    return f"{type(error).__name__} at {shown}"


def log_failure(error: BaseException) -> None:
    """Log an exception that nobody expected."""
    log.error("%s; please report it", describe_failure(error))
