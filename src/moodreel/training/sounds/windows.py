"""Scenes to the sound network's examples: the voice network's statistics of every window, and what sounds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moodreel.errors import BundleError
from moodreel.training.sounds.material import SOUNDS
from moodreel.training.sounds.scenes import Scene
from moodreel.training.voice.augment import colour
from moodreel.voice.listener import LEAST_HEARD_S, place_windows, read_statistics
from moodreel.voice.speech import RATE_HZ, TOKEN_S, measure_power, pool_windows, prepare_speech

if TYPE_CHECKING:
    import onnxruntime

WIDTH = 768
"""Statistics of the voice network's first block: the mean and the deviation of its 384 channels."""
UNSURE = -1
"""The class of a window in which nothing has most of the sound."""
_MOST = 0.8


@dataclass(frozen=True)
class SceneWindows:
    """The windows of one scene.

    Attributes:
        statistics: float16, shape (n, WIDTH).
        kinds: index into `SOUNDS`, or `UNSURE`, shape (n,).
    """

    statistics: NDArray[np.float16]
    kinds: NDArray[np.int8]


def read_scene(scene: Scene, voice: onnxruntime.InferenceSession, rng: Generator) -> SceneWindows:
    """Cut a scene into the windows of the timeline and read each as predicting does.

    Args:
        scene: the scene.
        voice: the voice network.
        rng: decides on the microphone of a coloured scene.

    Raises:
        BundleError: the voice network gives too few statistics.
    """
    power = measure_power(scene.sound)
    speech = prepare_speech(colour(power, rng) if scene.is_coloured else power)
    times = place_windows(len(scene.sound) / RATE_HZ)
    pooling = pool_windows(speech.active, times)
    active_s = pooling.speech_share * np.array([end_s - start_s for start_s, end_s in times])
    if not speech.active.any():
        return SceneWindows(np.zeros((0, WIDTH), np.float16), np.zeros(0, np.int8))
    statistics = read_statistics(voice, speech, pooling)
    if statistics.shape[1] < WIDTH:
        raise BundleError(f"expected a voice network with {WIDTH} statistics or more, got {statistics.shape[1]}")
    kept = active_s >= LEAST_HEARD_S
    kinds = np.array([_name_window(scene, speech.active, time) for time in times], np.int8)
    return SceneWindows(statistics[kept, :WIDTH].astype(np.float16), kinds[kept])


def _name_window(scene: Scene, active: NDArray[np.bool_], window_s: tuple[float, float]) -> int:
    """Return the class that has most of a window's loud tokens."""
    tokens_s = (np.flatnonzero(active) + 0.5) * TOKEN_S
    tokens_s = tokens_s[(tokens_s >= window_s[0]) & (tokens_s < window_s[1])]
    shares = _share(scene.spans, tokens_s)
    best = max(shares, key=lambda kind: shares[kind])
    return SOUNDS.index(best) if len(tokens_s) and shares[best] >= _MOST else UNSURE


def _share(spans: Sequence[tuple[float, float, str]], tokens_s: NDArray[np.floating]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for start_s, end_s, kind in spans:
        inside = float(((tokens_s >= start_s) & (tokens_s < end_s)).sum()) / max(len(tokens_s), 1)
        shares[kind] = shares.get(kind, 0.0) + inside
    return shares
