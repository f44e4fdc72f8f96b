"""The answer in a few words: a headline where one person carries the clip, a summary where it is a crowd."""

from __future__ import annotations

from moodreel.recognition.prediction import Person, Prediction, Stretch, Window, named_probabilities
from moodreel.recognition.prediction_parts import OFF_SCREEN

SPEAKS = 0.5
"""Least part of the speech in a window by which it is told that a person speaks."""


def headline(prediction: Prediction) -> str:
    """Say what a clip shows in one clause."""
    if prediction.scope == "crowd":
        return f"{len(prediction.people)} people: {summarise_time(prediction)}"
    if prediction.label is None:
        return "no answer"
    return f"leans to {prediction.label}" if prediction.is_leaning else prediction.label


def summarise_time(prediction: Prediction) -> str:
    """Say which emotions are shown for how much of the time, most first; at most three."""
    if not prediction.duration_s:  # a still picture
        labels = [person.label for person in prediction.people]
        return ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    shown = [(label, share) for label, share in named_probabilities(prediction.shares).items() if share >= 0.005]
    return ", ".join(f"{label} {share:.0%} of the time" for label, share in shown[:3]) or "nothing to rely on"


def describe_stretch(stretch: Stretch) -> str:
    """Say what a stretch shows: `sad 60%`, or that it is unsure."""
    said = f"{stretch.label} {stretch.probability:.0%}"
    return f"unsure ({said})" if stretch.abstained else said


ON_SCREEN_S = 0.5
"""Somebody who is seen within this of an instant is on screen then."""


def describe_source(prediction: Prediction, segment: Window, time_s: float | None = None) -> str:
    """Say what a segment speaks for: `person 2: face and voice`, `voice; person 1 not seen`.

    Args:
        prediction: the answer.
        segment: of its `segments`.
        time_s: the instant that it is shown at: a segment holds more than that, and its person may be gone by then.
    """
    person = _name_person(prediction, segment, time_s)
    if segment.face is not None:
        if segment.voice is None:
            return person + "face"
        return person + ("face and voice" if segment.weights[1] or segment.voice_of is None else _strange(segment))
    absent = prediction.states(segment)[0] == "not_seen"
    return f"voice; person {prediction.person} not seen" if absent else "voice"


def _strange(segment: Window) -> str:
    """Name a voice that is not the shown person's."""
    return "face; a voice off screen" if segment.voice_of == OFF_SCREEN else f"face; person {segment.voice_of} speaks"


def speaks_at(prediction: Prediction, person: Person, time_s: float) -> bool:
    """Tell whether a person speaks at an instant."""
    return any(one.person == person.id and one.start_s <= time_s < one.end_s for one in prediction.turns)


def describe_speech(prediction: Prediction) -> str:
    """Say how long voices from off screen are heard: `off screen 1 speaks 4.2 s`; nothing where none is."""
    heard: dict[str, float] = {}
    for turn in prediction.turns:
        if turn.person is None:
            heard[turn.who] = heard.get(turn.who, 0.0) + turn.end_s - turn.start_s
    return ", ".join(f"{who} speaks {length_s:.1f} s" for who, length_s in heard.items())


def describe_others(prediction: Prediction) -> str:
    """Say what is heard in a clip without speech, to stand behind those words: `: laughter, music`; or nothing."""
    if prediction.voice.state != "no_speech":
        return ""
    names = dict.fromkeys(one.other_sound for one in prediction.segments if one.other_sound)
    return f": {', '.join(names)}" if names else ""


def _name_person(prediction: Prediction, segment: Window, time_s: float | None) -> str:
    if segment.person is None or len(prediction.people) < 2:
        return ""
    is_there = time_s is None or any(
        one.id == segment.person and one.is_seen(time_s - ON_SCREEN_S, time_s + ON_SCREEN_S)
        for one in prediction.people
    )
    return f"person {segment.person}: " if is_there else f"person {segment.person}, not on screen: "
