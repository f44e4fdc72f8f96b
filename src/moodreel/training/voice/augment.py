"""What happens to a voice before it reaches us: other speed, room, telephone, codec; and the sounds that lie under it.

Two kinds of functions. Those on sound (mono float32 at 16 kHz, shape (n_samples,), full scale 1.0) are slow and run
once per clip, before training. Those on mel power (float32, shape (80, n_frames), from
`moodreel.voice.speech.measure_power`) cost next to nothing and run at every step: the powers of unrelated sounds add,
so a background is mixed in there.

All randomness comes from the generator passed in. Nothing here is recorded: music, laughter and noise are synthesised,
babble is made of other clips of the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from moodreel.voice.functionals import change_speed
from moodreel.voice.speech import RATE_HZ, Float32, extract_speech, measure_tokens

SPEED_RANGE = (0.87, 1.15)
REVERBERATION_S = (0.1, 0.7)
PHONE_BAND_HZ = (250.0, 3_500.0)
NARROW_BAND_HZ = (300.0, 3_400.0)
"""Of a telephone line, ITU-T G.712."""
_MU = 255.0
CODEC_TOPS_HZ = (3_800.0, 5_500.0, 7_200.0)
TEMPO_RANGE = (0.85, 1.2)
TILT_DB = 9.0
_ATTACK_S = 0.01


def degrade(sound: Float32, rng: Generator) -> Float32:
    """Change the speed and pitch of a voice, then, each by chance, put it in a room, a telephone or a codec."""
    sound = change_speed(sound, rng.uniform(*SPEED_RANGE))
    if rng.random() < 0.5:
        sound = add_room(sound, rng.uniform(*REVERBERATION_S), rng.uniform(0.5, 4.0), rng)
    if rng.random() < 0.2:
        return limit_band(sound, *PHONE_BAND_HZ)
    if rng.random() < 0.4:
        sound = limit_band(sound, 0.0, float(rng.choice(CODEC_TOPS_HZ)))
        return drop_quiet_bins(sound, rng.uniform(25.0, 50.0))
    return sound


def add_room(sound: Float32, reverberation_s: float, direct_to_reverberant: float, rng: Generator) -> Float32:
    """Add the decaying noise of a room whose echo falls by 60 dB in `reverberation_s`; the length stays."""
    times_s = np.arange(int(reverberation_s * RATE_HZ)) / RATE_HZ
    response = rng.standard_normal(len(times_s)) * 10 ** (-3 * times_s / reverberation_s)
    response[0] = direct_to_reverberant * np.sqrt((response[1:] ** 2).sum())
    n_fft = 1 << (len(sound) + len(response)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(sound, n_fft) * np.fft.rfft(response, n_fft), n_fft)[: len(sound)]
    return np.asarray(wet / response[0], dtype=np.float32)


def limit_band(sound: Float32, low_hz: float, high_hz: float) -> Float32:
    """Keep the frequencies between two limits, as a telephone does."""
    spectrum = np.fft.rfft(sound)
    frequencies_hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum[(frequencies_hz < low_hz) | (frequencies_hz > high_hz)] = 0
    return np.asarray(np.fft.irfft(spectrum, len(sound)), dtype=np.float32)


def call_by_telephone(sound: Float32) -> Float32:
    """Send a voice over a telephone line: its narrow band, and 8 bits a sample by the mu-law (ITU-T G.711)."""
    narrow = limit_band(sound, *NARROW_BAND_HZ)
    peak = max(float(np.abs(narrow).max(initial=0.0)), 1e-9)
    bent = np.sign(narrow) * np.log1p(_MU * np.abs(narrow) / peak) / np.log1p(_MU)
    stepped = np.rint(bent * 127) / 127
    return np.asarray(np.sign(stepped) * np.expm1(np.abs(stepped) * np.log1p(_MU)) / _MU * peak, dtype=np.float32)


def drop_quiet_bins(sound: Float32, depth_db: float) -> Float32:
    """Zero what lies `depth_db` below the loudest bin of its 32 ms frame: the holes a low-rate codec leaves."""
    size, hop = 512, 256
    window = np.sqrt(np.hanning(size + 1)[:-1])
    n_frames = len(sound) // hop + 2
    padded = np.pad(sound, (hop, (n_frames + 1) * hop - len(sound)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:n_frames]
    spectra = np.fft.rfft(frames * window, axis=1)
    level = np.abs(spectra)
    spectra[level < level.max(axis=1, keepdims=True) * 10 ** (-depth_db / 20)] = 0
    output = np.zeros(len(padded))
    for index, frame in enumerate(np.fft.irfft(spectra, size, axis=1) * window):
        output[index * hop : index * hop + size] += frame
    return np.asarray(output[hop : hop + len(sound)], dtype=np.float32)


def make_babble(voices: Sequence[Float32], n_samples: int, rng: Generator) -> Float32:
    """Let several voices speak at once, each at its own level (6 dB up or down) and from its own moment on.

    Raises:
        ValueError: there is no voice.
    """
    if not voices:
        raise ValueError("babble needs at least one voice")
    babble = np.zeros(n_samples)
    for voice in voices:
        rms = max(float(np.sqrt((voice**2).mean())), 1e-6)
        start = rng.integers(len(voice))
        babble += np.resize(np.roll(voice, -start), n_samples) / rms * 10 ** (rng.uniform(-6, 6) / 20)
    return _fit_level(babble)


def make_noise(n_samples: int, rng: Generator) -> Float32:
    """Make noise whose power falls with frequency by 0 to 2 powers (white to brown), swelling slowly."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum * frequencies_hz ** (-rng.uniform(0, 2) / 2), n_samples)
    swell_hz = rng.uniform(0.05, 0.5)
    times_s = np.arange(n_samples) / RATE_HZ
    return _fit_level(noise * (1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * (swell_hz * times_s + rng.random()))))


