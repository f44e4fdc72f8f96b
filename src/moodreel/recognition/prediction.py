"""What predicting returns: one frozen tree of dataclasses, written as JSON, CSV or WebVTT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from moodreel.labels import EMOTIONS
from moodreel.recognition.abstention import is_leaning
from moodreel.recognition.json_entry import parse_json
from moodreel.recognition.prediction_json import (
    SCHEMA_VERSION,
    read_fields,
    write_adaptation,
    write_modality,
    write_own_window,
    write_person,
    write_probabilities,
    write_segment,
    write_stretches,
    write_turn,
    write_window,
)
from moodreel.recognition.prediction_parts import (
    FACE_STATES,
    UNIFORM,
    VOICE_STATES,
    Adaptation,
    Box,
    Modality,
    Person,
    Turn,
)
from moodreel.recognition.segments import (
    Stretch,
    Window,
    cut_segments,
    join_segments,
    mix_sounds,
    round_shares,
    round_sounds,
    share_time,
    view_modalities,
)

__all__ = [
    "FACE_STATES",
    "SCHEMA_VERSION",
    "UNIFORM",
    "VOICE_STATES",
    "Adaptation",
    "Box",
    "Modality",
    "Person",
    "Prediction",
    "Stretch",
    "Turn",
    "Window",
    "named_probabilities",
    "shift_prediction",
]


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
        turns: who speaks when, by their starts; none where nothing tells.
        speakers: one of `SPEAKER_STATES`: whether it is told whose the voice is, or why not.
        why: why the answer speaks for `person`: `most-present`, `most-speaking`, or `asked` where it was asked for.
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
    turns: tuple[Turn, ...] = ()
    speakers: str = "not_told"
    why: str = "most-present"

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
    def sounds(self) -> Mapping[str, float] | None:
        """Probability by name of what sounds over the clip, silence left out; `None` where nothing is known to."""
        return mix_sounds(self.segments)

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

    def rounded(self) -> Prediction:
        """Return the prediction as JSON states it: times to milliseconds, shares to four places, pixels to tenths."""
        return replace(
            self,
            duration_s=round(self.duration_s, 3),
            probabilities=round_shares(self.probabilities),
            face=self.face.rounded(),
            voice=self.voice.rounded(),
            people=tuple(person.rounded() for person in self.people),
            timeline=tuple(window.rounded() for window in self.timeline),
            adaptation=None if self.adaptation is None else self.adaptation.rounded(),
            abstain_below=round(self.abstain_below, 4),
            turns=tuple(turn.rounded() for turn in self.turns),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON types, as `prediction.schema.json` describes them.

        What follows from other fields follows from them as they are rounded there.
        """
        return self.rounded()._write()

    def to_json(self, indent: int | None = 2) -> str:
        """Return the prediction as JSON text, strict (no NaN) and UTF-8 clean."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Prediction:
        """Read what `to_dict` returned, of this version of the schema or of an earlier one, which states less.

        `prediction.rounded()` comes back as it was.

        Args:
            held: one object of JSON, such as a line of `--format jsonl`.

        Raises:
            PredictionError: a field is missing or holds what it cannot; the message names it.
        """
        return cls(**read_fields(held))

    @classmethod
    def from_json(cls, text: str | bytes) -> Prediction:
        """Read what `to_json` returned; as `from_dict`.

        Raises:
            PredictionError: it is not the JSON of one prediction.
        """
        return cls.from_dict(parse_json(text))

    def _write(self) -> dict[str, Any]:
        face, voice = view_modalities(self.segments)
        return {
            "schema_version": SCHEMA_VERSION,
            "scope": self.scope,
            "clip": self.clip,
            "duration_s": self.duration_s,
            "model": self.model,
            "label": self.label,
            "probabilities": write_probabilities(self.probabilities),
            "abstained": self.abstained,
            "leaning": self.is_leaning,
            "abstain_below": self.abstain_below,
            "shares": write_probabilities(self.shares),
            "person": self.person,
            "modalities": {"face": write_modality(self.face), "voice": write_modality(self.voice)},
            "people": [self._write_person(person) for person in self.people],
            "sounds": round_sounds(self.sounds),
            "segments": [write_segment(segment, self.states(segment)) for segment in self.segments],
            "stretches": {
                "answer": write_stretches(self.stretches),
                "face": write_stretches(join_segments(face, self.abstain_below)),
                "voice": write_stretches(join_segments(voice, self.abstain_below)),
            },
            "timeline": [write_window(window) for window in self.timeline],
            "warnings": list(self.warnings),
            "adaptation": write_adaptation(self.adaptation),
            "speakers": self.speakers,
            "turns": [write_turn(turn) for turn in self.turns],
            "why": self.why,
        }

    def _write_person(self, person: Person) -> dict[str, Any]:
        lane = self.lanes[person.id]
        return {
            **write_person(person),
            "segments": [write_own_window(one) for one in lane],
            "stretches": write_stretches(join_segments(lane, self.abstain_below)),
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
    turns = tuple(replace(one, start_s=one.start_s + by_s, end_s=one.end_s + by_s) for one in prediction.turns)
    timeline = _shift_windows(prediction.timeline, by_s)
    return replace(prediction, people=tuple(people), timeline=timeline, turns=turns)


def _shift_windows(windows: Sequence[Window], by_s: float) -> tuple[Window, ...]:
    return tuple(replace(one, start_s=one.start_s + by_s, end_s=one.end_s + by_s) for one in windows)


def named_probabilities(probabilities: Sequence[float]) -> Mapping[str, float]:
    """Return the seven probabilities by emotion, likeliest first.

    Args:
        probabilities: seven values in the order of `EMOTIONS`.
    """
    pairs = zip(EMOTIONS, probabilities, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))
