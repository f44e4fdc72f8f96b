"""The seven emotions, in the one order that every array, file and screen of moodreel uses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Label order of every probability vector: index 0 is `angry`, index 6 is `surprise`."""

N_EMOTIONS = len(EMOTIONS)

_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "angry": "angry",
        "anger": "angry",
        "ang": "angry",
        "disgust": "disgust",
        "disgusted": "disgust",
        "dis": "disgust",
        "fear": "fear",
        "fearful": "fear",
        "fea": "fear",
        "happy": "happy",
        "happiness": "happy",
        "joy": "happy",
        "hap": "happy",
        "neutral": "neutral",
        "neu": "neutral",
        "calm": "neutral",
        "sad": "sad",
        "sadness": "sad",
        "surprise": "surprise",
        "surprised": "surprise",
        "sur": "surprise",
    }
)


def read_emotion(name: str) -> str:
    """Map a corpus's own name of an emotion to moodreel's.

    Args:
        name: any of the names corpora use (`anger`, `HAP`, `Fearful`, …), in any case.

    Returns:
        One of `EMOTIONS`. `calm` (RAVDESS) counts as `neutral`.

    Raises:
        ValueError: the name is not known; the message lists the names that are.
    """
    try:
        return _SYNONYMS[name.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown emotion {name!r}: expected one of {', '.join(EMOTIONS)}") from None
