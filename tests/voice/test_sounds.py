"""An audience's laughter must not be a happy speaker, and no speech may be lost to what sounds beside it."""

import csv
import io
import json
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import jsonschema
import numpy as np
import pytest

from conftest import chirp
from media_files import write_wav
from moodreel import BundleError, Prediction, PredictionError, Recognizer
from moodreel.bundle import load_bundle
from moodreel.cli.demo_clip import synthesise_voice
from moodreel.media.sounds import Sound
from moodreel.output.formats.csv import format_csv
from moodreel.output.formats.table import format_table
from moodreel.output.plot import write_plot
from moodreel.training.sounds.synthesis import SYNTHETIC
from moodreel.voice.listener import VoiceListener, VoiceWindow, place_windows
from moodreel.voice.sounds import SoundNetwork
from moodreel.voice.speech import RATE_HZ
from tiny_bundle import write_hearing_bundle

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())


def seconds(length_s):
    return np.arange(round(length_s * RATE_HZ)) / RATE_HZ


def speech(length_s):
    return 0.5 * chirp(seconds(length_s)).astype(np.float32)


def laughter(length_s):
    """Bursts of hiss in two high bands by turns: nothing that stands still, and nothing below 3 kHz."""
    times_s = seconds(length_s)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(len(times_s)))
    hertz = np.fft.rfftfreq(len(times_s), 1 / RATE_HZ)
    low, high = (np.fft.irfft(spectrum * ((hertz > a) & (hertz < a + 1_500)), len(times_s)) for a in (3_000, 5_000))
    turn = np.sin(2 * np.pi * 2.5 * times_s) > 0
    return (0.3 * np.where(turn, low, high)).astype(np.float32)


def hear(bundle, sound):
    opened = load_bundle(bundle)
    listener = VoiceListener(opened.session("voice", 1), SoundNetwork.open(opened, 1))
    listener.listen(Sound(0.0, sound))
    return listener.finish()


@pytest.fixture
def predict(tmp_path, hearing_bundle):
    recognizer = Recognizer.load(hearing_bundle, threads=1)
    return lambda sound: recognizer.predict(write_wav(tmp_path / "a.wav", sound[:, None]))


def test_laughter_is_no_voice_and_is_named(predict):
    prediction = predict(laughter(3.0))
    assert (prediction.voice.state, prediction.label, prediction.abstained) == ("no_speech", None, True)
    assert max(prediction.sounds, key=prediction.sounds.get) == "laughter"
    assert {one.other_sound for one in prediction.segments} == {"laughter"}


def test_speech_is_heard_as_before(predict, tiny_bundle, tmp_path):
    prediction = predict(speech(3.0))
    without = Recognizer.load(tiny_bundle, threads=1).predict(tmp_path / "a.wav")
    assert prediction.voice == without.voice and prediction.sounds["speech"] > 0.8
    assert [one.voice for one in prediction.timeline] == [one.voice for one in without.timeline]


def test_a_bundle_without_a_sound_network_names_no_sounds(tiny_bundle, tmp_path):
    prediction = Recognizer.load(tiny_bundle, threads=1).predict(write_wav(tmp_path / "a.wav", laughter(3.0)[:, None]))
    assert prediction.voice.state == "ok"
    assert prediction.sounds is None and all(one.sounds is None for one in prediction.timeline)


def test_what_follows_laughter_is_still_heard(hearing_bundle):
    voice = hear(hearing_bundle, np.concatenate([laughter(3.0), speech(3.0)]))
    assert [one.start_s for one in voice.windows] == [3.0, 4.0, 5.0]
    assert len(voice.sounds) == 6
    assert [(one.start_s, one.end_s) for one in voice.utterances] == [(3.0, 5.0), (5.0, 6.0)]


def test_the_voice_of_a_clip_rests_on_its_speech_alone(hearing_bundle):
    whole = hear(hearing_bundle, np.concatenate([speech(4.0), laughter(4.0), speech(4.0)]))
    for one in whole.utterances:
        assert one.end_s <= 5.0 or one.start_s >= 7.0
    ends_s = [(one.start_s, one.end_s) for one in whole.utterances]
    assert all(end_s <= start_s for (_, end_s), (start_s, _) in pairwise(ends_s))


