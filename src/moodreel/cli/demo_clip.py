"""A clip made at run time, since no foreign media ships with moodreel: a slow pan over a portrait, and a made-up voice.

The portrait is NASA's of astronaut Eileen Collins (public domain), which the scikit-image package carries. The voice is
a source-filter synthesis: a glottal pulse train through vowel formants (Fant 1960, "Acoustic Theory of Speech
Production"; formant values of Peterson & Barney 1952).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.storage.whole_files import whole_file

if TYPE_CHECKING:
    import av.container

SECONDS = 4
RATE_HZ = 16_000
FRAMES_HZ = 25
WIDTH_PX, HEIGHT_PX = 640, 480

VOWEL_FORMANTS_HZ = {"a": (850, 1220, 2810), "e": (610, 2330, 2990), "i": (310, 2790, 3310), "o": (590, 920, 2710)}
FORMANT_WIDTHS_HZ = (90, 110, 170)
SYLLABLES = "aeoiaeaio"
FloatArray = npt.NDArray[np.float64]


def write_demo_clip(path: Path) -> Path:
    """Write the demo clip, 4 s of 640x480 h264 and aac.

    Args:
        path: an `.mp4` file; its folder is made.

    Returns:
        The path.

    Raises:
        OutputError: the place cannot be written.
    """
    import av

    with whole_file(path) as temporary, av.open(str(temporary), "w") as container:
        video = container.add_stream("libx264", rate=FRAMES_HZ, options={"crf": "20"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for picture in pan_portrait(SECONDS * FRAMES_HZ, (WIDTH_PX, HEIGHT_PX)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        _mux_sound(container, sound, synthesise_voice())
    return path


def synthesise_voice() -> npt.NDArray[np.float32]:
    """Synthesise lively syllables: pitch high and moving, as of somebody glad.

    Returns:
        Mono float32 at 16 kHz, shape (64000,), -1 to 1.
    """
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    pitch_hz = 220 + 50 * np.sin(2 * np.pi * 0.9 * time_s) + 18 * np.sin(2 * np.pi * 2.6 * time_s)
    pulses = np.diff(np.floor(np.cumsum(pitch_hz) / RATE_HZ), prepend=0.0)
    length = len(time_s) // len(SYLLABLES)
    parts = [_speak(pulses[i * length : (i + 1) * length], vowel) for i, vowel in enumerate(SYLLABLES)]
    voice = np.concatenate([*parts, np.zeros(len(time_s) - length * len(SYLLABLES))])
    breath = np.random.default_rng(0).normal(0, 0.002, len(voice))
    return np.asarray(0.5 * voice / np.abs(voice).max() + breath, dtype=np.float32)


def _speak(pulses: FloatArray, vowel: str) -> FloatArray:
    """Filter glottal pulses through a vowel's resonances, in the frequency domain, and shape the syllable."""
    bins_hz = np.fft.rfftfreq(2 * len(pulses), 1 / RATE_HZ)
    response = np.ones(len(bins_hz), dtype=complex) / (1 + (bins_hz / 300) ** 2)  # the glottis: -12 dB an octave
    for centre_hz, width_hz in zip(VOWEL_FORMANTS_HZ[vowel], FORMANT_WIDTHS_HZ, strict=True):
        response *= centre_hz**2 / (centre_hz**2 - bins_hz**2 + 1j * bins_hz * width_hz)
    voiced = np.fft.irfft(np.fft.rfft(pulses, 2 * len(pulses)) * response)[: len(pulses)]
    envelope = np.sin(np.pi * np.linspace(0, 1, len(pulses))) ** 0.6
    return np.asarray(voiced * envelope / (np.abs(voiced).max() + 1e-9))


def pan_portrait(n_frames: int, size_px: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Move a window slowly over the portrait; the face stays inside.

    Args:
        n_frames: number of pictures.
        size_px: width and height of the window, of any shape.

    Yields:
        RGB uint8, shape (height, width, 3).
    """
    width_px, height_px = size_px
    portrait = _read_portrait(scale=max(width_px / 640, height_px / 480))
    for index in range(n_frames):
        across = (0.5 - 0.5 * np.cos(2 * np.pi * index / n_frames)) * 0.7
        left = round(across * (portrait.shape[1] - width_px))
        top = round(portrait.shape[0] * 0.02 * np.sin(np.pi * index / n_frames))
        yield np.ascontiguousarray(portrait[top : top + height_px, left : left + width_px])


def _read_portrait(scale: float) -> npt.NDArray[np.uint8]:
    """Read the portrait; at scale 1 it has 832 x 832 pixels and the face is 170 pixels wide."""
    from PIL import Image

    side_px = round(832 * scale)
    with resources.as_file(resources.files("skimage") / "data" / "astronaut.png") as path, Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side_px, side_px), Image.Resampling.LANCZOS))


def _mux_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, samples: npt.NDArray[np.float32]
) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = RATE_HZ, 0
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)
