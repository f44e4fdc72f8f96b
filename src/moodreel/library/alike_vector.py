"""A window as a vector, so that windows that look and sound alike lie near each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moodreel.labels import N_EMOTIONS
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.recognition.segments import Window

LEAST_PROBABILITY = 0.01
"""Probabilities below this are alike, however small."""
SOUNDS = ("speech", "laughter", "crying", "scream", "breath", "babble", "music", "noise")
"""Sounds that have a place in the vector, in this order."""

_SOUND_SCALE = 3.0
"""What a sound that is sure counts as: about as much as an emotion that is likely beside one that is not."""


def alike_vector(segment: Window) -> npt.NDArray[np.float32]:
    """Return what a window looks and sounds like.

    Args:
        segment: of a clip's timeline.

    Returns:
        Shape (32,): log-probabilities of the face, the voice and both, seven each, less their mean, so that where there
        is none they are 0, as for seven equal ones; then the probabilities of `SOUNDS` times 3; then 0.
    """
    answers = (segment.face, segment.voice, segment.probabilities)
    values = [value for one in answers for value in _centred_logs(one)]
    values += [_SOUND_SCALE * (segment.sounds or {}).get(name, 0.0) for name in SOUNDS]
    vector = np.zeros(ALIKE_WIDTH, np.float32)
    vector[: len(values)] = values
    return vector


def _centred_logs(probabilities: Sequence[float] | None) -> Sequence[float]:
    if probabilities is None:
        return [0.0] * N_EMOTIONS
    logs = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return list(logs - logs.mean())
