"""Whose face it is: a vector for each face that a network gives, and who is alike on average.

A vector says who, not what the face shows. Two faces of one person are told from faces of two people by a cosine; from
where on they are one person's stands in the bundle, for it belongs to the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.face.alignment import align_face
from moodreel.face.detector import Face, Pixels
from moodreel.face.looks import Vector
from moodreel.inference import output_width, run_network

if TYPE_CHECKING:
    import onnxruntime

NETWORK = "appearance"
"""What the network is called in `bundle.json`."""
LEAST_HEIGHT_PX = 32
"""Faces smaller than this in the analysed frame are not described: they are alike by being blurred."""
NO_APPEARANCE: Vector = np.zeros(0, np.float32)
UNKNOWN = -2.0
"""What stands for the cosine with somebody of whom nothing is known."""


@dataclass(frozen=True)
class AppearanceReader:
    """The opened network.

    Attributes:
        session: `faces` (n, 3, side, side) RGB float32 0-255 -> `appearance` (n, width), each of length one.
        side_px: side of the crops that it takes.
        width: length of a vector.
        same_person: least average cosine of faces that are one person's.
    """

    session: onnxruntime.InferenceSession
    side_px: int
    width: int
    same_person: float

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int) -> AppearanceReader | None:
        """Open a bundle's network and try it; `None` where it has none.

        Raises:
            BundleError: the network is missing from the folder, damaged or foreign.
        """
        same_person = read_same_person(bundle)
        if same_person is None:
            return None
        session = bundle.session(NETWORK, threads)
        side_px = int(bundle.number(NETWORK, "side_px", 96, 16, 512))
        width = output_width(session, NETWORK)
        reader = cls(session, side_px, width, same_person)
        reader.read(np.zeros((1, side_px, side_px, 3), np.uint8))
        return reader

    def describe(self, pixels: Pixels, face: Face) -> Vector:
        """Return the vector of a face; an empty one where the face is too small to tell.

        Args:
            pixels: RGB uint8, shape (height, width, 3).
            face: a face found in it.

        Raises:
            BundleError: it is no such network.
        """
        if face.height_px < LEAST_HEIGHT_PX:
            return NO_APPEARANCE
        crop = align_face(pixels, face.landmarks_px, self.side_px, box_px=face.box_px)
        vector: Vector = self.read(crop[None])[0]
        return vector

    def read(self, crops: npt.NDArray[np.uint8]) -> Vector:
        """Return the vectors of aligned faces, RGB, shape (n, side, side, 3); each is a row."""
        faces = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        return run_network(self.session, {"faces": faces}, {NETWORK: (len(faces), self.width)})[0]


def read_same_person(bundle: Bundle) -> float | None:
    """Return from which cosine on two faces are one person's; `None` where a bundle does not tell faces apart.

    Raises:
        BundleError: the number is out of range.
    """
    return bundle.number(NETWORK, "same_person", 1.0, 0, 1) if NETWORK in bundle.networks else None


class AppearanceGroups:
    """Groups of vectors, and how alike another one is to each, on average over its members.

    Sums stand in one array, so that a vector is compared with thousands of groups at once.
    """

    def __init__(self) -> None:
        self._sums = np.zeros((0, 0), np.float32)
        self._weights = np.zeros(0, np.float32)

    def compare(self, vector: Vector, n_groups: int) -> npt.NDArray[np.float32]:
        """Return the average cosine with each of the first groups; `UNKNOWN` where nothing is known of a group.

        Args:
            vector: of length one, or empty.
            n_groups: how many groups there are.
        """
        alike = np.full(n_groups, UNKNOWN, np.float32)
        weights = self._weights[:n_groups]
        if len(vector) and len(weights):
            means = self._sums[:n_groups] @ vector / np.maximum(weights, 1)
            alike[: len(weights)] = np.where(weights > 0, means, UNKNOWN)
        return alike

    def add(self, group: int, vector: Vector, weight: float = 1.0) -> None:
        """Put a vector into a group; an empty one changes nothing."""
        if not len(vector):
            return
        self._reserve(group + 1, len(vector))
        self._sums[group] += vector * np.float32(weight)
        self._weights[group] += weight

    def _reserve(self, n_groups: int, width: int) -> None:
        if n_groups > len(self._weights):
            n_more = max(n_groups, 2 * len(self._weights)) - len(self._weights)
            self._sums = np.concatenate([self._sums.reshape(-1, width), np.zeros((n_more, width), np.float32)])
            self._weights = np.concatenate([self._weights, np.zeros(n_more, np.float32)])


def group_vectors(vectors: list[Vector], same_person: float) -> list[int | None]:
    """Put vectors that are alike into one group, one after another.

    Args:
        vectors: each of length one, or empty.
        same_person: least average cosine with a group's members.

    Returns:
        The number of each vector's group, from 0 in the order of first members; `None` for empty ones.
    """
    groups, n_groups = AppearanceGroups(), 0
    found: list[int | None] = []
    for vector in vectors:
        if not len(vector):
            found.append(None)
            continue
        alike = groups.compare(vector, n_groups)
        group = int(np.argmax(alike)) if n_groups and alike.max() >= same_person else n_groups
        n_groups = max(n_groups, group + 1)
        groups.add(group, vector)
        found.append(group)
    return found
