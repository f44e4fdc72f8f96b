"""The pictures that a detector learns from: files and frames of clips, kept as JPEG in memory."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.errors import CorpusError, MediaError
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.media.find import find_media
from moodreel.media.frames import Frame

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
_QUALITY = 92
_MOST_FRAMES = 400
_LEAST_SIDE_PX = 40


@dataclass(frozen=True)
class Picture:
    """A picture and where it comes from.

    Attributes:
        jpeg: the encoded picture.
        source: the file.
        seconds: into the clip; 0 for a picture.
    """

    jpeg: bytes
    source: Path
    seconds: float

    def decode(self) -> Pixels:
        """Return RGB uint8, shape (h, w, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert("RGB"))


class Collection:
    """Pictures to draw from; a folder of many is drawn from more often than one of few, but not as much more."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        """Store pictures, at least one."""
        self.pictures = tuple(pictures)
        counts = Counter(picture.source.parent for picture in pictures)
        chances = np.array([counts[picture.source.parent] ** -0.5 for picture in pictures])
        self._reach = np.cumsum(chances / chances.sum())

    def draw(self, rng: np.random.Generator) -> Pixels:
        """Draw a picture, RGB uint8, shape (h, w, 3)."""
        index = int(np.searchsorted(self._reach, rng.random(), side="right"))
        return self.pictures[min(index, len(self.pictures) - 1)].decode()


def read_pictures(folders: Sequence[Path], frame_s: float, long_side_px: int) -> list[Picture]:
    """Read every picture and clip in some folders; what cannot be read is named in the log and left out.

    Args:
        folders: looked through with all that lies below them; files are taken too.
        frame_s: seconds between two frames of a clip.
        long_side_px: larger pictures are made smaller.

    Raises:
        CorpusError: nothing can be read.
    """
    found = []
    for path in find_media(folders):
        try:
            with name_clip(path):
                found += list(_read_file(path, frame_s, long_side_px))
        except MediaError as error:
            logger.warning("left out %s: %s", path, error)
    if not found:
        raise CorpusError(f"{', '.join(map(str, folders))}: no picture and no clip that can be read")
    return found


def _read_file(path: Path, frame_s: float, long_side_px: int) -> Iterator[Picture]:
    with open_clip(path) as clip:
        frames = clip.stream(longest_side_px=long_side_px, frames_rate_hz=1 / frame_s, sound_rate_hz=0)
        for frame in islice(frames, _MOST_FRAMES):
            if isinstance(frame, Frame) and min(frame.pixels.shape[:2]) >= _LEAST_SIDE_PX:
                yield Picture(encode(frame.pixels), path, frame.time_s)


def encode(pixels: npt.NDArray[Any], quality: int = _QUALITY) -> bytes:
    """Encode RGB uint8 pixels as JPEG."""
    kept = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(kept, "JPEG", quality=quality)
    return kept.getvalue()
