"""From what the decoder yields to what moodreel analyses: sampled upright RGB frames, gapless mono sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from moodreel.container import DecodeError
from moodreel.timestamps import Clock, Grid

Placement = tuple[int, int, int, int]
"""Signs (a, b, c, d) that place a picture upright: shown x = a·x + c·y, shown y = b·x + d·y."""

UPRIGHT: Placement = (1, 0, 0, 1)

NAMING_CODECS = frozenset({"png", "apng"})
"""Codecs that name a colour profile in a frame's side data: PyAV frees that name twice, and the process dies."""

_TURNS: tuple[Placement, ...] = (
    UPRIGHT,
    (0, -1, 1, 0),
    (-1, 0, 0, -1),
    (0, 1, -1, 0),
)  # by quarters, counter-clockwise

_SOUND_RATES_HZ = range(1000, 768_001)
_SHORTEST_PAUSE_S = 0.1


@dataclass(frozen=True)
class Frame:
    """One picture of a clip.

    Attributes:
        time_s: seconds from the clip's start; rises from frame to frame.
        pixels: upright RGB uint8, shape (height, width, 3), values 0-255; the same shape all through a clip.
        scale: analysis pixels per pixel of the shown picture, above 0, at most 1.
    """

    time_s: float
    pixels: NDArray[np.uint8]
    scale: float


@dataclass(frozen=True)
class Sound:
    """A block of sound; each block follows its predecessor without a gap (pauses of the file are filled with zeros).

    Attributes:
        start_s: seconds from the clip's start to the first sample; the first block of a clip may start late.
        samples: mono float32 at the rate asked for, values -1 to 1, at most one second.
    """

    start_s: float
    samples: NDArray[np.float32]


def read_turn(frame: av.VideoFrame) -> Placement:
    """Return how the frame is turned, by quarters; mirroring stays unseen."""
    return _TURNS[round(frame.rotation / 90) % 4]


def read_placement(frame: av.VideoFrame) -> Placement:
    """Return how the frame's display matrix (rotation by quarter turns, mirroring) places it.

    Not for frames of `NAMING_CODECS`.
    """
    try:
        # Not `frame.side_data`: it makes a circle of references, and hundreds of frames await the garbage collector.
        data = cast(Any, SideDataContainer)(frame).get("DISPLAYMATRIX")
    except ValueError:  # PyAV lists no side data at all beside a kind it does not know, such as EXIF
        return read_turn(frame)
    if data is None:
        return UPRIGHT
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)
    return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)


def shown_size(width_px: int, height_px: int, aspect: float, placement: Placement) -> tuple[int, int]:
    """Return width and height of a picture as shown.

    Args:
        width_px: stored width.
        height_px: stored height.
        aspect: width of one stored pixel over its height; the longer side of a pixel is stretched, none is lost.
        placement: how it is turned.
    """
    wide = max(1, round(width_px * aspect)) if aspect >= 1 else width_px
    high = max(1, round(height_px / aspect)) if aspect < 1 else height_px
    return (wide, high) if placement[0] else (high, wide)


