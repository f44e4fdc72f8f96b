"""A live stream: what the last two seconds show, as often as asked. The same networks and rules as for a clip."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from moodreel.media.frames import Frame
from moodreel.recognition.adaptation import NO_ADAPTER, Adapter, adapt_to
from moodreel.recognition.evidence import Evidence, compose
from moodreel.recognition.prediction import Box, Prediction
from moodreel.timeline import WINDOW_S
from moodreel.voice.speech import RATE_HZ

_MOST_HISTORY = 300
"""Windows of a stream that it is adapted to: the last ten minutes."""
_LONGEST_DELAY_S = 0.5
"""Blocks that follow each other are one sound, however unevenly they arrive; one that is later than this is not."""


@dataclass(frozen=True)
class LiveWindow:
    """What the last seconds of a live stream show.

    Attributes:
        start_s: start in seconds from the beginning of the stream.
        end_s: end in seconds.
        prediction: the window as if it were a clip of its own.
        box: where the face stood last, in pixels of its frame; `None` without a face.
    """

    start_s: float
    end_s: float
    prediction: Prediction
    box: Box | None


class Live(Protocol):
    """The networks' side of a live stream: keeps what it needs of the last frames."""

    def watch(self, frame: Frame) -> None:
        """Take the next frame; times rise."""

    def read(self, start_s: float, end_s: float, sound: npt.NDArray[np.float32]) -> tuple[Evidence, Box | None]:
        """Tell what the frames since `start_s` and the sound show, and where the face stood last."""


class LiveReader:
    """Takes frames and sound as they come and keeps no more of them than one window."""

    def __init__(self, live: Live, adapter: Adapter = NO_ADAPTER) -> None:
        """Begin a stream.

        Args:
            live: the networks' side of it.
            adapter: how to adapt to the person as the stream goes on; not at all by default.
        """
        self._live = live
        self._adapter = adapter
        self._history: deque[Evidence] = deque(maxlen=_MOST_HISTORY)
        self._sound = np.zeros(0, np.float32)
        self._heard_until_s = 0.0
        self._noted_s = 0.0

    def watch(self, frame: Frame) -> None:
        """Look at one frame.

        Args:
            frame: the next frame; times rise.
        """
        self._live.watch(frame)

    def listen(self, samples: npt.NDArray[np.float32], end_s: float) -> None:
        """Take the next block of sound.

        Args:
            samples: mono float32 at 16 kHz.
            end_s: when the block ended or arrived, in seconds from the beginning of the stream. A block that begins
                well after the one before it ended leaves silence between them.
        """
        follows_s = self._heard_until_s + len(samples) / RATE_HZ
        if end_s - follows_s > _LONGEST_DELAY_S:
            silence = np.zeros(round(min(end_s - follows_s, WINDOW_S) * RATE_HZ), np.float32)
            self._sound = np.concatenate([self._sound, silence])
            follows_s = end_s
        self._sound = np.concatenate([self._sound, samples])[-round(WINDOW_S * RATE_HZ) :]
        self._heard_until_s = min(
            follows_s, end_s + WINDOW_S
        )  # what was recorded before the stream began may lie ahead

    def read(self, end_s: float) -> LiveWindow:
        """Tell what the window that ends now shows.

        Args:
            end_s: now, in seconds from the beginning of the stream.
        """
        start_s = max(0.0, end_s - WINDOW_S)
        evidence, box = self._live.read(start_s, end_s, self._heard_since(start_s))
        if end_s >= self._noted_s + WINDOW_S:  # windows that overlap are not seen twice
            self._history.append(evidence)
            self._noted_s = end_s
        adapted = adapt_to(evidence, list(self._history) or [evidence], "stream", self._adapter)
        return LiveWindow(start_s, end_s, compose(adapted), box)

    def forget(self, end_s: float) -> None:
        """Forget what the person looks and sounds like: somebody else has come.

        Args:
            end_s: now; what came until then, and lies in the next windows still, is of somebody else.
        """
        self._history.clear()
        self._noted_s = end_s

    def _heard_since(self, start_s: float) -> npt.NDArray[np.float32]:
        kept = round((self._heard_until_s - start_s) * RATE_HZ)
        self._sound = self._sound[-kept:] if kept > 0 else self._sound[:0]
        return self._sound
