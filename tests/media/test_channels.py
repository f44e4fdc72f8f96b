"""Sound with several channels: all added, one alone, or a clip per channel; and sound as telephones send it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from media_files import tone, write_clip, write_sound, write_wav
from moodreel.errors import MediaError
from moodreel.media.channels import choose_channels
from moodreel.media.clip import open_clip
from moodreel.media.parts import Part, find_parts, read_part


def write_call(path, seconds=3.0, rate_hz=16_000):
    """A tone of 300 Hz on the left, of 1000 Hz on the right."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    both = np.stack([tone(300.0)(time_s), tone(1000.0, 0.25)(time_s)], axis=1)
    return write_wav(path, both.astype(np.float32), rate_hz)


def hear(path, channel="mix", **stretch):
    with open_clip(path, channel=channel, **stretch) as clip:
        stream = clip.stream(longest_side_px=64, frames_rate_hz=0)
        return np.concatenate([sound.samples for sound in stream]), clip.warnings


def pitches_hz(samples, rate_hz=16_000):
    """Return the tones heard, strongest first."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return {float(round(index * rate_hz / len(samples), -1)) for index in np.flatnonzero(power > 0.25 * power.max())}


@pytest.mark.parametrize(("channel", "heard"), [("left", {300.0}), ("right", {1000.0}), ("mix", {300.0, 1000.0})])
def test_one_channel_is_heard_alone(tmp_path, channel, heard):
    call = write_call(tmp_path / "call.wav")
    assert pitches_hz(hear(call, channel)[0]) == heard
    assert pitches_hz(hear(call, channel, start_s=1.0, end_s=2.5)[0]) == heard, "of a part too"


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8", "pcm_s32le", "pcm_f64le", "pcm_mulaw"])
def test_a_channel_of_every_kind_of_sample(tmp_path, codec):
    path = write_sound(tmp_path / "call.wav", 1.0, audio_codec=codec, layout="stereo")
    both, left = hear(path)[0], hear(path, "left")[0]
    assert len(left) == len(both) and np.abs(left - both).max() < 0.02, "both channels are alike"


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".flac"])
def test_a_channel_of_planar_sound(tmp_path, suffix):
    path = write_sound(tmp_path / f"call{suffix}", 1.0, layout="stereo")
    assert pitches_hz(hear(path, "right")[0]) == {440.0}


def test_a_mono_file_has_but_one_channel_and_says_so(tmp_path):
    samples, warnings = hear(write_sound(tmp_path / "a.wav"), "right")
    assert pitches_hz(samples) == {440.0} and "the sound has but one" in warnings[0]


def test_no_such_channel(tmp_path):
    with pytest.raises(MediaError, match=r"no channel 'split', expected mix, left or right; 'split' is two clips"):
        open_clip(write_sound(tmp_path / "a.wav"), channel="split")


def test_split_makes_a_clip_per_channel_of_a_call_alone(tmp_path):
    call, mono = Part(write_call(tmp_path / "call.wav")), Part(write_sound(tmp_path / "a.wav"))
    silent = Part(write_clip(tmp_path / "a.mp4", audio_codec=None))
    surround = Part(write_sound(tmp_path / "s.wav", layout="5.1"))
    assert [part.name for part in choose_channels(call, "split")[0]] == [
        "call.wav#channel=left",
        "call.wav#channel=right",
    ]
    for part, held in ((mono, "1 channel,"), (silent, "no sound,"), (surround, "6 channels,")):
        parts, note = choose_channels(part, "split")
        assert parts == [part] and f"has {held} not two to split" in note
    assert choose_channels(mono, "mix") == ([mono], "")
    assert [part.channel for part in choose_channels(mono, "left")[0]] == ["left"]
    missing = Part(tmp_path / "gone.wav")
    assert choose_channels(missing, "split") == ([missing], "")


@pytest.mark.parametrize("name", ["call.wav#channel=left", "call.wav#t=1,2&channel=right", "call.wav#t=,2"])
def test_a_channel_of_a_part_is_named_as_it_is_read(name):
    assert str(read_part(name)) == name


def test_channels_of_one_file_are_several_clips(tmp_path):
    names = [f"{tmp_path}/call.wav#channel={channel}" for channel in ("left", "right", "left")]
    assert [part.stem for part in find_parts(names)] == ["call-left", "call-right"]


@pytest.mark.parametrize(
    ("name", "said"), [("a.wav#channel=up", "no channel 'up'"), ("a.wav#t=1&x=2", "'x' names no part")]
)
def test_a_wrong_fragment_is_told(name, said):
    with pytest.raises(MediaError, match=said):
        read_part(name)


def write_gsm(path: Path, seconds: float = 2.0) -> Path:
    """Write GSM 6.10 in WAV, as answering machines do; what it says is noise."""
    n_blocks = round(seconds * 8000 / 320)
    data = np.random.default_rng(0).integers(0, 256, 65 * n_blocks, dtype=np.uint8).tobytes()
    head = struct.pack("<HHIIHHHH", 0x31, 1, 8000, 1625, 65, 0, 2, 320)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


TELEPHONE = {
    "pcm.wav": {"audio_codec": "pcm_s16le"},
    "mu-law.wav": {"audio_codec": "pcm_mulaw"},
    "a-law.wav": {"audio_codec": "pcm_alaw"},
    "mu-law.au": {"audio_codec": "pcm_mulaw"},
    "narrow.amr": {"audio_codec": "libopencore_amrnb"},
    "g722.wav": {"audio_codec": "g722", "audio_rate": 16_000},
}


@pytest.mark.parametrize("name", TELEPHONE)
def test_telephone_sound_is_read(tmp_path, name):
    settings = {"audio_rate": 8000} | TELEPHONE[name]
    samples, warnings = hear(write_sound(tmp_path / name, 2.0, **settings))
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.1) and not warnings
    assert 440.0 in pitches_hz(samples)


def test_gsm_is_read_and_answered(tmp_path, tiny_bundle):
    from moodreel import Recognizer

    path = write_gsm(tmp_path / "call.wav")
    samples, _ = hear(path)
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.1)
    assert Recognizer.load(tiny_bundle).predict(path).duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["mu-law.wav", "narrow.amr"])
def test_telephone_sound_is_answered(tmp_path, tiny_bundle, name):
    from conftest import chirp
    from moodreel import Recognizer

    path = write_sound(tmp_path / name, 2.0, audio_rate=8000, sound=chirp, **TELEPHONE[name])
    answer = Recognizer.load(tiny_bundle).predict(path, channels="left")
    assert answer.label == "surprise" and answer.clip == f"{path}#channel=left"