def make_music(n_samples: int, rng: Generator) -> Float32:
    """Make something like music: chords of decaying harmonics on a beat, a bass, perhaps a drum."""
    beat_s = rng.uniform(0.25, 0.8)
    root_hz = 110 * 2 ** (rng.integers(12) / 12)
    music = np.zeros(n_samples)
    for start in np.arange(0, n_samples, int(beat_s * RATE_HZ)):
        steps = rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 16, 19], size=rng.integers(1, 4), replace=False)
        for step in [*steps, -12]:
            _add_at(music, int(start), _pluck(root_hz * 2 ** (step / 12), rng))
        if rng.random() < 0.5:
            _add_at(music, int(start), rng.standard_normal(1600) * np.exp(-np.arange(1600) / 300) * 2)
    return _fit_level(music)


def make_laughter(n_samples: int, rng: Generator) -> Float32:
    """Make something like an audience laughing: one to thirty people, each a row of voiced, breathy bursts."""
    laughter = np.zeros(n_samples)
    for _ in range(rng.choice([1, 3, 10, 30])):
        pitch_hz, rate_hz = rng.uniform(140, 450), rng.uniform(3.5, 6)
        start = int(rng.integers(max(n_samples - RATE_HZ, 1)))
        gain = rng.uniform(0.3, 1)
        for index in range(rng.integers(4, 14)):
            burst = _voice_burst(pitch_hz * 0.97**index, 0.6 / rate_hz, rng)
            _add_at(laughter, start + int(index / rate_hz * RATE_HZ), gain * 0.93**index * burst)
    return _fit_level(laughter + 1e-3 * rng.standard_normal(n_samples))


def mix_sound(sound: Float32, background: Float32, snr_db: float) -> Float32:
    """Add a background at a ratio to the level of the speech, pauses left out; a short background is repeated."""
    background = np.resize(background, len(sound))
    background_rms = float(np.sqrt((background.astype(np.float64) ** 2).mean()))
    wanted_rms = 10 ** ((extract_speech(sound).level_dbfs - snr_db) / 20)
    return np.asarray(sound + background * (wanted_rms / max(background_rms, 1e-9)), dtype=np.float32)


