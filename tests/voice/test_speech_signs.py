"""What is no speech must be called so, or a hum gets an emotion; what is speech must never be, or voices go unheard."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from conftest import chirp
from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.cli.demo_clip import synthesise_voice
from moodreel.media.sounds import Sound
from moodreel.voice.listener import VoiceListener
from moodreel.voice.speech import RATE_HZ, extract_speech
from moodreel.voice.speech_signs import LEAST_S, Signs, holds_speech, measure_signs

SECONDS = 3
TIME_S = np.arange(SECONDS * RATE_HZ) / RATE_HZ
VARIED = Signs(active_s=1.0, variety_db=3.0, held_share=0.1)
STEADY = Signs(active_s=1.0, variety_db=0.2, held_share=0.1)
HELD = Signs(active_s=1.0, variety_db=3.0, held_share=0.9)


def three_notes(time_s):
    return sum(
        np.sin(2 * np.pi * pitch_hz * (time_s - at_s)) * np.exp(-4 * np.maximum(time_s - at_s, 0)) * (time_s >= at_s)
        for pitch_hz, at_s in ((440, 0), (550, 0.6), (660, 1.2))
    )


def hum(time_s):
    return sum(np.sin(2 * np.pi * 50 * number * time_s) / number for number in range(1, 20))


OTHER_SOUNDS = {
    "hum": hum,
    "beep": lambda time_s: np.sin(2 * np.pi * 1000 * time_s),
    "notes": three_notes,
    "chord": lambda time_s: sum(hum(pitch * time_s) for pitch in (4, 5, 6)),
    "noise": lambda time_s: np.random.default_rng(0).standard_normal(len(time_s)),
}


def measure(sound):
    speech = extract_speech(np.asarray(sound, np.float32))
    return measure_signs(speech, [(0.0, len(sound) / RATE_HZ)])[0]


def hear(tiny_bundle, sound):
    listener = VoiceListener(load_bundle(tiny_bundle).session("voice", 1))
    listener.listen(Sound(0.0, np.asarray(sound, np.float32)))
    return listener.finish()


@pytest.mark.parametrize("name", OTHER_SOUNDS)
def test_sound_that_is_no_speech_is_not_heard_as_a_voice(tiny_bundle, name):
    voice = hear(tiny_bundle, 0.1 * OTHER_SOUNDS[name](TIME_S))
    assert (voice.utterances, voice.windows, voice.is_silent) == ((), (), False)


@pytest.mark.parametrize("sound", [synthesise_voice(), chirp(TIME_S)], ids=["demo", "chirp"])
def test_syllables_are_heard(tiny_bundle, sound):
    voice = hear(tiny_bundle, sound)
    assert len(voice.utterances) == 1 and voice.windows


@settings(max_examples=30)
@given(pitch_hz=st.floats(80, 6_000), n_harmonics=st.integers(1, 12), hiss_db=st.floats(-60, -20))
def test_held_notes_are_refused(pitch_hz, n_harmonics, hiss_db):
    hertz = [pitch_hz * number for number in range(1, n_harmonics + 1) if pitch_hz * number < RATE_HZ / 2]
    note = 0.1 * sum(np.sin(2 * np.pi * one * TIME_S) for one in hertz) / len(hertz)
    hiss = 0.1 * 10 ** (hiss_db / 20) * np.random.default_rng(0).standard_normal(len(TIME_S))
    assert measure(note + hiss).refuse


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), falling=st.floats(0, 2), level=st.floats(0.01, 0.3))
def test_noise_is_refused(seed, falling, level):
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(TIME_S)))
    noise = np.fft.irfft(spectrum * np.maximum(np.fft.rfftfreq(len(TIME_S), 1 / RATE_HZ), 50) ** (-falling / 2))
    assert measure(level * noise / noise.std()).refuse


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["noise", "hum"]), snr_db=st.floats(10, 40))
def test_a_voice_over_weaker_sound_is_kept(seed, kind, snr_db):
    voice = synthesise_voice()[: len(TIME_S)]
    rng = np.random.default_rng(seed)
    other = rng.standard_normal(len(TIME_S)) if kind == "noise" else hum(TIME_S + rng.random())
    assert not measure(voice + other * voice.std() / other.std() * 10 ** (-snr_db / 20)).refuse


@settings(max_examples=30)
@given(gain_db=st.floats(-30, 6))
def test_loudness_decides_nothing(gain_db):
    voice, louder = measure(synthesise_voice()), measure(synthesise_voice() * 10 ** (gain_db / 20))
    assert louder.variety_db == pytest.approx(voice.variety_db, rel=1e-3)
    assert louder.held_share == pytest.approx(voice.held_share, abs=0.02)


@pytest.mark.parametrize("n_samples", [1, 320, 1600, 5000])
def test_what_is_too_short_to_tell_is_not_refused(n_samples):
    signs = measure(0.1 * np.sin(2 * np.pi * 440 * TIME_S[:n_samples]))
    assert not signs.suffice and not signs.refuse


@pytest.mark.parametrize(
    ("whole", "windows", "expected"),
    [
        (STEADY, [STEADY, HELD], False),
        (HELD, [HELD, VARIED], True),  # a sentence after a long tone
        (VARIED, [HELD], True),
        (STEADY, [Signs(LEAST_S / 2, 0.0, 0.0)], False),  # a piece too short to tell speaks for nothing
    ],
)
def test_one_window_of_speech_suffices(whole, windows, expected):
    assert holds_speech(whole, windows) is expected


def test_a_window_of_mere_tone_has_no_voice_beside_speech(tiny_bundle):
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE_HZ) / RATE_HZ)
    voice = hear(tiny_bundle, np.concatenate([tone, synthesise_voice()[: 3 * RATE_HZ]]))
    assert len(voice.utterances) == 1
    starts_s = [window.start_s for window in voice.windows]
    assert starts_s[0] >= 2.0 and starts_s[-1] >= 5.0


@pytest.mark.parametrize(
    ("sound", "state"), [(hum, "no_speech"), (three_notes, "no_speech"), (chirp, "ok"), (np.zeros_like, "silent")]
)
def test_a_live_stream_decides_alike(tiny_bundle, sound, state):
    reader = Recognizer.load(tiny_bundle, threads=1).start_live()
    reader.listen(np.asarray(0.1 * sound(TIME_S[: 2 * RATE_HZ]), np.float32), 2.0)
    prediction = reader.read(2.0).prediction
    assert prediction.voice.state == state
    assert prediction.voice.weight == (state == "ok")
