from __future__ import annotations

import numpy as np
import pytest

from moodreel.voice.speech import (
    CHUNK_S,
    RATE_HZ,
    SILENT_DBFS,
    TOKEN_S,
    cut_to_speech,
    extract_speech,
    measure_power,
    mel_filters,
    pool_windows,
    prepare_speech,
    trim_silence,
)


def make_voice(seconds=2.0, pitch_hz=150.0, seed=0):
    """Syllables of a harmonic tone, four a second, over faint noise."""
    times_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * times_s) / k for k in range(1, 20))
    envelope = np.maximum(np.sin(2 * np.pi * 2 * times_s), 0)
    noise = np.random.default_rng(seed).standard_normal(len(times_s))
    return (0.1 * tone * envelope + 1e-4 * noise).astype(np.float32)


def measure_power_slowly(sound, n_frames):
    """Whisper's mel power by its definition: a discrete Fourier transform written out, librosa's Slaney filters."""
    padded = np.pad(sound.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(201), np.arange(400)) / 400)
    frames = np.stack([padded[160 * i : 160 * i + 400] * window for i in range(n_frames)])
    power = np.abs(frames @ kernel.T) ** 2
    return np.array([[row @ slow_filter(band) for row in power] for band in range(80)])


def slow_filter(band):
    def to_hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    low, centre, high = (to_hertz(top * (band + step) / 81) for step in range(3))
    weights = []
    for bin_hz in np.arange(201) * 40.0:
        rise, fall = (bin_hz - low) / (centre - low), (high - bin_hz) / (high - centre)
        weights.append(max(0.0, min(rise, fall)) * 2 / (high - low))
    return np.array(weights)


def test_mel_power_equals_a_plain_fourier_transform():
    sound = make_voice(0.2)
    power = measure_power(sound)
    assert power.shape == (80, 20)
    assert power.dtype == np.float32
    expected = measure_power_slowly(sound, 20)
    assert np.allclose(power, expected, rtol=1e-3, atol=1e-7 * expected.max())


def test_mel_filters_are_librosas():
    filters = mel_filters()
    assert filters.shape == (80, 201)
    # librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)[0, 1] and [1, 1], as stored in Whisper's mel_filters.npz.
    assert filters[0, 1] == pytest.approx(0.02486259, abs=1e-6)
    assert filters[1, 1] == pytest.approx(0.00199082, abs=1e-6)


def test_log_mel_is_whispers_up_to_the_level():
    sound = make_voice(1.0)
    mel = extract_speech(sound).mel
    log_power = np.log10(np.maximum(measure_power_slowly(sound, 100), 1e-10))
    difference = mel * 4 - 4 - log_power
    loud = log_power > log_power.max() - 6
    assert np.ptp(difference[loud]) < 1e-2


@pytest.mark.parametrize("gain", [1e-2, 0.1, 30.0])
def test_loudness_changes_nothing_but_the_level(gain):
    sound = make_voice()
    one, other = extract_speech(sound), extract_speech((gain * sound).astype(np.float32))
    assert np.abs(one.mel - other.mel).max() < 2e-3
    assert (one.active == other.active).all()
    assert other.level_dbfs - one.level_dbfs == pytest.approx(20 * np.log10(gain), abs=0.01)


