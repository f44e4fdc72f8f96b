"""What Lightning says that helps nobody who trains here: an advertisement, devices it will not use, its own debts."""

from __future__ import annotations

import logging
import warnings

NOISE = (
    "💡 Tip: ",
    "GPU available: ",
    "TPU available: ",
    "Seed set to ",
    "Found current_model_state",
    "`Trainer.fit` stopped",
    "Initializing distributed: ",
    "-----",
)
"""How the lines begin that are dropped; all others pass."""

_KNOWN = (
    r"Checkpoint directory .* exists and is not empty",  # a run goes on there
    r"The number of training batches .* is smaller than the logging interval",  # nothing is logged by steps
    r"Total length of `list` across ranks is zero",  # nothing is set aside to watch
)
"""How the warnings begin that are of what moodreel does on purpose."""

_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.fabric.utilities.distributed",
)


def hush_lightning() -> None:
    """Drop Lightning's `NOISE` and its own use of what torch is about to take away; once a process is enough."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_worth_reading)
    warnings.filterwarnings("ignore", r".*LeafSpec", module=r"lightning\.pytorch\.utilities\._pytree")
    for message in _KNOWN:
        warnings.filterwarnings("ignore", message, module=r"lightning\.pytorch\.")


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NOISE)
