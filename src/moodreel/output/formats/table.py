"""One clip's answer as a short table for a terminal; plain text, so that it can be piped and pasted."""

from __future__ import annotations

from collections.abc import Sequence

from moodreel.output.formats.format import Format
from moodreel.output.summary import describe_others, describe_speech, describe_stretch, headline
from moodreel.recognition.prediction import Modality, Person, Prediction, named_probabilities
from moodreel.text import printable

BAR_COLUMNS = 30
MAX_STRETCHES = 16
MAX_PEOPLE = 6

STATE_WORDS = {
    "no_video_track": "no picture",
    "no_face": "no face seen",
    "no_audio_track": "no sound",
    "silent": "silent",
    "no_speech": "no speech heard",
    "undecodable": "cannot be decoded",
    "unused": "not used by this model",
}


def format_table(prediction: Prediction) -> str:
    """Write label, probabilities, modalities and timeline of one clip.

    Args:
        prediction: what to write.

    Returns:
        Text of some twenty lines, ending in a newline.
    """
    lines = [_headline(prediction), "", *_whole(prediction), *_people(prediction), *_timeline(prediction)]
    return "\n".join(lines) + "\n"


def _headline(prediction: Prediction) -> str:
    name = printable(prediction.clip)
    answer = headline(prediction)
    weak = ", abstained: the evidence is weak" if _is_unsure(prediction) else ""
    length = f"{prediction.duration_s:.1f} s" if prediction.duration_s else "still picture"
    return f"{name}  {length}  ->  {answer}{weak}  (model {printable(prediction.model)})"


def _is_unsure(prediction: Prediction) -> bool:
    return prediction.scope == "person" and prediction.abstained and prediction.label is not None


def _whole(prediction: Prediction) -> list[str]:
    """Show what holds of the whole clip: one person's answer, or how much of the time a crowd shows what."""
    if prediction.scope == "crowd":
        return ["  of the time, what is seen and heard at each moment shows", "", *_bars(prediction.shares), ""]
    modalities = [
        _modality("face", prediction.face),
        _modality("voice", prediction.voice) + describe_others(prediction),
    ]
    return [*_bars(prediction.probabilities), "", *modalities]


def _bars(probabilities: Sequence[float]) -> list[str]:
    return [
        f"  {emotion:<9}{value:>5.0%}  {'█' * round(value * BAR_COLUMNS)}".rstrip()
        for emotion, value in named_probabilities(probabilities).items()
    ]


def _modality(name: str, modality: Modality) -> str:
    if modality.probabilities is None:
        said = "read together with the other" if modality.state == "ok" else STATE_WORDS[modality.state]
        return f"  {name:<6} {said}"
    emotion, value = next(iter(named_probabilities(modality.probabilities).items()))
    return f"  {name:<6} {emotion} {value:.0%}, weight {modality.weight:.0%}"


def _people(prediction: Prediction) -> list[str]:
    if len(prediction.people) < 2:
        return []
    people = [f"{one.id} ({_presence(one, prediction)})" for one in prediction.people[:MAX_PEOPLE]]
    more = len(prediction.people) - MAX_PEOPLE
    rest = [f"{more} more"] if more > 0 else []
    whom = "" if prediction.scope == "crowd" else f"; the answer speaks for {prediction.person}"
    strange = describe_speech(prediction)
    return [f"  people {', '.join(people + rest)}{whom}", *([f"  voices {strange}"] if strange else [])]


def _presence(person: Person, prediction: Prediction) -> str:
    label = f"unsure, likeliest {person.label}" if person.abstained else person.label
    speaks = f", speaks {person.speaking_s:.1f} s" if person.speaking_s else ""
    return f"{label}, {person.share_on_screen:.0%} of the time{speaks}" if prediction.duration_s else label


def _timeline(prediction: Prediction) -> list[str]:
    if not prediction.duration_s:
        return []
    stretches = prediction.stretches
    lines = [f"  {one.start_s:6.1f} - {one.end_s:5.1f} s  {describe_stretch(one)}" for one in stretches]
    more = len(lines) - MAX_STRETCHES
    tail = [f"  ... {more} more: --format csv shows all"] if more > 0 else []
    return ["", *lines[:MAX_STRETCHES], *tail] if lines else []


def _write(prediction: Prediction, is_first: bool) -> str:
    return format_table(prediction) if is_first else "\n" + format_table(prediction)


FORMAT = Format("table", ".txt", _write, is_by_line=True, describe="a short table for people")
