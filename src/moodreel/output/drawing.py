"""What the plot and the overlay share: colours, letters, words."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageFont

from moodreel.recognition.prediction import Prediction, Window
from moodreel.text import printable

COLOURS: dict[str, str] = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "neutral": "#9a9a9a",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
}
"""Okabe & Ito's palette, which colour-blind people can tell apart; grey for neutral."""


def title(prediction: Prediction) -> str:
    """Say what a picture shows: the clip, its label, and what to know of it."""
    name = printable(Path(prediction.clip).name)
    short = name if len(name) <= 48 else f"{name[:45]}..."
    notes = [whom(prediction), "abstained" if prediction.abstained else ""]
    noted = ", ".join(note for note in notes if note)
    return f"{short}: {prediction.label or 'no answer'}{f' ({noted})' if noted else ''}"


def whom(prediction: Prediction) -> str:
    """Say which of several people the answer speaks for; nothing where there is no choice."""
    return f"person {prediction.person} of {len(prediction.people)}" if len(prediction.people) > 1 else ""


def middle_s(window: Window) -> float:
    """Return the middle of a window."""
    return (window.start_s + window.end_s) / 2


def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return the letters of a size."""
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType on every platform that has wheels"
    return font
