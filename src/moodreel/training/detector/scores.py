"""What a detector finds of the faces that CenterFace finds, in pictures that it did not learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from moodreel.face.detector import DETECTION_THRESHOLD, Face, FaceDetector, box_overlaps
from moodreel.training.detector.pictures import Picture

SAME = 0.5
"""Least intersection over union of two boxes of one face."""
WEAK = 0.25
"""Where the teacher sees no face with even this score, what a student finds is false."""


@dataclass(frozen=True)
class Agreement:
    """A student beside its teacher.

    Attributes:
        n_pictures: looked at.
        n_faces: that the teacher finds.
        recall: share of them that the student finds.
        n_empty: pictures in which the teacher sees no face.
        false_faces: what the student finds in those.
        landmark_error: median distance of landmarks in distances of the eyes.
        landmark_error_95: the same, of which 95 % are smaller.
    """

    n_pictures: int
    n_faces: int
    recall: float
    n_empty: int
    false_faces: int
    landmark_error: float
    landmark_error_95: float


def compare_detectors(student: FaceDetector, teacher: FaceDetector, pictures: Iterable[Picture]) -> Agreement:
    """Let both look at some pictures.

    Args:
        student: judged.
        teacher: taken for the truth; with a threshold of `WEAK`.
        pictures: that the student did not learn from.
    """
    found: list[bool] = []
    errors: list[float] = []
    n_pictures = n_empty = n_false = 0
    for picture in pictures:
        pixels = picture.decode()
        n_pictures += 1
        weak, ours = teacher.detect(pixels), student.detect(pixels)
        pairs = [(face, _match(face, ours)) for face in weak if face.score >= DETECTION_THRESHOLD]
        found += [own is not None for _, own in pairs]
        errors += [_measure(face, own) for face, own in pairs if own is not None]
        if not weak:
            n_empty, n_false = n_empty + 1, n_false + len(ours)
    spread = np.quantile(errors, [0.5, 0.95]) if errors else (np.nan, np.nan)
    recall = float(np.mean(found)) if found else float("nan")
    return Agreement(n_pictures, len(found), recall, n_empty, n_false, float(spread[0]), float(spread[1]))


def _match(face: Face, others: Sequence[Face]) -> Face | None:
    if not others:
        return None
    overlaps = box_overlaps(np.array(face.box_px), np.array([other.box_px for other in others]))
    best = int(overlaps.argmax())
    return others[best] if overlaps[best] >= SAME else None


def _measure(face: Face, own: Face) -> float:
    eyes = float(np.linalg.norm(face.landmarks_px[0] - face.landmarks_px[1]))
    return float(np.linalg.norm(face.landmarks_px - own.landmarks_px, axis=1).mean() / max(eyes, 1.0))
