"""The faces in one picture: boxes, scores and landmarks, in ONNX Runtime.

The detector is a student of CenterFace (Xu, Yan, Yang, Liu: "CenterFace: Joint Face Detection and Alignment Using Face
as Point", arXiv:1911.03599), with a third of its weights; `moodreel pretrain detector` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.errors import MoodreelError
from moodreel.inference import start_session

Floats = npt.NDArray[np.floating[Any]]
Pixels = npt.NDArray[np.uint8]

DETECTION_LONG_SIDE_PX = 320
"""Long side of the picture the detector sees; a face must be about 1/20 of it to be found."""

DETECTION_THRESHOLD = 0.5
"""Least score of a face, 0-1."""

MAX_FACES = 16
"""Most faces kept in one picture, the largest: bounds the time a crowd takes."""

MIN_FACE_PX = 24.0
"""Least height of a face box, in pixels of the picture given: half the 48 pixels that expressions are learnt from."""

_NMS_OVERLAP = 0.3
_TIGHT = 0.4
_STRIDE_PX = 4
_MULTIPLE_PX = 32
_MAX_CANDIDATES = 400
NETWORK_FILE = Path(__file__).parents[1] / "weights" / "detector.onnx"
INPUT = "pictures"
OUTPUTS = ("heatmap", "sizes", "offsets", "landmarks")
"""Names in the network's graph."""


@dataclass(frozen=True)
class Face:
    """One face found in one picture.

    Attributes:
        box_px: left, top, right, bottom in pixels of the picture, within it.
        score: the detector's confidence, 0-1.
        landmarks_px: float32, shape (5, 2), x and y in pixels: the eye on the picture's left, the other eye, the nose
            tip, the mouth corner on the picture's left, the other corner; may lie outside the picture.
    """

    box_px: tuple[float, float, float, float]
    score: float
    landmarks_px: Floats

    @property
    def height_px(self) -> float:
        """Height of the box in pixels."""
        return self.box_px[3] - self.box_px[1]


class FaceDetector:
    """Finds faces in a picture, on the CPU."""

    def __init__(
        self,
        *,
        long_side_px: int = DETECTION_LONG_SIDE_PX,
        threshold: float = DETECTION_THRESHOLD,
        min_face_px: float = MIN_FACE_PX,
        max_faces: int = MAX_FACES,
        threads: int = 1,
        network: bytes | None = None,
    ) -> None:
        """Load the network.

        Args:
            long_side_px: the picture is scaled to this long side before the network sees it.
            threshold: least score of a face, 0-1.
            min_face_px: least height of a face in pixels of the picture given.
            max_faces: most faces returned, the largest ones.
            threads: threads of ONNX Runtime within the network; more than 1 gains nothing at this size.
            network: a serialised ONNX graph; `None` for the one that ships.

        Raises:
            MoodreelError: the network is missing or damaged.
        """
        self.long_side_px = long_side_px
        self.threshold = threshold
        self.min_face_px = min_face_px
        self.max_faces = max_faces
        self._session = _open_session(read_network() if network is None else network, threads)

    def detect(self, pixels: Pixels) -> tuple[Face, ...]:
        """Find the faces of one picture.

        Args:
            pixels: RGB uint8, shape (height, width, 3), any size.

        Returns:
            The faces, largest first; none overlaps another by more than 30 % (intersection over union).

        Raises:
            ValueError: the picture is not uint8 of shape (height, width, 3).
        """
        _check_picture(pixels)
        weak = self._find(pixels)
        faces = tuple(face for face in weak if face.score >= self.threshold)
        if not faces and any(face.height_px > _TIGHT * pixels.shape[0] for face in weak):
            faces = self._find_with_margin(pixels)
        return faces[: self.max_faces]

    def _find(self, pixels: Pixels) -> tuple[Face, ...]:
        """Find the faces that score at least half the threshold, largest first."""
        blob, scale = _to_blob(pixels, self.long_side_px)
        heads = self._session.run(list(OUTPUTS), {INPUT: blob})
        boxes, scores, landmarks = decode_heads(*heads, threshold=self.threshold / 2)
        keep = suppress_overlaps(boxes, scores, _NMS_OVERLAP)
        return self._select(_clip(boxes[keep] / scale, pixels), scores[keep], landmarks[keep] / scale)

    def _find_with_margin(self, pixels: Pixels) -> tuple[Face, ...]:
        """Find faces that fill their picture so tightly that they are surer with some black around."""
        margin = max(pixels.shape[:2]) // 2
        found = self._find(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0))))
        sure = [face for face in found if face.score >= self.threshold]
        boxes = _clip(np.array([face.box_px for face in sure]).reshape(-1, 4) - margin, pixels)
        landmarks = np.array([face.landmarks_px for face in sure]).reshape(-1, 5, 2) - margin
        return self._select(boxes, np.array([face.score for face in sure]), landmarks)

    def _select(self, boxes: Floats, scores: Floats, landmarks: Floats) -> tuple[Face, ...]:
        heights = boxes[:, 3] - boxes[:, 1]
        areas = heights * (boxes[:, 2] - boxes[:, 0])
        order = [int(i) for i in np.argsort(-areas, kind="stable") if heights[i] >= self.min_face_px]
        return tuple(Face(_as_box(boxes[i]), float(scores[i]), landmarks[i].astype(np.float32)) for i in order)


