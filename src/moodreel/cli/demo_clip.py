"""A clip made at run time, since no foreign media ships with moodreel: a slow pan over a portrait, and a made-up voice.

The portrait is NASA's of astronaut Eileen Collins (public domain), which the scikit-image package carries. The voice is
a source-filter synthesis: a glottal pulse train through vowel formants (Fant 1960, "Acoustic Theory of Speech
Production"; formant values of Peterson & Barney 1952).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.errors import MoodreelError
from moodreel.storage.whole_files import whole_file

if TYPE_CHECKING:
    import av.container

SECONDS = 4
RATE_HZ = 16_000
FRAMES_HZ = 25
WIDTH_PX, HEIGHT_PX = 640, 480

VOWEL_FORMANTS_HZ = {"a": (850, 1220, 2810), "e": (610, 2330, 2990), "i": (310, 2790, 3310), "o": (590, 920, 2710)}
FORMANT_WIDTHS_HZ = (90, 110, 170)
SYLLABLES_HZ = 5
SYLLABLES = "aeoiaeaioeaoieaoieao"
CONSONANT_SHARE = 0.35
"""Part of a syllable before its vowel; vowels alone are a wail."""
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
    """Synthesise lively syllables: pitch high and moving, consonants between vowels.

    Returns:
        Mono float32 at 16 kHz, shape (64000,), -1 to 1.
    """
    rng = np.random.default_rng(0)
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    pitch_hz = (260 + 80 * np.sin(2 * np.pi * 1.6 * time_s) + 8 * np.sin(2 * np.pi * 2.3 * time_s)) * (
        1 - 0.03 * time_s
    )
    pulses = np.diff(np.floor(np.cumsum(pitch_hz) / RATE_HZ), prepend=0.0)
    length = RATE_HZ // SYLLABLES_HZ
    parts = [
        _speak(pulses[place * length :][:length], SYLLABLES[place : place + 2], place, rng)
        for place in range(len(SYLLABLES) - 1)
    ]
    voice = np.concatenate([*parts, np.zeros(len(time_s) - length * len(parts))])
    voice += rng.normal(0, 0.004, len(voice))  # breath
    return np.asarray(0.9 * voice / np.abs(voice).max(), dtype=np.float32)


def _speak(pulses: FloatArray, vowels: str, place: int, rng: np.random.Generator) -> FloatArray:
    """Speak a syllable: a consonant, and a vowel that moves half of the way to the next."""
    first, then = (_voice(pulses, vowel) for vowel in (vowels[0], vowels[-1]))
    moved = 0.5 * np.linspace(0, 1, len(pulses))
    syllable = (1 - moved) * first + moved * then
    n_before = int(CONSONANT_SHARE * len(pulses))
    syllable[:n_before] = _make_consonant(n_before, place, rng)
    return syllable


def _make_consonant(n_samples: int, place: int, rng: np.random.Generator) -> FloatArray:
    """A hiss, a stop that bursts, or a breath, in turns."""
    noise = rng.normal(size=n_samples)
    if place % 3 == 0:
        return np.asarray(0.25 * np.diff(noise, prepend=0.0) * np.hanning(n_samples))
    if place % 3 == 1:
        n_burst = n_samples // 4
        return np.concatenate([np.zeros(n_samples - n_burst), 0.35 * noise[:n_burst] * np.linspace(1, 0, n_burst)])
    return np.asarray(0.15 * np.convolve(noise, np.ones(4) / 4, "same") * np.hanning(n_samples))


def _voice(pulses: FloatArray, vowel: str) -> FloatArray:
    """Filter glottal pulses through a vowel's resonances, in the frequency domain, and let the vowel swell and fall."""
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
    with Image.open(_find_portrait()) as image:
        return np.asarray(image.convert("RGB").resize((side_px, side_px), Image.Resampling.LANCZOS))


def _find_portrait() -> Path:
    """Find the portrait in the installed scikit-image package, which is not imported: its own packages are not needed.

    Raises:
        MoodreelError: it is not there; says how to get it.
    """
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "astronaut.png"
        if path.is_file():
            return path
    raise MoodreelError(
        "the demo's portrait is missing; try moodreel predict CLIP, or get it: pip install --no-deps scikit-image"
    )


def _mux_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, samples: npt.NDArray[np.float32]
) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = RATE_HZ, 0
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)
