"""What the plot and the overlay share: colours, letters, words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageFont

from moodreel.output.summary import headline
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


TAIL_S = 0.25
"""What is told last holds this long after it: too near the clip's end for another analysed frame."""


def title(prediction: Prediction) -> str:
    """Say what a picture shows: the clip, its label, and what to know of it."""
    name = printable(Path(prediction.clip).name)
    short = name if len(name) <= 48 else f"{name[:45]}..."
    is_crowd = prediction.scope == "crowd"
    notes = [whom(prediction), "abstained" if prediction.abstained and not is_crowd else ""]
    noted = ", ".join(note for note in notes if note)
    return f"{short}: {headline(prediction)}{f' ({noted})' if noted else ''}"


def whom(prediction: Prediction) -> str:
    """Say which of several people the answer speaks for; nothing where there is no choice, or no one person."""
    is_choice = len(prediction.people) > 1 and prediction.scope == "person"
    return f"person {prediction.person} of {len(prediction.people)}" if is_choice else ""


def segment_at(segments: Sequence[Window], time_s: float) -> Window | None:
    """Return the segment that holds an instant; segments come in the order of time and do not overlap.

    At the clip's end that is the last one; before the first, and in a gap, there is none.
    """
    at = bisect_right(segments, time_s, key=lambda one: one.start_s) - 1
    if at < 0:
        return None
    is_last = at == len(segments) - 1
    return segments[at] if time_s < segments[at].end_s + (TAIL_S if is_last else 0.0) else None


def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return the letters of a size."""
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType on every platform that has wheels"
    return font
