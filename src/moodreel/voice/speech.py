"""Sound to the voice network's inputs: log-mel spectrum, speech activity and pooling weights. NumPy only.

The spectrum is Whisper's (Radford et al. 2022, `whisper/audio.py`): 80 Slaney mel bands of a 25 ms Hann window every
10 ms, log10, floor 8 decades below the maximum, (x + 4) / 4. One thing differs: the level. Whisper takes the level as
recorded; here the speech of every chunk is brought to one level, so that loudness cannot decide the emotion.

Training mixes backgrounds in between `measure_power` and `prepare_speech`; predicting calls `extract_speech`, which is
the same two functions one after the other. The two therefore cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
HOP_SAMPLES = 160
FFT_SAMPLES = 400
N_MELS = 80
FRAMES_PER_TOKEN = 2
TOKEN_S = FRAMES_PER_TOKEN * HOP_SAMPLES / RATE_HZ
CHUNK_S = 8.0
"""Longest sound the voice network takes at once."""

SPEECH_BAND_HZ = (100.0, 7_000.0)
ACTIVITY_RANGE_DB = 30.0
"""Sound this far below the loud tokens of its chunk is not speech."""
ACTIVITY_RISE = 0.25
"""Speech stands out of the background by at least this share of the way from the quiet to the loud tokens."""
HANGOVER_TOKENS = 2
SILENCE_S = 0.2
"""Silence that is left before and behind the speech of a chunk."""
MARGIN_S = 0.1
"""Silence that is left around speech for functionals, which average over all there is."""
SILENT_DBFS = -70.0
"""A chunk whose loud tokens stay below this level holds no speech."""

_REFERENCE_RMS = 1.7
_POWER_FLOOR = 1e-10
_DYNAMIC_DECADES = 8.0

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Speech:
    """What the voice network reads of one chunk of sound.

    Attributes:
        mel: log-mel spectrum, float32, shape (80, n_frames), n_frames even; speech lies in about -1..1.5.
        active: bool, shape (n_tokens,), n_tokens = n_frames / 2: the 20 ms tokens that hold speech.
        level_dbfs: RMS level of the active tokens; the loud tokens' level when none is active.
    """

    mel: Float32
    active: NDArray[np.bool_]
    level_dbfs: float

    @property
    def speech_s(self) -> float:
        """Seconds of speech in the chunk."""
        return float(self.active.sum()) * TOKEN_S


@dataclass(frozen=True)
class Pooling:
    """How the tokens of a chunk are averaged into windows.

    Attributes:
        weights: float32, shape (n_windows, n_tokens), each row sums to 1.
        speech_share: float32, shape (n_windows,), 0..1: the share of each window's tokens that hold speech. Where it is
            0 the row weighs the window's tokens alike, and what the network says of it should not be used.
    """

    weights: Float32
    speech_share: Float32


def extract_speech(sound: Float32) -> Speech:
    """Compute the voice network's input of one chunk.

    Args:
        sound: mono float32 at 16 kHz, shape (n_samples,), full scale 1.0, at most `CHUNK_S` long.

    Returns:
        The spectrum and its activity; multiplying `sound` by a constant changes `level_dbfs` alone.

    Raises:
        ValueError: the sound is empty, longer than a chunk, not one-dimensional or not finite.
    """
    return prepare_speech(measure_power(sound))


def measure_power(sound: Float32) -> Float32:
    """Measure the mel power spectrum.

    Args:
        sound: mono float32 at 16 kHz, shape (n_samples,), full scale 1.0, at most `CHUNK_S` long.

    Returns:
        Power, float32, shape (80, n_frames), one frame each 10 ms, n_frames even and at least 2.

    Raises:
        ValueError: the sound is empty, longer than a chunk, not one-dimensional or not finite.
    """
    _check_sound(sound)
    n_frames = max(len(sound) // (HOP_SAMPLES * FRAMES_PER_TOKEN), 1) * FRAMES_PER_TOKEN
    padded = np.pad(sound.astype(np.float32), (0, max(n_frames * HOP_SAMPLES - len(sound), 0)))
    padded = np.pad(padded, FFT_SAMPLES // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:n_frames]
    spectrum = np.fft.rfft(windows * _hann_window(), axis=-1)
    power = mel_filters() @ (spectrum.real**2 + spectrum.imag**2).T
    return np.asarray(power, dtype=np.float32)


def prepare_speech(power: Float32) -> Speech:
    """Find the speech in a mel power spectrum, bring it to the reference level and take the logarithm.

    Args:
        power: float32, shape (80, n_frames), n_frames even, from `measure_power`.

    Returns:
        The network's input. Without speech the loud tokens set the level instead.
    """
    token_power = measure_tokens(power)
    active = _detect_activity(token_power)
    heard = token_power[active] if active.any() else np.percentile(token_power, 95, keepdims=True)
    mean_power = max(float(heard.mean()), _POWER_FLOOR)
    scaled = np.maximum(power * (_REFERENCE_RMS**2 / mean_power), _POWER_FLOOR)
    log_power = np.log10(scaled)
    mel = (np.maximum(log_power, log_power.max() - _DYNAMIC_DECADES) + 4.0) / 4.0
    return Speech(mel.astype(np.float32), active, float(10 * np.log10(mean_power)))


def pool_windows(active: NDArray[np.bool_], windows_s: Sequence[tuple[float, float]]) -> Pooling:
    """Weigh the tokens of a chunk for each window: its speech tokens alike, all others zero.

    Args:
        active: bool, shape (n_tokens,), from `Speech`.
        windows_s: start and end of each window, in seconds from the start of the chunk; parts outside it are ignored.

    Returns:
        One row of weights for each window.

    Raises:
        ValueError: no token lies within a window.
    """
    starts_s = np.arange(len(active)) * TOKEN_S
    rows, shares = [], []
    for start_s, end_s in windows_s:
        inside = (starts_s >= start_s - TOKEN_S / 2) & (starts_s < end_s - TOKEN_S / 2)
        if not inside.any():
            raise ValueError(
                f"window {start_s:.2f}-{end_s:.2f} s lies outside the {len(active) * TOKEN_S:.2f} s of sound"
            )
        chosen = inside & active
        shares.append(chosen.sum() / inside.sum())
        chosen = chosen if chosen.any() else inside
        rows.append(chosen / chosen.sum())
    return Pooling(np.asarray(rows, dtype=np.float32), np.asarray(shares, dtype=np.float32))


def trim_silence(speech: Speech, pooling: Pooling) -> tuple[Float32, Float32]:
    """Cut what lies well before the first and behind the last speech of a chunk: the network's two inputs.

    The network learned from speech with at most 0.4 s of silence around it; longer silence draws its attention away.

    Args:
        speech: from `extract_speech`.
        pooling: from `pool_windows`, of the same chunk.

    Returns:
        `mel`, shape (1, 80, n_frames), and `pooling`, shape (n_windows, n_tokens), rows summing to 1. A window without
        speech weighs all that is left alike; what the network says of it should not be used.
    """
    spoken = np.flatnonzero(speech.active)
    if not len(spoken):
        return speech.mel[None], pooling.weights
    margin = round(SILENCE_S / TOKEN_S)
    first, last = max(int(spoken[0]) - margin, 0), int(spoken[-1]) + 1 + margin
    weights = pooling.weights[:, first:last] * (pooling.speech_share > 0)[:, None]
    weights = np.where(weights.any(axis=1, keepdims=True), weights, np.float32(1 / weights.shape[1]))
    return speech.mel[None, :, FRAMES_PER_TOKEN * first : FRAMES_PER_TOKEN * last], weights


def cut_to_speech(sound: Float32) -> Float32:
    """Cut what lies more than 0.1 s before the first and behind the last speech of a chunk of sound.

    Args:
        sound: mono float32 at 16 kHz, shape (n_samples,), at most `CHUNK_S` long.

    Returns:
        A part of it; all of it where there is no speech.

    Raises:
        ValueError: see `extract_speech`.
    """
    spoken = np.flatnonzero(extract_speech(sound).active)
    if not len(spoken):
        return sound
    margin = round(MARGIN_S / TOKEN_S)
    token_samples = HOP_SAMPLES * FRAMES_PER_TOKEN
    first, last = max(int(spoken[0]) - margin, 0), int(spoken[-1]) + 1 + margin
    return sound[first * token_samples : last * token_samples]


@cache
def mel_filters() -> Float32:
    """Slaney's mel filters with unit area, as in librosa and Whisper; shape (80, 201), weights per hertz."""
    edges_hz = _mel_edges_hz()
    bins_hz = np.linspace(0, RATE_HZ / 2, FFT_SAMPLES // 2 + 1)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    areas = (edges_hz[2:] - edges_hz[:-2]) / 2
    return np.asarray(triangles / areas[:, None], dtype=np.float32)


def _mel_edges_hz() -> NDArray[np.float64]:
    """Corner frequencies of the filters: linear up to 1 kHz, logarithmic above (Slaney's Auditory Toolbox)."""
    top_mel = 15 + 27 * np.log(RATE_HZ / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top_mel, N_MELS + 2)
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))


