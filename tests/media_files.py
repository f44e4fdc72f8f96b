"""Media for tests, written with PyAV: every kind of clip, whole and broken. Nothing is read from outside."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
CLOCK = 1000
_QUICK = {
    "libx264": {"preset": "ultrafast", "threads": "1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libvpx": {"cpu-used": "8", "deadline": "realtime"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"},
    "libsvtav1": {"preset": "12"},
}


def moving_bar(size: tuple[int, int]) -> Callable[[int], Pixels]:
    """Return frames of `size` (width, height) with a bright bar that moves right by the frame number."""
    width, height = size
    ramp = np.linspace(40, 200, width, dtype=np.uint8)

    def draw(index: int) -> Pixels:
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[...] = ramp[None, :, None]
        pixels[:, (index * 2) % width :][:, :4] = 255
        return pixels

    return draw


def quadrants(size: tuple[int, int]) -> Pixels:
    """Return a picture whose corners tell how it is turned: red left top, green right top, blue left bottom, white."""
    width, height = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    return pixels


def tone(rate_hz: float = 440.0, amplitude: float = 0.5) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a sine as a function of time in seconds."""
    return lambda time_s: amplitude * np.sin(2 * np.pi * rate_hz * time_s)


def syllables(pitch_hz: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what sounds like speech of a pitch: syllables of a gliding tone with harmonics, six a second."""

    def sound(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        phase = 2 * np.pi * (pitch_hz * time_s + 20 * np.sin(5 * time_s))
        return 0.3 * (np.sin(phase) + 0.5 * np.sin(3 * phase)) * (np.sin(2 * np.pi * 3 * time_s) ** 2)

    return sound


def silence(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.zeros_like(time_s)


def write_clip(
    path: Path | io.BytesIO,
    seconds: float = 1.0,
    *,
    size: tuple[int, int] = (64, 48),
    rate: float = 10,
    video_codec: str | None = "libx264",
    pix_fmt: str = "yuv420p",
    frames: Callable[[int], Pixels] | None = None,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    flip: bool = False,
    aspect: Fraction | None = None,
    audio_codec: str | None = "aac",
    audio_rate: int = 16_000,
    layout: str = "mono",
    audio_seconds: float | None = None,
    audio_start: float = 0.0,
    audio_lag: float = 0.0,
    sound: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    audio_tracks: int = 1,
    format: str | None = None,
    options: dict[str, str] | None = None,
    video_options: dict[str, str] | None = None,
) -> Path | io.BytesIO:
    """Write a clip, by default one second of a moving bar and a tone as MP4.

    Args:
        path: where to; the suffix names the container unless `format` does.
        seconds: length of the picture.
        size: width and height.
        rate: frames per second.
        video_codec: encoder, `None` for no picture.
        pix_fmt: pixel format handed to the encoder.
        frames: RGB of each frame by its number; default `moving_bar`.
        times: seconds of each frame instead of an even rate.
        rotation: degrees counter-clockwise in the display matrix.
        flip: whether the display matrix mirrors.
        aspect: sample aspect ratio.
        audio_codec: encoder, `None` for no sound.
        audio_rate: samples per second.
        layout: channel layout.
        audio_seconds: length of the sound; default the picture's.
        audio_start: seconds by which the sound starts late.
        audio_lag: seconds by which the sound lies later in the file than the picture of the same time.
        sound: samples by time in seconds, shape (n,), or (n_channels, n) where channels differ; default `tone()`.
        audio_tracks: how many sound tracks, all alike.
        format: container format.
        options: container options.
        video_options: encoder options.
    """
    lag = {"max_interleave_delta": "1"} if audio_lag else {}  # else the muxer interleaves anew
    container = av.open(
        path if isinstance(path, io.BytesIO) else str(path), "w", format=format, options=(options or {}) | lag
    )
    picture = None
    if video_codec is not None:
        settings = video_options or _QUICK.get(video_codec, {})
        picture = container.add_stream(video_codec, rate=Fraction(rate).limit_denominator(1001), options=settings)
        picture.width, picture.height = size
        picture.pix_fmt = pix_fmt
        if times is not None:
            picture.codec_context.time_base = Fraction(1, CLOCK)
        if aspect is not None:
            picture.codec_context.sample_aspect_ratio = aspect
        if rotation or flip:
            picture.set_display_rotation(rotation, hflip=flip)
    tracks = [_add_sound(container, audio_codec, audio_rate, layout) for _ in range(audio_tracks) if audio_codec]
    draw = frames or moving_bar(size)
    length = seconds if audio_seconds is None else audio_seconds
    packets: list[tuple[float, int, Any]] = []
    if picture is not None:
        stamps = list(times) if times is not None else [index / rate for index in range(round(seconds * rate))]
        packets += _encode_picture(picture, stamps, draw, exact=times is not None)
    for track in tracks:
        encoded = _encode_sound(track, length, audio_start, sound or tone())
        packets += [(time_s + audio_lag, order, packet) for time_s, order, packet in encoded]
    for _, _, packet in sorted(packets, key=lambda item: item[:2]):
        container.mux(packet)
    container.close()
    return path


def _encode_picture(
    stream: Any, stamps: Iterable[float], draw: Callable[[int], Pixels], *, exact: bool
) -> list[tuple[float, int, Any]]:
    packets = []
    for index, stamp in enumerate(stamps):
        frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
        if exact:
            frame.pts, frame.time_base = round(stamp * CLOCK), Fraction(1, CLOCK)
        else:
            frame.pts, frame.time_base = index, 1 / Fraction(stream.codec_context.framerate)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return [_keyed(packet, order) for order, packet in enumerate(packets)]


def _add_sound(container: Any, codec: str, rate: int, layout: str) -> Any:
    stream = container.add_stream(codec, rate=rate)
    stream.layout = layout
    return stream


def _encode_sound(
    stream: Any, seconds: float, start: float, sound: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[tuple[float, int, Any]]:
    context = stream.codec_context
    rate, n_channels = context.sample_rate, context.layout.nb_channels
    total, size, packets = round(seconds * rate), 1024, []
    resampler = av.AudioResampler(context.format.name, context.layout.name, rate)
    for first in range(0, total, size):
        time_s = np.arange(first, min(first + size, total)) / rate
        samples = np.ascontiguousarray(np.broadcast_to(sound(time_s).astype(np.float32), (n_channels, len(time_s))))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=context.layout.name)
        frame.sample_rate = rate
        frame.pts, frame.time_base = first + round(start * rate), Fraction(1, rate)
        for ready in resampler.resample(frame):
            packets += stream.encode(ready)
    packets += stream.encode(None)
    return [_keyed(packet, order) for order, packet in enumerate(packets)]


def _keyed(packet: Any, order: int) -> tuple[float, int, Any]:
    time = packet.dts if packet.dts is not None else packet.pts
    return (float((time or 0) * packet.time_base), packet.stream_index * 1_000_000 + order, packet)


def write_sound(path: Path, seconds: float = 1.0, **settings: Any) -> Path | io.BytesIO:
    """Write a file of sound alone; the codec follows the suffix unless `audio_codec` names it."""
    codecs = {".wav": "pcm_s16le", ".mp3": "libmp3lame", ".flac": "flac", ".ogg": "libopus", ".m4a": "aac"}
    if "audio_codec" not in settings:
        settings["audio_codec"] = codecs[path.suffix]
    if settings["audio_codec"] == "libopus":
        settings.setdefault("audio_rate", 48_000)
    return write_clip(path, seconds, video_codec=None, **settings)


def write_wav(path: Path, samples: NDArray[np.float32], rate_hz: int = 16_000) -> Path:
    """Write float32 samples, shape (n_samples, n_channels), as they are: NaN and infinity too."""
    data = samples.astype("<f4").tobytes()
    n_channels = samples.shape[1]
    head = struct.pack("<HHIIHH", 3, n_channels, rate_hz, rate_hz * n_channels * 4, n_channels * 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def write_image(path: Path, pixels: Pixels, *, codec: str, pix_fmt: str) -> Path:
    """Write one picture: `png`, `mjpeg` (.jpg), `libwebp`, `gif`, `bmp`, …."""
    if codec == "gif":
        size = (pixels.shape[1], pixels.shape[0])
        write_clip(
            path, 1, rate=1, size=size, video_codec="gif", pix_fmt=pix_fmt, frames=lambda _: pixels, audio_codec=None
        )
        return path
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = pix_fmt, Fraction(1, 25)
    if codec == "mjpeg":
        encoder.color_range = 2
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.shape[-1] == 3 else "rgba")
    frame.pts = 0
    packets = [*encoder.encode(frame.reformat(format=pix_fmt)), *encoder.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def write_cover_mp3(path: Path) -> Path:
    """Write an MP3 that carries a cover picture in its ID3 tag."""
    cover = write_image(path.with_suffix(".png"), quadrants((32, 32)), codec="png", pix_fmt="rgb24").read_bytes()
    write_sound(path)
    content = b"\0image/png\0\x03\0" + cover
    frame = b"APIC" + struct.pack(">I", len(content)) + b"\0\0" + content
    size = len(frame)
    coded = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + coded + frame + path.read_bytes())
    return path


def truncate(path: Path, share: float) -> Path:
    """Keep only the first `share` (0-1) of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damage(path: Path, start: float = 0.4, end: float = 0.6, seed: int = 0) -> Path:
    """Overwrite the bytes from `start` to `end` (shares of the file) with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = np.random.default_rng(seed).integers(0, 256, last - first, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def restamp(source: Path, target: Path, stamp: Callable[[int, float], float | None]) -> Path:
    """Copy the video packets of a clip with other time stamps: seconds by number and old seconds, `None` for none."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for index, packet in enumerate(packet for packet in old.demux(stream) if packet.size):
            time = stamp(index, float((packet.pts or 0) * packet.time_base))
            ticks = None if time is None else round(time / packet.time_base)
            packet.pts = packet.dts = ticks
            packet.stream = copy
            new.mux(packet)
    return target
