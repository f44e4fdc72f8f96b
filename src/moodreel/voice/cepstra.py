"""Mel-frequency cepstral coefficients of speech, as the speaker network takes them.

They are those of Lyons's python_speech_features at its defaults (26 filters, 13 coefficients, lifted by 22, the first
one the log energy), which the network's origin was trained on: 25 ms every 10 ms at 16 kHz.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from moodreel.voice.speech import RATE_HZ

CEPSTRA_RATE_HZ = 100
N_CEPSTRA = 13

_STEP, _LENGTH, _FFT = RATE_HZ // CEPSTRA_RATE_HZ, RATE_HZ // 40, 512
_N_FILTERS, _LIFTER, _EMPHASIS = 26, 22, 0.97
_FULL_SCALE = 32768.0
_TINY = float(np.finfo(np.float64).eps)

Cepstra = npt.NDArray[np.float32]


def extract_cepstra(samples: npt.NDArray[np.float32], n_frames: int) -> Cepstra:
    """Return the coefficients of sound, shape (n_frames, 13).

    Args:
        samples: mono float32 at 16 kHz, -1 to 1; what is missing at the end is silence.
        n_frames: how many frames of 10 ms.
    """
    needed = (n_frames - 1) * _STEP + _LENGTH
    padded = np.zeros(max(needed, len(samples)), np.float64)
    padded[: len(samples)] = samples.astype(np.float64) * _FULL_SCALE
    padded[1:] -= _EMPHASIS * padded[:-1].copy()
    frames = np.lib.stride_tricks.sliding_window_view(padded, _LENGTH)[::_STEP][:n_frames]
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    energy = np.log(np.maximum(power.sum(axis=1), _TINY))
    bands = np.log(np.maximum(power @ _filters().T, _TINY))
    coefficients = bands @ _cosines().T
    coefficients[:, 0] = energy
    return coefficients.astype(np.float32)


@cache
def _filters() -> npt.NDArray[np.float64]:
    """Triangles on the mel scale, shape (26, 257)."""
    top = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    points_hz = 700 * (10 ** (np.linspace(0, top, _N_FILTERS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * points_hz / RATE_HZ)
    places = np.arange(_FFT // 2 + 1)
    rows = []
    for left, middle, right in zip(bins, bins[1:], bins[2:], strict=False):
        up = (places - left) / max(middle - left, 1e-9)
        down = (right - places) / max(right - middle, 1e-9)
        rows.append(np.where(places < middle, up, down).clip(0, 1) * ((places >= left) & (places < right)))
    return np.array(rows)


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """The orthonormal cosine transform with the lifter on it, shape (13, 26)."""
    order = np.arange(N_CEPSTRA)
    angles = np.pi * (np.arange(_N_FILTERS) + 0.5) / _N_FILTERS
    rows = np.sqrt(2 / _N_FILTERS) * np.cos(order[:, None] * angles)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows * (1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER))[:, None])
