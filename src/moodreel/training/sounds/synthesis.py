"""Sounds of which there are too few recordings, made by rule: sirens, produced music, applause, machines that talk.

All are mono float64 at 16 kHz, of shape (n_samples,) and any level; randomness comes from the generator passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moodreel.training.voice import augment
from moodreel.voice.sounds import SPEECH
from moodreel.voice.speech import RATE_HZ

Float64 = NDArray[np.float64]

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 4), (5, 3, 0, 4))
_SMALLEST_HZ = 50.0


def make_talk(n_samples: int, rng: Generator) -> Float64:
    """Make a machine's voice: syllables of pulses through three resonances, hisses and pauses between."""
    talk = np.zeros(n_samples)
    pitch_hz, size, rate_hz = rng.uniform(80, 300), rng.uniform(0.85, 1.2), rng.uniform(2.5, 6.5)
    tilt_hz, has_hisses = rng.uniform(200, 600), rng.random() < 0.7
    at = 0
    while at < n_samples:
        length = int(rng.uniform(0.6, 1.3) / rate_hz * RATE_HZ)
        if rng.random() > 0.1:  # else a pause
            formants_hz = size * rng.uniform((250, 700, 2_300), (900, 2_500, 3_200))
            _add(talk, at, rng.uniform(0.5, 1) * _syllable(length, pitch_hz, formants_hz, tilt_hz, rng))
        if has_hisses and rng.random() < 0.6:
            hiss = rng.standard_normal(int(rng.uniform(0.02, 0.12) * RATE_HZ))
            _add(talk, at, rng.uniform(0.05, 0.4) * _unit(_resonate(hiss * np.hanning(len(hiss)), 5_000, 2_000)))
        at += length
    return talk


def make_siren(n_samples: int, rng: Generator) -> Float64:
    """Make a tone with harmonics that wails, yelps, or steps between two pitches."""
    times_s = np.arange(n_samples) / RATE_HZ
    pitch_hz, rate_hz, depth = rng.uniform(400, 1_200), rng.uniform(0.15, 4), rng.uniform(0.12, 0.45)
    sweep = np.sin(2 * np.pi * (rate_hz * times_s + rng.random()))
    kind = rng.integers(3)
    if kind == 1:
        sweep = np.sign(sweep)
    elif kind == 2:
        sweep = 2 * ((rate_hz * times_s + rng.random()) % 1) - 1
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + depth * sweep)) / RATE_HZ
    strengths = rng.uniform(0, 1, 5) * np.arange(1, 6) ** -rng.uniform(0.5, 2)
    return np.asarray(np.sin(phase) + sum(s * np.sin((k + 2) * phase) for k, s in enumerate(strengths)))


