"""JSON: an object for one clip, a list for several."""

from __future__ import annotations

from collections.abc import Sequence

from moodreel.output.formats.format import Format, join_lines
from moodreel.recognition.prediction import Prediction


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # a list is joined at the end
    return prediction.to_json()


def _join(texts: Sequence[str], is_list: bool) -> str:
    if is_list:
        return "[\n" + ",\n".join(text.strip() for text in texts) + "\n]\n"
    return join_lines(texts, is_list)


FORMAT = Format("json", ".json", _write, _join, describe="an object for one clip, a list for several")
