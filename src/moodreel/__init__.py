"""moodreel: what the people in a clip feel, from the face and the voice, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moodreel.recognition.prediction import Prediction
    from moodreel.recognition.recognizer import Recognizer

__version__ = "0.1.0"
__all__ = ["Prediction", "Recognizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public classes when first used, so that `moodreel --help` need not wait for them."""
    if name == "Recognizer":
        from moodreel.recognition.recognizer import Recognizer

        return Recognizer
    if name == "Prediction":
        from moodreel.recognition.prediction import Prediction

        return Prediction
    raise AttributeError(f"module 'moodreel' has no attribute {name!r}")
