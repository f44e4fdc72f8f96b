"""moodreel: what the people in a clip show, from the face and the voice, over time.

from moodreel import EMOTIONS, MediaError, Recognizer

recognizer = Recognizer.load("default")  # a bundle's name, or its folder
try:
    prediction = recognizer.predict("clip.mp4")  # a path, bytes, an open file, or Arrays of frames and sound
except MediaError as error:
    print(error)  # one line: what, where, the way out
else:
    print(prediction.label, dict(zip(EMOTIONS, prediction.probabilities)), prediction.abstained)
    for stretch in prediction.stretches:  # each instant counts once
        print(stretch.start_s, stretch.end_s, stretch.label, stretch.probability, stretch.abstained)
    print(prediction.to_json())  # and Prediction.from_json reads it again
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moodreel.batch.predicting import Outcome, predict_many
    from moodreel.errors import (
        BundleError,
        CorpusError,
        EvaluationError,
        LibraryError,
        MediaError,
        MoodreelError,
        OutputError,
        PredictionError,
        QueryError,
        RecipeError,
    )
    from moodreel.labels import EMOTIONS
    from moodreel.library.search import Library
    from moodreel.media.arrays import Arrays
    from moodreel.recognition.prediction import Adaptation, Box, Modality, Person, Prediction, Stretch, Window
    from moodreel.recognition.recognizer import Recognizer

__version__ = "0.1.0"
__all__ = [
    "EMOTIONS",
    "Adaptation",
    "Arrays",
    "Box",
    "BundleError",
    "CorpusError",
    "EvaluationError",
    "Library",
    "LibraryError",
    "MediaError",
    "Modality",
    "MoodreelError",
    "Outcome",
    "OutputError",
    "Person",
    "Prediction",
    "PredictionError",
    "QueryError",
    "RecipeError",
    "Recognizer",
    "Stretch",
    "Window",
    "__version__",
    "predict_many",
]

_PLACES = {
    "moodreel.batch.predicting": ("Outcome", "predict_many"),
    "moodreel.labels": ("EMOTIONS",),
    "moodreel.library.search": ("Library",),
    "moodreel.media.arrays": ("Arrays",),
    "moodreel.recognition.prediction": (
        "Adaptation",
        "Box",
        "Modality",
        "Person",
        "Prediction",
        "Stretch",
        "Window",
    ),
    "moodreel.recognition.recognizer": ("Recognizer",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the public names when first used, so that `moodreel --help` need not wait for them."""
    if name not in __all__:
        raise AttributeError(f"module 'moodreel' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "moodreel.errors")), name)


def __dir__() -> list[str]:
    """List the public names, which are not there before they are used."""
    return sorted({*globals(), *__all__})
