"""What predicting returns: one frozen tree of dataclasses, written as JSON, CSV or WebVTT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from moodreel.labels import EMOTIONS, N_EMOTIONS

SCHEMA_VERSION = 1

FACE_STATES = ("ok", "no_video_track", "no_face", "undecodable", "unused")
VOICE_STATES = ("ok", "no_audio_track", "silent", "no_speech", "undecodable", "unused")

UNIFORM: tuple[float, ...] = (1.0 / N_EMOTIONS,) * N_EMOTIONS


@dataclass(frozen=True, slots=True)  # a long clip has thousands
class Window:
    """A stretch of the timeline.

    Attributes:
        start_s: start in seconds from the file's beginning, also where the clip is a part of it.
        end_s: end in seconds.
        label: the likeliest emotion; `None` where nothing was seen or heard.
        probabilities: seven values in the order of `EMOTIONS`, summing to 1; uniform where `label` is `None`.
        face: the face's own probabilities in this window, `None` without a face.
        voice: the voice's own probabilities in this window, `None` without speech.
    """

    start_s: float
    end_s: float
    label: str | None
    probabilities: tuple[float, ...]
    face: tuple[float, ...] | None = None
    voice: tuple[float, ...] | None = None


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
        boxes: where the face stood in each analysed frame.
    """

    id: int
    share_on_screen: float
    label: str
    probabilities: tuple[float, ...]
    windows: tuple[Window, ...]
    boxes: tuple[Box, ...]


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
        label: the likeliest emotion, also when abstained; `None` with nothing usable.
        probabilities: seven values in the order of `EMOTIONS`, summing to 1; uniform with nothing usable.
        abstained: whether the evidence is too weak to rely on the label.
        person: id of the person the answer speaks for, the most present one; `None` without a face.
        face: what the face said.
        voice: what the voice said.
        people: every person seen, most present first.
        timeline: windows over the whole clip.
        warnings: what the user should know, one line each.
        adaptation: what the answer was adapted to; `None` where it was not.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON types, as `prediction.schema.json` describes them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "clip": self.clip,
            "duration_s": round(self.duration_s, 3),
            "model": self.model,
            "label": self.label,
            "probabilities": _named(self.probabilities),
            "abstained": self.abstained,
            "person": self.person,
            "modalities": {"face": _modality_dict(self.face), "voice": _modality_dict(self.voice)},
            "people": [_person_dict(person) for person in self.people],
            "timeline": [_window_dict(window) for window in self.timeline],
            "warnings": list(self.warnings),
            "adaptation": None if self.adaptation is None else _adaptation_dict(self.adaptation),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return the prediction as JSON text, strict (no NaN) and UTF-8 clean."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)


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


def _person_dict(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "share_on_screen": round(person.share_on_screen, 4),
        "label": person.label,
        "probabilities": _named(person.probabilities),
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


@dataclass(frozen=True)
class Stretch:
    """Consecutive windows of equal label.

    Attributes:
        start_s: start in seconds from the file's beginning.
        end_s: end in seconds: where the next stretch starts, since windows overlap.
        label: their label.
        top: the highest probability that the label has in one of them, 0-1.
    """

    start_s: float
    end_s: float
    label: str
    top: float


def join_windows(timeline: Sequence[Window]) -> tuple[Stretch, ...]:
    """Join consecutive windows of equal label; windows without one are left out.

    Args:
        timeline: windows in order.
    """
    stretches: list[Stretch] = []
    for index, window in enumerate(timeline):
        if window.label is None:
            continue
        end_s = timeline[index + 1].start_s if index + 1 < len(timeline) else window.end_s
        stretch = Stretch(window.start_s, end_s, window.label, max(window.probabilities))
        if stretches and stretches[-1].label == stretch.label and stretches[-1].end_s >= stretch.start_s:
            last = stretches.pop()
            stretch = Stretch(last.start_s, end_s, stretch.label, max(last.top, stretch.top))
        stretches.append(stretch)
    return tuple(stretches)


def named_probabilities(probabilities: Sequence[float]) -> Mapping[str, float]:
    """Return the seven probabilities by emotion, likeliest first.

    Args:
        probabilities: seven values in the order of `EMOTIONS`.
    """
    pairs = zip(EMOTIONS, probabilities, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))
