"""Lips over time: the lower half of a followed face, cut out of each picture at a steady rate.

The cut is that of the network's origin: a square of 0.7 of the face's box, a fifth of the box below its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.face.alignment import cut_region
from moodreel.face.detector import Floats, Pixels

if TYPE_CHECKING:
    from moodreel.media.frames import Frame

LIPS_RATE_HZ = 25.0
"""Pictures of lips a second; of a clip with fewer frames a second some are repeated."""
LIPS_SIDE_PX = 112
"""Side of such a picture."""

_SIDE, _BELOW = 0.7, 0.2
_MOST_GAP_S = 0.5
_SMOOTHING = (0.25, 0.5, 0.25)

Lips = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FacePath:
    """Where one face stood over time.

    Attributes:
        times_s: rising, shape (n,).
        boxes_px: left, top, right, bottom in pixels of the source picture, shape (n, 4).
    """

    times_s: Floats
    boxes_px: Floats

    def at(self, time_s: float) -> Floats | None:
        """Return the box at an instant, interpolated; `None` where the face was not seen about then."""
        after = int(np.searchsorted(self.times_s, time_s))
        before = max(after - 1, 0)
        after = min(after, len(self.times_s) - 1)
        start_s, end_s = self.times_s[before], self.times_s[after]
        if end_s - start_s > _MOST_GAP_S or not start_s - _MOST_GAP_S / 2 <= time_s <= end_s + _MOST_GAP_S / 2:
            return None
        part = float(np.clip((time_s - start_s) / max(end_s - start_s, 1e-6), 0, 1))
        return np.asarray(self.boxes_px[before] + (self.boxes_px[after] - self.boxes_px[before]) * part)


def smooth_path(times_s: Floats, boxes_px: Floats) -> FacePath:
    """Return a face's path without the detector's jitter, which looks like a motion of the lips."""
    boxes = np.asarray(boxes_px, np.float64)
    if len(boxes) > 2:
        near = np.diff(times_s) <= _MOST_GAP_S
        whole = near[:-1] & near[1:]
        mixed = _SMOOTHING[0] * boxes[:-2] + _SMOOTHING[1] * boxes[1:-1] + _SMOOTHING[2] * boxes[2:]
        boxes = boxes.copy()
        boxes[1:-1][whole] = mixed[whole]
    return FacePath(np.asarray(times_s, np.float64), boxes)


def cut_lips(pixels: Pixels, box_px: Floats) -> Lips:
    """Cut out a face's lower half: grey uint8, shape (LIPS_SIDE_PX, LIPS_SIDE_PX).

    Args:
        pixels: RGB uint8, shape (height, width, 3).
        box_px: the face's box in it.
    """
    left, top, right, bottom = (float(edge) for edge in box_px)
    side = _SIDE * max(right - left, bottom - top, 2.0)
    x, y = (left + right) / 2, (top + bottom) / 2 + _BELOW * max(right - left, bottom - top)
    x0, y0 = int(np.floor(x - side / 2)), int(np.floor(y - side / 2))
    extent = int(np.ceil(side)) + 1
    region = Image.fromarray(cut_region(pixels, x0, y0, x0 + extent, y0 + extent)).convert("L")
    frame = (x - side / 2 - x0, y - side / 2 - y0, x + side / 2 - x0, y + side / 2 - y0)
    resized = region.resize((LIPS_SIDE_PX, LIPS_SIDE_PX), Image.Resampling.BILINEAR, box=frame)
    return np.asarray(resized, np.uint8)


@dataclass
class LipsCutter:
    """Cuts the lips of several faces out of a stream of frames, one picture for each slot of the steady rate.

    Attributes:
        paths: where the faces stood, by number.
        is_wanted: tells of a start and an end in seconds whether lips in between are wanted.
    """

    paths: Sequence[FacePath]
    is_wanted: Callable[[float, float], bool] = lambda *_: True
    _last: Frame | None = field(default=None, init=False)
    _slot: int = field(default=0, init=False)

    def cut(self, frames: Iterable[Frame]) -> Iterator[tuple[int, int, Lips]]:
        """Yield number of the slot, number of the face, and its lips, slots rising."""
        for frame in frames:
            yield from self._fill(frame.time_s)
            self._last = frame
        if self._last is not None:
            yield from self._fill(self._last.time_s + 1 / LIPS_RATE_HZ)

    def _fill(self, until_s: float) -> Iterator[tuple[int, int, Lips]]:
        """Hand out the last frame for all slots up to the next one's, each face cut once."""
        if self._last is None:
            self._slot = int(np.ceil((until_s - _HALF_SLOT_S) * LIPS_RATE_HZ))
            return
        cuts: dict[int, Lips] = {}
        if not self.is_wanted(self._slot / LIPS_RATE_HZ, until_s):
            self._slot = max(self._slot, int(np.ceil((until_s - _HALF_SLOT_S) * LIPS_RATE_HZ)))
            return
        while self._slot / LIPS_RATE_HZ + _HALF_SLOT_S < until_s:
            for number, path in enumerate(self.paths):
                box_px = path.at(self._last.time_s)
                if box_px is not None:
                    if number not in cuts:
                        cuts[number] = cut_lips(self._last.pixels, box_px * self._last.scale)
                    yield self._slot, number, cuts[number]
            self._slot += 1


_HALF_SLOT_S = 0.5 / LIPS_RATE_HZ
