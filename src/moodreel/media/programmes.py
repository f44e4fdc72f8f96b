"""Transport streams in which another programme begins midway, as recorders write them when the channel changes.

The container tells no streams but those it has met when it was opened. What comes behind the last packet of the streams
that were read is therefore looked at once more, as a file of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import av.container

from moodreel.errors import MediaError
from moodreel.media.container import Source, measure_packets, open_container

LEAST_S = 1.0
"""What lasts less behind the end of the streams read is the rest of a programme that ran beside them."""


@dataclass(frozen=True)
class Programme:
    """What stands behind a place of a file, opened anew.

    Attributes:
        container: open at its start; to be closed.
        streams: its streams of picture and sound that did not stand before that place.
        lasts_s: their length in seconds; `LEAST_S` at least where it is as much.
    """

    container: av.container.InputContainer
    streams: tuple[Any, ...]
    lasts_s: float

    def find(self, kind: str) -> Any:
        """Return the first stream of a kind (`video` or `audio`) that can be decoded; `None` without one."""
        known = (stream for stream in self.streams if stream.type == kind and stream.codec_context is not None)
        return next(known, None)


def look_behind(source: Source, byte: int, before: Collection[int]) -> Programme | None:
    """Look for streams that begin behind a place of a transport stream.

    Args:
        source: the file, which can go back; shows what stands from that place on afterwards.
        byte: the place, counted from where the source begins now.
        before: identifiers of the streams that stand before it.

    Returns:
        What there is; `None` without a further stream.
    """
    source.begin_at(source.first_byte + byte)
    try:
        container = open_container(source)
        streams = _find_new(container, before)
        lasts_s = measure_packets(container, streams, enough_s=LEAST_S)[0] if streams else 0.0
        container.close()
        if not streams:
            return None
        container = open_container(source)
    except MediaError:
        return None
    return Programme(container, tuple(_find_new(container, before)), lasts_s)


def _find_new(container: av.container.InputContainer, before: Collection[int]) -> list[Any]:
    return [stream for stream in (*container.streams.video, *container.streams.audio) if stream.id not in before]
