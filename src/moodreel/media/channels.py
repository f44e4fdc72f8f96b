"""Calls with a speaker on each channel: one file becomes a clip per channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast, get_args

from moodreel.errors import MediaError
from moodreel.media.clip import open_clip
from moodreel.media.parts import Part
from moodreel.text import printable

Channels = Literal["mix", "split", "left", "right"]
"""What is heard of a file: all channels added, each of two as a clip of its own, or one alone."""


def read_channels(name: str) -> Channels:
    """Read what `--channels` says.

    Raises:
        MediaError: it is none of `Channels`.
    """
    if name not in get_args(Channels):
        raise MediaError(f"--channels {printable(name)!r}: expected one of {', '.join(get_args(Channels))}")
    return cast(Channels, name)


def choose_channels(part: Part, channels: Channels) -> tuple[list[Part], str]:
    """Return the clips that a file is, and what to tell the user of it in one line, empty for nothing.

    Args:
        part: the file, or a part of it; one whose name says its channel stays what it is.
        channels: what to hear of it.
    """
    if part.channel != "mix" or channels == "mix":
        return [part], ""
    if channels != "split":
        return [replace(part, channel=channels)], ""
    n_channels = _count_channels(part)
    if n_channels == 2:
        return [replace(part, channel="left"), replace(part, channel="right")], ""
    if n_channels is None:
        return [part], ""
    held = f"{n_channels} channel{'s' * (n_channels > 1)}" if n_channels else "no sound"
    return [part], f"{printable(str(part))}: has {held}, not two to split; it is read as mix"


def _count_channels(part: Part) -> int | None:
    """Return the number of channels, 0 without sound; `None` where the file cannot be read, which predicting tells."""
    try:
        with open_clip(part.path, start_s=part.start_s, end_s=part.end_s) as clip:
            return clip.sound.channels if clip.sound else 0
    except MediaError:
        return None