def test_a_window_counts_as_far_as_it_is_speech():
    window = VoiceWindow(0.0, 2.0, 1.5, np.zeros(7, np.float32), 20.0)
    assert window.weight == 1.5 and replace(window, speech=0.5).weight == 0.75


def test_what_is_too_short_to_tell_is_not_refused(hearing_bundle):
    voice = hear(hearing_bundle, laughter(0.15))
    assert len(voice.windows) == 1


def test_the_level_decides_nothing(hearing_bundle):
    for gain in (0.02, 1.0):
        assert not hear(hearing_bundle, gain * laughter(3.0)).windows
        assert hear(hearing_bundle, gain * speech(3.0)).windows


def test_the_bundle_that_ships_hears_the_demo_and_no_siren_or_song():
    rng = np.random.default_rng(0)
    assert len(hear("default", synthesise_voice()).windows) == 4
    for name in ("siren", "song"):
        assert not hear("default", 0.1 * SYNTHETIC[name][1](3 * RATE_HZ, rng).astype(np.float32)).windows


def test_a_live_stream_names_laughter_too(hearing_bundle):
    reader = Recognizer.load(hearing_bundle, threads=1).start_live()
    reader.listen(laughter(2.0), 2.0)
    prediction = reader.read(2.0).prediction
    assert prediction.voice.state == "no_speech" and prediction.segments[0].other_sound == "laughter"


def test_json_states_sounds_and_is_read_again(predict):
    prediction = predict(np.concatenate([laughter(3.0), speech(3.0)]))
    held = json.loads(prediction.to_json())
    assert held["segments"][0]["sounds"]["laughter"] > 0.5 > held["segments"][-1]["sounds"]["laughter"]
    assert sum(held["sounds"].values()) == pytest.approx(1, abs=1e-3)
    jsonschema.validate(held, SCHEMA)
    assert Prediction.from_dict(held) == prediction.rounded()


@pytest.mark.parametrize("sounds", [{}, {"speech": 2.0}, {"speech": 0.2}, {"speech": "loud"}, [], 1])
def test_json_with_broken_sounds_is_refused(predict, sounds):
    held = predict(speech(1.0)).to_dict()
    held["segments"][0]["sounds"] = sounds
    with pytest.raises(PredictionError, match=r"segments\[0\]\.sounds"):
        Prediction.from_dict(held)


def test_people_are_told_what_is_heard(predict, tmp_path):
    prediction = predict(laughter(3.0))
    assert "voice  no speech heard: laughter" in format_table(prediction)
    (row, *_) = csv.DictReader(io.StringIO(format_csv([prediction])))
    assert row["sound"] == "laughter"
    write_plot(prediction, tmp_path / "a.svg")
    assert "no speech: laughter" in (tmp_path / "a.svg").read_text()


def test_the_picture_names_laughter_between_speech(predict, tmp_path):
    write_plot(predict(np.concatenate([speech(3.0), laughter(3.0)])), tmp_path / "a.svg")
    assert "laughter" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": None},
        {"classes": "speech"},
        {"classes": ["laughter", "music", "noise"]},
        {"classes": ["speech", "speech", "music"]},
        {"classes": ["speech", 3, "music"]},
        {"classes": ["speech", "laugh\nter", "music"]},
        {"classes": ["speech", "laughter"]},
        {"speech_above": 2},
        {"sha256": "0"},
    ],
)
def test_a_damaged_entry_is_refused_before_any_clip_is_read(tmp_path, change):
    bundle = write_hearing_bundle(tmp_path / "b", **change)
    with pytest.raises(BundleError) as caught:
        Recognizer.load(bundle, threads=1)
    assert str(bundle) in str(caught.value)


def test_a_voice_network_with_too_few_statistics_is_refused(tmp_path, hearing_bundle):
    opened = load_bundle(hearing_bundle)
    network = SoundNetwork.open(opened, 1)
    with pytest.raises(BundleError, match="reads 80 statistics"):
        network.read(np.zeros((1, 79), np.float32))


@pytest.mark.parametrize(("length_s", "expected"), [(0.1, 1), (2.2, 2), (3.5, 4), (8.0, 8)])
def test_windows_cover_what_is_left(length_s, expected):
    windows = place_windows(length_s)
    assert len(windows) == expected and windows[-1][1] == length_s
