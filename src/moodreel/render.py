"""Pictures of a prediction: the timeline as PNG, and the clip with faces and emotions drawn in as MP4."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from moodreel.container import printable
from moodreel.errors import MediaError
from moodreel.labels import EMOTIONS
from moodreel.prediction import Box, Person, Prediction, Window

if TYPE_CHECKING:
    import av.container

    from moodreel.media import Clip, Frame, Sound, VideoTrack

COLOURS: dict[str, str] = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "neutral": "#9a9a9a",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
}
"""Okabe & Ito's palette, which colour-blind people can tell apart; grey for neutral."""

PLOT_PX = (1200, 620)
OVERLAY_SIDE_PX = 960
OVERLAY_HZ = 25.0
SOUND_HZ = 16_000
BOX_HOLD_S = 0.12
"""A box is drawn this long around the instant it was seen at: half the time between two analysed frames."""
TAIL_S = 0.25
"""Boxes of the last analysed frame stay this long."""
BOX_JOIN_S = 0.5
"""Two boxes of a face no further apart in time, and overlapping, are one movement; others lie on two sides of a cut."""

Pixels = npt.NDArray[np.uint8]


def write_plot(prediction: Prediction, path: Path) -> None:
    """Draw the timeline: a stacked area of the seven emotions, below it a row for the face and one for the voice.

    Args:
        prediction: what to draw.
        path: the PNG file to write.

    Raises:
        OSError: the file cannot be written.
    """
    image = Image.new("RGB", PLOT_PX, "white")
    draw = ImageDraw.Draw(image)
    area, right = (90, 70, 1010, 430), 1010
    draw.text((area[0], 24), _title(prediction), fill="#222222", font=_font(22))
    _draw_area(draw, prediction, area)
    _draw_row(draw, "face", [window.face for window in prediction.timeline], prediction, (area[0], 460, right, 490))
    _draw_row(draw, "voice", [window.voice for window in prediction.timeline], prediction, (area[0], 505, right, 535))
    _draw_axis(draw, prediction.duration_s, (area[0], 545, right))
    _draw_legend(draw, prediction, right + 25)
    image.save(path, format="PNG")


def write_overlay(clip: Path, prediction: Prediction, path: Path) -> None:
    """Write the clip anew with each person's box, the emotions of the moment, and the sound.

    Args:
        clip: the clip that was predicted.
        prediction: its prediction.
        path: the MP4 file to write: h264 at up to 960 pixels and 25 frames a second, aac mono at 16 kHz.

    Raises:
        MediaError: the clip holds no picture, or the overlay cannot be encoded.
        OSError: the file cannot be written.
    """
    import av

    from moodreel.media import open_clip

    with open_clip(clip) as source:
        if source.video is None:
            raise MediaError(f"{printable(prediction.clip)}: has no picture to draw an overlay on; use --plot instead")
        stream = source.stream(longest_side_px=OVERLAY_SIDE_PX, frames_rate_hz=OVERLAY_HZ, sound_rate_hz=SOUND_HZ)
        try:
            with av.open(str(path), "w", format="mp4") as container:
                _OverlayWriter(container, prediction, source).write(stream)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise MediaError(
                f"{printable(prediction.clip)}: its overlay cannot be encoded ({error.strerror})"
            ) from None


