"""WebVTT: the answer as subtitles, a file per clip, with a voice span for each of several people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from moodreel.output.formats.format import Format
from moodreel.output.summary import SPEAKS, describe_stretch
from moodreel.recognition.prediction import Person, Prediction
from moodreel.recognition.segments import join_segments


def format_vtt(prediction: Prediction) -> str:
    """Write the answer over time as WebVTT cues, one per stretch of equal label, to show as subtitles.

    Where several people were seen, the cues of each follow as `<v person 2>`, of the face alone; where it is told who
    speaks, they say so, and voices from off screen are `<v off screen 1>`.

    Args:
        prediction: what to write.

    Returns:
        WebVTT text; the cues of one person never overlap. A still picture has none: they must end after they start.
    """
    name = " ".join(prediction.clip.split()).replace("-->", "->")
    lines = ["WEBVTT", "", f"NOTE moodreel {prediction.model}: {name}", ""]
    for cue in sorted(_cues(prediction), key=lambda cue: cue.start_s):
        lines += [f"{format_time(cue.start_s)} --> {format_time(cue.end_s)}", cue.text, ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Cue:
    """One subtitle."""

    start_s: float
    end_s: float
    text: str


def _cues(prediction: Prediction) -> list[_Cue]:
    if not prediction.duration_s:
        return []
    cues = [_Cue(one.start_s, one.end_s, describe_stretch(one)) for one in prediction.stretches]
    if len(prediction.people) > 1:
        cues += [cue for person in prediction.people for cue in _own_cues(prediction, person)]
    cues += [_Cue(one.start_s, one.end_s, f"<v {one.who}>speaking") for one in prediction.turns if one.person is None]
    return [cue for cue in cues if format_time(cue.start_s) != format_time(cue.end_s)]


def _own_cues(prediction: Prediction, person: Person) -> Iterator[_Cue]:
    """Yield what a person's face shows, apart for speech and silence; they do not overlap."""
    for speaks, lane in groupby(prediction.lanes[person.id], key=lambda one: (one.speaking or 0.0) >= SPEAKS):
        for stretch in join_segments(tuple(lane), prediction.abstain_below):
            said = describe_stretch(stretch) + ", speaking" * speaks
            yield _Cue(stretch.start_s, stretch.end_s, f"<v person {person.id}>{said}")


def format_time(time_s: float) -> str:
    """Write a time as WebVTT does: hours, minutes, seconds and thousandths."""
    milliseconds = round(time_s * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # a clip has a file of its own
    return format_vtt(prediction)


FORMAT = Format("vtt", ".vtt", _write, is_file_each=True, describe="subtitles, a file per clip")
