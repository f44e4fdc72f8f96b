"""JSON Lines: an object per clip, each on a line of its own."""

from __future__ import annotations

from moodreel.output.formats.format import Format
from moodreel.recognition.prediction import Prediction


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # each line stands for itself
    return prediction.to_json(indent=None)


FORMAT = Format("jsonl", ".jsonl", _write, is_by_line=True, describe="an object per clip, each on a line")
