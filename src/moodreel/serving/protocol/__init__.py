"""What server and workers say to each other."""

from __future__ import annotations

from moodreel.serving.protocol.messages import Message
from moodreel.serving.protocol.options import WorkerOptions

__all__ = [
    "Message",
    "WorkerOptions",
]
