"""Runs `py-feat`: its emotion network behind its default detector."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from protocol import EMOTIONS, Answer, in_our_order, look_at_frames, serve

THEIR_NAMES = {"angry": "anger", "happy": "happiness", "sad": "sadness"}


def open_py_feat(_: Mapping[str, Any]) -> tuple[str, Answer]:
    """Open `py-feat`; it downloads its weights from a hub when first used."""
    import torch
    from feat.detector import Detectorv1

    detector = Detectorv1(device="cpu")

    def look(picture: Any, cut: bool) -> list[float] | None:
        if cut:
            raise NotImplementedError("py-feat takes no face that is cut out already")
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        found = detector.detect(pixels, data_type="tensor", progress_bar=False).dropna(subset=["FaceRectWidth"])
        if not len(found):
            return None
        largest = found.loc[(found["FaceRectWidth"] * found["FaceRectHeight"]).idxmax()]
        return in_our_order({name: float(largest[THEIR_NAMES.get(name, name)]) for name in EMOTIONS})

    return f"py-feat {version('py-feat')}", look_at_frames(look)


serve(open_py_feat)
