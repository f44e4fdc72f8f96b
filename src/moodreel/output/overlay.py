"""The clip with faces and emotions drawn in, as MP4 or MKV."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from moodreel.errors import MediaError
from moodreel.labels import EMOTIONS
from moodreel.output.drawing import COLOURS, TAIL_S, font, segment_at
from moodreel.output.summary import describe_source, speaks_at
from moodreel.recognition.prediction import Box, Person, Prediction, Window, shift_prediction
from moodreel.text import printable

if TYPE_CHECKING:
    import av.container

    from moodreel.media.clip import Clip, Frame, Sound, VideoTrack


OVERLAY_SIDE_PX = 960
OVERLAY_HZ = 25.0
SOUND_HZ = 16_000
BOX_HOLD_S = 0.12
"""A box is drawn this long around the instant it was seen at: half the time between two analysed frames."""
LEGEND = "boxes: the face alone"
BOX_JOIN_S = 0.5
"""Two boxes of a face no further apart in time, and overlapping, are one movement; others lie on two sides of a cut."""

_CONTAINERS = {".mkv": "matroska"}

Pixels = npt.NDArray[np.uint8]


def write_overlay(
    clip: Path, prediction: Prediction, path: Path, *, start_s: float = 0.0, end_s: float | None = None
) -> None:
    """Write the clip anew with each person's box, the emotions of the moment, and the sound.

    Args:
        clip: the clip that was predicted.
        prediction: its prediction.
        path: the file to write, MKV if it is called so and else MP4: h264 at up to 960 pixels and 25 frames per
            second, aac mono at 16 kHz.
        start_s: where the predicted part begins in the file, in seconds; the overlay shows that part alone.
        end_s: where it ends; `None` for the file's end.

    Raises:
        MediaError: the clip holds no picture, or the overlay cannot be encoded.
        OSError: the file cannot be written.
    """
    import av

    from moodreel.media.clip import open_clip

    prediction = shift_prediction(prediction, -start_s)  # as the part's frames count
    with open_clip(clip, start_s=start_s, end_s=end_s) as source:
        if source.video is None:
            raise MediaError(f"{printable(prediction.clip)}: has no picture to draw an overlay on; use --plot instead")
        stream = source.stream(longest_side_px=OVERLAY_SIDE_PX, frames_rate_hz=OVERLAY_HZ, sound_rate_hz=SOUND_HZ)
        try:
            with av.open(str(path), "w", format=_CONTAINERS.get(path.suffix.lower(), "mp4")) as container:
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
        from moodreel.media.clip import Frame

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
                segment = segment_at(self._prediction.lanes[person.id], frame.time_s)
                speaks = speaks_at(self._prediction, person, frame.time_s)
                _draw_person(draw, person, segment, box, frame, speaks=speaks)
        segment = segment_at(self._prediction.segments, frame.time_s)
        if segment is not None and segment.label is not None:
            source = describe_source(self._prediction, segment, frame.time_s)
            _draw_bars(draw, segment, source, image.height)
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


def _draw_person(
    draw: ImageDraw.ImageDraw, person: Person, segment: Window | None, box: Box, frame: Frame, *, speaks: bool
) -> None:
    """Draw a box and what the face alone shows then, and whether the person speaks."""
    label = segment.label if segment is not None and segment.label else person.label
    is_unsure = person.abstained if segment is None else segment.abstained
    left, top, right, bottom = (value * frame.scale for value in box.box_px)
    letters = font(max(12, round(frame.pixels.shape[0] / 28)))
    draw.rectangle(
        (left, top, right, bottom), outline=COLOURS[label], width=max(2, frame.pixels.shape[0] // 200) * (1 + speaks)
    )
    text = f"{person.id} {label}{'?' * is_unsure}{', speaks' * speaks}"
    place = (left, max(0.0, top - letters.size - 6))
    draw.rectangle(draw.textbbox(place, text, font=letters), fill="black")
    draw.text(place, text, fill="white", font=letters)  # dark blue on black could not be read


def _draw_bars(draw: ImageDraw.ImageDraw, segment: Window, source: str, height_px: int) -> None:
    """Draw a segment's seven probabilities in the lower left corner, headed by what they and the boxes speak for."""
    size = max(9, height_px // 36)
    letters, step = font(size), size + 3
    top = height_px - step * len(EMOTIONS) - 6
    head = [f"bars: {source}", LEGEND]
    width = max(size * 13, *(round(draw.textlength(line, font=letters)) + 8 for line in head))
    draw.rectangle((0, top - 4 - step * len(head), width, height_px), fill="black")
    for row, line in enumerate(head):
        draw.text((4, top - step * (len(head) - row) - 1), line, fill="white", font=letters)
    for row, (emotion, value) in enumerate(zip(EMOTIONS, segment.probabilities, strict=True)):
        y = top + row * step
        draw.text((4, y - 1), emotion, fill="white", font=letters)
        draw.rectangle((size * 6, y, size * 6 + 1 + value * size * 6.5, y + size), fill=COLOURS[emotion])


def _fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """Crop or pad a frame to the size the encoder was opened with; a stream may change its size on the way."""
    cut = pixels[:height, :width]
    return np.ascontiguousarray(
        np.pad(cut, ((0, height - cut.shape[0]), (0, width - cut.shape[1]), (0, 0)), mode="edge")
    )
