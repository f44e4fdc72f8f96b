"""Media in: a file, or arrays, become a `Clip`, whose frames and sound come as one stream."""

from __future__ import annotations

from moodreel.media.arrays import Arrays
from moodreel.media.clip import Clip, open_clip
from moodreel.media.find import find_media
from moodreel.media.frames import Frame
from moodreel.media.parts import Part, find_parts, read_part
from moodreel.media.sounds import Sound
from moodreel.media.streams import SoundTrack, VideoTrack
from moodreel.media.stretches import Stretch, read_stretch

__all__ = [
    "Arrays",
    "Clip",
    "Frame",
    "Part",
    "Sound",
    "SoundTrack",
    "Stretch",
    "VideoTrack",
    "find_media",
    "find_parts",
    "open_clip",
    "read_part",
    "read_stretch",
]
