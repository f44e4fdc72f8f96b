"""Recordings whose streams change or show up on the way: all of them is read, or what is left out is said."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from media_files import moving_bar, tone, write_clip
from moodreel.media.clip import Frame, Sound, open_clip

RATE_HZ = 16_000


def write_programme(path: Path, seconds: float, number: int, hz: float = 440.0, **settings) -> bytes:
    """One programme as a transport stream with identifiers of its own."""
    pid = 0x100 * number
    options = {
        "mpegts_start_pid": str(pid),
        "mpegts_pmt_start_pid": str(0x1000 + pid),
        "mpegts_service_id": str(number),
    }
    return write_clip(path, seconds, sound=tone(hz), options=options, **settings).read_bytes()


def read(media):
    with open_clip(media) as clip:
        items = list(clip.stream(longest_side_px=64, frames_rate_hz=5))
        frames = [item for item in items if isinstance(item, Frame)]
        sounds = [item for item in items if isinstance(item, Sound)]
    return clip, frames, sounds


def pitch_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE_HZ / len(samples))


def join(sounds) -> np.ndarray:
    return np.concatenate([sound.samples for sound in sounds])


@pytest.mark.parametrize("seconds", [3, 30], ids=["seen on opening", "not seen on opening"])
def test_a_second_programme_midway_is_read_to_its_end(tmp_path, seconds):
    first = write_programme(tmp_path / "a.ts", seconds, 1, hz=440, rate=5)
    second = write_programme(tmp_path / "b.ts", seconds, 3, hz=880, rate=5, size=(48, 64))
    path = tmp_path / "recording.ts"
    path.write_bytes(first + second)
    clip, frames, sounds = read(path)
    times_s = [frame.time_s for frame in frames]
    assert clip.decoded_s == pytest.approx(2 * seconds, abs=0.5)
    assert len(frames) == pytest.approx(10 * seconds, abs=2) and np.diff(times_s).min() > 0
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    samples = join(sounds)
    assert len(samples) / RATE_HZ == pytest.approx(2 * seconds, abs=0.5)
    assert pitch_hz(samples[RATE_HZ : 2 * RATE_HZ]) == pytest.approx(440, abs=2)
    assert pitch_hz(samples[-2 * RATE_HZ : -RATE_HZ]) == pytest.approx(880, abs=2)
    (warning,) = clip.warnings
    assert warning.startswith("another programme begins after")


def test_three_programmes_and_again_from_the_start(tmp_path):
    programmes = [write_programme(tmp_path / f"{n}.ts", 2, n, hz=300 * n) for n in (1, 2, 3)]
    with open_clip(b"".join(programmes)) as clip:
        passes = [list(clip.stream(longest_side_px=64, frames_rate_hz=5)) for _ in range(2)]
        assert clip.decoded_s == pytest.approx(6, abs=0.6)
    once, again = ([one.time_s for one in items if isinstance(one, Frame)] for items in passes)
    assert once == again


def test_a_following_picture_beside_a_clip_of_sound_alone_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.media.container._THOROUGH_US", 1_000_000)
    first = write_programme(tmp_path / "a.ts", 25, 1, video_codec=None)
    second = write_programme(tmp_path / "b.ts", 5, 2, rate=5)
    clip, frames, sounds = read(first + second)
    assert not frames and len(join(sounds)) / RATE_HZ == pytest.approx(30, abs=0.5)
    assert any("picture left out" in warning for warning in clip.warnings)


def test_programmes_side_by_side_are_not_joined(tmp_path):
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        pictures = [container.add_stream("mpeg2video", rate=10) for _ in range(2)]
        for stream in pictures:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        draw = moving_bar((64, 48))
        for index in range(60):
            for stream in pictures:
                frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream in pictures:
            container.mux(stream.encode(None))
    clip, frames, _ = read(path)
    assert clip.decoded_s == pytest.approx(6, abs=0.3) and len(frames) == pytest.approx(30, abs=1)
    assert clip.warnings == ("2 video tracks: number 1 is used",)


def test_an_ordinary_stream_gets_no_warning(tmp_path):
    clip, _, _ = read(write_programme(tmp_path / "a.ts", 30, 1))
    assert clip.warnings == () and clip.decoded_s == pytest.approx(30, abs=0.3)


def test_a_late_track_of_a_flash_video_is_read(tmp_path):
    path = write_clip(tmp_path / "a.flv", 120, rate=2, audio_start=110, audio_seconds=8)
    clip, frames, sounds = read(io.BytesIO(_announce_late(path.read_bytes())))
    assert len(frames) == pytest.approx(240, abs=2)
    assert sounds[0].start_s == pytest.approx(110, abs=0.2)
    assert len(join(sounds)) / RATE_HZ == pytest.approx(8, abs=0.3)
    assert clip.decoded_s == pytest.approx(120, abs=0.6) and clip.warnings == ()


def _announce_late(data: bytes) -> bytes:
    """Write a Flash video anew as a live recorder does: nothing is told of its sound before the sound comes."""
    tags, place = [], 13
    while place < len(data):
        end = place + 15 + int.from_bytes(data[place + 1 : place + 4], "big")
        tags.append(data[place:end])
        place = end
    tags = [tag for tag in tags if tag[0] != 18]  # the table of what is to come
    header = next(tag for tag in tags if tag[0] == 8)
    tags.remove(header)
    first = next(number for number, tag in enumerate(tags) if tag[0] == 8)
    return data[:13] + b"".join([*tags[:first], header, *tags[first:]])