def _clip(boxes: Floats, pixels: Pixels) -> Floats:
    height, width = pixels.shape[:2]
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float32))


def _as_box(values: Floats) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom


def _check_picture(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"a picture must be RGB uint8 of shape (height, width, 3), not {pixels.dtype} of {pixels.shape}"
        )


def _to_blob(pixels: Pixels, long_side_px: int) -> tuple[npt.NDArray[np.float32], float]:
    """Scale a picture to the long side and pad it right and below to the network's multiple of 32.

    Returns:
        RGB float32 0-255, shape (1, 3, h, w), and the scale from picture to network pixels.
    """
    height, width = pixels.shape[:2]
    ratio = long_side_px / max(height, width)
    w, h = max(1, round(width * ratio)), max(1, round(height * ratio))
    small = pixels if (h, w) == (height, width) else _resize(pixels, w, h)
    padded = np.zeros((1, 3, -(-h // _MULTIPLE_PX) * _MULTIPLE_PX, -(-w // _MULTIPLE_PX) * _MULTIPLE_PX), np.float32)
    padded[0, :, :h, :w] = small.transpose(2, 0, 1)
    return padded, ratio


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


def decode_heads(
    heatmap: Floats, sizes: Floats, offsets: Floats, points: Floats, *, threshold: float
) -> tuple[Floats, Floats, Floats]:
    """Read the four heads of CenterFace: face centres, sizes, sub-cell offsets and landmarks (paper, section 3.2).

    Args:
        heatmap: face scores 0-1, shape (1, 1, h, w), one cell for 4 x 4 input pixels.
        sizes: logarithms of height and width in cells, shape (1, 2, h, w).
        offsets: y and x within the cell, shape (1, 2, h, w).
        points: y and x of five landmarks as fractions of the box, shape (1, 10, h, w).
        threshold: least score, 0-1.

    Returns:
        Boxes (n, 4), scores (n,) and landmarks (n, 5, 2) in input pixels, likeliest first, at most 400.
    """
    rows, cols = np.nonzero(heatmap[0, 0] > threshold)
    order = np.argsort(-heatmap[0, 0, rows, cols], kind="stable")[:_MAX_CANDIDATES]
    rows, cols = rows[order], cols[order]
    spans = np.exp(sizes[0][::-1, rows, cols].T) * _STRIDE_PX
    cells = np.stack([cols, rows], axis=1) + 0.5 + offsets[0][::-1, rows, cols].T
    corners = cells * _STRIDE_PX - spans / 2
    fractions = points[0][:, rows, cols].T.reshape(-1, 5, 2)[:, :, ::-1]
    landmarks = corners[:, None, :] + fractions * spans[:, None, :]
    return np.concatenate([corners, corners + spans], axis=1), heatmap[0, 0, rows, cols], landmarks


def suppress_overlaps(boxes: Floats, scores: Floats, overlap: float) -> npt.NDArray[np.intp]:
    """Keep the likeliest of boxes that overlap (greedy non-maximum suppression).

    Args:
        boxes: left, top, right, bottom; shape (n, 4).
        scores: shape (n,).
        overlap: intersection over union, 0-1, from which the less likely box goes.

    Returns:
        Indices of the boxes kept, likeliest first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        order = rest[box_overlaps(boxes[best], boxes[rest]) < overlap]
    return np.array(kept, dtype=np.intp)


def box_overlaps(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union of one box with each of several.

    Args:
        box: left, top, right, bottom; shape (4,).
        boxes: the same, shape (n, 4).
    """
    corner = np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(np.minimum(box[2:], boxes[:, 2:]) - corner, 0.0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    total = np.prod(np.maximum(box[2:] - box[:2], 0.0)) + areas - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))


def read_network() -> bytes:
    """Read the network that ships.

    Raises:
        MoodreelError: it is missing or unreadable.
    """
    try:
        return NETWORK_FILE.read_bytes()
    except OSError as error:
        raise MoodreelError(
            f"the face detector {NETWORK_FILE} cannot be read ({error.strerror}); install moodreel anew"
        ) from None


def _open_session(network: bytes, threads: int) -> Any:
    try:
        return start_session(network, threads)
    except Exception as error:
        raise MoodreelError(
            f"the face detector cannot be loaded ({type(error).__name__}); install moodreel anew"
        ) from error