def turn_upright(pixels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the pixels, shape (height, width, 3), turned and mirrored as `placement` says."""
    a, b, c, d = placement
    turned = pixels if a else pixels.swapaxes(0, 1)
    return np.ascontiguousarray(turned[:: b + d, :: a + c])


class FrameSampler:
    """Samples, scales and turns upright what the video decoder yields.

    Attributes:
        kind: what this is, in messages.
        count: frames yielded so far.
        damaged: frames that could not be converted.
        end_s: end of the last frame decoded, sampled or not, in seconds; 0 for a still image.
        gap_s: longest time between two sampled frames so far, in seconds.
    """

    kind = "picture"

    @property
    def jumps(self) -> int:
        """How often time stamps jumped."""
        return self._clock.jumps

    def __init__(
        self,
        shown_px: tuple[int, int],
        source_rate_hz: float,
        longest_side_px: int,
        rate_hz: float,
        read_placement: Callable[[av.VideoFrame], Placement] = read_placement,
    ) -> None:
        """Prepare.

        Args:
            shown_px: width and height of the clip as shown.
            source_rate_hz: frames a second in the file; `inf` for a still image, of which only one frame is taken.
            longest_side_px: long side to scale down to.
            rate_hz: frames a second to sample.
            read_placement: tells how a frame is placed.
        """
        self.count = 0
        self.damaged = 0
        self.end_s = 0.0
        self.gap_s = 0.0
        self._read_placement = read_placement
        self._last_s = 0.0
        self._step_s = 1 / source_rate_hz
        self._scale = min(1.0, longest_side_px / max(*shown_px, 1))
        self._size = tuple(max(1, round(side * self._scale)) for side in shown_px)
        self._clock = Clock()
        self._grid = Grid(rate_hz, self._step_s / 2)
        self._scaler = VideoReformatter()

    def read(self, decoded: av.VideoFrame, stamp_s: float | None, elsewhere_s: float) -> Iterator[Frame]:
        """Yield the frame if it is one of those to sample.

        Args:
            decoded: the decoder's frame.
            stamp_s: its time in the file, in seconds from the clip's start.
            elsewhere_s: time the sound has reached, in seconds.
        """
        if not self._step_s:
            yield from self._read_still(decoded)
            return
        time_s = self._clock.place(stamp_s, self._step_s, elsewhere_s)
        self.end_s = time_s + self._step_s
        if self._grid.take(time_s):
            self.gap_s, self._last_s = max(self.gap_s, time_s - self._last_s), time_s
            yield from self._convert(decoded, time_s)

    def _read_still(self, decoded: av.VideoFrame) -> Iterator[Frame]:
        if not self.count:
            yield from self._convert(decoded, 0.0)

    def _convert(self, decoded: av.VideoFrame, time_s: float) -> Iterator[Frame]:
        placement = self._read_placement(decoded)
        width, height = self._size if placement[0] else self._size[::-1]
        try:
            scaled = self._scaler.reformat(decoded, width, height, "rgb24", interpolation="AREA", threads=1)
        except DecodeError:
            self.damaged += 1
            return
        self.count += 1
        yield Frame(time_s, turn_upright(cast(NDArray[np.uint8], scaled.to_ndarray()), placement), self._scale)


class SoundSampler:
    """Resamples what the sound decoder yields to gapless mono blocks.

    Attributes:
        kind: what this is, in messages.
        count: samples yielded or held so far.
        damaged: decoded frames that could not be resampled.
        end_s: end of the last sample, in seconds.
        gap_s: longest pause filled with zeros so far, in seconds.
    """

    kind = "sound"

    @property
    def jumps(self) -> int:
        """How often time stamps jumped."""
        return self._clock.jumps

    def __init__(self, rate_hz: int) -> None:
        self.count = 0
        self.damaged = 0
        self.end_s = 0.0
        self.gap_s = 0.0
        self._rate_hz = rate_hz
        self._started = False
        self._start_s = 0.0
        self._clock = Clock()
        self._resampler: av.AudioResampler | None = None
        self._resamples: tuple[str, str, int] | None = None
        self._held: list[NDArray[np.float32]] = []
        self._n_held = 0

    def read(self, decoded: av.AudioFrame, stamp_s: float | None, elsewhere_s: float) -> Iterator[Sound]:
        """Yield the blocks that one decoded frame completes.

        Args:
            decoded: the decoder's frame.
            stamp_s: its time in the file, in seconds from the clip's start.
            elsewhere_s: time the picture has reached, in seconds.
        """
        if decoded.sample_rate not in _SOUND_RATES_HZ or not decoded.samples:
            self.damaged += 1
            return
        time_s = self._clock.place(stamp_s, decoded.samples / decoded.sample_rate, elsewhere_s)
        if not self._started:
            self._started, self._start_s, self.end_s = True, time_s, time_s
        yield from self._fill_until(time_s)
        for samples in self._resample(decoded):
            yield from self._add(samples)

    def flush(self) -> Iterator[Sound]:
        """Yield what is left at the end of the file."""
        for samples in self._drain():
            yield from self._add(samples)
        if self._n_held:
            yield self._take(self._n_held)

    def _fill_until(self, time_s: float) -> Iterator[Sound]:
        pause_s = time_s - self.end_s
        self.gap_s = max(self.gap_s, pause_s)
        n_missing = round(pause_s * self._rate_hz) if pause_s > _SHORTEST_PAUSE_S else 0
        while n_missing > 0:
            n_block = min(n_missing, self._rate_hz)
            yield from self._add(np.zeros(n_block, np.float32))
            n_missing -= n_block

    def _resample(self, decoded: av.AudioFrame) -> list[NDArray[np.float32]]:
        resamples = (decoded.format.name, decoded.layout.name, decoded.sample_rate)
        before = self._drain() if resamples != self._resamples else []
        if self._resampler is None:
            self._resamples = resamples
            # Without this, channels added up in floating point come out louder than full scale.
            self._resampler = av.AudioResampler("flt", "mono", self._rate_hz, options={"rematrix_maxval": "1.0"})
        decoded.pts = None  # the clock has read it; the resampler must not act on it
        try:
            return before + [_clean(frame) for frame in self._resampler.resample(decoded)]
        except DecodeError:
            self.damaged += 1
            self._resampler = None
            return before

    def _drain(self) -> list[NDArray[np.float32]]:
        resampler, self._resampler = self._resampler, None
        try:
            return [] if resampler is None else [_clean(frame) for frame in resampler.resample(None) if frame]
        except DecodeError:
            return []

    def _add(self, samples: NDArray[np.float32]) -> Iterator[Sound]:
        self._held.append(samples)
        self._n_held += len(samples)
        self.count += len(samples)
        self.end_s = self._start_s + self.count / self._rate_hz
        while self._n_held >= self._rate_hz:
            yield self._take(self._rate_hz)

    def _take(self, size: int) -> Sound:
        joined = np.concatenate(self._held)
        start_s = self._start_s + (self.count - self._n_held) / self._rate_hz
        self._held, self._n_held = [joined[size:]], len(joined) - size
        return Sound(start_s, joined[:size])


def _clean(frame: av.AudioFrame) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = frame.to_ndarray().reshape(-1).astype(np.float32)
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(samples, np.float32(-1), np.float32(1))
