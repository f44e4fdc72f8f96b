"""The face's expression: tracked crops in, the face network's answer for each of them out, by track.

Crops are read in small batches and dropped; seven numbers a face and frame are all that stays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.inference import output_width, run_network
from moodreel.labels import N_EMOTIONS
from moodreel.timeline import stretch_at

if TYPE_CHECKING:
    import onnxruntime

    from moodreel.face.tracking import TrackedFace

MOST_CROPS = 16
"""So many crops of a track are kept for training, spread evenly over it; up to twice as many while it is watched."""
BATCH_FACES = 8
"""Faces a run of the network: more gains nothing on a CPU and holds more crops."""


@dataclass(frozen=True)
class Expressions:
    """What the face network says of one track.

    Attributes:
        times_s: float64, shape (n,): time of each frame, rising.
        logits: float32, shape (n, 7), uncalibrated, in the order of `EMOTIONS`.
        features: float32, shape (n, d), what the logits rest on; d is 0 unless they were asked for.
        crops: some of the faces as the network was given them, uint8, (side, side, 3) each; none unless asked for.
    """

    times_s: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    crops: tuple[npt.NDArray[np.uint8], ...] = ()


@dataclass
class _Thinned:
    """Some of many crops, spread evenly: whenever there are too many, every second goes, and of those to come."""

    crops: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    stride: int = 1
    n_seen: int = 0

    def add(self, crop: npt.NDArray[np.uint8]) -> None:
        """Take the next crop, or pass it over."""
        if self.n_seen % self.stride == 0:
            self.crops.append(crop)
        self.n_seen += 1
        if len(self.crops) > 2 * MOST_CROPS:
            self.crops, self.stride = self.crops[::2], 2 * self.stride


@dataclass
class ExpressionReader:
    """Reads the faces of one clip.

    Attributes:
        session: the opened face network: `faces` (n, 3, side, side) RGB float32 0-255 -> `logits` (n, 7).
        describes: whether the features are kept too, and some of the crops, as training wants them.
    """

    session: onnxruntime.InferenceSession
    describes: bool = False
    _waiting: list[TrackedFace] = field(default_factory=list, init=False)
    _times_s: dict[int, array[float]] = field(default_factory=dict, init=False)
    _logits: dict[int, array[float]] = field(default_factory=dict, init=False)
    _features: dict[int, list[npt.NDArray[np.float32]]] = field(default_factory=dict, init=False)
    _crops: dict[int, _Thinned] = field(default_factory=dict, init=False)

    def read(self, face: TrackedFace) -> None:
        """Take the next face; faces come in the order of time."""
        if self._waiting and stretch_at(self._waiting[-1].time_s) != stretch_at(face.time_s):
            self._run()  # faces run together are alike to the last bit only where the same ones do
        self._waiting.append(face)
        if len(self._waiting) >= BATCH_FACES:
            self._run()

    def finish(self) -> dict[int, Expressions]:
        """Read what is left and return the answers by track."""
        self._run()
        return {track: self._collect(track) for track in self._times_s}

    def _run(self) -> None:
        if not self._waiting:
            return
        crops = np.stack([face.crop for face in self._waiting]).transpose(0, 3, 1, 2)
        faces = np.ascontiguousarray(crops, dtype=np.float32)
        if self.describes:
            logits, features = describe_faces(self.session, faces)
        else:
            logits = read_faces(self.session, faces)
            features = np.zeros((len(faces), 0), np.float32)
        for face, row, described in zip(self._waiting, logits, features, strict=True):
            self._times_s.setdefault(face.track_id, array("d")).append(face.time_s)
            self._logits.setdefault(face.track_id, array("f")).extend(float(value) for value in row)
            self._features.setdefault(face.track_id, []).append(described)
            if self.describes:
                self._crops.setdefault(face.track_id, _Thinned()).add(face.crop)
        self._waiting = []

    def _collect(self, track: int) -> Expressions:
        logits = np.frombuffer(self._logits[track], dtype=np.float32).reshape(-1, N_EMOTIONS)
        crops = tuple(self._crops[track].crops) if self.describes else ()
        return Expressions(np.frombuffer(self._times_s[track]), logits, np.stack(self._features[track]), crops)


def read_faces(session: onnxruntime.InferenceSession, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Run the face network.

    Args:
        session: the opened network.
        crops: aligned faces, RGB 0-255, shape (n, 3, side, side).

    Returns:
        Logits, shape (n, 7).

    Raises:
        BundleError: it is no face network.
    """
    return run_network(session, {"faces": crops}, {"logits": (len(crops), N_EMOTIONS)})[0]


def describe_faces(
    session: onnxruntime.InferenceSession, crops: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Run the face network as `read_faces` does, and return the features beside the logits, shape (n, d)."""
    shapes = {"logits": (len(crops), N_EMOTIONS), "features": (len(crops), output_width(session, "features"))}
    logits, features = run_network(session, {"faces": crops}, shapes)
    return logits, features


def join_expressions(parts: Iterable[Expressions]) -> Expressions:
    """Join the tracks of one person, in the order of time.

    Args:
        parts: the answers of each track, at least one.
    """
    whole = list(parts)
    times_s = np.concatenate([part.times_s for part in whole])
    order = np.argsort(times_s, kind="stable")
    logits, features = (np.concatenate([getattr(part, name) for part in whole]) for name in ("logits", "features"))
    return Expressions(times_s[order], logits[order], features[order], sum((part.crops for part in whole), ()))
