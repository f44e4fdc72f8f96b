"""How a camera was held, from the photo's EXIF tag.

The decoder turns a photo's orientation into a display matrix, but PyAV shows only its rotation beside EXIF data, and a
mirrored picture's rotation is wrong. Hence the tag itself is read, with Pillow, which decodes no pixel for it.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image

from moodreel.media.container import Source
from moodreel.media.frames import Placement

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
"""Pictures that carry the tag and whose decoder heeds it."""

PLACEMENTS: dict[int, Placement] = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""How each value of the tag (EXIF 2.32, section 4.6.4, tag 0x0112) places a picture upright."""

_ORIENTATION = 0x0112
_MOST_BYTES = 2**26


def read_orientation(source: Source) -> Placement | None:
    """Return how the tag of a photo places it, `None` where there is no such tag or it cannot be read.

    Args:
        source: the photo; its position is left as it was.
    """
    if not source.seekable():
        return None
    position = source.tell()
    source.seek(0)
    photo = source.read(_MOST_BYTES)
    source.seek(position)
    return PLACEMENTS.get(_read_tag(photo))


def _read_tag(photo: bytes) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's on damaged tags: the picture itself may be whole
            with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
                return int(image.getexif().get(_ORIENTATION, 0))
    except Exception:  # Pillow raises whatever its parsers trip over in a hostile file
        return 0
