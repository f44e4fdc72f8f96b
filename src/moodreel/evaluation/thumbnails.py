"""Small pictures of clips, to stand inside a page: of each the frame with the largest face."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from moodreel.corpora import Sample
from moodreel.errors import MediaError
from moodreel.face.detector import FaceDetector
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.media.frames import Frame

MOST_BYTES = 8 * 2**10
"""Bytes of a picture; a clip whose frame cannot be made as small has none."""

_SIDE_PX = 160
_QUALITIES = (70, 45, 25)
_SEARCHED_PX = 480
_SEARCHED_HZ = 1.0
_LONGEST_S = 10.0
"""Of a longer clip only the beginning is searched, so that a film costs no more than a take."""


def make_thumbnails(samples: Iterable[Sample]) -> dict[str, str]:
    """Make a picture of each clip that shows something.

    Args:
        samples: the clips.

    Returns:
        By name of the clip a JPEG as `data:` address; clips without a picture, or that cannot be read, are left out.
    """
    detector = FaceDetector()
    pictures = {sample.clip_id: _draw(sample, detector) for sample in samples}
    return {clip: picture for clip, picture in pictures.items() if picture is not None}


def _draw(sample: Sample, detector: FaceDetector) -> str | None:
    try:
        with name_clip(sample.path):
            frame = _find_best(sample, detector)
    except MediaError:
        return None
    return None if frame is None else encode_picture(frame)


def _find_best(sample: Sample, detector: FaceDetector) -> Frame | None:
    """Return the frame with the largest face; of several without one that nearest to the middle."""
    with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
        if clip.video is None:
            return None
        middle_s = min(clip.duration_s, _LONGEST_S) / 2
        best, best_rank = None, (-1.0, 0.0)
        for item in clip.stream(
            longest_side_px=_SEARCHED_PX, frames_rate_hz=_SEARCHED_HZ, sound_rate_hz=0, end_s=_LONGEST_S
        ):
            if isinstance(item, Frame):
                rank = _measure_face(item, detector), -abs(item.time_s - middle_s)
                best, best_rank = (item, rank) if rank > best_rank else (best, best_rank)
        return best


def _measure_face(frame: Frame, detector: FaceDetector) -> float:
    """Return the area of the largest face in pixels, 0 without one."""
    boxes_px = (face.box_px for face in detector.detect(frame.pixels))
    return max(((right - left) * (bottom - top) for left, top, right, bottom in boxes_px), default=0.0)


def encode_picture(frame: Frame) -> str | None:
    """Write a frame as a small JPEG within an address; `None` where it cannot be made small enough."""
    picture = Image.fromarray(frame.pixels)
    picture.thumbnail((_SIDE_PX, _SIDE_PX))
    for quality in _QUALITIES:
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=quality, optimize=True)
        if held.tell() <= MOST_BYTES:
            return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
    return None
