"""What a `Clip` reads from: an opened file, or arrays in memory; it says what is there and yields what is decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import av

from moodreel.media.frames import Placement, read_placement
from moodreel.media.streams import Kind, SoundTrack, VideoTrack

Decoded = tuple[av.VideoFrame | av.AudioFrame, float | None]
"""What a decoder yields, and its time in seconds from the start of what was opened; `None` where nothing says so."""


class Opened(ABC):
    """Something opened that holds frames, sound or both.

    Attributes:
        name: how messages call it, on one line.
        video: the picture, `None` when there is none that can be decoded.
        sound: the sound, `None` when there is none that can be decoded.
        has_picture: whether it holds a picture, also one whose codec is unknown.
        has_sound: the same of sound.
        duration_s: length in seconds as declared; 0 for a still image or when it cannot be known.
        declares_length: whether that length is to be relied on.
        warnings: what the user should know, one line each.
    """

    name: str
    video: VideoTrack | None
    sound: SoundTrack | None
    has_picture: bool
    has_sound: bool
    duration_s: float
    declares_length: bool
    warnings: list[str]

    @property
    def is_still(self) -> bool:
        """Whether it is one picture."""
        return self.video is not None and self.video.is_still

    @property
    def damaged(self) -> int:
        """Packets that could not be read or decoded so far."""
        return 0

    @property
    def failure(self) -> Exception | None:
        """What ended reading before the end, if anything did."""
        return None

    @property
    def sound_begins_s(self) -> float:
        """When the sound begins, in seconds from the start."""
        return 0.0

    @property
    def recorded_s(self) -> float | None:
        """When it was recorded as it says itself, seconds since 1970 (UTC); `None` where it does not say."""
        return None

    def read_placement(self, frame: av.VideoFrame) -> Placement:
        """Tell how a frame is placed."""
        return read_placement(frame)

    def warn(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @abstractmethod
    def begin(self, start_s: float, frames_rate_hz: float, wanted: frozenset[Kind]) -> tuple[float, float]:
        """Get ready to decode; repeated, it begins again.

        Args:
            start_s: nothing before it is needed; decoding may begin up to there.
            frames_rate_hz: frames per second that will be sampled.
            wanted: what will be read.

        Returns:
            When picture and sound begin, in seconds from the start.

        Raises:
            MediaError: it cannot go back.
        """

    @abstractmethod
    def decode(self, wanted: frozenset[Kind], reached_s: Callable[[], float]) -> Iterator[Decoded]:
        """Yield frames and sound in the order in which they stand.

        Args:
            wanted: what to decode.
            reached_s: tells up to when picture and sound have been sampled.
        """

    def spare(self, *, is_plenty: bool) -> None:  # noqa: B027  # not everything has what it could spare
        """Decode no frames that no other needs, while there are plenty."""

    def finish(self, kind: Kind, end_s: float) -> None:  # noqa: B027
        """Decode no more of what has come up to an instant."""

    def holds(self, kind: Kind) -> bool:  # noqa: ARG002
        """Return whether more of what was asked for may come."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Let go of it; decoding is over."""
