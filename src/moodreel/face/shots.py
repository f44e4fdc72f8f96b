"""Where one shot ends and the next begins: a face after a cut is nobody known until its looks say so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.face.detector import Pixels

_THUMB = (32, 18)
_BINS = 4
_LEAST_CHANGE = 0.08
_LEAST_JUMP = 0.25


class ShotDetector:
    """Notices cuts in a stream of pictures sampled some times per second.

    A cut changes both where things stand (the thumbnail) and which colours there are (its histogram); a moving head
    or camera changes the first alone, a flicker of light mostly the second.

    Attributes:
        first: thumbnail of the first picture; `None` before it.
        last: of the last one.
    """

    def __init__(self) -> None:
        """Start before the first picture."""
        self.first: npt.NDArray[np.float32] | None = None
        self.last: npt.NDArray[np.float32] | None = None

    @property
    def edges(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Thumbnails of the first and the last picture; none before there is one."""
        return () if self.first is None or self.last is None else (self.first, self.last)

    def is_cut(self, pixels: Pixels) -> bool:
        """Take the next picture and tell whether a new shot begins with it.

        Args:
            pixels: RGB uint8, shape (height, width, 3).

        Returns:
            True where the picture does not continue the one before; False for the first.
        """
        thumb, before = thumbnail(pixels), self.last
        self.last = thumb
        if before is None:
            self.first = thumb
            return False
        return is_other_shot(before, thumb)


def is_other_shot(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> bool:
    """Tell by their thumbnails whether a picture does not continue the one before."""
    change, jump = compare_thumbnails(before, after)
    return change > _LEAST_CHANGE and jump > _LEAST_JUMP


def thumbnail(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Shrink a picture to 32 x 18, whatever its shape: RGB float32 0-1, shape (18, 32, 3)."""
    step = max(1, min(pixels.shape[0] // 72, pixels.shape[1] // 128))
    small = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).resize(_THUMB, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def compare_thumbnails(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean change of a pixel, 0-1, and the part of the colour histogram that changed, 0-1."""
    change = float(np.mean(np.abs(after - before)))
    jump = 0.5 * float(np.sum(np.abs(_histogram(after) - _histogram(before))))
    return change, jump


def _histogram(thumb: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    cells = np.minimum((thumb * _BINS).astype(np.intp), _BINS - 1).reshape(-1, 3)
    index = (cells[:, 0] * _BINS + cells[:, 1]) * _BINS + cells[:, 2]
    return np.bincount(index, minlength=_BINS**3) / len(index)