def test_level_is_the_rms_of_the_speech():
    sound = (0.1 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    assert extract_speech(sound).level_dbfs == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.3)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_silence_holds_no_speech(noise):
    sound = (noise * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
    speech = extract_speech(sound)
    assert not speech.active.any()
    assert speech.speech_s == 0
    assert speech.level_dbfs < SILENT_DBFS
    assert np.isfinite(speech.mel).all()


def test_pauses_are_not_speech():
    voice = make_voice(1.0)
    pause = (1e-4 * np.random.default_rng(1).standard_normal(RATE_HZ)).astype(np.float32)
    active = extract_speech(np.concatenate([pause, voice, pause])).active
    assert active[:45].sum() == 0
    assert active[50:100].mean() > 0.5
    assert active[105:].sum() == 0


def test_activity_finds_speech_in_noise():
    noise = (0.01 * np.random.default_rng(1).standard_normal(3 * RATE_HZ)).astype(np.float32)
    noise[RATE_HZ : 2 * RATE_HZ] += make_voice(1.0)
    active = extract_speech(noise).active
    assert active[50:100].mean() > 0.5
    assert active[:45].mean() < 0.2


@pytest.mark.parametrize("n_samples", [1, 100, 319, 320, 401, 5000, int(CHUNK_S * RATE_HZ)])
def test_any_length_gives_whole_tokens(n_samples):
    speech = extract_speech(np.resize(make_voice(), n_samples))
    assert speech.mel.shape[1] == 2 * len(speech.active)
    assert len(speech.active) == max(n_samples // 320, 1)
    assert np.isfinite(speech.mel).all()


@pytest.mark.parametrize(
    "sound",
    [np.zeros(0), np.zeros((2, 100)), np.zeros(int(CHUNK_S * RATE_HZ) + 1), np.array([0.0, np.nan] * 400)],
    ids=["empty", "stereo", "too long", "not a number"],
)
def test_unusable_sound_is_refused(sound):
    with pytest.raises(ValueError, match="sound"):
        extract_speech(sound.astype(np.float32))


def test_windows_weigh_their_speech_alike():
    active = np.zeros(100, dtype=bool)
    active[10:30] = True
    pooling = pool_windows(active, [(0.0, 2.0), (0.4, 1.4), (1.0, 2.0)])
    assert pooling.weights.shape == (3, 100)
    assert np.allclose(pooling.weights.sum(axis=1), 1)
    assert np.allclose(pooling.weights[0, 10:30], 1 / 20)
    assert np.flatnonzero(pooling.weights[1]).tolist() == list(range(20, 30))
    assert np.allclose(pooling.speech_share, [0.2, 0.2, 0.0])
    assert np.allclose(pooling.weights[2, 50:], 1 / 50)


def test_silence_around_the_speech_is_trimmed():
    pause = (1e-4 * np.random.default_rng(1).standard_normal(2 * RATE_HZ)).astype(np.float32)
    speech = extract_speech(np.concatenate([pause, make_voice(1.0), pause]))
    pooling = pool_windows(speech.active, [(0.0, 5.0), (2.0, 2.5), (0.0, 1.0)])
    mel, weights = trim_silence(speech, pooling)
    assert mel.shape == (1, 80, 2 * weights.shape[1])
    assert 1.0 < weights.shape[1] * TOKEN_S < 1.7
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert (weights[0] > 0).sum() == speech.active.sum()
    assert np.ptp(weights[2]) == 0


def test_silence_alone_is_left_as_it_is():
    speech = extract_speech(np.zeros(RATE_HZ, dtype=np.float32))
    mel, weights = trim_silence(speech, pool_windows(speech.active, [(0.0, 1.0)]))
    assert mel.shape == (1, 80, 100)
    assert weights.shape == (1, 50)


def test_sound_is_cut_to_its_speech():
    voice = make_voice(1.0)
    padded = np.concatenate([np.zeros(16_000, np.float32), voice, np.zeros(24_000, np.float32)])
    cut = cut_to_speech(padded)
    assert 1.0 * 16_000 <= len(cut) <= 1.4 * 16_000  # 0.1 s of silence stays on either side
    assert np.abs(cut).sum() == pytest.approx(np.abs(voice).sum(), rel=1e-2)


def test_sound_without_speech_is_not_cut():
    silence = np.zeros(16_000, np.float32)
    assert cut_to_speech(silence) is silence


def test_a_window_outside_the_sound_is_refused():
    with pytest.raises(ValueError, match="outside"):
        pool_windows(np.ones(50, dtype=bool), [(50 * TOKEN_S, 2.0)])


def test_extracting_is_measuring_then_preparing():
    sound = make_voice()
    one, other = extract_speech(sound), prepare_speech(measure_power(sound))
    assert (one.mel == other.mel).all()
    assert (one.active == other.active).all()
