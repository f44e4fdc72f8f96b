"""WebVTT: the answer as subtitles, a file per clip, with a voice span for each of several people."""

from __future__ import annotations

from moodreel.output.formats.format import Format
from moodreel.output.summary import describe_stretch
from moodreel.recognition.prediction import Prediction, Stretch
from moodreel.recognition.segments import join_segments


def format_vtt(prediction: Prediction) -> str:
    """Write the answer over time as WebVTT cues, one per stretch of equal label, to show as subtitles.

    Where several people were seen, the cues of each follow as `<v person 2>`, of the face alone.

    Args:
        prediction: what to write.

    Returns:
        WebVTT text; the cues of one person never overlap. A still picture has none: they must end after they start.
    """
    name = " ".join(prediction.clip.split()).replace("-->", "->")
    lines = ["WEBVTT", "", f"NOTE moodreel {prediction.model}: {name}", ""]
    for stretch, voice in sorted(_cues(prediction), key=lambda cue: cue[0].start_s):
        times = f"{format_time(stretch.start_s)} --> {format_time(stretch.end_s)}"
        lines += [times, f"{voice}{describe_stretch(stretch)}", ""]
    return "\n".join(lines)


def _cues(prediction: Prediction) -> list[tuple[Stretch, str]]:
    if not prediction.duration_s:
        return []
    cues = [(stretch, "") for stretch in prediction.stretches]
    if len(prediction.people) > 1:
        for person in prediction.people:
            lane = join_segments(prediction.lanes[person.id], prediction.abstain_below)
            cues += [(stretch, f"<v person {person.id}>") for stretch in lane]
    return [cue for cue in cues if format_time(cue[0].start_s) != format_time(cue[0].end_s)]


def format_time(time_s: float) -> str:
    """Write a time as WebVTT does: hours, minutes, seconds and thousandths."""
    milliseconds = round(time_s * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # a clip has a file of its own
    return format_vtt(prediction)


FORMAT = Format("vtt", ".vtt", _write, is_file_each=True, describe="subtitles, a file per clip")
