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

from moodreel.media.clock import Clock, Grid
from moodreel.media.container import DecodeError
from moodreel.media.streams import Kind

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

    kind: Kind = "picture"

    @property
    def jumps(self) -> int:
        """How often time stamps jumped."""
        return self._clock.jumps

    @property
    def time_s(self) -> float:
        """When the last frame decoded is shown, in seconds from the clip's start."""
        return self._clock.time_s

    def __init__(
        self,
        shown_px: tuple[int, int],
        source_rate_hz: float,
        longest_side_px: int,
        rate_hz: float,
        read_placement: Callable[[av.VideoFrame], Placement] = read_placement,
        begin_s: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            shown_px: width and height of the clip as shown.
            source_rate_hz: frames per second in the file; `inf` for a still image, of which only one frame is taken.
            longest_side_px: long side to scale down to.
            rate_hz: frames per second to sample.
            read_placement: tells how a frame is placed.
            begin_s: when the first frame is due, in seconds from the clip's start.
        """
        self.count = 0
        self.damaged = 0
        self.end_s = begin_s
        self.gap_s = 0.0
        self._read_placement = read_placement
        self._last_s = begin_s
        self._step_s = 1 / source_rate_hz
        self._scale = min(1.0, longest_side_px / max(*shown_px, 1))
        self._size = tuple(max(1, round(side * self._scale)) for side in shown_px)
        self._clock = Clock(begin_s)
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
