"""The worker's side of a live stream: decodes sound and pictures and reads windows of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from PIL import Image

from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX
from moodreel.media.container import DecodeError
from moodreel.media.frames import Frame
from moodreel.recognition.live import LiveReader, LiveWindow
from moodreel.recognition.recognizer import Recognizer
from moodreel.serving.protocol.messages import PICTURE, RESET, Message
from moodreel.voice.speech import RATE_HZ

_MOST_SAMPLES = 48_000 * 10


def open_stream_handler(model: str, picture_px: int) -> Callable[[Message, Callable[[Message], None]], None]:
    """Open a bundle's networks for one stream.

    Args:
        model: name or folder of a bundle.
        picture_px: most pixels of a picture.

    Returns:
        What answers each message: nothing to `start`, then a window to each batch of media.

    Raises:
        BundleError: the bundle cannot be used.
    """
    reader = Recognizer.load(model, threads=1).start_live()
    ear: SoundDecoder | None = None

    def handle(message: Message, send: Callable[[Message], None]) -> None:
        nonlocal ear
        if "start" in message.head:
            ear = SoundDecoder(**message.head["start"])
            return
        assert ear is not None
        damaged = _take(reader, ear, message, picture_px)
        send(Message({**describe_window(reader.read(message.head["end_s"])), "damaged": damaged}))

    return handle


def _take(reader: LiveReader, ear: SoundDecoder, message: Message, picture_px: int) -> int:
    """Hand a batch to the reader; returns how many of its parts could not be decoded."""
    start, damaged = 0, 0
    for kind, time_s, size in message.head["parts"]:
        data = message.payload[start : start + size]
        start += size
        try:
            if kind == RESET:
                reader.forget(time_s)
            elif kind == PICTURE:
                reader.watch(decode_picture(data, time_s, picture_px))
            else:
                for samples in ear.decode(data):
                    reader.listen(samples, time_s)
        except DecodeError:
            damaged += 1
    return damaged


def decode_picture(data: bytes, time_s: float, picture_px: int) -> Frame:
    """Decode one JPEG, scaled down to the analysis size.

    Args:
        data: the JPEG.
        time_s: its time.
        picture_px: most pixels that it may have.

    Raises:
        ValueError: it is no JPEG, or too large.
        OSError: it is damaged.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # reads the header alone
        width = image.width
        if width * image.height > picture_px:
            raise ValueError("too many pixels")
        image.draft("RGB", (ANALYSIS_LONG_SIDE_PX, ANALYSIS_LONG_SIDE_PX))
        upright = image.convert("RGB")
    upright.thumbnail((ANALYSIS_LONG_SIDE_PX, ANALYSIS_LONG_SIDE_PX))
    return Frame(time_s, np.asarray(upright), upright.width / width)


@dataclass
class SoundDecoder:
    """Decodes live sound to mono at 16 kHz.

    Attributes:
        format: `pcm16` (mono, little-endian) or `opus` (one packet a message).
        rate_hz: samples per second of PCM.
    """

    format: str
    rate_hz: int
    _codec: AudioCodecContext | None = field(default=None, init=False)
    _resampler: av.AudioResampler = field(init=False)

    def __post_init__(self) -> None:
        self._resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        if self.format == "opus":
            codec = av.CodecContext.create("opus", "r")
            assert isinstance(codec, AudioCodecContext)
            codec.sample_rate, codec.layout = 48_000, "mono"
            self._codec = codec

    def decode(self, data: bytes) -> Iterator[npt.NDArray[np.float32]]:
        """Yield what one message holds.

        Args:
            data: PCM of whole samples, or one Opus packet.

        Yields:
            Mono float32 at 16 kHz, values -1 to 1.

        Raises:
            ValueError: it is no such sound; so do PyAV's own errors, which are kinds of it or of `OSError`.
        """
        for frame in self._frames(data):
            frame.pts = None
            for resampled in self._resampler.resample(frame):
                yield np.clip(resampled.to_ndarray().reshape(-1), -1, 1).astype(np.float32)

    def _frames(self, data: bytes) -> list[Any]:
        if self._codec is not None:
            return list(self._codec.decode(av.Packet(data)))
        samples = np.frombuffer(data, "<i2")[-_MOST_SAMPLES:]
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = self.rate_hz
        return [frame]


def describe_window(window: LiveWindow) -> dict[str, Any]:
    """Return a window as the live client is told it, in the words of `prediction.schema.json`.

    Args:
        window: what the reader said.
    """
    whole = window.prediction.to_dict()
    box_px = None if window.box is None else [round(edge, 1) for edge in window.box.box_px]
    kept = {key: whole[key] for key in ("label", "probabilities", "abstained", "modalities", "adaptation")}
    return {"start_s": round(window.start_s, 3), "end_s": round(window.end_s, 3), **kept, "box_px": box_px}
