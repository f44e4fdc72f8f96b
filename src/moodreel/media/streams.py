"""What the picture and the sound of a clip are, and how far to trust what a file states of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from moodreel.media.container import to_seconds

Kind = Literal["picture", "sound"]
"""What a clip holds."""

DEFAULT_RATE_HZ = 25.0
"""Frame rate of files that state none."""

_SLOW_HZ, _FAST_HZ = 5.0, 1000.0


@dataclass(frozen=True)
class VideoTrack:
    """The picture of a clip.

    Attributes:
        width_px: width as shown: upright, with square pixels.
        height_px: height as shown.
        rate_hz: average frames per second; 25 where the file states no sensible rate.
        is_still: whether it is one picture and not a video.
        codec: ffmpeg's name of the codec, e.g. `h264`.
    """

    width_px: int
    height_px: int
    rate_hz: float
    is_still: bool
    codec: str


@dataclass(frozen=True)
class SoundTrack:
    """The sound of a clip.

    Attributes:
        rate_hz: samples per second in the file.
        channels: number of channels in the file.
        codec: ffmpeg's name of the codec, e.g. `aac`.
    """

    rate_hz: int
    channels: int
    codec: str


def declared_end_s(stream: Any) -> float:
    """Return when a stream ends by its own word, in seconds on its clock; 0 where it says nothing."""
    end = (stream.start_time or 0) + stream.duration if stream.duration else None
    return to_seconds(end, stream.time_base) or 0.0


def sane_rate_hz(stream: Any) -> float:
    """Return a video stream's frame rate, `DEFAULT_RATE_HZ` where what it states makes no sense."""
    average, guessed = (float(rate) if rate else 0.0 for rate in (stream.average_rate, stream.guessed_rate))
    rate_hz = guessed if average < _SLOW_HZ and guessed <= _FAST_HZ else average
    return rate_hz if 1 / 60 <= rate_hz <= _FAST_HZ else DEFAULT_RATE_HZ


def sane_aspect(aspect: Fraction | None) -> float:
    """Return width over height of a stored pixel, 1 where what the file states makes no sense."""
    return float(aspect) if aspect and 0.2 <= aspect <= 5 else 1.0
