"""Whether a mouth moves at all, told from the crops that expressions are read from: a few numbers for each.

Five crops a second cannot tell speech from chewing, but a mouth that rests while somebody is heard for a while is not
where the voice comes from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moodreel.face.tracking import TrackedFace

STILL = 0.32
"""A mouth whose pixels change by less than this from crop to crop, in their own deviations, rests."""

_TOP, _BOTTOM, _LEFT, _RIGHT = 0.64, 0.94, 0.27, 0.73
_LEAST_DEVIATION = 6.0
_MOST_GAP_S = 0.5

Float32 = npt.NDArray[np.float32]


@dataclass
class MouthMotion:
    """Notes of each face how much its mouth changed since the crop before."""

    _last: dict[int, tuple[float, Float32]] = field(default_factory=dict, init=False)
    _times_s: dict[int, list[float]] = field(default_factory=dict, init=False)
    _changes: dict[int, list[float]] = field(default_factory=dict, init=False)

    def watch(self, face: TrackedFace) -> None:
        """Take the next face; the times of a track rise."""
        patch = _cut_mouth(face.crop)
        before = self._last.get(face.track_id)
        self._last[face.track_id] = face.time_s, patch
        if before is not None and face.time_s - before[0] <= _MOST_GAP_S:
            self._times_s.setdefault(face.track_id, []).append(face.time_s)
            self._changes.setdefault(face.track_id, []).append(float(np.abs(patch - before[1]).mean()))

    def measure(self, track_ids: Iterable[int], spans_s: Iterable[tuple[float, float]]) -> float | None:
        """Return how much a person's mouth changes within some stretches: the median; `None` where it is not seen."""
        known = [one for one in track_ids if one in self._times_s]
        if not known:
            return None
        times_s = np.concatenate([self._times_s[one] for one in known])
        changes = np.concatenate([self._changes[one] for one in known])
        within = np.zeros(len(times_s), np.bool_)
        for start_s, end_s in spans_s:
            within |= (times_s >= start_s) & (times_s < end_s)
        return float(np.median(changes[within])) if within.any() else None


def _cut_mouth(crop: npt.NDArray[np.uint8]) -> Float32:
    """Return the mouth's grey pixels, less their mean, in their own deviations."""
    side = len(crop)
    rows, columns = slice(round(_TOP * side), round(_BOTTOM * side)), slice(round(_LEFT * side), round(_RIGHT * side))
    patch = crop[rows, columns].mean(axis=2, dtype=np.float32)
    return np.asarray((patch - patch.mean()) / max(float(patch.std()), _LEAST_DEVIATION), np.float32)
