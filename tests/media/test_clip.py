"""Media in: every kind of clip, and every kind of bad input, made here and read back."""

from __future__ import annotations

import io
import math
import os
import stat
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms

from media_files import (
    damage,
    quadrants,
    restamp,
    silence,
    tone,
    truncate,
    write_clip,
    write_cover_mp3,
    write_image,
    write_sound,
    write_wav,
)
from moodreel.errors import MediaError
from moodreel.media.clip import Clip, Frame, Sound, open_clip
from moodreel.media.clock import Clock, Grid
from moodreel.media.container import LARGEST_PICTURE_PX, Source
from moodreel.media.find import find_media


class Streamed:
    """Everything one pass over a clip yields."""

    def __init__(self, clip: Clip, **settings: Any) -> None:
        defaults = {"longest_side_px": 320, "frames_rate_hz": math.inf}
        items = list(clip.stream(**(defaults | settings)))
        self.clip = clip
        self.frames = [item for item in items if isinstance(item, Frame)]
        self.sounds = [item for item in items if isinstance(item, Sound)]
        self.samples = np.concatenate([sound.samples for sound in self.sounds] or [np.zeros(0, np.float32)])
        self.times = [frame.time_s for frame in self.frames]
        self.warnings = clip.warnings


def read(media: Any, **settings: Any) -> Streamed:
    with open_clip(media) as clip:
        return Streamed(clip, **settings)


def refusal(media: Any) -> str:
    with pytest.raises(MediaError) as caught, open_clip(media) as clip:
        list(clip.stream(longest_side_px=64, frames_rate_hz=5))
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text or "check" in text or ";" in text
    assert len(text) < 600
    return text


def corners(frame: Frame) -> list[str]:
    """Name the colours of the four quadrants: left top, right top, left bottom, right bottom."""
    height, width = frame.pixels.shape[:2]
    points = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    names = []
    for y, x in points:
        red, green, blue = (value > 128 for value in frame.pixels[y, x])
        names.append({(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}[red, green, blue])
    return names


class TestWholeClips:
    def test_describes_both_tracks(self, tmp_path):
        with open_clip(write_clip(tmp_path / "a.mp4", 2)) as clip:
            assert clip.name == str(tmp_path / "a.mp4")
            assert clip.duration_s == pytest.approx(2.0, abs=0.1)
            assert (clip.video.width_px, clip.video.height_px, clip.video.codec) == (64, 48, "h264")
            assert clip.video.rate_hz == pytest.approx(10)
            assert not clip.video.is_still
            assert (clip.sound.rate_hz, clip.sound.channels, clip.sound.codec) == (16000, 1, "aac")

    def test_streams_frames_and_sound(self, tmp_path):
        streamed = read(write_clip(tmp_path / "a.mp4", 2))
        assert streamed.times == pytest.approx(np.arange(20) / 10)
        assert all(frame.pixels.dtype == np.uint8 and frame.pixels.shape == (48, 64, 3) for frame in streamed.frames)
        assert all(frame.scale == 1.0 and frame.pixels.flags.c_contiguous for frame in streamed.frames)
        assert streamed.samples.dtype == np.float32
        assert len(streamed.samples) / 16000 == pytest.approx(2.0, abs=0.1)
        assert np.abs(streamed.samples).max() == pytest.approx(0.5, abs=0.05)
        assert streamed.warnings == ()
        assert streamed.clip.decoded_s == pytest.approx(2.0, abs=0.1)
        assert streamed.clip.damaged == 0

    def test_sound_blocks_follow_each_other(self, tmp_path):
        sounds = read(write_sound(tmp_path / "a.wav", 3.3)).sounds
        assert [len(sound.samples) for sound in sounds] == [16000, 16000, 16000, 4800]
        assert [sound.start_s for sound in sounds] == pytest.approx([0, 1, 2, 3])

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO, open, str, Path])
    def test_takes_paths_bytes_and_files(self, tmp_path, kind):
        path = write_clip(tmp_path / "a.mp4")
        data = path.read_bytes()
        media = open(path, "rb") if kind is open else kind(path) if kind in (str, Path) else kind(data)  # noqa: SIM115, PTH123
        streamed = read(media)
        assert len(streamed.frames) == 10
        if kind in (open, io.BytesIO):
            assert not media.closed
            media.close()

    def test_named_bytes(self):
        assert "clip of Ann" in refusal_of_named(b"nonsense", "clip of Ann")
        assert refusal_of_named(b"nonsense", None).startswith("<bytes>: ")

    def test_file_that_cannot_seek(self, tmp_path):
        path = write_clip(tmp_path / "a.mkv")
        pipe = io.BufferedReader(io.FileIO(path))
        pipe.seekable = lambda: False
        with open_clip(pipe) as clip:
            assert len(Streamed(clip).frames) == 10
            with pytest.raises(MediaError, match="only once"):
                list(clip.stream(longest_side_px=64, frames_rate_hz=5))

    def test_streams_twice_alike(self, tmp_path):
        with open_clip(write_clip(tmp_path / "a.mp4")) as clip:
            first, second = Streamed(clip), Streamed(clip)
        assert first.times == second.times
        assert np.array_equal(first.samples, second.samples)
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first.frames, second.frames, strict=True))

    def test_sound_alone_or_picture_alone_on_request(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4")
        heard, seen = read(path, frames_rate_hz=0), read(path, sound_rate_hz=0)
        assert (len(heard.frames), heard.samples.size > 0) == (0, True)
        assert (len(seen.frames), seen.samples.size) == (10, 0)

    def test_no_sound_and_no_picture(self, tmp_path):
        assert read(write_clip(tmp_path / "a.mp4", audio_codec=None)).clip.sound is None
        assert read(write_sound(tmp_path / "a.wav")).clip.video is None

    def test_memory_does_not_grow_with_length(self, tmp_path):
        import tracemalloc

        peaks = []
        for seconds in (2, 10):
            path = write_clip(tmp_path / f"{seconds}.mp4", seconds)
            with open_clip(path) as clip:
                tracemalloc.start()
                for _ in clip.stream(longest_side_px=64, frames_rate_hz=6):
                    pass
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        assert peaks[1] < 1.1 * peaks[0] + 20_000

    def test_frames_are_freed_without_the_garbage_collector(self, tmp_path):
        import gc

        import av

        path = write_clip(tmp_path / "a.mp4", 4)
        gc.collect()
        gc.disable()
        try:
            with open_clip(path) as clip:
                for _ in clip.stream(longest_side_px=64, frames_rate_hz=math.inf):
                    pass
            alive = sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())
        finally:
            gc.enable()
        assert alive < 10, f"{alive} of 40 decoded frames are kept alive: a long video grows by 70 MB"

    def test_writes_nothing_to_the_terminal(self, tmp_path):
        path = damage(write_clip(tmp_path / "a.mp4", 3), 0.3, 0.6)
        code = (
            "import sys, moodreel.media.clip as m\n"
            "for path in sys.argv[1:]:\n"
            "    with m.open_clip(path) as clip: list(clip.stream(longest_side_px=64, frames_rate_hz=5))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")


