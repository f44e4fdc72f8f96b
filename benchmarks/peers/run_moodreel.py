"""Runs moodreel: whole clips as a user would, or faces that are cut out already."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from protocol import Answer, read_picture, serve

from moodreel import Recognizer, __version__
from moodreel.face.expression import read_faces
from moodreel.recognition.fusion import ClipLogits, Fusion


def open_moodreel(options: Mapping[str, Any]) -> tuple[str, Answer]:
    """Open a bundle."""
    recognizer = Recognizer.load(options["model"], threads=options["threads"])
    network = recognizer.bundle.session("face", options["threads"])

    def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        return answer_faces(recognizer, network, request) if request["cut"] else answer_clip(recognizer, request)

    return f"moodreel {__version__}", answer


def answer_clip(recognizer: Recognizer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer as `Recognizer.predict` does: decoding and listening are timed too."""
    begun_s = time.process_time()
    evidence = recognizer.observe(request["file"], start_s=request["start_s"], end_s=request["end_s"])
    prediction = recognizer.conclude(evidence, [evidence])
    seconds = time.process_time() - begun_s
    return {
        "face": prediction.face.probabilities,
        "voice": prediction.voice.probabilities,
        "fused": None if prediction.label is None else prediction.probabilities,
        "weights": evidence.whole.weights,
        "seconds": seconds,
    }


def answer_faces(recognizer: Recognizer, network: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer by the face network alone."""
    fusion = recognizer.calibration
    assert isinstance(fusion, Fusion), "only a late bundle has a face network of its own"
    side_px = int(recognizer.bundle.number("face", "side_px", 96, 16, 512))
    pictures = [read_picture(Path(path)) for path in request["frames"]]
    begun_s = time.process_time()
    faces = np.stack([fit(picture, side_px) for picture in pictures]).transpose(0, 3, 1, 2).astype(np.float32)
    face = fusion.face_answer(ClipLogits(face=read_faces(network, faces).mean(axis=0, dtype=np.float64)))
    assert face is not None
    return {"face": face.tolist(), "seconds": time.process_time() - begun_s}


def fit(picture: Any, side_px: int) -> Any:
    """Bring a face to the side that the network reads; FER2013's 48 pixels are doubled, as it learned from them."""
    height, width = picture.shape[:2]
    if height == width and side_px % height == 0:
        return picture.repeat(side_px // height, axis=0).repeat(side_px // height, axis=1)
    return np.asarray(Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.BILINEAR))


serve(open_moodreel)
