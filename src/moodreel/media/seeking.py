"""Going to the middle of a clip: what lies before it is read past, at most a few seconds of it are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moodreel.media.clock import LONGEST_GAP_S, LONGEST_REPEAT_S
from moodreel.media.container import to_seconds

INDEXED_FORMATS = frozenset({"mov", "matroska", "avi", "wav", "w64", "flac", "asf", "nut", "mxf", "aiff", "caf", "au"})
"""Containers that find a place by an index or by arithmetic; in others a seek may land anywhere, unnoticed."""

MARGIN_S = 10.0
"""A seek aims this far before the place: sound may lie that much earlier in the file than its picture."""

SOUND_LEAD_S = 1.0
"""Sound decoded before the place: codecs need some, and the resampler's filter."""

_MOST_HELD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Landing:
    """Where decoding begins.

    Attributes:
        packets: what was read already and is to be decoded first, in the order of the file.
        picture_s: when the picture begins, in seconds from the clip's start.
        sound_s: when the sound begins.
    """

    packets: tuple[Any, ...]
    picture_s: float
    sound_s: float


class Skimmer:
    """Reads packets up to a place of a clip and keeps those that what follows cannot be decoded without."""

    def __init__(self, origin_s: float, start_s: float, lead_s: float, picture: Any | None, voice: Any | None) -> None:
        """Prepare.

        Args:
            origin_s: the clip's start on the file's clock, in seconds.
            start_s: the place, in seconds from the clip's start.
            lead_s: how long before the place the picture must begin at the latest.
            picture: the stream of the picture; `None` where none is wanted.
            voice: the stream of the sound; `None` where none is wanted.
        """
        self._origin_s = origin_s
        self._start_s = start_s
        self._key_before_s = start_s - lead_s
        self._picture = picture
        self._voice = voice
        self._pictures: list[tuple[int, float, Any]] = []
        self._sounds: deque[tuple[int, float, Any]] = deque()
        self._reached_s: dict[int, float] = {}
        self._n_read = 0
        self._n_bytes = 0
        self._key_s: float | None = None

    def skim(self, packets: Iterable[Any], *, from_start: bool) -> Landing | None:
        """Read up to the place.

        Args:
            packets: of the streams, each with bytes; what follows the place is left in it.
            from_start: whether they begin with the file, and not where a seek landed.

        Returns:
            Where to begin; `None` where that cannot be told: a seek landed too late, packets bear no time, their times
            jump, or the place lies behind the end.
        """
        for packet in packets:
            if packet.stream not in (self._picture, self._voice):
                continue
            time_s, decode_s = (self._time_s(ticks, packet) for ticks in (packet.pts, packet.dts))
            time_s = decode_s if time_s is None else time_s
            if time_s is None or self._jumps(packet.stream_index, time_s if decode_s is None else decode_s):
                return None
            self._keep(time_s, packet)
            if self._is_there() or self._n_bytes > _MOST_HELD_BYTES:
                return self._land(from_start=from_start)
        return None

    def _time_s(self, ticks: int | None, packet: Any) -> float | None:
        time_s = to_seconds(ticks, packet.time_base)
        return None if time_s is None else time_s - self._origin_s

    def _jumps(self, stream: int, time_s: float) -> bool:
        before_s = self._reached_s.get(stream)
        latest_s = max(self._reached_s.values(), default=time_s)
        self._reached_s[stream] = time_s
        return before_s is not None and not before_s - LONGEST_REPEAT_S <= time_s <= latest_s + LONGEST_GAP_S

    def _keep(self, time_s: float, packet: Any) -> None:
        self._n_read += 1
        self._n_bytes += packet.size
        if packet.stream is self._voice:
            self._sounds.append((self._n_read, time_s, packet))
            while len(self._sounds) > 1 and self._sounds[1][1] < self._start_s - SOUND_LEAD_S:
                self._n_bytes -= self._sounds.popleft()[2].size
            return
        if packet.is_keyframe and time_s <= self._key_before_s:
            self._key_s = time_s
            self._n_bytes -= sum(kept.size for _, _, kept in self._pictures)
            self._pictures.clear()
        self._pictures.append((self._n_read, time_s, packet))

    def _is_there(self) -> bool:
        sound_s = self._reached_s.get(self._voice.index, 0.0) if self._voice is not None else 0.0
        if self._picture is None:
            return sound_s >= self._start_s
        picture_s = self._reached_s.get(self._picture.index, 0.0)
        return picture_s > self._key_before_s or sound_s > self._start_s + LONGEST_GAP_S

    def _land(self, *, from_start: bool) -> Landing | None:
        begins_s = [kept[0][1] if kept else None for kept in (self._pictures, self._sounds)]
        if not from_start and not self._is_early(*begins_s):
            return None
        earliest_s = min(time_s for time_s in (*begins_s, self._start_s) if time_s is not None)
        picture_s, sound_s = (max(0.0, earliest_s if time_s is None else time_s) for time_s in begins_s)
        packets = sorted([*self._pictures, *self._sounds], key=lambda kept: kept[0])
        return Landing(tuple(packet for _, _, packet in packets), picture_s, sound_s)

    def _is_early(self, picture_s: float | None, sound_s: float | None) -> bool:
        if self._picture is not None:
            return self._key_s is not None and picture_s == self._key_s
        return sound_s is not None and sound_s <= self._start_s - SOUND_LEAD_S
