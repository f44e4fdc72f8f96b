"""WebVTT: the timeline as subtitles, a file per clip."""

from __future__ import annotations

from moodreel.output.formats.format import Format
from moodreel.recognition.prediction import Prediction, join_windows


def format_vtt(prediction: Prediction) -> str:
    """Write the timeline as WebVTT cues, one a stretch of equal label, to show as subtitles.

    Args:
        prediction: what to write.

    Returns:
        WebVTT text; overlapping windows are cut at the next window's start, since players show cues one by one. A
        still picture has no cues: they must end after they start.
    """
    name = " ".join(prediction.clip.split()).replace("-->", "->")
    lines = ["WEBVTT", "", f"NOTE moodreel {prediction.model}: {name}", ""]
    for stretch in join_windows(prediction.timeline) if prediction.duration_s else ():
        times = f"{_clock(stretch.start_s)} --> {_clock(stretch.end_s)}"
        lines += [times, f"{stretch.label} {stretch.top:.0%}", ""]
    return "\n".join(lines)


def _clock(time_s: float) -> str:
    milliseconds = round(time_s * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # a clip has a file of its own
    return format_vtt(prediction)


FORMAT = Format("vtt", ".vtt", _write, is_file_each=True)