class _OverlayWriter:
    """Draws frames and muxes them with the sound."""

    def __init__(self, container: av.container.OutputContainer, prediction: Prediction, source: Clip) -> None:
        assert source.video is not None
        self._container = container
        self._prediction = prediction
        self._starts = {person.id: [box.time_s for box in person.boxes] for person in prediction.people}
        self._last_seen_s = max((starts[-1] for starts in self._starts.values() if starts), default=0.0)
        self._video = self._open_video(source.video)
        self._sound = container.add_stream("aac", rate=SOUND_HZ, layout="mono") if source.sound is not None else None
        self._last_pts = -1

    def write(self, stream: Iterator[Frame | Sound]) -> None:
        """Write all frames and sound of a stream.

        Raises:
            MediaError: there was no frame to draw on.
        """
        from moodreel.media import Frame

        for item in stream:
            if isinstance(item, Frame):
                self._write_frame(item)
            else:
                self._write_sound(item)
        if self._last_pts < 0:
            raise MediaError(f"{printable(self._prediction.clip)}: no frame of its picture can be read to draw on")
        for encoder in (self._video, self._sound):
            if encoder is not None:
                self._container.mux(encoder.encode(None))

    def _write_frame(self, frame: Frame) -> None:
        import av

        pixels = _fit(self._draw(frame), self._video.height, self._video.width)
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts = max(self._last_pts + 1, round(frame.time_s * OVERLAY_HZ))
        self._last_pts = picture.pts
        self._container.mux(self._video.encode(picture))

    def _open_video(self, track: VideoTrack) -> av.VideoStream:
        options = {"crf": "23", "preset": "veryfast"}
        video = self._container.add_stream("libx264", rate=round(OVERLAY_HZ), options=options)
        scale = min(1.0, OVERLAY_SIDE_PX / max(track.width_px, track.height_px))
        width, height = (round(side * scale) for side in (track.width_px, track.height_px))
        video.width, video.height = max(2, width + width % 2), max(2, height + height % 2)
        video.pix_fmt = "yuv420p"  # what every player shows; it needs even sides
        return video

    def _write_sound(self, sound: Sound) -> None:
        import av

        if self._sound is None:
            return
        frame = av.AudioFrame.from_ndarray(sound.samples[None], format="fltp", layout="mono")
        frame.sample_rate = SOUND_HZ
        frame.pts = round(sound.start_s * SOUND_HZ)
        self._container.mux(self._sound.encode(frame))

    def _draw(self, frame: Frame) -> Pixels:
        image = Image.fromarray(frame.pixels)
        draw = ImageDraw.Draw(image)
        for person in self._prediction.people:
            box = self._box_at(person, frame.time_s)
            if box is not None:
                _draw_person(draw, person, box, frame)
        window = _window_at(self._prediction.timeline, frame.time_s)
        if window is not None and window.label is not None:
            _draw_bars(draw, window, _whom(self._prediction), image.height)
        return np.asarray(image)

    def _box_at(self, person: Person, time_s: float) -> Box | None:
        if 0 < time_s - self._last_seen_s <= TAIL_S:  # too near the clip's end for another analysed frame
            time_s = self._last_seen_s
        after = bisect_right(self._starts[person.id], time_s)
        return blend_boxes(person.boxes[max(after - 1, 0) : after + 1], time_s)


def blend_boxes(around: Sequence[Box], time_s: float) -> Box | None:
    """Return where a face is at an instant.

    Args:
        around: the last box before the instant and the first one after it, or the one of the two that there is.
        time_s: the instant in seconds.

    Returns:
        A box in between where the face moved from one to the other; else the nearer box if it is near enough in time.
    """
    if len(around) == 2 and around[1].time_s - around[0].time_s <= BOX_JOIN_S and _overlap(*around):
        before, after = around
        part = (time_s - before.time_s) / (after.time_s - before.time_s)
        left, top, right, bottom = (a + part * (b - a) for a, b in zip(before.box_px, after.box_px, strict=True))
        return Box(time_s, (left, top, right, bottom))
    nearest = min(around, key=lambda box: abs(box.time_s - time_s), default=None)
    return nearest if nearest is not None and abs(nearest.time_s - time_s) <= BOX_HOLD_S else None


def _overlap(one: Box, other: Box) -> bool:
    return all(
        max(one.box_px[edge], other.box_px[edge]) < min(one.box_px[edge + 2], other.box_px[edge + 2]) for edge in (0, 1)
    )


