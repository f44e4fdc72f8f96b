"""What predicting returns: one frozen tree of dataclasses, written as JSON, CSV or WebVTT."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.recognition.abstention import is_leaning
from moodreel.recognition.segments import Stretch, Window, cut_segments, join_segments, share_time, view_modalities

__all__ = [
    "Adaptation",
    "Box",
    "Modality",
    "Person",
    "Prediction",
    "Stretch",
    "Window",
    "named_probabilities",
    "shift_prediction",
]

SCHEMA_VERSION = 2

FACE_STATES = ("ok", "no_video_track", "no_face", "undecodable", "unused")
VOICE_STATES = ("ok", "no_audio_track", "silent", "no_speech", "undecodable", "unused")

UNIFORM: tuple[float, ...] = (1.0 / N_EMOTIONS,) * N_EMOTIONS


@dataclass(frozen=True)
class Modality:
    """What one modality said of the whole clip.

    Attributes:
        state: `ok`, or the reason why there is nothing: one of `FACE_STATES` or `VOICE_STATES`.
        probabilities: seven calibrated values in the order of `EMOTIONS`; `None` unless `state` is `ok`, and where a
            joint network answers for both modalities at once.
        weight: share of this modality in the clip's answer, 0-1; the two shares sum to 1 unless both are absent.
    """

    state: str
    probabilities: tuple[float, ...] | None
    weight: float


@dataclass(frozen=True, slots=True)  # a long clip has thousands
class Box:
    """Where a face stood at one instant, for drawing.

    Attributes:
        time_s: seconds from the file's beginning.
        box_px: left, top, right, bottom in pixels of the upright source picture.
    """

    time_s: float
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class Person:
    """One tracked person.

    Attributes:
        id: number of the person in this clip, from 1 in the order of appearance.
        share_on_screen: part of the analysed frames that show the person's face, 0-1.
        label: the likeliest emotion of the person's face.
        probabilities: the face's seven probabilities over the whole clip, in the order of `EMOTIONS`.
        windows: the same over time.
        boxes: where the face stood in each analysed frame, in the order of time.
        abstained: whether the face shows too little to rely on the label.
    """

    id: int
    share_on_screen: float
    label: str
    probabilities: tuple[float, ...]
    windows: tuple[Window, ...]
    boxes: tuple[Box, ...]
    abstained: bool = False

    def is_seen(self, start_s: float, end_s: float) -> bool:
        """Tell whether the face was seen from one instant up to, and not at, another; or at an instant."""
        after = bisect_left(self.boxes, start_s, key=lambda box: box.time_s)
        return after < len(self.boxes) and (self.boxes[after].time_s < end_s or start_s == end_s)


@dataclass(frozen=True)
class Adaptation:
    """What was taken out of an answer without labels: how the person looks and sounds at rest.

    Attributes:
        to: `clip`, `folder`, `stream` or `baseline`: what it was estimated from.
        face_stretches: stretches of some four seconds that show the face.
        voice_stretches: stretches that hold speech.
        moved: how far the clip's answer moved, 0-1: half the sum of all changes in probability.
    """

    to: str
    face_stretches: int
    voice_stretches: int
    moved: float


@dataclass(frozen=True)
class Prediction:
    """What one clip shows.

    Attributes:
        clip: the clip as the user named it; a part of a file with its fragment, such as `film.mp4#t=10,14`.
        duration_s: length of the clip in seconds; 0 for a still image.
        model: name and version of the bundle.
        label: the likeliest emotion of `person` and the voice, also when abstained, and in a crowd; `None` with nothing
            usable.
        probabilities: seven values in the order of `EMOTIONS`, summing to 1; uniform with nothing usable.
        abstained: whether the evidence is too weak to rely on the label.
        person: id of the person the answer speaks for, the most present one; `None` without a face.
        face: what the face said.
        voice: what the voice said.
        people: every person seen, most present first.
        timeline: overlapping windows over the whole clip; in a crowd each speaks for the person seen most in it.
        warnings: what the user should know, one line each.
        adaptation: what the answer was adapted to; `None` where it was not.
        scope: `person` where one person or voice carries the clip; `crowd` where `label` speaks for less than half of
            what is seen, and `shares` is the answer.
        abstain_below: least top probability of an answer to rely on, 0-1.
    """

    clip: str
    duration_s: float
    model: str
    label: str | None
    probabilities: tuple[float, ...]
    abstained: bool
    person: int | None
    face: Modality
    voice: Modality
    people: tuple[Person, ...]
    timeline: tuple[Window, ...]
    warnings: tuple[str, ...]
    adaptation: Adaptation | None = None
    scope: Literal["person", "crowd"] = "person"
    abstain_below: float = 0.0

    @cached_property
    def segments(self) -> tuple[Window, ...]:
        """The timeline cut so that each instant counts once: what tables, files, plots and pages show."""
        return cut_segments(self.timeline)

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """Neighbouring segments of equal label, joined."""
        return join_segments(self.segments, self.abstain_below)

    @property
    def shares(self) -> tuple[float, ...]:
        """For how much of the time each emotion is the answer, in the order of `EMOTIONS`; the rest is unsure."""
        return share_time(self.segments)

    @property
    def is_leaning(self) -> bool:
        """Whether the answer lies so little above the threshold of abstention that it only leans to its label."""
        return not self.abstained and is_leaning(max(self.probabilities), self.abstain_below)

    def lane(self, person: Person) -> tuple[Window, ...]:
        """Return the segments in which a person's face was seen, as the face alone answers them.

        The first begins when the person is first seen.

        Args:
            person: one of `people`.
        """
        own = {round(window.start_s, 3): window for window in person.windows}
        lane: list[Window] = []
        for index, (segment, window) in enumerate(zip(self.segments, self.timeline, strict=True)):
            alone = own.get(round(window.start_s, 3))
            until_s = float("inf") if index == len(self.timeline) - 1 else segment.end_s
            if alone is not None and person.is_seen(segment.start_s, until_s):
                start_s = segment.start_s if lane else max(segment.start_s, person.boxes[0].time_s)
                lane.append(replace(alone, start_s=min(start_s, segment.end_s), end_s=segment.end_s))
        return tuple(lane)

    @cached_property
    def lanes(self) -> Mapping[int, tuple[Window, ...]]:
        """The lane of each person by the person's id."""
        return {person.id: self.lane(person) for person in self.people}

    def states(self, segment: Window) -> tuple[str, str]:
        """Return the state of face and voice in a segment: those of the clip, or `not_seen`.

        `not_seen` is a face of which others are on screen while the person spoken for is not.
        """
        face, voice = ("ok" if one is not None else "" for one in (segment.face, segment.voice))
        if not face:
            others = any(one.is_seen(segment.start_s, segment.end_s) for one in self.people)
            face = "not_seen" if others else "no_face" if self.face.state == "ok" else self.face.state
        return face, voice or ("no_speech" if self.voice.state == "ok" else self.voice.state)

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON types, as `prediction.schema.json` describes them."""
        face, voice = view_modalities(self.segments)
        return {
            "schema_version": SCHEMA_VERSION,
            "scope": self.scope,
            "clip": self.clip,
            "duration_s": round(self.duration_s, 3),
            "model": self.model,
            "label": self.label,
            "probabilities": _named(self.probabilities),
            "abstained": self.abstained,
            "leaning": self.is_leaning,
            "abstain_below": round(self.abstain_below, 4),
            "shares": _named(self.shares),
            "person": self.person,
            "modalities": {"face": _modality_dict(self.face), "voice": _modality_dict(self.voice)},
            "people": [self._person_dict(person) for person in self.people],
            "segments": [self._segment_dict(segment) for segment in self.segments],
            "stretches": {
                "answer": _stretch_dicts(self.stretches),
                "face": _stretch_dicts(join_segments(face, self.abstain_below)),
                "voice": _stretch_dicts(join_segments(voice, self.abstain_below)),
            },
            "timeline": [_window_dict(window) for window in self.timeline],
            "warnings": list(self.warnings),
            "adaptation": None if self.adaptation is None else _adaptation_dict(self.adaptation),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return the prediction as JSON text, strict (no NaN) and UTF-8 clean."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def _segment_dict(self, segment: Window) -> dict[str, Any]:
        states = self.states(segment)
        return {
            **_window_dict(segment),
            "person": segment.person,
            "states": dict(zip(("face", "voice"), states, strict=True)),
            "weights": {name: round(value, 4) for name, value in zip(("face", "voice"), segment.weights, strict=True)},
            "abstained": segment.abstained,
        }

    def _person_dict(self, person: Person) -> dict[str, Any]:
        lane = self.lanes[person.id]
        return {
            **_person_dict(person),
            "segments": [{**_window_dict(one), "abstained": one.abstained} for one in lane],
            "stretches": _stretch_dicts(join_segments(lane, self.abstain_below)),
        }


def _adaptation_dict(adaptation: Adaptation) -> dict[str, Any]:
    return {**asdict(adaptation), "moved": round(adaptation.moved, 4)}


def _named(probabilities: Sequence[float]) -> dict[str, float]:
    return {emotion: round(float(value), 4) for emotion, value in zip(EMOTIONS, probabilities, strict=True)}


def _named_or_none(probabilities: Sequence[float] | None) -> dict[str, float] | None:
    return None if probabilities is None else _named(probabilities)


def _modality_dict(modality: Modality) -> dict[str, Any]:
    return {
        "state": modality.state,
        "probabilities": _named_or_none(modality.probabilities),
        "weight": round(modality.weight, 4),
    }


def _window_dict(window: Window) -> dict[str, Any]:
    return {
        "start_s": round(window.start_s, 3),
        "end_s": round(window.end_s, 3),
        "label": window.label,
        "probabilities": _named(window.probabilities),
        "face": _named_or_none(window.face),
        "voice": _named_or_none(window.voice),
    }


def _stretch_dicts(stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    return [
        {
            "start_s": round(one.start_s, 3),
            "end_s": round(one.end_s, 3),
            "label": one.label,
            "probability": round(one.probability, 4),
            "abstained": one.abstained,
        }
        for one in stretches
    ]


def _person_dict(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "share_on_screen": round(person.share_on_screen, 4),
        "label": person.label,
        "probabilities": _named(person.probabilities),
        "abstained": person.abstained,
        "windows": [_window_dict(window) for window in person.windows],
        "boxes": [
            {"time_s": round(box.time_s, 3), "box_px": [round(value, 1) for value in box.box_px]}
            for box in person.boxes
        ],
    }


def shift_prediction(prediction: Prediction, by_s: float) -> Prediction:
    """Return a prediction whose windows and boxes stand later.

    Args:
        prediction: of a part of a file, its times counted from the part's start.
        by_s: where the part begins in the file, in seconds.
    """
    people = [
        replace(
            person,
            windows=_shift_windows(person.windows, by_s),
            boxes=tuple(Box(box.time_s + by_s, box.box_px) for box in person.boxes),
        )
        for person in prediction.people
    ]
    return replace(prediction, people=tuple(people), timeline=_shift_windows(prediction.timeline, by_s))


def _shift_windows(windows: Sequence[Window], by_s: float) -> tuple[Window, ...]:
    return tuple(replace(one, start_s=one.start_s + by_s, end_s=one.end_s + by_s) for one in windows)


def named_probabilities(probabilities: Sequence[float]) -> Mapping[str, float]:
    """Return the seven probabilities by emotion, likeliest first.

    Args:
        probabilities: seven values in the order of `EMOTIONS`.
    """
    pairs = zip(EMOTIONS, probabilities, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))
