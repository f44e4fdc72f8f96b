"""Runs `deepface`: its emotion network behind its default detector."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from protocol import Answer, in_our_order, look_at_frames, serve


def open_deepface(_: Mapping[str, Any]) -> tuple[str, Answer]:
    """Open `deepface`; it downloads its weights where they do not lie in `~/.deepface`."""
    import numpy as np
    from deepface import DeepFace

    DeepFace.build_model(model_name="Emotion", task="facial_attribute")

    def look(picture: Any, cut: bool) -> list[float] | None:
        try:
            found = DeepFace.analyze(
                np.ascontiguousarray(picture[:, :, ::-1]),
                actions=["emotion"],
                detector_backend="skip" if cut else "opencv",
                enforce_detection=True,
                silent=True,
            )
        except ValueError:  # how it says that there is no face
            return None
        largest = max(found, key=lambda face: face["region"]["w"] * face["region"]["h"])
        return in_our_order(largest["emotion"])

    return f"deepface {version('deepface')}", look_at_frames(look)


serve(open_deepface)
