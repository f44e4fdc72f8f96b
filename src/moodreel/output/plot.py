"""The timeline of a prediction as PNG, JPEG or SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.labels import EMOTIONS
from moodreel.output.canvas import MARGINS_PX, SHORT_PX, Canvas, measure_width_px, open_canvas
from moodreel.output.clock import name_tick, ticks_s
from moodreel.output.drawing import COLOURS, font, title
from moodreel.output.summary import describe_others
from moodreel.recognition.prediction import Prediction, Turn, Window, shift_prediction
from moodreel.recognition.segments import Stretch, join_segments, view_modalities

PLOT_PX = (SHORT_PX, 620)
LEFT_PX = 90
ROW_PX = 45
MAX_LANES = 12
"""People who have a lane each; the others are counted in a line below."""


def write_plot(prediction: Prediction, path: Path, *, start_s: float = 0.0) -> None:
    """Draw the timeline: a stacked area of the seven emotions, below it a row for the face and one for the voice.

    Args:
        prediction: what to draw.
        path: the file to write, PNG, JPEG or SVG by its suffix.
        start_s: where the predicted part begins in its file, in seconds.

    Raises:
        OSError: the file cannot be written.
    """
    prediction = shift_prediction(prediction, -start_s)
    rows = _rows(prediction)
    width_px, height = measure_width_px(prediction.duration_s), PLOT_PX[1] + ROW_PX * (len(rows) - 2)
    draw = open_canvas((width_px, height), path)
    area = (LEFT_PX, 70, width_px - MARGINS_PX + LEFT_PX, 430)
    draw.text((area[0], 24), title(prediction), fill="#222222", font=font(22))
    _draw_area(draw, prediction, area)
    for number, row in enumerate(rows):
        top = 460 + number * ROW_PX
        _draw_row(draw, row, prediction.duration_s, (area[0], top, area[2], top + 30))
    _draw_axis(draw, start_s, prediction.duration_s, (area[0], height - 75, area[2]))
    draw.text((area[0], height - 38), _legend_line(prediction), fill="#555555", font=font(15))
    _draw_legend(draw, prediction, area[2] + 25)
    draw.save(path)


@dataclass(frozen=True)
class _Row:
    """A lane below the area: its name, its stretches, and what stands in it where it is empty throughout or between."""

    name: str
    stretches: Sequence[Stretch]
    state: str = "ok"
    gaps: Sequence[tuple[float, float, str]] = ()
    turns: Sequence[Turn] = ()


def _rows(prediction: Prediction) -> list[_Row]:
    """Return the lanes: face, voice, and each of several people."""
    weak = prediction.abstain_below
    face, voice = (join_segments(one, weak) for one in view_modalities(prediction.segments))
    rows = [
        _Row("face", face, prediction.face.state, _absences(prediction)),
        _voice_row(prediction, voice),
    ]
    people = sorted(prediction.people[:MAX_LANES], key=lambda one: one.id) if len(prediction.people) > 1 else []
    return rows + [
        _Row(f"person {one.id}", join_segments(prediction.lanes[one.id], weak), turns=_turns_of(prediction, one.id))
        for one in people
    ]


def _turns_of(prediction: Prediction, person: int | None) -> list[Turn]:
    return [turn for turn in prediction.turns if turn.person == person]


def _voice_row(prediction: Prediction, stretches: Sequence[Stretch]) -> _Row:
    """Return the voice's lane, with the laughter, music and the like that sound where nobody speaks."""
    state = prediction.voice.state
    if state == "ok":
        others = ((one, one.other_sound) for one in prediction.segments)
        gaps = _join_gaps((one, name) for one, name in others if name)
        return _Row("voice", stretches, gaps=gaps, turns=_turns_of(prediction, None))
    return _Row("voice", stretches, state + describe_others(prediction))


def _absences(prediction: Prediction) -> list[tuple[float, float, str]]:
    """Return when the person spoken for is absent while others are on screen, as start, end and words."""
    text = f"person {prediction.person} not seen"
    return _join_gaps((one, text) for one in prediction.segments if prediction.states(one)[0] == "not_seen")


def _join_gaps(told: Iterable[tuple[Window, str]]) -> list[tuple[float, float, str]]:
    """Join neighbouring segments of which the same is told."""
    found = list[tuple[float, float, str]]()
    for segment, text in told:
        goes_on = found and found[-1][1:] == (segment.start_s, text)
        found.append((found.pop()[0] if goes_on else segment.start_s, segment.end_s, text))
    return found


