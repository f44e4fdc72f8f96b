"""One clip's answer as a short table for a terminal; plain text, so that it can be piped and pasted."""

from __future__ import annotations

from collections.abc import Sequence

from moodreel.output.formats.format import Format
from moodreel.recognition.prediction import Modality, Person, Prediction, join_windows, named_probabilities
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
    lines = [_headline(prediction), "", *_bars(prediction.probabilities), ""]
    lines += [_modality("face", prediction.face), _modality("voice", prediction.voice)]
    lines += _people(prediction) + _timeline(prediction)
    return "\n".join(lines) + "\n"


def _headline(prediction: Prediction) -> str:
    name = printable(prediction.clip)
    answer = prediction.label or "no answer"
    weak = ", abstained: the evidence is weak" if prediction.abstained and prediction.label else ""
    length = f"{prediction.duration_s:.1f} s" if prediction.duration_s else "still picture"
    return f"{name}  {length}  ->  {answer}{weak}  (model {printable(prediction.model)})"


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
    return [f"  people {', '.join(people + rest)}; the answer speaks for {prediction.person}"]


def _presence(person: Person, prediction: Prediction) -> str:
    return f"{person.label}, {person.share_on_screen:.0%} of the time" if prediction.duration_s else person.label


def _timeline(prediction: Prediction) -> list[str]:
    if not prediction.duration_s:
        return []
    stretches = join_windows(prediction.timeline)
    lines = [f"  {one.start_s:6.1f} - {one.end_s:5.1f} s  {one.label} {one.top:.0%}" for one in stretches]
    more = len(lines) - MAX_STRETCHES
    tail = [f"  ... {more} more: --format csv shows all"] if more > 0 else []
    return ["", *lines[:MAX_STRETCHES], *tail] if lines else []


def _write(prediction: Prediction, is_first: bool) -> str:
    return format_table(prediction) if is_first else "\n" + format_table(prediction)


FORMAT = Format("table", ".txt", _write, is_by_line=True)
