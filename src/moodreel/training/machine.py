"""What this machine's processor is good at, so that training asks for nothing it does slowly."""

from __future__ import annotations

import logging
from typing import Literal

import torch


def choose_precision() -> Literal["bf16-mixed", "32-true"]:
    """Return Lightning's precision: bf16 where the processor multiplies it in hardware (AMX), else fp32.

    Without AMX bf16 is emulated: it was measured 60 times slower than fp32 on an AMD Zen 3.
    """
    has_amx = bool(torch.cpu._is_amx_tile_supported())
    return "bf16-mixed" if has_amx else "32-true"


def start(threads: int) -> None:
    """Set the threads of torch and say on stderr how training goes.

    Args:
        threads: processor threads that torch may use.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(threads)
