"""Runs `fer`: its network, and its Haar cascade or MTCNN as the detector."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from protocol import ROUNDED, Answer, in_our_order, look_at_frames, serve

OFFSET_PX = 10
"""By so much `fer` widens each rectangle on each side."""


def open_fer(_: Mapping[str, Any]) -> tuple[str, Answer]:
    """Open `fer` with the detector that the command line names."""
    import numpy as np
    from fer.fer import FER

    detector = sys.argv[1] if len(sys.argv) > 1 else "haar"
    network = FER(mtcnn=detector == "mtcnn")

    def look(picture: Any, cut: bool) -> list[float] | None:
        height, width = picture.shape[:2]
        whole = [(OFFSET_PX, OFFSET_PX, width - 2 * OFFSET_PX, height - 2 * OFFSET_PX)] if cut else None
        found = network.detect_emotions(np.ascontiguousarray(picture[:, :, ::-1]), face_rectangles=whole)
        largest = max(found, key=lambda face: face["box"][2] * face["box"][3], default=None)
        return None if largest is None else in_our_order(largest["emotions"], ROUNDED)

    return f"fer {version('fer')}, {detector}", look_at_frames(look)


serve(open_fer)
