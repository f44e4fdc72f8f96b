"""Low-level descriptors of sound, one row every 20 ms: what EmoNets' audio network reads. NumPy only.

Kahou et al. 2015, "EmoNets", section on audio, took them from Yaafe (Mathieu et al. 2010, "YAAFE, an easy to use and
efficient audio feature extraction software"); they are computed here after Peeters 2004, "A large set of audio features
for sound description", for Yaafe cannot be installed any more.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RATE_HZ = 16_000
HOP_SAMPLES = 320
WINDOW_SAMPLES = 512
N_CEPSTRA = 22
N_LAGS = 12
N_BARKS = 24
GROUPS: dict[str, int] = {
    "cepstra": N_CEPSTRA,
    "deltas": N_CEPSTRA,
    "energy": 1,
    "autocorrelation": N_LAGS,
    "loudness": N_BARKS,
    "sharpness": 1,
    "spread": 1,
    "variation": 1,
    "slope": 1,
    "flux": 1,
}
"""The columns, in their order."""
N_DESCRIPTORS = sum(GROUPS.values())

_N_MELS = 40
_DELTA_REACH = 2
_LAG_STEP = 20
_FLOOR = 1e-10


def extract_descriptors(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Describe a stretch of sound.

    Args:
        samples: mono float32 at 16 kHz, shape (n_samples,), values -1 to 1, at least 32 ms.

    Returns:
        float32, shape (n_rows, 86), finite, each column in its own unit; columns as `GROUPS` names them.

    Raises:
        ValueError: the sound is too short or not finite.
    """
    if len(samples) < WINDOW_SAMPLES or not np.isfinite(samples).all():
        raise ValueError(f"expected at least {WINDOW_SAMPLES} finite samples, got {len(samples)}")
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW_SAMPLES)[::HOP_SAMPLES]
    magnitudes = np.abs(np.fft.rfft(windows * np.hanning(WINDOW_SAMPLES), axis=1))
    power = magnitudes**2
    cepstra = np.log(power @ _mel_bands().T + _FLOOR) @ _cosines().T
    loudness = (power @ _bark_bands().T) ** 0.23
    columns = [
        cepstra,
        _differentiate(cepstra),
        np.log(power.mean(axis=1, keepdims=True) + _FLOOR),
        _autocorrelate(power),
        loudness,
        *_judge_loudness(loudness),
        *_judge_spectrum(magnitudes),
    ]
    return np.asarray(np.concatenate(columns, axis=1), np.float32)


def _differentiate(rows: Floats) -> Floats:
    """Slope of each column over five rows (the usual regression formula of delta coefficients)."""
    padded = np.pad(rows, ((_DELTA_REACH, _DELTA_REACH), (0, 0)), mode="edge")
    steps = range(1, _DELTA_REACH + 1)
    middle, length = _DELTA_REACH, len(rows)
    rise = sum(n * (padded[middle + n :][:length] - padded[middle - n :][:length]) for n in steps)
    return np.asarray(rise / (2 * sum(n * n for n in steps)))


def _autocorrelate(power: Floats) -> Floats:
    """Correlation of each window with itself at 12 lags of 1.25 to 15 ms, range -1 to 1."""
    correlation = np.fft.irfft(power, axis=1)
    lags = _LAG_STEP * np.arange(1, N_LAGS + 1)
    return np.asarray(correlation[:, lags] / (correlation[:, :1] + _FLOOR))


def _judge_loudness(loudness: Floats) -> tuple[Floats, Floats]:
    """Perceptual sharpness (Peeters 2004, 9.2, after Zwicker) and perceptual spread (9.3)."""
    total = loudness.sum(axis=1, keepdims=True) + _FLOOR
    bark = np.arange(1, N_BARKS + 1)
    weights = np.where(bark < 15, 1.0, 0.066 * np.exp(0.171 * bark))
    sharpness = 0.11 * (loudness * weights * bark).sum(axis=1, keepdims=True) / total
    return sharpness, ((total - loudness.max(axis=1, keepdims=True)) / total) ** 2


def _judge_spectrum(magnitudes: Floats) -> tuple[Floats, Floats, Floats]:
    """Variation (1 - correlation with the window before), slope over frequency, and flux."""
    before = np.concatenate([magnitudes[:1], magnitudes[:-1]])
    norms = np.linalg.norm(magnitudes, axis=1) * np.linalg.norm(before, axis=1) + _FLOOR
    variation = 1 - (magnitudes * before).sum(axis=1) / norms
    shares = magnitudes / (magnitudes.sum(axis=1, keepdims=True) + _FLOOR)
    bins = np.linspace(-1, 1, magnitudes.shape[1])
    slope = shares @ bins / (bins @ bins)
    rise = np.maximum(np.sqrt(magnitudes) - np.sqrt(before), 0).sum(axis=1)
    return variation[:, None], slope[:, None], rise[:, None]


@cache
def _mel_bands() -> Floats:
    edges_mel = np.linspace(_to_mel(60.0), _to_mel(RATE_HZ / 2), _N_MELS + 2)
    return _triangles(700 * (10 ** (edges_mel / 2595) - 1))


def _to_mel(frequency_hz: float) -> float:
    return float(2595 * np.log10(1 + frequency_hz / 700))


@cache
def _bark_bands() -> Floats:
    """Rectangles, 1 Bark wide, shape (24, n_bins); those above 8 kHz share the highest bins."""
    frequencies_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / RATE_HZ)
    bark = 13 * np.arctan(0.00076 * frequencies_hz) + 3.5 * np.arctan((frequencies_hz / 7500) ** 2)
    bands = np.minimum((bark / bark[-1] * N_BARKS).astype(int), N_BARKS - 1)
    return np.asarray(np.eye(N_BARKS)[bands].T)


def _triangles(edges_hz: Floats) -> Floats:
    """Overlapping triangular filters between edges, shape (n_edges - 2, n_bins), each summing to 1 or nearly so."""
    frequencies_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / RATE_HZ)
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rise, fall = (frequencies_hz - low) / (middle - low), (high - frequencies_hz) / (high - middle)
    filters = np.maximum(np.minimum(rise, fall), 0)
    return np.asarray(filters / np.maximum(filters.sum(axis=1, keepdims=True), _FLOOR))


@cache
def _cosines() -> Floats:
    """Orthonormal discrete cosine transform, type II: rows 1 to 22; row 0, the energy, has a column of its own."""
    order, band = np.arange(1, N_CEPSTRA + 1)[:, None], np.arange(_N_MELS)[None]
    return np.asarray(np.sqrt(2 / _N_MELS) * np.cos(np.pi * order * (band + 0.5) / _N_MELS))