def _legend_line(prediction: Prediction) -> str:
    """Say what the area and the lanes speak for."""
    if prediction.scope == "crowd":
        said = "area: at each moment the person seen most then, with the voice"
    else:
        said = "area: face and voice" + (f" of person {prediction.person}" if len(prediction.people) > 1 else "")
    more = len(prediction.people) - MAX_LANES
    lanes = "; lanes of people: the face alone" if len(prediction.people) > 1 else ""
    lanes += "; line: speaks, below the voice off screen" if prediction.turns else ""
    return f"{said}{lanes}; thin: unsure{f'; {more} more people' if more > 0 else ''}"


def _draw_area(draw: Canvas, prediction: Prediction, area: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    for share, text in ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")):
        draw.text((left - 10, bottom - share * (bottom - top)), text, fill="#555555", font=font(15), anchor="rm")
    known = [segment for segment in prediction.segments if segment.label is not None]
    if not known:
        return
    times, values = _curve(known, prediction.duration_s)
    x = left + times / max(prediction.duration_s, 1e-6) * (right - left)
    y = bottom - np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1) * (bottom - top)
    for index, emotion in enumerate(EMOTIONS):
        upper, lower = zip(x, y[:, index + 1], strict=True), zip(x[::-1], y[::-1, index], strict=True)
        draw.polygon([*upper, *lower], fill=COLOURS[emotion], outline="white")

    for segment in prediction.segments:
        if segment.label is None:  # nothing seen or heard there: no curve
            start, end = _columns(segment, prediction.duration_s, left, right)
            draw.rectangle((start, top, end, bottom), fill="#f4f4f4")


def _columns(span: Window | Stretch, duration_s: float, left: int, right: int) -> tuple[float, float]:
    """Return between which columns something lies; a still picture fills all."""
    if not duration_s:
        return left, right
    start, end = (left + time_s / duration_s * (right - left) for time_s in (span.start_s, span.end_s))
    return max(start, left), min(end, right)


def _curve(segments: Sequence[Window], duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the segments' middles and probabilities, held flat out to both ends of the clip."""
    middles = np.array([segment.middle_s for segment in segments])
    values = np.array([segment.probabilities for segment in segments])
    end_s = max(duration_s, 1e-6)
    return np.array([0.0, *middles, end_s]), np.concatenate([values[:1], values, values[-1:]])


def _draw_row(draw: Canvas, row: _Row, duration_s: float, area: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    draw.text((left - 10, (top + bottom) / 2), row.name, fill="#222222", font=font(16), anchor="rm")
    for stretch in row.stretches:
        start, end = _columns(stretch, duration_s, left, right)
        inset = 10 if stretch.abstained else 0
        draw.rectangle((start, top + inset, end, bottom - inset), fill=COLOURS[stretch.label])
    for turn in row.turns:
        start, end = (left + time_s / max(duration_s, 1e-6) * (right - left) for time_s in (turn.start_s, turn.end_s))
        draw.rectangle((start, bottom + 3, end, bottom + 7), fill="#222222")
    for start_s, end_s, text in row.gaps:
        start, end = (left + time_s / max(duration_s, 1e-6) * (right - left) for time_s in (start_s, end_s))
        if font(15).getlength(text) < end - start - 16:
            draw.text((start + 8, (top + bottom) / 2), text, fill="#555555", font=font(15), anchor="lm")
    if row.state != "ok":
        draw.text(
            (left + 8, (top + bottom) / 2), row.state.replace("_", " "), fill="#555555", font=font(15), anchor="lm"
        )


def _draw_axis(draw: Canvas, start_s: float, duration_s: float, area: tuple[int, int, int]) -> None:
    left, top, right = area
    for time_s in ticks_s(duration_s, start_s, right - left):
        x = left + (time_s - start_s) / duration_s * (right - left)
        draw.line((x, top - 8, x, top), fill="#555555")
        draw.text((x, top + 4), name_tick(time_s, start_s + duration_s), fill="#555555", font=font(15), anchor="ma")


def _draw_legend(draw: Canvas, prediction: Prediction, left: int) -> None:
    is_crowd = prediction.scope == "crowd" and prediction.duration_s > 0
    if is_crowd:
        draw.text((left, 44), "share of time", fill="#555555", font=font(15))
    for row, emotion in enumerate(reversed(EMOTIONS)):
        y = 80 + row * 34
        value = (prediction.shares if is_crowd else prediction.probabilities)[EMOTIONS.index(emotion)]
        draw.rectangle((left, y, left + 20, y + 20), fill=COLOURS[emotion])
        draw.text((left + 28, y + 10), f"{emotion} {value:.0%}", fill="#222222", font=font(17), anchor="lm")
