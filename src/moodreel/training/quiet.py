"""What Lightning says that helps nobody who trains here: an advertisement, devices it will not use, its own debts."""

from __future__ import annotations

import logging
import warnings

NOISE = ("💡 Tip: ", "GPU available: ", "TPU available: ", "Seed set to ")
"""How the lines begin that are dropped; all others pass."""

_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
)


def hush_lightning() -> None:
    """Drop Lightning's `NOISE` and its own use of what torch is about to take away; once a process is enough."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_worth_reading)
    warnings.filterwarnings("ignore", r".*LeafSpec", module=r"lightning\.pytorch\.utilities\._pytree")


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NOISE)
