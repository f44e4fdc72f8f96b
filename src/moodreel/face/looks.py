"""Who a face might be, cheaply: a vector of skin, hair and clothes, compared by its cosine.

It tells people apart within one scene, under one light; it is no face recognition. An identity embedding of a network
can take its place anywhere: all that is asked of it is a float vector of length one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moodreel.face.alignment import Similarity, place_face, sample
from moodreel.face.detector import Face, Floats, Pixels

Vector = npt.NDArray[np.float32]

_SIDE_PX = 48
_FACE_PART = 0.40
_FACE_TOP = 0.22
_BINS = 6
_PARTS = {"hair": (0.02, 0.24, 0.30, 0.70), "skin": (0.28, 0.56, 0.36, 0.64), "clothes": (0.74, 1.0, 0.20, 0.80)}
_PATCH = (0.20, 0.64, 0.28, 0.72)
_CORNERS = np.array([[i >> 2 & 1 for i in range(8)], [i >> 1 & 1 for i in range(8)], [i & 1 for i in range(8)]])
_WEIGHTS = {"hair": 0.7, "skin": 0.7, "clothes": 1.0, "patch": 1.0}


def describe_face(pixels: Pixels, face: Face) -> Vector:
    """Describe how a person looks: colours of hair, skin and clothes, and the pattern of the face.

    Args:
        pixels: RGB uint8, shape (height, width, 3).
        face: a face found in it.

    Returns:
        float32 of length one, shape (n,).
    """
    to_face = place_face(face.landmarks_px, face.box_px)
    turn, shift = to_face.turn * _FACE_PART * _SIDE_PX, to_face.shift * _FACE_PART * _SIDE_PX
    corner = complex((1 - _FACE_PART) / 2, _FACE_TOP) * _SIDE_PX
    view = sample(pixels, Similarity(turn, shift + corner).inverse(), _SIDE_PX).astype(np.float32) / np.float32(255)
    parts = [_WEIGHTS[name] * _colours(_cut(view, area)) for name, area in _PARTS.items()]
    return normalise(np.concatenate([*parts, _WEIGHTS["patch"] * _pattern(_cut(view, _PATCH))]))


def similarity(a: Vector, b: Vector) -> float:
    """Return the cosine of two vectors of length one, -1 to 1."""
    return float(np.dot(a, b))


def normalise(vector: Floats) -> Vector:
    """Scale a vector to length one; a vector of zeros stays."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, dtype=np.float32)


def _cut(view: Vector, area: tuple[float, float, float, float]) -> Vector:
    top, bottom, left, right = (round(part * _SIDE_PX) for part in area)
    return view[top:bottom, left:right]


def _colours(part: Vector) -> Vector:
    """Histogram over brightness, red-green and blue-yellow, square roots, of length one (a Hellinger kernel)."""
    red, green, blue = part[..., 0], part[..., 1], part[..., 2]
    light = (red + green + blue) / 3
    planes = np.stack([light, 0.5 + (red - green) * 1.5, 0.5 + ((red + green) / 2 - blue) * 1.5]).reshape(3, -1)
    at = np.clip(planes, 0, 0.9999) * (_BINS - 1)
    low = at.astype(np.intp)
    up = (at - low)[:, None, :]
    shares = np.where(_CORNERS[:, :, None] == 1, up, 1 - up)
    cells = low[:, None, :] + _CORNERS[:, :, None]
    index = (cells[0] * _BINS + cells[1]) * _BINS + cells[2]
    counts = np.bincount(index.ravel(), np.prod(shares, axis=0).ravel(), _BINS**3)
    return normalise(np.sqrt(counts))


def _pattern(part: Vector) -> Vector:
    """Brightness of the face at 10 x 10 cells, mean and contrast removed, of length one."""
    light = part.mean(axis=2)
    step = light.shape[0] // 10
    cells = light[: step * 10, : step * 10].reshape(10, step, 10, step).mean(axis=(1, 3))
    return normalise((cells - cells.mean()).ravel())
