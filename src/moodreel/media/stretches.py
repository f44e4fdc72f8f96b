"""A stretch of a clip, whole in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.media.clip import Clip
from moodreel.media.frames import Frame


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of a clip.

    Attributes:
        start_s: where it begins, in seconds from the clip's start.
        frames: those that lie in it.
        sound: mono float32, shape (n_samples,), from `start_s` on: zeros where the track begins late or has a hole;
            none where there is none.
    """

    start_s: float
    frames: tuple[Frame, ...]
    sound: npt.NDArray[np.float32]


def read_stretch(
    clip: Clip, start_s: float, end_s: float, *, longest_side_px: int, frames_rate_hz: float, sound_rate_hz: int
) -> Stretch:
    """Read one stretch of a clip; what lies behind it, and nearly all before, is not decoded.

    Args:
        clip: an opened clip.
        start_s: where to begin, in seconds from the clip's start.
        end_s: where to end; may be infinite.
        longest_side_px: as for `Clip.stream`.
        frames_rate_hz: as for `Clip.stream`.
        sound_rate_hz: as for `Clip.stream`.

    Raises:
        MediaError: nothing of what was asked for can be decoded.
    """
    frames: list[Frame] = []
    blocks = [np.zeros(0, np.float32)]
    for item in clip.stream(
        longest_side_px=longest_side_px,
        frames_rate_hz=frames_rate_hz,
        sound_rate_hz=sound_rate_hz,
        start_s=start_s,
        end_s=end_s,
    ):
        if isinstance(item, Frame):
            frames.append(item)
        else:
            blocks.append(item.samples)
    return Stretch(start_s, tuple(frames), np.concatenate(blocks))