def _draw_person(draw: ImageDraw.ImageDraw, person: Person, box: Box, frame: Frame) -> None:
    window = _window_at(person.windows, frame.time_s)
    label = window.label if window is not None and window.label else person.label
    left, top, right, bottom = (value * frame.scale for value in box.box_px)
    font = _font(max(12, round(frame.pixels.shape[0] / 28)))
    draw.rectangle((left, top, right, bottom), outline=COLOURS[label], width=max(2, frame.pixels.shape[0] // 200))
    text = f"{person.id} {label}"
    place = (left, max(0.0, top - font.size - 6))
    draw.rectangle(draw.textbbox(place, text, font=font), fill="black")
    draw.text(place, text, fill="white", font=font)  # dark blue on black could not be read


def _draw_bars(draw: ImageDraw.ImageDraw, window: Window, whom: str, height_px: int) -> None:
    """Draw the window's seven probabilities in the lower left corner, headed by whom they speak for."""
    size = max(9, height_px // 36)
    font, step = _font(size), size + 3
    top = height_px - step * len(EMOTIONS) - 6
    draw.rectangle((0, top - 4 - step * bool(whom), size * 13, height_px), fill="black")
    draw.text((4, top - step - 1), whom, fill="white", font=font)
    for row, (emotion, value) in enumerate(zip(EMOTIONS, window.probabilities, strict=True)):
        y = top + row * step
        draw.text((4, y - 1), emotion, fill="white", font=font)
        draw.rectangle((size * 6, y, size * 6 + 1 + value * size * 6.5, y + size), fill=COLOURS[emotion])


def _draw_area(draw: ImageDraw.ImageDraw, prediction: Prediction, area: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    for share, text in ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")):
        draw.text((left - 10, bottom - share * (bottom - top)), text, fill="#555555", font=_font(15), anchor="rm")
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
    middles = np.array([_middle_s(window) for window in prediction.timeline])
    end_s = max(prediction.duration_s, 1e-6)
    edges_s = np.array([0.0, *(middles[:-1] + middles[1:]) / 2, *([end_s] if len(middles) else [])])
    return left + edges_s / end_s * (right - left)


def _curve(windows: Sequence[Window], duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the windows' middles and probabilities, held flat out to both ends of the clip."""
    middles = np.array([_middle_s(window) for window in windows])
    values = np.array([window.probabilities for window in windows])
    end_s = max(duration_s, 1e-6)
    return np.array([0.0, *middles, end_s]), np.concatenate([values[:1], values, values[-1:]])


def _draw_row(
    draw: ImageDraw.ImageDraw,
    name: str,
    answers: Sequence[Sequence[float] | None],
    prediction: Prediction,
    area: tuple[int, int, int, int],
) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, fill="#f4f4f4")
    draw.text((left - 10, (top + bottom) / 2), name, fill="#222222", font=_font(16), anchor="rm")
    for (start, end), answer in zip(pairwise(_edges_px(prediction, left, right)), answers, strict=True):
        if answer is not None:
            colour = COLOURS[EMOTIONS[int(np.argmax(answer))]]
            draw.rectangle((start, top, end, bottom), fill=colour)
    state = prediction.face.state if name == "face" else prediction.voice.state
    if state != "ok":
        draw.text((left + 8, (top + bottom) / 2), state.replace("_", " "), fill="#555555", font=_font(15), anchor="lm")


def _draw_axis(draw: ImageDraw.ImageDraw, duration_s: float, area: tuple[int, int, int]) -> None:
    left, top, right = area
    for time_s in ticks_s(duration_s):
        x = left + time_s / duration_s * (right - left)
        draw.line((x, top - 8, x, top), fill="#555555")
        draw.text((x, top + 4), f"{time_s:g} s", fill="#555555", font=_font(15), anchor="ma")


def ticks_s(duration_s: float) -> list[float]:
    """Return four to eleven round instants to mark on a time axis; none for a still picture.

    Args:
        duration_s: length of the clip in seconds, from 0.
    """
    if duration_s <= 0:
        return []
    unit_s = 10.0 ** math.floor(math.log10(duration_s / 4))
    step_s = max(unit_s * times for times in (1, 2, 5) if unit_s * times <= duration_s / 4)
    return [round(index * step_s, 6) for index in range(math.floor(duration_s / step_s + 1e-6) + 1)]


def _draw_legend(draw: ImageDraw.ImageDraw, prediction: Prediction, left: int) -> None:
    for row, emotion in enumerate(reversed(EMOTIONS)):
        y = 80 + row * 34
        value = prediction.probabilities[EMOTIONS.index(emotion)]
        draw.rectangle((left, y, left + 20, y + 20), fill=COLOURS[emotion])
        draw.text((left + 28, y + 10), f"{emotion} {value:.0%}", fill="#222222", font=_font(17), anchor="lm")


def _title(prediction: Prediction) -> str:
    name = printable(Path(prediction.clip).name)
    short = name if len(name) <= 48 else f"{name[:45]}..."
    notes = [_whom(prediction), "abstained" if prediction.abstained else ""]
    noted = ", ".join(note for note in notes if note)
    return f"{short}: {prediction.label or 'no answer'}{f' ({noted})' if noted else ''}"


def _whom(prediction: Prediction) -> str:
    """Say which of several people the answer speaks for; nothing where there is no choice."""
    return f"person {prediction.person} of {len(prediction.people)}" if len(prediction.people) > 1 else ""


def _window_at(windows: Sequence[Window], time_s: float) -> Window | None:
    """Return the window whose middle is nearest to an instant; windows come in the order of time."""
    at = bisect_right(windows, time_s, key=_middle_s)
    return min(windows[max(at - 1, 0) : at + 1], key=lambda window: abs(_middle_s(window) - time_s), default=None)


def _middle_s(window: Window) -> float:
    return (window.start_s + window.end_s) / 2


def _fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """Crop or pad a frame to the size the encoder was opened with; a stream may change its size on the way."""
    cut = pixels[:height, :width]
    return np.ascontiguousarray(
        np.pad(cut, ((0, height - cut.shape[0]), (0, width - cut.shape[1]), (0, 0)), mode="edge")
    )


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType on every platform that has wheels"
    return font
