"""What this machine's processor is good at, so that training asks for nothing it does slowly."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from typing import Literal

import torch

from moodreel.errors import MoodreelError

Precision = Literal["bf16-mixed", "32-true"]


def choose_precision() -> Precision:
    """Return Lightning's precision: bf16 where the processor multiplies it in hardware, else fp32."""
    return "bf16-mixed" if multiplies_bf16() else "32-true"


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware (AMX or AVX-512 BF16).

    Elsewhere it is emulated: it was measured 60 times slower than fp32 on an AMD Zen 3, and twice as fast as fp32 in
    training the face network on a Zen 5, which has AVX-512 BF16. Where torch cannot tell, the answer is no.
    """
    # Torch offers these questions under private names alone: a version that renames one must not end a training.
    questions = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(question is not None and question() for question in questions)


def is_first_node() -> bool:
    """Whether what several machines train together is written by this process; as torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"


def check_nodes(nodes: int) -> None:
    """Refuse to train on several machines that do not know of each other.

    Raises:
        MoodreelError: says how they are started.
    """
    n_started = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    if nodes != n_started:
        raise MoodreelError(
            f"--nodes {nodes}: {n_started} were started; run `torchrun --nnodes {max(nodes, 2)} --nproc-per-node 1 "
            "--rdzv-backend c10d --rdzv-endpoint HOST:PORT -m moodreel train …` on each of them"
        )


def compile_network(network: torch.nn.Module) -> None:
    """Compile a network in place where a C++ compiler is there; its weights and names stay as they are.

    Fusing normalisation and activations into one pass over memory made ResNet-20 on 32x32 pictures train a fifth
    faster; answers agree but for rounding.

    Args:
        network: changed in place.
    """
    if shutil.which("g++"):
        network.compile()


def start(threads: int) -> None:
    """Set the threads of torch and say on stderr how training goes.

    Args:
        threads: processor threads that torch may use.
    """
    start_log()
    torch.set_num_threads(threads)


def start_log() -> None:
    """Say on stderr how training goes, where this process does not yet."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[_StderrHandler()]
    )


class _StderrHandler(logging.Handler):
    """Writes to what stderr is now, so that lines stand above a bar that has taken its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print(self.format(record), file=sys.stderr)