def scale_background(power: Float32, background: Float32, snr_db: float) -> Float32:
    """Bring a background's mel power to a ratio to the speech's, both taken where they are loud.

    Args:
        power: mel power of the speech.
        background: mel power of the background, of the same shape.
        snr_db: ratio of the means above the median token, within the speech band.

    Returns:
        The background's mel power to add.
    """
    loud, quiet = (_loud_mean(part) for part in (power, background))
    return np.asarray(background * (loud / max(quiet, 1e-12) * 10 ** (-snr_db / 10)), dtype=np.float32)


def change_tempo(power: Float32, tempo: float) -> Float32:
    """Play a mel power spectrum faster or slower at the same pitch, by interpolating its frames."""
    n_frames = power.shape[1]
    n_output = max(round(n_frames / tempo / 2) * 2, 2)
    places = np.linspace(0, n_frames - 1, n_output)
    left = np.minimum(places.astype(int), max(n_frames - 2, 0))
    share = (places - left).astype(np.float32)
    return np.asarray(power[:, left] * (1 - share) + power[:, np.minimum(left + 1, n_frames - 1)] * share)


def colour(power: Float32, rng: Generator) -> Float32:
    """Tilt and bend the frequency response as another microphone would, up to `TILT_DB`; sometimes cut the top."""
    places = np.linspace(-1, 1, len(power))
    gain_db = rng.uniform(-TILT_DB, TILT_DB) * places + rng.uniform(-4, 4) * np.cos(
        np.pi * places * rng.uniform(0.5, 2)
    )
    if rng.random() < 0.15:
        gain_db[rng.integers(54, 76) :] -= 60
    return np.asarray(power * (10 ** (gain_db / 10))[:, None], dtype=np.float32)


def mask_spectrum(mel: Float32, rng: Generator) -> Float32:
    """Hide one band of up to 12 mel channels and one stretch of up to 100 ms (SpecAugment, Park et al. 2019)."""
    masked = mel.copy()
    low, width = rng.integers(len(mel)), rng.integers(13)
    start, length = rng.integers(mel.shape[1]), rng.integers(11)
    masked[low : low + width] = mel.mean()
    masked[:, start : start + length] = mel.mean()
    return masked


def _loud_mean(power: Float32) -> float:
    tokens = measure_tokens(power)
    return float(tokens[tokens >= np.median(tokens)].mean())


def _fit_level(sound: np.ndarray) -> Float32:
    """Bring to an RMS of 0.1."""
    return np.asarray(sound * (0.1 / max(float(np.sqrt((sound**2).mean())), 1e-9)), dtype=np.float32)


def _add_at(total: np.ndarray, start: int, part: np.ndarray) -> None:
    end = min(start + len(part), len(total))
    total[start:end] += part[: max(end - start, 0)]


def _pluck(pitch_hz: float, rng: Generator) -> np.ndarray:
    """One note: six harmonics that decay, the higher the faster; blunt or sharp at the start."""
    times_s = np.arange(int(rng.uniform(0.3, 1.5) * RATE_HZ)) / RATE_HZ
    brightness, decay = rng.uniform(0.3, 0.9), rng.uniform(1, 6)
    harmonics = np.arange(1, 7)[:, None]
    note = np.sin(2 * np.pi * pitch_hz * harmonics * times_s) * brightness**harmonics
    note = (note * np.exp(-decay * np.sqrt(harmonics) * times_s)).sum(axis=0)
    return np.asarray(note * np.minimum(times_s / _ATTACK_S, 1) * rng.uniform(0.5, 1))


def _voice_burst(pitch_hz: float, length_s: float, rng: Generator) -> np.ndarray:
    """One "ha": harmonics under two formants plus breath, rising and falling."""
    times_s = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    frequencies_hz = pitch_hz * np.arange(1, 12)[:, None]
    formants = sum(1 / (1 + ((frequencies_hz - centre_hz) / 200) ** 2) for centre_hz in (750, 1250))
    voiced = (formants * np.sin(2 * np.pi * frequencies_hz * times_s)).sum(axis=0)
    breath = rng.uniform(0.1, 0.6) * rng.standard_normal(len(times_s))
    return np.asarray((voiced + breath) * np.hanning(len(times_s)))
