"""What a worker is told when it starts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker is to do.

    Attributes:
        role: `clips`, `stream` or `pictures`.
        model: name or folder of the bundle.
        memory_bytes: what may be allocated on top of the opened networks.
        clip_s: longest clip.
        picture_px: most pixels of a picture.
    """

    role: str
    model: str
    memory_bytes: int
    clip_s: float
    picture_px: int

    def to_json(self) -> str:
        """Return the options as one argument of a command line."""
        return json.dumps(asdict(self))


def measure_address_space(process: int | str) -> int:
    """Return the bytes of memory that a process has asked for, 0 where the system does not tell.

    Args:
        process: its id, or `self`.
    """
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
