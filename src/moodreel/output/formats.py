"""TODO."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from moodreel.labels import EMOTIONS
from moodreel.recognition.prediction import Prediction, join_windows


def format_csv(predictions: Iterable[Prediction], *, header: bool = True) -> str:
    """Write one row a timeline window: clip, times, label and the seven probabilities.

    Args:
        predictions: what to write.
        header: whether the first row names the columns.

    Returns:
        CSV text, lines ending in a newline alone; names with commas, quotes or newlines are quoted, and one that a
        spreadsheet would take for a formula has an apostrophe before it.
    """
    out = io.StringIO()
    # Texts are always quoted: left to itself, the writer lets a carriage return in a name break the row.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    if header:
        writer.writerow(["clip", "start_s", "end_s", "label", *EMOTIONS, "clip_label", "abstained"])
    for prediction in predictions:
        for window in prediction.timeline:
            values = [round(float(value), 4) for value in window.probabilities]
            times = [round(window.start_s, 3), round(window.end_s, 3)]
            tail = [prediction.label or "", str(prediction.abstained).lower()]
            writer.writerow([_plain_cell(prediction.clip), *times, window.label or "", *values, *tail])
    return out.getvalue()


def _plain_cell(text: str) -> str:
    # Whoever names a clip could else have Excel or LibreOffice run a formula: quotes do not keep them from it. See
    # OWASP, "CSV Injection"; the wide signs are those of East Asian keyboards.
    return f"'{text}" if text.startswith(tuple("=+-@\t\r\n＝＋－＠")) else text


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


def format_one(prediction: Prediction, format: str, *, first: bool) -> str:
    """Write one answer as text; `first` says whether no answer stands above it."""
    if format == "jsonl":
        return prediction.to_json(indent=None)
    if format == "csv":
        return format_csv([prediction], header=first)
    if format == "vtt":
        return format_vtt(prediction)
    if format == "json":
        return prediction.to_json()
    from moodreel.output.table import format_table

    return format_table(prediction) if first else "\n" + format_table(prediction)


def join_texts(texts: Sequence[str], *, is_list: bool) -> str:
    """Join answers to one text that ends in a newline; `is_list` makes a JSON list of them."""
    if is_list:
        return "[\n" + ",\n".join(text.strip() for text in texts) + "\n]\n"
    return "".join(text if text.endswith("\n") else text + "\n" for text in texts)