@cache
def _hann_window() -> Float32:
    return np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)


@cache
def in_speech_band() -> NDArray[np.bool_]:
    """Tell which mel bands have their centre within `SPEECH_BAND_HZ`; shape (80,)."""
    centres_hz = _mel_edges_hz()[1:-1]
    return np.asarray((centres_hz >= SPEECH_BAND_HZ[0]) & (centres_hz <= SPEECH_BAND_HZ[1]))


@cache
def _band_weights() -> NDArray[np.float32]:
    """Weights that turn mel powers back into the mean square of the sound within the speech band (Parseval)."""
    edges_hz = _mel_edges_hz()
    mean_square = FFT_SAMPLES * (_hann_window() ** 2).sum() / 2
    return np.asarray(in_speech_band() * (edges_hz[2:] - edges_hz[:-2]) / 2 / mean_square, dtype=np.float32)


def measure_tokens(power: Float32) -> Float32:
    """Mean square of each token's sound within the speech band; shape (n_tokens,), 1.0 is full scale."""
    frames = _band_weights() @ power
    return np.asarray(frames.reshape(-1, FRAMES_PER_TOKEN).mean(axis=1))


def _detect_activity(token_power: Float32) -> NDArray[np.bool_]:
    """Mark the tokens well above the chunk's quiet ones, and a little around them; only ratios of levels count."""
    level_db = 10 * np.log10(np.maximum(token_power, _POWER_FLOOR))
    quiet_db, loud_db = np.percentile(level_db, (10, 95))
    if loud_db < SILENT_DBFS:
        return np.zeros(len(level_db), dtype=np.bool_)
    threshold_db = max(loud_db - ACTIVITY_RANGE_DB, quiet_db + ACTIVITY_RISE * (loud_db - quiet_db))
    reach = np.ones(2 * HANGOVER_TOKENS + 1)
    spread = np.convolve(level_db >= threshold_db, reach)[HANGOVER_TOKENS:-HANGOVER_TOKENS]
    return np.asarray(spread > 0)


def _check_sound(sound: Float32) -> None:
    if sound.ndim != 1 or len(sound) == 0:
        raise ValueError(f"expected mono sound of shape (n_samples,), got shape {sound.shape}")
    if len(sound) > CHUNK_S * RATE_HZ:
        raise ValueError(f"expected at most {CHUNK_S:g} s of sound, got {len(sound) / RATE_HZ:.2f} s")
    if not np.isfinite(sound).all():
        raise ValueError("the sound holds values that are not finite")
