"""What was seen and heard in a file, as rows of a library's tables."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moodreel.face.looks import Vector
from moodreel.labels import EMOTIONS
from moodreel.library.alike_vector import alike_vector
from moodreel.library.rows import Row, Rows
from moodreel.recognition.evidence import Evidence
from moodreel.recognition.prediction import UNIFORM, Person, Prediction, Window

ROWS_VERSION = 1
"""Version of what the rows say; files whose rows are of another one are read anew."""

_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")


@dataclass(frozen=True)
class Origin:
    """Which file, and how it was read: the columns of `files` that are known before it is read.

    Attributes:
        path: absolute path or URL, with its fragment where it is a part; any name that a file can have.
        size_bytes: its size in bytes.
        modified_s: when it was last changed, seconds since 1970.
        bundle: fingerprint of the bundle.
        settings: how the bundle is asked, as JSON.
        content_hash: of its bytes; empty where they could not be read.
    """

    path: str
    size_bytes: int
    modified_s: float
    bundle: str
    settings: str
    content_hash: str = ""

    @property
    def key(self) -> str:
        """What rows are made of: content, bundle and settings."""
        return _hash(16, self.content_hash, self.bundle, self.settings)

    @property
    def file_id(self) -> str:
        """The file in the library's tables."""
        return _hash(8, to_text(self.path), self.key)

    def columns(self) -> dict[str, Any]:
        """Return the columns of `files` that follow from it."""
        path = to_text(self.path)
        folder, _, name = path.rpartition("/" if "://" in path else os.sep)
        return {
            "file_id": self.file_id,
            "key": self.key,
            "path": path,
            "folder": folder or os.sep,
            "name": name,
            "size_bytes": self.size_bytes,
            "modified_s": self.modified_s,
            "content_hash": self.content_hash,
            "bundle": self.bundle,
            "settings": self.settings,
            "indexed_s": time.time(),
        }


def _hash(n_bytes: int, *texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=n_bytes).hexdigest()


def to_text(path: str) -> str:
    """Return a file's name as tables hold it: a byte that is no UTF-8 is written as an escape."""
    return path.encode("utf-8", "backslashreplace").decode()


def from_text(text: str) -> str:
    """Return the name that a file goes by on disk for the one that tables hold."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def write_settings(*, adapts: bool, start_s: float = 0.0, end_s: float | None = None, channel: str = "mix") -> str:
    """Return how a bundle is asked, as one text that is equal where the answers are."""
    part = {"start_s": start_s or None, "end_s": end_s, "channel": None if channel == "mix" else channel}
    told = {"rows": ROWS_VERSION, "adapt": "clip" if adapts else "none"}
    return json.dumps(told | {name: value for name, value in part.items() if value is not None}, sort_keys=True)


def describe_failure(origin: Origin, reason: str) -> Rows:
    """Return the rows of a file that could not be read: one of `files`."""
    nothing = {"duration_s": 0.0, "has_face": False, "has_voice": False, "n_people": 0, "confidence": 0.0}
    row = {"status": "failed", "reason": to_text(reason), "abstained": True, "date_s": origin.modified_s}
    return Rows.make([origin.columns() | nothing | row | _named("p", UNIFORM)])


def describe_file(origin: Origin, prediction: Prediction, evidence: Evidence) -> Rows:
    """Return the rows of a file that was read.

    Args:
        origin: which file.
        prediction: the answer.
        evidence: what it was made of.
    """
    file_id = origin.file_id
    windows = [{"file_id": file_id, **row} for row in _describe_windows(prediction)]
    appearances = {seen.tracked.id: seen.tracked.appearance for seen in evidence.people}
    people = [
        {"file_id": file_id, **_describe_person(person, prediction, appearances[person.id])}
        for person in prediction.people
    ]
    return Rows.make([origin.columns() | _describe_whole(origin, prediction, evidence)], windows, people)


def _describe_whole(origin: Origin, prediction: Prediction, evidence: Evidence) -> Row:
    width_px, height_px = evidence.picture_px or (None, None)
    return {
        "status": "ok",
        "duration_s": prediction.duration_s,
        "width_px": width_px,
        "height_px": height_px,
        "has_face": prediction.face.state == "ok",
        "has_voice": prediction.voice.state == "ok",
        "n_people": len(prediction.people),
        "label": prediction.label,
        "abstained": prediction.abstained,
        "confidence": max(prediction.probabilities),
        **_named("p", prediction.probabilities),
        "date_s": origin.modified_s if evidence.recorded_s is None else evidence.recorded_s,
    }


def _describe_windows(prediction: Prediction) -> Iterator[Row]:
    for segment in prediction.segments:
        face_state, voice_state = prediction.states(segment)
        states = {"person": 0, "face_state": face_state, "voice_state": voice_state, "sound": segment.other_sound}
        yield states | _describe_window(segment, prediction)
    for person, lane in prediction.lanes.items():
        states = {"person": person, "face_state": "ok", "voice_state": "unused", "sound": None}
        yield from (states | _describe_window(segment, prediction) for segment in lane)


def _describe_window(segment: Window, prediction: Prediction) -> Row:
    return {
        "start_s": segment.start_s,
        "end_s": segment.end_s,
        **_named("p", segment.probabilities),
        **_named("face", segment.face or ()),
        **_named("voice", segment.voice or ()),
        "label": segment.label,
        "confidence": max(segment.probabilities),
        "abstained": segment.abstained,
        "face_weight": segment.weights[0],
        "voice_weight": segment.weights[1],
        "n_people": sum(person.is_seen(segment.start_s, segment.end_s) for person in prediction.people),
        "alike": alike_vector(segment),
    }


def _describe_person(person: Person, prediction: Prediction, appearance: Vector) -> Row:
    return {
        "person": person.id,
        "first_s": person.boxes[0].time_s,
        "last_s": person.boxes[-1].time_s,
        "on_screen_s": person.share_on_screen * prediction.duration_s,
        "share": person.share_on_screen,
        "label": person.label,
        "confidence": max(person.probabilities),
        "abstained": person.abstained,
        **_named("p", person.probabilities),
        "appearance": appearance if len(appearance) else None,
    }


def _named(prefix: str, values: Sequence[float]) -> Row:
    """Name seven values as columns; none where there are none."""
    return {f"{prefix}_{name}": value for name, value in zip(EMOTIONS, values, strict=False)}
