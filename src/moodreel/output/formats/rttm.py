"""RTTM: who speaks when, a line per turn, as tools for diarisation read it (NIST Rich Transcription 2009)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from moodreel.output.formats.format import Format
from moodreel.recognition.prediction import Prediction


def format_rttm(prediction: Prediction) -> str:
    """Write a line per turn of speech: `SPEAKER clip 1 12.400 3.200 <NA> <NA> person_2 <NA> <NA>`.

    Where it is not told whose the voice is, there is none.

    Args:
        prediction: what to write.
    """
    clip = re.sub(r"[\s\x00-\x1f]+", "_", prediction.clip) or "clip"
    return "".join(
        f"SPEAKER {clip} 1 {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} <NA> <NA> "
        f"{turn.who.replace(' ', '_')} <NA> <NA>\n"
        for turn in prediction.turns
    )


def _write(prediction: Prediction, is_first: bool) -> str:  # noqa: ARG001  # lines stand for themselves
    return format_rttm(prediction)


def _join(texts: Sequence[str], is_list: bool) -> str:  # noqa: ARG001  # a clip in which nobody speaks has no line
    return "".join(texts)


FORMAT = Format("rttm", ".rttm", _write, _join, describe="who speaks when, a line per turn")
