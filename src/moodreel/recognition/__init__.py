"""From clip to answer: networks read face and voice, fusion adds them, `Recognizer` does it all."""

from __future__ import annotations

from moodreel.recognition.live import LiveReader, LiveWindow
from moodreel.recognition.prediction import Box, Modality, Person, Prediction, Window
from moodreel.recognition.recognizer import Recognizer

__all__ = [
    "Box",
    "LiveReader",
    "LiveWindow",
    "Modality",
    "Person",
    "Prediction",
    "Recognizer",
    "Window",
]
