"""A stretch is the same whether it is read alone or cut out of a full pass, and costs what a stretch costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from media_files import restamp, write_clip, write_sound
from moodreel.errors import MediaError
from moodreel.media.clip import Frame, Sound, open_clip
from moodreel.media.container import Decoder
from moodreel.media.stretches import read_stretch

RATE_HZ = 16_000
SECONDS = 24.0
SMALL = {"size": (96, 72), "rate": 25}
H264 = {"video_options": {"preset": "ultrafast", "threads": "1", "g": "50"}}


def chirp(time_s: np.ndarray) -> np.ndarray:
    """Every instant sounds otherwise."""
    return 0.4 * np.sin(2 * np.pi * (200 * time_s + 15 * time_s**2)) + 0.1 * np.sin(2 * np.pi * 3000 * time_s)


KINDS = {
    "mp4": {**H264, "audio_rate": 44_100},
    "mkv": {**H264, "audio_rate": 44_100},
    "ts": {**H264, "audio_rate": 48_000},
    "flv": {**H264, "audio_rate": 44_100},
    "avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "mpg": {"video_codec": "mpeg2video", "audio_codec": "mp2"},
    "wav": {"audio_rate": 44_100},
    "mp3": {"audio_rate": 44_100},
    "flac": {"audio_rate": 48_000},
    "ogg": {},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = {}
    for kind, settings_ in KINDS.items():
        path = folder / f"clip.{kind}"
        write = write_clip if "video_codec" in settings_ or "video_options" in settings_ else write_sound
        paths[kind] = write(path, SECONDS, sound=chirp, **(SMALL if write is write_clip else {}), **settings_)
    return paths


@pytest.fixture(scope="module")
def passes(clips):
    """What a full pass over each clip yields."""
    return {kind: stream(path) for kind, path in clips.items()}


@pytest.fixture
def n_decoded(monkeypatch):
    """How many packets were handed to a decoder."""
    count = [0]
    decode = Decoder._decode_packet

    def counted(self, *packet):
        count[0] += 1
        return decode(self, *packet)

    monkeypatch.setattr(Decoder, "_decode_packet", counted)
    return count


def stream(media, **stretch):
    with open_clip(media) as clip:
        items = list(clip.stream(longest_side_px=64, frames_rate_hz=5, **stretch))
    frames = [item for item in items if isinstance(item, Frame)]
    sounds = [item for item in items if isinstance(item, Sound)]
    return clip, frames, sounds


def join(sounds) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(sound.samples for sound in sounds)])


def cut(sounds, start_s: float, end_s: float) -> np.ndarray:
    first_s, samples = sounds[0].start_s, join(sounds)
    return samples[max(0, round((start_s - first_s) * RATE_HZ)) : max(0, round((end_s - first_s) * RATE_HZ))]


STAMPED_IN_MS = dict.fromkeys(("mkv", "flv"), 1e-3)
"""Containers that round the time of each packet: where a seek lands, the sound is known to lie that exactly alone."""


def assert_same_sound(found: np.ndarray, expected: np.ndarray, rounded_s: float) -> None:
    """Compare two sounds, one of which may lie earlier or later by half of what times are rounded to."""
    if not rounded_s:
        np.testing.assert_allclose(found, expected, atol=0.02)
        return
    assert len(found) == len(expected)
    most = rounded_s / 2 + 1 / RATE_HZ
    assert correlate(found, expected, most) > 0.99, f"the sound lies over {rounded_s / 2} s beside its place"


def correlate(found: np.ndarray, expected: np.ndarray, most_s: float, finer: int = 4) -> float:
    """Greatest correlation with one of two sounds moved by up to so much, a part of a sample at a time.

    Half a sample aside, tones of 3 kHz correlate by 0.83 alone.
    """
    spectra = [np.fft.rfft(one - one.mean()) for one in (found, expected)]
    powers = np.prod([np.sum((one - one.mean()) ** 2) for one in (found, expected)])
    alike = finer * np.fft.irfft(np.conj(spectra[0]) * spectra[1], finer * len(found)) / np.sqrt(powers)
    most = round(most_s * RATE_HZ * finer)
    return float(np.concatenate([alike[: most + 1], alike[-most:]]).max())


@pytest.mark.parametrize("kind", KINDS)
@given(start_s=st.floats(0, SECONDS - 0.5), length_s=st.floats(0.4, 6))
@example(start_s=14.5, length_s=1.0)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stretch_is_the_same_cut_of_a_full_pass(clips, passes, kind, start_s, length_s):
    end_s = start_s + length_s
    clip, frames, sounds = stream(clips[kind], start_s=start_s, end_s=end_s)
    _, all_frames, all_sounds = passes[kind]
    expected = [frame for frame in all_frames if start_s <= frame.time_s < end_s]
    assert [frame.time_s for frame in frames] == pytest.approx([frame.time_s for frame in expected])
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, other.pixels)
    assert_same_sound(join(sounds), cut(all_sounds, start_s, end_s), STAMPED_IN_MS.get(kind, 0))
    assert clip.warnings == passes[kind][0].warnings


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_and_a_late_stretch_cost_alike(tmp_path, kind, n_decoded):
    settings_ = KINDS[kind]
    write = write_clip if "video_codec" in settings_ or "video_options" in settings_ else write_sound
    small = {"size": SMALL["size"]} if write is write_clip else {}
    path = write(tmp_path / f"long.{kind}", 120, **small, **settings_)
    stream(path)
    whole, n_decoded[0] = n_decoded[0], 0
    stream(path, start_s=0.0, end_s=4.0)
    early, n_decoded[0] = n_decoded[0], 0
    stream(path, start_s=110.0, end_s=114.0)
    assert early < 0.15 * whole and n_decoded[0] < 0.15 * whole


@pytest.mark.parametrize("kind", ["mp4", "mkv", "wav"])
def test_a_late_stretch_is_not_even_read_up_to(clips, kind):
    class Counting:
        def __init__(self, path: Path) -> None:
            self.file, self.n_bytes = path.open("rb"), 0

        def read(self, size: int) -> bytes:
            data = self.file.read(size)
            self.n_bytes += len(data)
            return data

        def __getattr__(self, name):
            return getattr(self.file, name)

    path = write_clip(clips[kind].with_name(f"noisy.{kind}"), 60, audio_codec="pcm_s16le") if kind == "mkv" else None
    path = path or write_clip(
        clips[kind].with_name(f"long.{kind}"),
        120,
        video_codec=None if kind == "wav" else "libx264",
        audio_codec="pcm_s16le" if kind == "wav" else "aac",
        audio_rate=48_000,
    )
    file = Counting(path)
    stream(file, start_s=50.0, end_s=52.0)
    assert file.n_bytes < 0.9 * path.stat().st_size


def test_a_file_that_cannot_go_back_is_decoded_from_its_start(clips, passes):
    class Pipe:
        def __init__(self, path: Path) -> None:
            self.read = path.open("rb").read

    _, frames, sounds = stream(Pipe(clips["mkv"]), start_s=15.0, end_s=17.0)
    assert len(frames) == 10
    np.testing.assert_allclose(join(sounds), cut(passes["mkv"][2], 15, 17), atol=1e-5)


@pytest.mark.parametrize("kind", ["mkv", "ts"])
def test_stamps_that_jump_before_the_stretch_are_joined_as_in_a_full_pass(tmp_path, kind):
    base = write_clip(tmp_path / "base.ts", 20, rate=25, video_codec="mpeg2video", audio_codec=None)
    path = restamp(base, tmp_path / f"a.{kind}", lambda index, time: time + 1000 * (index > 99))
    expected = [frame.time_s for frame in stream(path)[1] if 15 <= frame.time_s < 17]
    assert [frame.time_s for frame in stream(path, start_s=15.0, end_s=17.0)[1]] == pytest.approx(expected)


def test_a_stretch_in_the_second_programme_of_a_recording(tmp_path):
    pieces = [
        write_clip(tmp_path / f"{pid}.ts", 20, rate=5, options={"mpegts_start_pid": str(pid)}).read_bytes()
        for pid in (0x100, 0x300)
    ]
    path = tmp_path / "recording.ts"
    path.write_bytes(b"".join(pieces))
    expected = [frame.time_s for frame in stream(path)[1] if 30 <= frame.time_s < 32]
    assert len(expected) == 10
    assert [frame.time_s for frame in stream(path, start_s=30.0, end_s=32.0)[1]] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_late_sound_is_zeros_and_keeps_its_place(tmp_path, kind):
    path = write_clip(
        tmp_path / f"a.{kind}",
        4,
        audio_start=1.0,
        audio_seconds=3.0,
        audio_codec="pcm_s16le" if kind == "mkv" else "aac",
    )
    _, _, sounds = stream(path, start_s=0.0, end_s=8.0)
    samples = join(sounds)
    assert sounds[0].start_s == 0 and len(samples) / RATE_HZ == pytest.approx(4.0, abs=0.15)
    assert not samples[: int(0.9 * RATE_HZ)].any() and np.abs(samples[int(1.1 * RATE_HZ) :]).max() > 0.3
    _, _, sounds = stream(path, start_s=0.25, end_s=0.75)
    np.testing.assert_array_equal(join(sounds), np.zeros(RATE_HZ // 2))


@pytest.mark.parametrize(("start_s", "end_s"), [(-1.0, 2.0), (2.0, 2.0), (3.0, 2.0), (math.nan, 2.0), (0.0, math.nan)])
def test_a_stretch_that_is_none_is_a_mistake_of_the_caller(clips, start_s, end_s):
    with pytest.raises(ValueError, match="start_s < end_s"):
        stream(clips["wav"], start_s=start_s, end_s=end_s)


def test_a_stretch_behind_the_end_is_said(clips):
    with pytest.raises(MediaError, match="nothing that can be decoded between 90 and 91 s"):
        stream(clips["mp3"], start_s=90.0, end_s=91.0)


def test_a_picture_has_no_later_part(tmp_path):
    from media_files import quadrants, write_image

    path = write_image(tmp_path / "a.png", quadrants((32, 32)), codec="png", pix_fmt="rgb24")
    assert len(stream(path, start_s=0.0, end_s=1.0)[1]) == 1
    with pytest.raises(MediaError, match="nothing"):
        stream(path, start_s=1.0, end_s=2.0)


@pytest.mark.parametrize("audio_lag", [0.0, 2.6, 6.0])
def test_a_stretch_of_a_badly_interleaved_file_keeps_sound_and_picture_together(tmp_path, audio_lag):
    path = write_clip(tmp_path / "a.mkv", 40, rate=10, sound=chirp, audio_lag=audio_lag, audio_codec="pcm_s16le")
    for start_s in (0.0, 4.0, 25.0):
        with open_clip(path) as clip:
            stretch = read_stretch(
                clip, start_s, start_s + 4, longest_side_px=64, frames_rate_hz=5, sound_rate_hz=RATE_HZ
            )
            assert clip.warnings == ()
        times_s = [frame.time_s for frame in stretch.frames]
        assert times_s == pytest.approx(start_s + np.arange(20) / 5)
        expected = chirp(start_s + np.arange(4 * RATE_HZ) / RATE_HZ)
        np.testing.assert_allclose(stretch.sound, expected, atol=0.001)
