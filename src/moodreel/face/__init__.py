"""Faces: found, cut out, followed, told apart, and what they show."""

from __future__ import annotations

from moodreel.face.alignment import align_face
from moodreel.face.appearance import AppearanceReader
from moodreel.face.detector import Face, FaceDetector
from moodreel.face.expression import ExpressionReader, Expressions
from moodreel.face.people import TrackedPerson, find_people, group_people
from moodreel.face.tracking import FaceTrack, FaceTracker, TrackedFace

__all__ = [
    "AppearanceReader",
    "ExpressionReader",
    "Expressions",
    "Face",
    "FaceDetector",
    "FaceTrack",
    "FaceTracker",
    "TrackedFace",
    "TrackedPerson",
    "align_face",
    "find_people",
    "group_people",
]
