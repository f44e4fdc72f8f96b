"""Cepstra are those that the network's origin was trained on."""

import numpy as np

from moodreel.voice.cepstra import N_CEPSTRA, extract_cepstra


def test_shape_and_silence():
    silent = extract_cepstra(np.zeros(1600, np.float32), 12)
    assert silent.shape == (12, N_CEPSTRA) and np.isfinite(silent).all()


def test_a_tone_as_the_published_formula_has_it():
    """Values of a 440 Hz tone at a tenth of full scale, worked out step by step from the published definition."""
    times_s = np.arange(16_000) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)
    found = extract_cepstra(tone, 20)[10]
    emphasised = tone[1600:2000] * 32768.0 - 0.97 * tone[1599:1999] * 32768.0
    power = np.abs(np.fft.rfft(emphasised, 512)) ** 2 / 512
    assert abs(found[0] - np.log(power.sum())) < 1e-3
    points = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)]
    bins = [int(513 * hz / 16_000) for hz in points]
    bands = []
    for low, middle, high in zip(bins, bins[1:], bins[2:], strict=False):
        rising = sum(power[k] * (k - low) / (middle - low) for k in range(low, middle))
        falling = sum(power[k] * (high - k) / (high - middle) for k in range(middle, high))
        bands.append(np.log(rising + falling))
    for order in (1, 5, 12):
        cosine = sum(band * np.cos(np.pi * order * (k + 0.5) / 26) for k, band in enumerate(bands)) * np.sqrt(2 / 26)
        assert abs(found[order] - cosine * (1 + 11 * np.sin(np.pi * order / 22))) < 0.02, order


def test_the_first_follows_loudness_and_the_others_do_not():
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.05
    quiet, loud = extract_cepstra(noise, 40), extract_cepstra(noise * 4, 40)
    assert np.allclose(loud[:, 0] - quiet[:, 0], np.log(16), atol=1e-3)
    assert np.allclose(loud[:, 1:], quiet[:, 1:], atol=1e-2)
