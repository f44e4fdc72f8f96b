"""The JSON of a prediction: each part written, and read again.

What is read may come from anywhere, so every field is checked. Version 1, which knew no segments, and version 2, which
knew no speakers, are read as far as their fields go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, TypeVar

from moodreel.labels import EMOTIONS
from moodreel.recognition.abstention import is_weak
from moodreel.recognition.json_entry import Entry, check_version
from moodreel.recognition.prediction_parts import (
    ADAPTED_TO,
    FACE_STATES,
    OFF_SCREEN,
    SCOPES,
    SPEAKER_STATES,
    VOICE_STATES,
    WHYS,
    Adaptation,
    Box,
    Modality,
    Person,
    Turn,
)
from moodreel.recognition.segments import Stretch, Window, round_shares, round_sounds

SCHEMA_VERSION = 3

T = TypeVar("T")

_LONGEST_S = 1e9


def write_probabilities(probabilities: Sequence[float]) -> dict[str, float]:
    """Write seven values, in the order of `EMOTIONS`, by name."""
    return dict(zip(EMOTIONS, round_shares(probabilities), strict=True))


def write_modality(modality: Modality) -> dict[str, Any]:
    """Write what one modality said."""
    return {
        "state": modality.state,
        "probabilities": _write_known(modality.probabilities),
        "weight": modality.weight,
    }


def write_window(window: Window) -> dict[str, Any]:
    """Write a window; `write_segment` also says whose face it is, and what weighs how much."""
    return {
        "start_s": round(window.start_s, 3),
        "end_s": round(window.end_s, 3),
        "label": window.label,
        "probabilities": write_probabilities(window.probabilities),
        "face": _write_known(window.face),
        "voice": _write_known(window.voice),
        "abstained": window.abstained,
    }


def write_own_window(window: Window) -> dict[str, Any]:
    """Write a window of a person: beside the face, whether the person speaks, and what both say."""
    return {**write_window(window), "speaking": window.speaking, "fused": _write_known(window.fused)}


def write_segment(segment: Window, states: tuple[str, str]) -> dict[str, Any]:
    """Write a segment of the timeline.

    Args:
        segment: the segment.
        states: of face and voice in it.
    """
    return {
        **write_window(segment),
        "person": segment.person,
        "states": _write_pair(states),
        "weights": _write_pair(segment.weights),
        "sounds": round_sounds(segment.sounds),
        "voice_of": segment.voice_of,
        "overlap": round(segment.overlap, 4),
    }


def write_stretches(stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    """Write stretches of equal label."""
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


def write_person(person: Person) -> dict[str, Any]:
    """Write a person."""
    return {
        "id": person.id,
        "share_on_screen": person.share_on_screen,
        "label": person.label,
        "probabilities": write_probabilities(person.probabilities),
        "abstained": person.abstained,
        "speaking_s": person.speaking_s,
        "voice": _write_known(person.voice),
        "fused": _write_known(person.fused),
        "windows": [write_own_window(window) for window in person.windows],
        "boxes": [{"time_s": box.time_s, "box_px": list(box.box_px)} for box in person.boxes],
    }


def write_turn(turn: Turn) -> dict[str, Any]:
    """Write a turn of speech."""
    return asdict(turn)


def write_adaptation(adaptation: Adaptation | None) -> dict[str, Any] | None:
    """Write what an answer was adapted to."""
    return None if adaptation is None else asdict(adaptation)


def _write_known(probabilities: Sequence[float] | None) -> dict[str, float] | None:
    return None if probabilities is None else write_probabilities(probabilities)


def _write_pair(values: Sequence[T]) -> dict[str, T]:
    return dict(zip(("face", "voice"), values, strict=True))


def read_fields(held: Any) -> dict[str, Any]:
    """Read the fields of a `Prediction`.

    Args:
        held: one object of JSON, of any version so far.

    Raises:
        PredictionError: a field is missing or holds what it cannot; the message names it.
    """
    document = Entry(check_version(held))
    abstain_below = document.number("abstain_below", most=1.0) if "abstain_below" in document.held else 0.0
    modalities = document.entry("modalities")
    return {
        "clip": document.text("clip"),
        "duration_s": document.number("duration_s", most=_LONGEST_S),
        "model": document.text("model"),
        "label": document.known("label", document.label),
        "probabilities": document.probabilities(),
        "abstained": document.flag("abstained"),
        "person": document.known("person", document.identity),
        "face": _read_modality(modalities.entry("face"), FACE_STATES),
        "voice": _read_modality(modalities.entry("voice"), VOICE_STATES),
        "people": tuple(_read_person(entry, abstain_below) for entry in document.entries("people")),
        "timeline": _read_timeline(document, abstain_below),
        "warnings": document.texts("warnings"),
        "adaptation": _read_adaptation(document),
        "scope": document.word("scope", SCOPES) if "scope" in document.held else "person",
        "abstain_below": abstain_below,
        "turns": tuple(_read_turn(one) for one in document.entries("turns")) if "turns" in document.held else (),
        "speakers": document.word("speakers", SPEAKER_STATES) if "speakers" in document.held else SPEAKER_STATES[1],
        "why": document.word("why", WHYS) if "why" in document.held else WHYS[0],
    }


def _read_modality(entry: Entry, states: Sequence[str]) -> Modality:
    state = entry.word("state", states)
    return Modality(state, entry.known("probabilities", entry.probabilities), entry.number("weight", most=1.0))


def _read_timeline(document: Entry, abstain_below: float) -> tuple[Window, ...]:
    """Read the windows; whose faces they show, and what weighs how much, stands in the segments cut of them."""
    windows = _read_windows(document, "timeline", abstain_below)
    if "segments" not in document.held:  # version 1
        return windows
    segments = document.entries("segments")
    if len(segments) != len(windows):
        document.fail("segments", f"as many as the timeline has windows, {len(windows)}")
    joined = tuple(_join(*pair) for pair in zip(windows, segments, strict=True))
    if len({frozenset(one.sounds) for one in joined if one.sounds is not None}) > 1:
        document.fail("segments", "the same sounds in each")
    return joined


def _read_person(entry: Entry, abstain_below: float) -> Person:
    number = entry.identity("id")
    probabilities = entry.probabilities()
    windows = _read_windows(entry, "windows", abstain_below)
    own = zip(windows, entry.entries("windows"), strict=True)
    return Person(
        id=number,
        share_on_screen=entry.number("share_on_screen", most=1.0),
        label=entry.label(),
        probabilities=probabilities,
        windows=tuple(_own_window(window, held, number) for window, held in own),
        boxes=tuple(_read_boxes(entry)),
        abstained=_read_abstained(entry, probabilities, abstain_below),
        speaking_s=entry.known("speaking_s", lambda key: entry.number(key, most=_LONGEST_S)),
        voice=entry.known("voice", entry.probabilities),
        fused=entry.known("fused", entry.probabilities),
    )


def _own_window(window: Window, held: Entry, person: int) -> Window:
    return replace(
        window,
        person=person,
        weights=(1.0, 0.0),
        speaking=held.known("speaking", lambda key: held.number(key, most=1.0)),
        fused=held.known("fused", held.probabilities),
    )


def _read_turn(entry: Entry) -> Turn:
    start_s = entry.number("start_s", most=_LONGEST_S)
    return Turn(
        start_s=start_s,
        end_s=entry.number("end_s", most=_LONGEST_S, least=start_s),
        person=entry.known("person", entry.identity),
        voice=entry.known("voice", entry.identity),
    )


def _read_adaptation(document: Entry) -> Adaptation | None:
    if document.held.get("adaptation") is None:
        return None
    entry = document.entry("adaptation")
    return Adaptation(
        to=entry.word("to", ADAPTED_TO),
        face_stretches=entry.count("face_stretches"),
        voice_stretches=entry.count("voice_stretches"),
        moved=entry.number("moved", most=1.0),
    )


def _read_windows(entry: Entry, key: str, abstain_below: float) -> tuple[Window, ...]:
    windows = tuple(_read_window(one, abstain_below) for one in entry.entries(key))
    if any(one.start_s > other.start_s or one.end_s > other.end_s for one, other in pairwise(windows)):
        entry.fail(key, "windows in the order of time")
    return windows


def _read_window(entry: Entry, abstain_below: float) -> Window:
    probabilities, label = entry.probabilities(), entry.known("label", entry.label)
    start_s = entry.number("start_s", most=_LONGEST_S)
    return Window(
        start_s=start_s,
        end_s=entry.number("end_s", most=_LONGEST_S, least=start_s),
        label=label,
        probabilities=probabilities,
        face=entry.known("face", entry.probabilities),
        voice=entry.known("voice", entry.probabilities),
        abstained=_read_abstained(entry, None if label is None else probabilities, abstain_below),
    )


def _read_abstained(entry: Entry, probabilities: Sequence[float] | None, abstain_below: float) -> bool:
    """Return what is stated, and where nothing is, what the threshold says."""
    if "abstained" in entry.held:
        return entry.flag("abstained")
    return is_weak(None if probabilities is None else max(probabilities), abstain_below)


def _join(window: Window, segment: Entry) -> Window:
    weights = segment.entry("weights")
    return replace(
        window,
        person=segment.known("person", segment.identity),
        weights=(weights.number("face", most=1.0), weights.number("voice", most=1.0)),
        abstained=segment.flag("abstained"),
        sounds=segment.known("sounds", segment.sounds),
        voice_of=segment.known("voice_of", lambda key: _read_voice_of(segment, key)),
        overlap=segment.number("overlap", most=1.0) if "overlap" in segment.held else 0.0,
    )


def _read_voice_of(segment: Entry, key: str) -> int | str:
    return OFF_SCREEN if segment.held.get(key) == OFF_SCREEN else segment.identity(key)


def _read_boxes(entry: Entry) -> Iterator[Box]:
    for one in entry.entries("boxes"):
        left, top, right, bottom = one.numbers("box_px", 4)
        yield Box(one.number("time_s", most=_LONGEST_S), (left, top, right, bottom))