def make_song(n_samples: int, rng: Generator) -> Float64:
    """Make something like produced music: drums, bass, chords and a lead in one key, each by chance, in a room."""
    beat_s, root_hz = 60 / rng.uniform(70, 170), 55 * 2 ** (rng.integers(12) / 12)
    scale, degrees = _SCALES[rng.integers(len(_SCALES))], _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    song = np.zeros(n_samples)
    voices = rng.random(4) < (0.75, 0.75, 0.8, 0.7)
    if not voices.any():
        voices[2] = True
    timbres = rng.uniform(0.2, 1.2, 3)
    for beat in range(int(n_samples / RATE_HZ / beat_s) + 1):
        at = int(beat * beat_s * RATE_HZ)
        degree = degrees[beat // 4 % 4]
        if voices[0]:
            _add_drums(song, at, beat, beat_s, rng)
        if voices[1]:
            _add(song, at, 1.0 * _note(root_hz * _step(scale, degree), beat_s * 0.9, timbres[0], rng))
        if voices[2] and beat % 2 == 0:
            for third in (0, 2, 4):
                _add(song, at, 0.5 * _note(4 * root_hz * _step(scale, degree + third), 2 * beat_s, timbres[1], rng))
        if voices[3]:
            _add_lead(song, at, root_hz * rng.choice([8, 4]), scale, beat_s, timbres[2], rng)
    wet = augment.add_room(song.astype(np.float32), rng.uniform(0.2, 1.2), rng.uniform(0.7, 4), rng)
    return np.asarray(np.tanh(rng.uniform(0.5, 3) * wet / max(float(np.abs(wet).max()), 1e-9)), np.float64)


def make_applause(n_samples: int, rng: Generator) -> Float64:
    """Make twenty to three hundred claps a second, each a burst of noise of its own colour."""
    claps = np.zeros(n_samples)
    for start in rng.integers(0, n_samples, int(n_samples / RATE_HZ * np.exp(rng.uniform(np.log(20), np.log(300))))):
        length = int(rng.uniform(0.004, 0.03) * RATE_HZ)
        centre_hz = rng.uniform(700, 3_000)
        burst = rng.standard_normal(4 * length) * np.exp(-np.arange(4 * length) / length)
        _add(claps, int(start), rng.uniform(0.2, 1) * _resonate(burst, centre_hz, centre_hz / 2))
    return claps


def make_steady(n_samples: int, rng: Generator) -> Float64:
    """Make a hum, an engine or a fan: harmonics of one pitch and resonant noise, fluttering."""
    pitch_hz = np.exp(rng.uniform(np.log(40), np.log(1_500)))
    times_s = np.arange(n_samples) / RATE_HZ
    drift = 1 + rng.uniform(0, 0.05) * np.sin(2 * np.pi * rng.uniform(0.1, 2) * times_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz * drift) / RATE_HZ
    numbers = np.arange(1, min(30, int(RATE_HZ / 2 / pitch_hz)) + 1)
    strengths = rng.uniform(0.2, 1, len(numbers)) * numbers ** -rng.uniform(0.3, 2)
    tone = sum(strength * np.sin(number * phase) for number, strength in zip(numbers, strengths, strict=True))
    noise = _resonate(rng.standard_normal(n_samples), rng.uniform(80, 4_000), rng.uniform(60, 2_000))
    mixed = rng.uniform(0, 1) * _unit(np.asarray(tone)) + rng.uniform(0, 1) * _unit(noise)
    return np.asarray(mixed * (1 + rng.uniform(0, 0.6) * np.sin(2 * np.pi * rng.uniform(0.5, 25) * times_s)))


def make_knocks(n_samples: int, rng: Generator) -> Float64:
    """Make knocks, steps or clicks, one to ten a second, evenly or not."""
    rate_hz, is_even = rng.uniform(1, 10), rng.random() < 0.5
    gaps = np.full(200, 1.0) if is_even else rng.exponential(1.0, 200)
    knocks = np.zeros(n_samples)
    for start in np.cumsum(gaps) / rate_hz * RATE_HZ:
        length = int(np.exp(rng.uniform(np.log(0.001), np.log(0.06))) * RATE_HZ)
        burst = rng.standard_normal(5 * length) * np.exp(-np.arange(5 * length) / length)
        _add(
            knocks, int(start), rng.uniform(0.3, 1) * _resonate(burst, rng.uniform(100, 3_000), rng.uniform(50, 2_000))
        )
    return knocks


SYNTHETIC: Mapping[str, tuple[str, Callable[[int, Generator], NDArray[np.floating]]]] = {
    "talk": (SPEECH, make_talk),
    "siren": ("noise", make_siren),
    "song": ("music", make_song),
    "chords": ("music", augment.make_music),
    "applause": ("noise", make_applause),
    "steady": ("noise", make_steady),
    "knocks": ("noise", make_knocks),
    "coloured noise": ("noise", augment.make_noise),
    "audience laughter": ("laughter", augment.make_laughter),
}
"""By name the class of each made sound, see `moodreel.training.sounds.material`, and what makes it."""


def _syllable(length: int, pitch_hz: float, formants_hz: Float64, tilt_hz: float, rng: Generator) -> Float64:
    """Make one syllable: glottal pulses at a pitch that moves, through resonances that stay."""
    times_s = np.arange(length) / RATE_HZ
    moving_hz = pitch_hz * (1 + rng.uniform(-0.2, 0.3) + rng.uniform(-1, 1) * times_s)
    pulses = np.diff(np.floor(np.cumsum(np.maximum(moving_hz, _SMALLEST_HZ)) / RATE_HZ), prepend=0.0)
    bins_hz = np.fft.rfftfreq(2 * length, 1 / RATE_HZ)
    response = np.ones(len(bins_hz), dtype=complex) / (1 + (bins_hz / tilt_hz) ** 2)
    for centre_hz in formants_hz:
        response *= centre_hz**2 / (centre_hz**2 - bins_hz**2 + 1j * bins_hz * (50 + 0.05 * centre_hz))
    voiced = np.fft.irfft(np.fft.rfft(pulses, 2 * length) * response)[:length]
    envelope = np.sin(np.pi * np.linspace(0, 1, length)) ** rng.uniform(0.4, 1.5)
    return np.asarray(voiced * envelope / (np.abs(voiced).max() + 1e-9))


def _add_drums(song: Float64, at: int, beat: int, beat_s: float, rng: Generator) -> None:
    times_s = np.arange(int(0.25 * RATE_HZ)) / RATE_HZ
    if beat % 2 == 0:
        _add(song, at, 1.5 * np.sin(2 * np.pi * 90 * (1 - np.exp(-20 * times_s)) / 20 * 8) * np.exp(-12 * times_s))
    else:
        _add(song, at, 0.8 * rng.standard_normal(len(times_s)) * np.exp(-18 * times_s))
    for eighth in (0.0, 0.5):
        hat = np.diff(rng.standard_normal(len(times_s) + 1)) * np.exp(-60 * times_s)
        _add(song, at + int(eighth * beat_s * RATE_HZ), 0.25 * hat)


def _add_lead(
    song: Float64, at: int, root_hz: float, scale: tuple[int, ...], beat_s: float, timbre: float, rng: Generator
) -> None:
    """Add one, two or four notes of a melody within a beat, some with vibrato."""
    n_notes = int(rng.choice([1, 2, 4]))
    for index in range(n_notes):
        if rng.random() < 0.8:
            note = _note(root_hz * _step(scale, int(rng.integers(8))), beat_s / n_notes, timbre, rng)
            _add(song, at + int(index / n_notes * beat_s * RATE_HZ), 0.6 * note)


def _note(pitch_hz: float, length_s: float, timbre: float, rng: Generator) -> Float64:
    """Make one note: harmonics that fall off with `timbre`, held or decaying, perhaps with vibrato."""
    times_s = np.arange(max(int(length_s * RATE_HZ), 2)) / RATE_HZ
    vibrato = rng.choice([0.0, 0.006]) * np.sin(2 * np.pi * rng.uniform(4, 7) * times_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + vibrato)) / RATE_HZ
    numbers = np.arange(1, max(min(16, int(RATE_HZ / 2 / pitch_hz)), 1) + 1)
    tone = sum(np.sin(number * phase) * number ** -(0.5 + 2 * timbre) for number in numbers)
    edges = np.minimum(1, np.minimum(times_s, times_s[::-1]) / 0.01)
    return np.asarray(tone * edges * np.exp(-rng.choice([0.3, 4.0]) * times_s))


def _step(scale: tuple[int, ...], degree: int) -> float:
    octave, place = divmod(degree, len(scale))
    return float(2 ** (octave + scale[place] / 12))


def _resonate(sound: Float64, centre_hz: float, width_hz: float) -> Float64:
    frequencies_hz = np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE_HZ), _SMALLEST_HZ)
    gain = 1 / (1 + ((frequencies_hz - centre_hz) / width_hz) ** 2)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound) * gain, len(sound)))


def _unit(sound: Float64) -> Float64:
    return np.asarray(sound / max(float(sound.std()), 1e-9))


def _add(total: Float64, start: int, part: Float64) -> None:
    end = min(start + len(part), len(total))
    if start < end:
        total[start:end] += part[: end - start]