def refusal_of_named(data: bytes, name: str | None) -> str:
    with pytest.raises(MediaError) as caught:
        open_clip(data, name)
    return str(caught.value)


class TestSampling:
    def test_frames_at_the_asked_rate(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", 3, rate=30, audio_codec=None)
        for rate_hz in (3.0, 6.0, 10.0, 25.0):
            times = read(path, frames_rate_hz=rate_hz).times
            assert len(times) == pytest.approx(3 * rate_hz, abs=1)
            assert max(np.diff(times)) <= 1 / rate_hz + 2 / 30

    def test_skips_what_no_frame_needs_but_keeps_the_rate(self, tmp_path):
        options = {"preset": "ultrafast", "bf": "3", "b-pyramid": "none", "threads": "1"}
        path = write_clip(tmp_path / "b.mp4", 4, rate=30, audio_codec=None, video_options=options)
        sampled = read(path, frames_rate_hz=6)
        assert len(sampled.times) == pytest.approx(24, abs=1)
        assert max(np.diff(sampled.times)) < 1.7 / 6
        assert sampled.clip.decoded_s == pytest.approx(4, abs=0.01)

    def test_scales_down_never_up(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", size=(200, 100))
        small, large = read(path, longest_side_px=50), read(path, longest_side_px=1000)
        assert small.frames[0].pixels.shape == (25, 50, 3)
        assert small.frames[0].scale == 0.25
        assert large.frames[0].pixels.shape == (100, 200, 3)
        assert large.frames[0].scale == 1.0

    @given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
    @settings(max_examples=15)
    def test_any_size(self, width, height, side):
        with tempfile.TemporaryDirectory() as folder:
            pixels = np.full((height, width, 3), 200, np.uint8)
            path = write_image(Path(folder, "a.png"), pixels, codec="png", pix_fmt="rgb24")
            frame = read(path, longest_side_px=side).frames[0]
        assert max(frame.pixels.shape[:2]) == min(side, max(width, height))
        assert min(frame.pixels.shape[:2]) >= 1
        assert frame.pixels.min() >= 197

    @pytest.mark.parametrize("codec", ["mpeg4", "ffv1", "libx264", "libvpx", "mjpeg"])
    def test_colours_survive(self, tmp_path, codec):
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        picture = quadrants((64, 48))
        frame = read(
            write_clip(
                tmp_path / "a.mkv", 0.5, video_codec=codec, pix_fmt=pix_fmt, frames=lambda _: picture, audio_codec=None
            )
        ).frames[-1]
        assert corners(frame) == ["red", "green", "blue", "white"]
        assert np.abs(frame.pixels[8:16, 8:24].astype(int).mean((0, 1)) - (255, 0, 0)).max() < 16


class TestPictures:
    @pytest.mark.parametrize(
        "pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p", "gray", "gray10le", "yuva420p", "bgra", "yuv410p", "bgr0"]
    )
    def test_pixel_formats(self, tmp_path, pix_fmt):
        path = write_clip(tmp_path / "a.mkv", 0.5, video_codec="ffv1", pix_fmt=pix_fmt, audio_codec=None)
        frame = read(path).frames[0]
        assert frame.pixels.shape == (48, 64, 3)
        assert 30 < frame.pixels[:, 10].mean() < 90 < frame.pixels[:, -10].mean()

    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (641, 361), (2, 200), (17, 33)])
    @pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "yuv444p"), ("libvpx", "yuv420p")])
    def test_odd_sizes(self, tmp_path, size, codec, pix_fmt):
        path = write_clip(tmp_path / "a.mkv", 0.3, video_codec=codec, pix_fmt=pix_fmt, size=size, audio_codec=None)
        streamed = read(path, longest_side_px=1000)
        assert len(streamed.frames) == 3
        assert streamed.frames[0].pixels.shape == (size[1], size[0], 3)

    @pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
    @pytest.mark.parametrize(
        ("rotation", "expected"),
        [
            (90, ["green", "white", "red", "blue"]),
            (180, ["white", "blue", "green", "red"]),
            (-90, ["blue", "red", "white", "green"]),
        ],
    )
    def test_rotation(self, tmp_path, suffix, rotation, expected):
        picture = quadrants((64, 48))
        path = write_clip(tmp_path / f"a{suffix}", 0.3, rotation=rotation, frames=lambda _: picture, audio_codec=None)
        streamed = read(path)
        assert corners(streamed.frames[0]) == expected
        video = streamed.clip.video
        assert (video.width_px, video.height_px) == ((64, 48) if rotation == 180 else (48, 64))
        assert streamed.frames[0].pixels.shape == (video.height_px, video.width_px, 3)

    def test_mirrored(self, tmp_path):
        picture = quadrants((64, 48))
        path = write_clip(tmp_path / "a.mp4", 0.3, flip=True, frames=lambda _: picture, audio_codec=None)
        assert corners(read(path).frames[0]) == ["green", "red", "white", "blue"]

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
    @pytest.mark.parametrize(
        ("orientation", "expected"),
        [
            (1, ["red", "green", "blue", "white"]),
            (2, ["green", "red", "white", "blue"]),
            (3, ["white", "blue", "green", "red"]),
            (4, ["blue", "white", "red", "green"]),
            (5, ["red", "blue", "green", "white"]),
            (6, ["blue", "red", "white", "green"]),
            (7, ["white", "green", "blue", "red"]),
            (8, ["green", "white", "red", "blue"]),
        ],
    )
    def test_photograph_held_every_way(self, tmp_path, suffix, orientation, expected):
        """Turned and mirrored as the camera's tag says: PyAV alone loses the mirroring."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(quadrants((64, 48))).save(path, exif=exif)
        streamed = read(path)
        assert corners(streamed.frames[0]) == expected
        video = streamed.clip.video
        assert (video.width_px, video.height_px) == ((64, 48) if orientation < 5 else (48, 64))

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
    def test_photograph_with_a_colour_profile(self, tmp_path, suffix):
        """Reading the side data of such a PNG through PyAV kills the process, hence one of its own."""
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(quadrants((64, 48))).save(path, icc_profile=profile)
        code = (
            "import sys; from moodreel.media.clip import open_clip\n"
            "with open_clip(sys.argv[1]) as clip:\n"
            "    print(len(list(clip.stream(longest_side_px=64, frames_rate_hz=5))))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "1\n"), f"exit status {done.returncode}: {done.stderr}"

    @pytest.mark.parametrize("tag", [b"\x00\x09", b"\xff\xff"])
    def test_photograph_with_a_senseless_tag_is_upright(self, tmp_path, tag):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "a.jpg"
        Image.fromarray(quadrants((64, 48))).save(path, exif=exif)
        data = path.read_bytes()
        at = data.index(b"\x01\x12\x00\x03")
        path.write_bytes(data[: at + 8] + tag + data[at + 10 :])
        assert corners(read(path).frames[0]) == ["red", "green", "blue", "white"]

    def test_pixels_that_are_not_square(self, tmp_path):
        streamed = read(write_clip(tmp_path / "a.mp4", 0.5, aspect=Fraction(2, 1)))
        assert (streamed.clip.video.width_px, streamed.clip.video.height_px) == (128, 48)
        assert streamed.frames[0].pixels.shape == (48, 128, 3)

    def test_8k(self, tmp_path):
        pixels = np.full((4320, 7680, 3), 90, np.uint8)
        path = write_image(tmp_path / "a.jpg", pixels, codec="mjpeg", pix_fmt="yuvj420p")
        frame = read(path, longest_side_px=320).frames[0]
        assert frame.pixels.shape == (180, 320, 3)
        assert frame.scale == pytest.approx(320 / 7680)

    def test_more_than_8k_is_refused(self, tmp_path):
        path = write_image(tmp_path / "a.png", quadrants((64, 48)), codec="png", pix_fmt="rgb24")
        data = bytearray(path.read_bytes())
        data[16:24] = (20_000).to_bytes(4, "big") * 2
        import zlib

        data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
        path.write_bytes(data)
        assert LARGEST_PICTURE_PX < 20_000**2
        assert "a.png" in refusal(path)

    @pytest.mark.parametrize(
        ("suffix", "codec", "pix_fmt"),
        [
            ("png", "png", "rgb24"),
            ("png", "png", "rgba"),
            ("png", "png", "gray"),
            ("jpg", "mjpeg", "yuvj420p"),
            ("webp", "libwebp", "yuv420p"),
            ("gif", "gif", "rgb8"),
            ("bmp", "bmp", "bgr24"),
            ("tiff", "tiff", "rgb24"),
            ("ppm", "ppm", "rgb24"),
        ],
    )
    def test_still_images(self, tmp_path, suffix, codec, pix_fmt):
        path = write_image(tmp_path / f"a.{suffix}", quadrants((64, 48)), codec=codec, pix_fmt=pix_fmt)
        streamed = read(path, frames_rate_hz=6)
        assert streamed.clip.video.is_still
        assert (streamed.clip.duration_s, streamed.clip.decoded_s) == (0, 0)
        assert (len(streamed.frames), streamed.frames[0].time_s, streamed.warnings) == (1, 0, ())
        if pix_fmt != "gray":
            assert corners(streamed.frames[0]) == ["red", "green", "blue", "white"]

    @pytest.mark.parametrize(("suffix", "codec", "pix_fmt"), [("gif", "gif", "rgb8"), ("apng", "apng", "rgb24")])
    def test_moving_images_are_videos(self, tmp_path, suffix, codec, pix_fmt):
        path = write_clip(tmp_path / f"a.{suffix}", 1, video_codec=codec, pix_fmt=pix_fmt, audio_codec=None)
        streamed = read(path)
        assert not streamed.clip.video.is_still
        assert len(streamed.frames) == 10
        assert streamed.clip.duration_s == pytest.approx(1, abs=0.15)

    def test_animated_webp_is_refused_with_the_way_out(self, tmp_path):
        pictures = [Image.fromarray(np.roll(quadrants((64, 48)), 4 * index, 1)) for index in range(3)]
        pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=100)
        assert "animated WebP" in refusal(tmp_path / "a.webp")

    @pytest.mark.parametrize(
        ("suffix", "codec", "sound"),
        [("webm", "libvpx", "libopus"), ("webm", "libvpx-vp9", "libopus"), ("avi", "mpeg4", "libmp3lame")],
    )
    def test_containers(self, tmp_path, suffix, codec, sound):
        streamed = read(write_clip(tmp_path / f"a.{suffix}", video_codec=codec, audio_codec=sound, audio_rate=48_000))
        assert len(streamed.frames) == pytest.approx(10, abs=1)
        assert len(streamed.samples) == pytest.approx(16_000, rel=0.15)

    def test_a_recording_of_a_browser_states_no_length(self, tmp_path):
        settings = {"video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48_000, "options": {"live": "1"}}
        streamed = read(write_clip(tmp_path / "a.webm", 2, **settings))
        assert streamed.clip.duration_s == pytest.approx(2, abs=0.1)
        assert len(streamed.frames) == 20


class TestSound:
    @pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 192_000])
    @pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
    def test_rates_and_layouts(self, tmp_path, rate, layout):
        streamed = read(write_sound(tmp_path / "a.wav", audio_rate=rate, layout=layout))
        assert len(streamed.samples) == pytest.approx(16_000, abs=40)
        assert np.abs(streamed.samples).max() == pytest.approx(0.5, abs=0.02)
        spectrum = np.abs(np.fft.rfft(streamed.samples[:16_000]))
        assert spectrum.argmax() == pytest.approx(440, abs=2)

    @pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".m4a"])
    def test_formats(self, tmp_path, suffix):
        streamed = read(write_sound(tmp_path / f"a{suffix}"))
        assert len(streamed.samples) == pytest.approx(16_000, rel=0.1)
        assert streamed.clip.video is None

    def test_other_rate_on_request(self, tmp_path):
        assert len(read(write_sound(tmp_path / "a.wav"), sound_rate_hz=8_000).samples) == pytest.approx(8_000, abs=5)

    @pytest.mark.parametrize("n_channels", [1, 2, 3, 7])
    def test_not_a_number_and_infinity_become_zero(self, tmp_path, n_channels):
        samples = np.full((16_000, n_channels), 0.25, np.float32)
        samples[4_000:5_000], samples[8_000], samples[9_000], samples[10_000] = np.nan, np.inf, -np.inf, 1e30
        streamed = read(write_wav(tmp_path / "a.wav", samples))
        assert np.isfinite(streamed.samples).all()
        assert np.abs(streamed.samples).max() <= 1
        assert (streamed.samples[4_100:4_900] == 0).all()
        assert len(streamed.samples) == pytest.approx(16_000, abs=40)

    def test_late_sound_keeps_its_place(self, tmp_path):
        path = write_clip(tmp_path / "a.mkv", 2, audio_codec="pcm_s16le", audio_start=0.75, audio_seconds=1)
        streamed = read(path)
        assert streamed.sounds[0].start_s == pytest.approx(0.75, abs=0.01)
        assert len(streamed.samples) == 16_000
        assert streamed.clip.decoded_s == pytest.approx(2, abs=0.1)

    @pytest.mark.parametrize("audio_seconds", [0.3, 3.0])
    def test_shorter_or_longer_than_the_picture(self, tmp_path, audio_seconds):
        streamed = read(write_clip(tmp_path / "a.mp4", 1, audio_seconds=audio_seconds))
        assert len(streamed.frames) == 10
        assert len(streamed.samples) / 16_000 == pytest.approx(audio_seconds, abs=0.1)
        assert streamed.clip.decoded_s == pytest.approx(max(1, audio_seconds), abs=0.1)
        assert streamed.warnings == ()

    def test_silence_is_zeros(self, tmp_path):
        assert not read(write_sound(tmp_path / "a.wav", sound=silence)).samples.any()

    def test_several_tracks(self, tmp_path):
        streamed = read(write_clip(tmp_path / "a.mkv", audio_tracks=2))
        assert streamed.warnings == ("2 sound tracks: number 1 is used",)
        assert len(streamed.samples) == pytest.approx(16_000, rel=0.1)

    def test_cover_art_is_no_video(self, tmp_path):
        streamed = read(write_cover_mp3(tmp_path / "a.mp3"))
        assert streamed.clip.video is None
        assert (streamed.warnings, streamed.frames) == ((), [])
        assert len(streamed.samples) == pytest.approx(16_000, rel=0.1)

    def test_channels_are_averaged_not_added(self, tmp_path):
        loud = read(write_sound(tmp_path / "a.wav", sound=tone(amplitude=0.9), layout="stereo"))
        assert np.abs(loud.samples).max() == pytest.approx(0.9, abs=0.02)


class TestTimeStamps:
    def test_variable_rate(self, tmp_path):
        times = [0, 0.04, 0.5, 0.55, 1.4, 1.45, 3.0]
        assert read(write_clip(tmp_path / "a.mkv", times=times, audio_codec=None)).times == pytest.approx(
            times, abs=0.002
        )

    def test_a_few_frames_far_apart(self, tmp_path):
        times = [0, 15, 30, 45]
        assert read(write_clip(tmp_path / "a.mkv", times=times, audio_codec=None)).times == pytest.approx(
            times, abs=0.002
        )

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_jump_ahead(self, tmp_path, suffix):
        path = write_clip(tmp_path / "base.ts", 2, rate=25, video_codec="mpeg2video", audio_codec=None)
        path = restamp(path, tmp_path / f"a{suffix}", lambda index, time: time + 1000 * (index > 24))
        streamed = read(path)
        assert len(streamed.times) == 50
        assert np.allclose(np.diff(streamed.times), 0.04, atol=0.002)
        assert streamed.clip.decoded_s < 3
        assert any("jump" in warning for warning in streamed.warnings)

    def test_two_recordings_in_one_file(self, tmp_path):
        pieces = [write_clip(tmp_path / f"{name}.ts", 2).read_bytes() for name in "ab"]
        path = tmp_path / "joined.ts"
        path.write_bytes(b"".join(pieces))
        streamed = read(path)
        assert streamed.clip.decoded_s == pytest.approx(4, abs=0.4)
        assert np.diff(streamed.times).min() > 0
        assert len(streamed.samples) / 16_000 == pytest.approx(4, abs=0.4)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_all_stamps_alike(self, tmp_path, suffix):
        path = write_clip(tmp_path / "base.ts", 2, rate=25, video_codec="mpeg2video", audio_codec=None)
        streamed = read(restamp(path, tmp_path / f"a{suffix}", lambda *_: 0.0), frames_rate_hz=6)
        assert streamed.clip.decoded_s == pytest.approx(2, abs=0.6)
        assert len(streamed.frames) >= 3

    stamps = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-5, 30))

    @given(st.lists(stamps, max_size=60), st.floats(0.001, 1))
    def test_clock_never_runs_back_nor_leaps(self, stamps, step_s):
        clock, last_s = Clock(), 0.0
        for stamp in stamps:
            time_s = clock.place(stamp, step_s)
            assert math.isfinite(time_s)
            assert last_s <= time_s <= last_s + 2 * max(30, 3 * step_s) + 60 * step_s
            last_s = time_s

    @given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
    def test_clock_keeps_good_stamps(self, pauses):
        clock = Clock()
        for stamp in np.cumsum(pauses):
            assert clock.place(float(stamp), 0.04) == float(stamp)

    @given(st.integers(1, 200), st.floats(0.01, 0.5))
    def test_clock_fills_missing_stamps(self, count, step_s):
        clock = Clock()
        times = [clock.place(None, step_s) for _ in range(count)]
        assert times == pytest.approx([index * step_s for index in range(count)])

    def test_clock_follows_the_other_stream_over_a_pause(self):
        clock = Clock()
        clock.place(0.0, 0.04)
        assert clock.place(100.0, 0.04, elsewhere_s=99.0) == 100.0
        assert clock.place(100.04, 0.04) == 100.04
        assert clock.jumps == 0

    @given(st.lists(st.floats(0, 3), max_size=50), st.floats(0.1, 50))
    def test_grid_takes_at_most_its_rate(self, pauses, rate_hz):
        times = np.cumsum(pauses)
        grid = Grid(rate_hz, 0.01)
        taken = [time for time in times if grid.take(float(time))]
        assert len(taken) == len({math.floor((time + min(0.01, 0.5 / rate_hz)) * rate_hz) for time in times})


class TestBadInput:
    def test_missing_file(self, tmp_path):
        text = refusal(tmp_path / "gone.mp4")
        assert text == f"{tmp_path / 'gone.mp4'}: no such file; check the spelling and the folder"

    def test_folder(self, tmp_path):
        assert "is a folder" in refusal(tmp_path)

    def test_empty_file(self, tmp_path):
        (tmp_path / "a.mp4").touch()
        assert "is empty (0 bytes)" in refusal(tmp_path / "a.mp4")
        assert "is empty (0 bytes)" in refusal(b"")

    @pytest.mark.parametrize(
        "content",
        [
            b"Dear diary, today nobody smiled.\n" * 50,
            b"PK\x03\x04" + bytes(500),
            b"%PDF-1.7\n" + b"1 0 obj << >> endobj\n" * 40,
            np.random.default_rng(0).integers(0, 256, 5_000, np.uint8).tobytes(),
            bytes(10_000),
            b"\n",
            b"1\n00:00:01,000 --> 00:00:02,000\nsubtitles\n\n" * 9,
            b"<html><body>404</body></html>",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        ],
        ids=["text", "zip", "pdf", "noise", "zeros", "newline", "subtitles", "html", "svg"],
    )
    @pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.jpg", "a"])
    def test_not_media(self, tmp_path, content, name):
        path = tmp_path / name
        path.write_bytes(content)
        assert refusal(path).startswith(str(path))

    def test_truncated_without_index(self, tmp_path):
        assert "index is missing" in refusal(truncate(write_clip(tmp_path / "a.mp4", 4), 0.6))

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_truncated_uses_what_decodes(self, tmp_path, suffix):
        path = truncate(write_clip(tmp_path / f"a{suffix}", 4, options={"movflags": "faststart"}), 0.4)
        streamed = read(path)
        assert 3 <= len(streamed.frames) < 30
        ends = [warning for warning in streamed.warnings if warning.startswith("ends after ")]
        assert len(ends) == 1
        assert ends[0].endswith(" s: truncated or damaged file")
        assert f"ends after {streamed.clip.decoded_s:.1f} s of 4." in ends[0]

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_video_stream_without_frames(self, tmp_path, suffix):
        path = write_clip(tmp_path / f"a{suffix}", 0, audio_codec=None)
        assert str(path) in refusal(path)

    def test_video_stream_without_frames_beside_sound(self, tmp_path):
        streamed = read(write_clip(tmp_path / "a.mkv", 0, audio_seconds=1))
        assert (len(streamed.frames), streamed.clip.video is not None) == (0, True)
        assert len(streamed.samples) == pytest.approx(16_000, rel=0.1)
        assert "the picture track holds nothing that can be decoded" in streamed.warnings

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
    @pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
    def test_damage_in_the_middle(self, tmp_path, suffix, codec):
        path = damage(write_clip(tmp_path / f"a{suffix}", 4, video_codec=codec), 0.4, 0.5)
        streamed = read(path)
        assert streamed.clip.damaged > 0
        assert any("damaged packet" in warning for warning in streamed.warnings)
        assert len(streamed.frames) > 10
        assert max(streamed.times) > 3 or any("ends after" in warning for warning in streamed.warnings)
        assert np.diff(streamed.times).min() > 0

    def test_says_how_much_is_missing_in_the_middle(self, tmp_path):
        streamed = read(damage(write_clip(tmp_path / "a.mkv", 12), 0.4, 0.5))
        assert any(warning.endswith(" s are missing in one place") for warning in streamed.warnings)

    def test_no_permission(self, tmp_path, monkeypatch):
        path = write_clip(tmp_path / "a.mp4")
        if os.geteuid() == 0:  # root may read everything: only the refusal can be simulated

            def refuse(*_: Any, **__: Any) -> None:
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(Path, "open", refuse)
        else:
            path.chmod(0)
        assert "may not be read; give yourself permission" in refusal(path)

    def test_unknown_codec(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", audio_codec=None)
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
        assert "codec" in refusal(path)

    def test_unknown_picture_codec_leaves_the_sound(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
        streamed = read(path)
        assert streamed.clip.video is None
        assert len(streamed.samples) > 15_000
        assert any("unknown codec of the video track" in warning for warning in streamed.warnings)

    @pytest.mark.parametrize(
        "name", ["a b.mp4", 'it\'s "so".mp4', "two\nlines\r\t.mp4", "été 笑顔.mp4", "-i.mp4", "%d.png", "a?b#c.mp4"]
    )
    def test_odd_names(self, tmp_path, name):
        path = write_clip(tmp_path / "plain.mp4").rename(tmp_path / name)
        streamed = read(path)
        assert len(streamed.frames) == 10
        assert "\n" not in streamed.clip.name
        path.write_bytes(b"no media")
        refusal(path)

    def test_name_that_is_no_text(self, tmp_path):
        path = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
        write_clip(tmp_path / "plain.mp4").rename(os.fsdecode(path))
        streamed = read(os.fsdecode(path))
        assert len(streamed.frames) == 10
        streamed.clip.name.encode("utf-8")
        assert "not a path" not in refusal(tmp_path / "nul\0.mp4")

    def test_pipes_and_devices_do_not_hang(self, tmp_path):
        fifo = tmp_path / "fifo.mp4"
        os.mkfifo(fifo)
        assert stat.S_ISFIFO(fifo.stat().st_mode)
        assert "is a pipe, socket or device" in refusal(fifo)
        assert "is a pipe, socket or device" in refusal("/dev/zero")

    def test_text_files_open_no_other_file(self, tmp_path):
        secret = write_clip(tmp_path / "secret.mp4")
        lists = {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
            "a.ffconcat": f"ffconcat version 1.0\nfile '{secret.name}'\n",
            "a.mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
            "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
            "a.pls": f"[playlist]\nFile1={secret}\n",
            "a.xbin": "XBIN\x1a" + "\0" * 90,
        }
        for name, text in lists.items():
            path = tmp_path / name
            path.write_text(text)
            assert str(path) in refusal(path)
            assert refusal(path.read_bytes()).startswith("<bytes>")

    @pytest.mark.parametrize(
        "name", ["concat:a.mp4|b.mp4", "http://127.0.0.1:9/a.mp4", "file:a.mp4", "pipe:0", "data:,x"]
    )
    def test_names_are_never_addresses(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        write_clip(tmp_path / "a.mp4")
        assert "no such file" in refusal(name)

    def test_a_file_named_like_an_address_is_a_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_clip(tmp_path / "a.mp4").rename(tmp_path / "concat:a|b.mp4")
        assert len(read("concat:a|b.mp4").frames) == 10

    @pytest.mark.parametrize("media", [42, None, ["a.mp4"], object()])
    def test_not_a_source(self, media):
        with pytest.raises(MediaError, match="expected a path, bytes or a binary file object"):
            open_clip(media)

    def test_file_opened_as_text(self, tmp_path):
        assert refusal(io.StringIO("a"))

    def test_file_object_that_fails(self, tmp_path):
        class Failing(io.BytesIO):
            def read(self, size: int = -1) -> bytes:
                raise ConnectionResetError("the line\nwent dead")

        assert "the line\\nwent dead" in refusal(Failing(b"x" * 100))

    def test_file_object_that_returns_too_much(self, tmp_path):
        class Generous(io.BytesIO):
            def read(self, size: int = -1) -> bytes:
                return super().read(size) + b"x" * 100_000

        assert len(Source(Generous(b"abc"), "a", owned=False).read(10)) == 10

    def test_closing_twice_and_leaving_early(self, tmp_path):
        clip = open_clip(write_clip(tmp_path / "a.mp4", 3))
        stream = clip.stream(longest_side_px=64, frames_rate_hz=5)
        next(stream)
        clip.close()
        clip.close()


class TestDamagedAtRandom:
    """Whatever the bytes, a clip is read or refused in a sentence; nothing crashes, hangs or grows."""

    @pytest.fixture(scope="class")
    @classmethod
    def originals(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("originals")
        fast = {"options": {"movflags": "faststart"}}
        paths = [
            write_clip(folder / "a.mp4", **fast),
            write_clip(folder / "b.mkv", video_codec="mpeg4", rotation=90),
            write_clip(folder / "c.avi", video_codec="mpeg4", audio_codec="libmp3lame"),
            write_clip(folder / "d.ts"),
            write_sound(folder / "e.wav", layout="stereo"),
            write_sound(folder / "f.mp3"),
            write_image(folder / "g.jpg", quadrants((64, 48)), codec="mjpeg", pix_fmt="yuvj420p"),
            write_clip(folder / "h.gif", video_codec="gif", pix_fmt="rgb8", audio_codec=None),
        ]
        return [path.read_bytes() for path in paths]

    def survive(self, data: bytes) -> None:
        try:
            streamed = read(data, frames_rate_hz=6, longest_side_px=64)
        except MediaError as error:
            assert "\n" not in str(error)
            return
        assert all(np.isfinite(sound.samples).all() for sound in streamed.sounds)
        assert all(frame.pixels.shape == streamed.frames[0].pixels.shape for frame in streamed.frames)
        assert streamed.times == sorted(streamed.times)
        assert len(streamed.samples) < 16_000 * 600
        assert all("\n" not in warning for warning in streamed.warnings)

    @given(which=st.integers(0, 7), share=st.floats(0, 1))
    @settings(max_examples=60)
    def test_truncated(self, originals, which, share):
        data = originals[which]
        self.survive(data[: int(len(data) * share)])

    @given(which=st.integers(0, 7), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12))
    @settings(max_examples=120)
    def test_flipped(self, originals, which, flips):
        data = bytearray(originals[which])
        for share, value in flips:
            data[int(share**3 * (len(data) - 1))] = value
        self.survive(bytes(data))


class TestFindMedia:
    def test_expands_folders_in_order(self, tmp_path):
        for name in ("b.mp4", "a.WAV", "note.txt", ".hidden.mp4", "sub/c.jpg", ".secret/d.mp4", "sub/deep/e.mkv"):
            path = tmp_path / "media" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        root = tmp_path / "media"
        expected = [root / "a.WAV", root / "b.mp4", root / "sub/c.jpg", root / "sub/deep/e.mkv"]
        assert find_media([root]) == expected
        assert find_media([root / "b.mp4", str(root)]) == [
            root / "b.mp4",
            *(path for path in expected if "b.mp4" not in str(path)),
        ]

    def test_keeps_named_files_whatever_they_are(self, tmp_path):
        assert find_media([tmp_path / "gone.xyz"]) == [tmp_path / "gone.xyz"]

    def test_duplicates_and_loops(self, tmp_path):
        (tmp_path / "a.mp4").touch()
        (tmp_path / "again.mp4").symlink_to(tmp_path / "a.mp4")
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
        found = find_media([tmp_path, tmp_path / "a.mp4", tmp_path / "loop"])
        assert found == [tmp_path / "a.mp4", tmp_path / "self.mp4"]

    def test_folder_without_media(self, tmp_path):
        (tmp_path / "note.txt").touch()
        with pytest.raises(MediaError, match="folder without media; expected files such as"):
            find_media([tmp_path])
