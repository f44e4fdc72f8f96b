"""CSV: one row per window of the timeline, fit for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from moodreel.labels import EMOTIONS
from moodreel.output.formats.format import Format
from moodreel.recognition.prediction import Prediction


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


def _write(prediction: Prediction, is_first: bool) -> str:
    return format_csv([prediction], header=is_first)


FORMAT = Format("csv", ".csv", _write, is_by_line=True)
