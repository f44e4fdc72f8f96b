"""The timeline of a prediction as PNG, JPEG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.labels import EMOTIONS
from moodreel.output.canvas import MARGINS_PX, SHORT_PX, Canvas, measure_width_px, open_canvas
from moodreel.output.clock import name_tick, ticks_s
from moodreel.output.drawing import COLOURS, font, middle_s, title
from moodreel.recognition.prediction import Prediction, Window, shift_prediction

PLOT_PX = (SHORT_PX, 620)
LEFT_PX = 90


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
    width_px = measure_width_px(prediction.duration_s)
    draw = open_canvas((width_px, PLOT_PX[1]), path)
    right = width_px - MARGINS_PX + LEFT_PX
    area = (LEFT_PX, 70, right, 430)
    draw.text((area[0], 24), title(prediction), fill="#222222", font=font(22))
    _draw_area(draw, prediction, area)
    _draw_row(draw, "face", [window.face for window in prediction.timeline], prediction, (area[0], 460, right, 490))
    _draw_row(draw, "voice", [window.voice for window in prediction.timeline], prediction, (area[0], 505, right, 535))
    _draw_axis(draw, start_s, prediction.duration_s, (area[0], 545, right))
    _draw_legend(draw, prediction, right + 25)
    draw.save(path)


def _draw_area(draw: Canvas, prediction: Prediction, area: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    for share, text in ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")):
        draw.text((left - 10, bottom - share * (bottom - top)), text, fill="#555555", font=font(15), anchor="rm")
    known = [window for window in prediction.timeline if window.label is not None]
    if not known:
        return
    times, values = _curve(known, prediction.duration_s)
    x = left + times / max(prediction.duration_s, 1e-6) * (right - left)
    y = bottom - np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1) * (bottom - top)
    for index, emotion in enumerate(EMOTIONS):
        upper, lower = zip(x, y[:, index + 1], strict=True), zip(x[::-1], y[::-1, index], strict=True)
        draw.polygon([*upper, *lower], fill=COLOURS[emotion], outline="white")

    for (start, end), window in zip(pairwise(_edges_px(prediction, left, right)), prediction.timeline, strict=True):
        if window.label is None:  # nothing seen or heard there: no curve
            draw.rectangle((start, top, end, bottom), fill="#f4f4f4")


def _edges_px(prediction: Prediction, left: int, right: int) -> npt.NDArray[np.float64]:
    """Return between which columns each window speaks: halfway between the middles of windows, shape (n + 1,)."""
    middles = np.array([middle_s(window) for window in prediction.timeline])
    end_s = max(prediction.duration_s, 1e-6)
    edges_s = np.array([0.0, *(middles[:-1] + middles[1:]) / 2, *([end_s] if len(middles) else [])])
    return left + edges_s / end_s * (right - left)


def _curve(windows: Sequence[Window], duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the windows' middles and probabilities, held flat out to both ends of the clip."""
    middles = np.array([middle_s(window) for window in windows])
    values = np.array([window.probabilities for window in windows])
    end_s = max(duration_s, 1e-6)
    return np.array([0.0, *middles, end_s]), np.concatenate([values[:1], values, values[-1:]])


def _draw_row(
    draw: Canvas,
    name: str,
    answers: Sequence[Sequence[float] | None],
    prediction: Prediction,
    area: tuple[int, int, int, int],
) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    draw.text((left - 10, (top + bottom) / 2), name, fill="#222222", font=font(16), anchor="rm")
    for (start, end), answer in zip(pairwise(_edges_px(prediction, left, right)), answers, strict=True):
        if answer is not None:
            colour = COLOURS[EMOTIONS[int(np.argmax(answer))]]
            draw.rectangle((start, top, end, bottom), fill=colour)
    state = prediction.face.state if name == "face" else prediction.voice.state
    if state != "ok":
        draw.text((left + 8, (top + bottom) / 2), state.replace("_", " "), fill="#555555", font=font(15), anchor="lm")


def _draw_axis(draw: Canvas, start_s: float, duration_s: float, area: tuple[int, int, int]) -> None:
    left, top, right = area
    for time_s in ticks_s(duration_s, start_s, right - left):
        x = left + (time_s - start_s) / duration_s * (right - left)
        draw.line((x, top - 8, x, top), fill="#555555")
        draw.text((x, top + 4), name_tick(time_s, start_s + duration_s), fill="#555555", font=font(15), anchor="ma")


def _draw_legend(draw: Canvas, prediction: Prediction, left: int) -> None:
    for row, emotion in enumerate(reversed(EMOTIONS)):
        y = 80 + row * 34
        value = prediction.probabilities[EMOTIONS.index(emotion)]
        draw.rectangle((left, y, left + 20, y + 20), fill=COLOURS[emotion])
        draw.text((left + 28, y + 10), f"{emotion} {value:.0%}", fill="#222222", font=font(17), anchor="lm")
