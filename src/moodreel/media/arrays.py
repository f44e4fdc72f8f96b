"""Frames and sound that are in memory already, in place of a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from moodreel.errors import MediaError
from moodreel.media.container import LARGEST_PICTURE_PX
from moodreel.media.opened import Decoded, Opened
from moodreel.media.sounds import SOUND_RATES_HZ
from moodreel.media.streams import Kind, SoundTrack, VideoTrack

_SLOWEST_HZ, _FASTEST_HZ = 1 / 60, 1000.0
_MOST_CHANNELS = 64
_LOUDEST = 10.0
"""Decoded sound may go a little over 1; what goes beyond this was meant as whole numbers."""
_BLOCK_SAMPLES = 1024

_IMAGES = "RGB pictures, uint8 of shape (height, width, 3)"
_SAMPLES = "int16, or floats of -1 to 1, of shape (samples,) or (samples, channels)"


@dataclass(frozen=True, eq=False)
class Arrays:
    """A clip of frames, of sound, or of both, for `Recognizer.predict` to read as it reads a file.

    One frame without sound is a still picture.

    Attributes:
        frames: RGB pictures of one size, uint8, shape (height, width, 3), values 0-255; any iterable of them, which is
            not held whole. OpenCV's are BGR: pass `frame[..., ::-1]`. `None` for no picture.
        frames_rate_hz: frames per second, evenly spaced.
        sound: samples from the same start, int16, or floats of -1 to 1, shape (n,) or (n, channels); `None` for none.
        sound_rate_hz: samples per second.

    Raises:
        MediaError: neither is there, one lacks its rate, or the sound is of another kind or shape.
    """

    frames: Iterable[NDArray[np.uint8]] | None = None
    frames_rate_hz: float | None = None
    sound: NDArray[Any] | None = None
    sound_rate_hz: int | None = None

    def __post_init__(self) -> None:
        if self.frames is None and self.sound is None:
            raise MediaError("Arrays: neither frames nor sound; expected at least one")
        if self.frames is not None:
            _check_rate("frames_rate_hz", self.frames_rate_hz, _SLOWEST_HZ, _FASTEST_HZ)
        if self.sound is not None:
            _check_rate("sound_rate_hz", self.sound_rate_hz, SOUND_RATES_HZ[0], SOUND_RATES_HZ[-1])
            _check_samples(np.asarray(self.sound))


class OpenedArrays(Opened):
    """Arrays, read as a file is."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        """Look at the first frame.

        Args:
            arrays: frames and sound.
            name: how messages call them.

        Raises:
            MediaError: the first frame is none, or there is neither frame nor sound.
        """
        self.name = name
        self.warnings = []
        self.declares_length = arrays.frames is None or isinstance(arrays.frames, Sized)
        self._arrays = arrays
        self._is_begun = False
        self._shape: tuple[int, ...] = ()
        self._ahead: Iterator[Any] = iter(())
        self.video = self._describe_frames()
        self.sound = self._describe_sound()
        self.has_picture, self.has_sound = self.video is not None, self.sound is not None
        if self.video is None and self.sound is None:
            raise MediaError(f"{name}: holds no frame; expected {_IMAGES}")
        self.duration_s = 0.0 if self.is_still else self._measure()

    def close(self) -> None:
        """Let go of the frames."""
        self._ahead = iter(())

    def begin(self, start_s: float, frames_rate_hz: float, wanted: frozenset[Kind]) -> tuple[float, float]:  # noqa: ARG002
        """Get ready to read from the start; as `Opened` says."""
        if self._is_begun and self._arrays.frames is not None:
            if iter(self._arrays.frames) is self._arrays.frames:
                raise MediaError(f"{self.name}: its frames can be read only once; pass them as a list")
            self._ahead = iter(self._arrays.frames)
        self._is_begun = True
        return 0.0, 0.0

    def decode(self, wanted: frozenset[Kind], reached_s: Callable[[], float]) -> Iterator[Decoded]:  # noqa: ARG002
        """Yield frames and blocks of sound, each as soon as its time has come."""
        frames = self._read_frames() if "picture" in wanted else iter(())
        sounds = self._read_sound() if "sound" in wanted else iter(())
        sound = next(sounds, None)
        for frame, time_s in frames:
            while sound is not None and sound[1] < time_s:
                yield sound
                sound = next(sounds, None)
            yield frame, time_s
        if sound is not None:
            yield from chain([sound], sounds)

    def _describe_frames(self) -> VideoTrack | None:
        if self._arrays.frames is None:
            return None
        given = iter(self._arrays.frames)
        first = list(islice(given, 2))
        self._ahead = chain(first, given)
        if not first:
            return None
        pixels = self._check_frame(0, first[0])
        self._shape = pixels.shape
        height_px, width_px = pixels.shape[:2]
        is_still = len(first) == 1 and self._arrays.sound is None
        return VideoTrack(width_px, height_px, self._frames_rate_hz, is_still, "rawvideo")

    def _describe_sound(self) -> SoundTrack | None:
        if self._arrays.sound is None:
            return None
        samples = self._samples
        return SoundTrack(
            self._sound_rate_hz, samples.shape[1], "pcm_s16le" if samples.dtype == np.int16 else "pcm_f32le"
        )

    def _measure(self) -> float:
        frames = self._arrays.frames
        seen_s = len(frames) / self._frames_rate_hz if isinstance(frames, Sized) else 0.0
        return max(seen_s, len(self._samples) / self._sound_rate_hz if self.sound is not None else 0.0)

    @property
    def _frames_rate_hz(self) -> float:
        return float(self._arrays.frames_rate_hz or 0.0)

    @property
    def _sound_rate_hz(self) -> int:
        return int(self._arrays.sound_rate_hz or 0)

    @property
    def _samples(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """The sound, shape (n_samples, n_channels)."""
        samples = np.asarray(self._arrays.sound)
        samples = samples if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)
        return samples[:, None] if samples.ndim == 1 else samples

    def _read_frames(self) -> Iterator[tuple[av.VideoFrame, float]]:
        rate_hz = self._frames_rate_hz
        for index, given in enumerate(self._ahead):
            pixels = np.ascontiguousarray(self._check_frame(index, given))
            yield av.VideoFrame.from_ndarray(cast(Any, pixels), format="rgb24"), index / rate_hz

    def _check_frame(self, index: int, given: Any) -> NDArray[np.uint8]:
        pixels = np.asarray(given)
        shown = f"{pixels.dtype} of shape {pixels.shape}"
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise MediaError(f"{self.name}: frame {index} is {shown}, expected {_IMAGES}; one picture goes into a list")
        if pixels.shape[0] * pixels.shape[1] > LARGEST_PICTURE_PX:
            raise MediaError(
                f"{self.name}: frame {index} is {shown}, too large, expected at most 8192x8192; scale it down"
            )
        if self._shape and pixels.shape != self._shape:
            raise MediaError(
                f"{self.name}: frame {index} is {shown}, the first of {self._shape}; expected one size for all"
            )
        return pixels

    def _read_sound(self) -> Iterator[tuple[av.AudioFrame, float]]:
        samples, rate_hz = self._samples, self._sound_rate_hz
        n_channels = samples.shape[1]
        for first in range(0, len(samples), _BLOCK_SAMPLES):
            block = np.ascontiguousarray(samples[first : first + _BLOCK_SAMPLES]).reshape(1, -1)
            kind = "s16" if samples.dtype == np.int16 else "flt"
            frame = av.AudioFrame.from_ndarray(cast(Any, block), format=kind, layout=f"{n_channels}c")
            frame.sample_rate = rate_hz
            yield frame, first / rate_hz


def _check_rate(name: str, rate_hz: float | None, least_hz: float, most_hz: float) -> None:
    if rate_hz is None or not least_hz <= rate_hz <= most_hz or not math.isfinite(rate_hz):
        raise MediaError(f"Arrays: {name} is {rate_hz}, expected {least_hz:.3g} to {most_hz:g} a second")


def _check_samples(samples: NDArray[Any]) -> None:
    shown = f"{samples.dtype} of shape {samples.shape}"
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        raise MediaError(f"Arrays: sound is {shown}, expected {_SAMPLES}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= _MOST_CHANNELS):
        raise MediaError(f"Arrays: sound is {shown}, expected {_SAMPLES}; channels first: pass sound.T")
    loudest = (
        float(np.abs(np.nan_to_num(samples, posinf=0.0, neginf=0.0)).max(initial=0.0))
        if samples.dtype.kind == "f"
        else 0
    )
    if loudest > _LOUDEST:
        raise MediaError(f"Arrays: sound goes up to {loudest:g}, expected {_SAMPLES}; divide it, or pass it as int16")
