"""The inputs of a joint network, read out of a clip: the same for training and predicting."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.face.alignment import align_face, flatten_face
from moodreel.face.detector import Face, FaceDetector
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.recognition.encoders import Encoders
from moodreel.recognition.inputs import (
    ANALYSIS_SIDE_PX,
    NO_DESCRIPTORS,
    NO_ENCODERS,
    SILENCE,
    Features,
    FrameSpec,
    InputSpec,
)
from moodreel.voice.descriptors import extract_descriptors
from moodreel.voice.functionals import LEAST_S, N_FUNCTIONALS, change_speed, extract_functionals
from moodreel.voice.speech import CHUNK_S, RATE_HZ, cut_to_speech, extract_speech

_SMOOTHING_S = 0.2


_DETECT_EVERY = 3


_SAME_FACE_BONUS = 0.3


def extract_features(
    clip: Clip, spec: InputSpec, start_s: float = 0.0, end_s: float | None = None, encoders: Encoders = NO_ENCODERS
) -> Features:
    """Read a clip's inputs in one pass over the file.

    Args:
        clip: an opened clip.
        spec: what to read.
        start_s: where to begin, in seconds from the clip's start.
        end_s: where to end; `None` for the clip's end. At most `spec.longest_s` is read in any case.
        encoders: those that `spec` asks for.

    Returns:
        The inputs, with the state of each modality; one that was not asked for is in the state `ok` or missing alike.

    Raises:
        MediaError: nothing of what was asked for can be decoded.
    """
    end_s = min(start_s + spec.longest_s, np.inf if end_s is None else end_s)
    frames, sound = _read_stretch(clip, spec, start_s, end_s)
    has_video, has_sound = clip.has_picture, clip.has_sound
    return build_features(frames, sound, spec, encoders, has_video=has_video, has_sound=has_sound)


def build_features(
    frames: list[Frame],
    sound: npt.NDArray[np.float32],
    spec: InputSpec,
    encoders: Encoders,
    *,
    has_video: bool,
    has_sound: bool,
) -> Features:
    """Build the inputs out of a stretch of a clip that was read already.

    Args:
        frames: its frames, sampled as `spec.frames` asks, at `ANALYSIS_SIDE_PX`.
        sound: its sound, mono float32 at 16 kHz, shape (n_samples,).
        spec: what to read.
        encoders: those that `spec` asks for.
        has_video: whether the clip holds a picture.
        has_sound: whether the clip holds sound.

    Returns:
        The inputs, with the state of each modality.
    """
    pictures, face_state = _frame_pictures(frames, spec.frames, has_video)
    expressions = np.zeros((0, encoders.face_width), np.float32)
    if spec.expressions:
        expressions = encoders.describe_faces(pictures)
    if not spec.keeps_frames:
        pictures = pictures[:0]
    voice_state = _judge_sound(sound, has_sound)
    functionals, speech = np.zeros(N_FUNCTIONALS, np.float32), np.zeros(encoders.voice_width, np.float32)
    varied = np.zeros((len(spec.speeds), encoders.voice_width if spec.speech else N_FUNCTIONALS), np.float32)
    if voice_state == "ok" and spec.functionals:
        described = _cut_to_speech(sound) if spec.trimmed else sound
        functionals = extract_functionals(described)
        for place, speed in enumerate(spec.speeds):
            varied[place] = _extract_at_speed(described, speed)
    if voice_state == "ok" and spec.speech:
        speech = _describe_speech(sound, encoders)
        for place, speed in enumerate(spec.speeds):
            varied[place] = _describe_speech(change_speed(sound, speed), encoders)
    descriptors = NO_DESCRIPTORS
    if voice_state == "ok" and spec.descriptors:
        descriptors = extract_descriptors(_cut_to_speech(sound))
    return Features(pictures, expressions, functionals, speech, face_state, voice_state, descriptors, varied)


def _extract_at_speed(sound: npt.NDArray[np.float32], speed: float) -> npt.NDArray[np.float32]:
    """Return the functionals of a sound played faster or slower; of the sound as it is where it got too short."""
    copy = change_speed(sound, speed)
    return extract_functionals(copy if len(copy) >= LEAST_S * RATE_HZ else sound)


def _describe_speech(sound: npt.NDArray[np.float32], encoders: Encoders) -> npt.NDArray[np.float32]:
    return encoders.describe_speech(extract_speech(sound[: int(CHUNK_S * RATE_HZ)]))


def _cut_to_speech(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the part of a sound in which somebody speaks; all of it where that is too short to be described."""
    spoken = cut_to_speech(sound[: int(CHUNK_S * RATE_HZ)])
    return spoken if len(spoken) >= LEAST_S * RATE_HZ else sound


def _read_stretch(
    clip: Clip, spec: InputSpec, start_s: float, end_s: float
) -> tuple[list[Frame], npt.NDArray[np.float32]]:
    rate_hz = spec.frames.rate_hz if spec.frames else 0.0
    sound_rate_hz = RATE_HZ if spec.hears else 0
    frames: list[Frame] = []
    blocks = [np.zeros(0, np.float32)]
    for part in clip.stream(longest_side_px=ANALYSIS_SIDE_PX, frames_rate_hz=rate_hz, sound_rate_hz=sound_rate_hz):
        if isinstance(part, Frame):
            if start_s <= part.time_s < end_s:
                frames.append(part)
        else:
            first = round((start_s - part.start_s) * RATE_HZ)
            last = round(min(end_s - part.start_s, 1e6) * RATE_HZ)
            blocks.append(part.samples[max(first, 0) : max(last, 0)])
    return frames, np.concatenate(blocks)


def _judge_sound(sound: npt.NDArray[np.float32], has_track: bool) -> str:
    if not has_track:
        return "no_audio_track"
    if len(sound) == 0:
        return "undecodable"
    return "ok" if len(sound) >= LEAST_S * RATE_HZ and np.abs(sound).max() > SILENCE else "silent"


def _frame_pictures(frames: list[Frame], spec: FrameSpec | None, has_track: bool) -> tuple[npt.NDArray[np.uint8], str]:
    side_px = spec.side_px if spec else 1
    nothing = np.zeros((0, side_px, side_px, 3), np.uint8)
    if spec is None or not has_track:
        return nothing, "no_video_track"
    if not frames:
        return nothing, "undecodable"
    if spec.framing == "whole":
        return np.stack([_squeeze(frame.pixels, side_px) for frame in frames]), "ok"
    landmarks = _follow_face(frames, _detector(spec.face_threshold))
    if landmarks is None:
        return nothing, "no_face"
    cut = flatten_face if spec.framing == "frontal" else align_face
    pairs = zip(frames, landmarks, strict=True)
    return np.stack([cut(frame.pixels, points, side_px) for frame, points in pairs]), "ok"


def _squeeze(pixels: npt.NDArray[np.uint8], side_px: int) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8)


@cache
def _detector(threshold: float) -> FaceDetector:
    return FaceDetector(threshold=threshold)


def _follow_face(frames: list[Frame], detector: FaceDetector) -> npt.NDArray[np.float32] | None:
    """Follow the clearest face through a clip.

    Every third frame is searched; between and around, landmarks are interpolated, then smoothed over 0.2 s so that
    the detector's jitter does not look like an expression.

    Returns:
        float32, shape (n_frames, 5, 2), pixels of each frame; `None` when no frame shows a face.
    """
    seen_s: list[float] = []
    seen: list[npt.NDArray[np.floating[Any]]] = []
    last: Face | None = None
    for frame in frames[::_DETECT_EVERY]:
        last = _choose_face(detector.detect(frame.pixels), last)
        if last is not None:
            seen_s.append(frame.time_s)
            seen.append(last.landmarks_px.reshape(10))
    if not seen:
        return None
    times_s = np.array([frame.time_s for frame in frames])
    path = np.stack([np.interp(times_s, seen_s, column) for column in np.array(seen).T], axis=1)
    return np.asarray(_smoothing(times_s) @ path, np.float32).reshape(-1, 5, 2)


def _choose_face(faces: tuple[Face, ...], last: Face | None) -> Face | None:
    """Take the likeliest face, with a bonus for one that stands where the last one stood."""

    def rank(face: Face) -> float:
        return face.score + (_SAME_FACE_BONUS if last is not None and _stands_in(face, last) else 0.0)

    return max(faces, key=rank, default=None)


def _stands_in(face: Face, last: Face) -> bool:
    """Say whether the middle of one face lies within the box of another."""
    left, top, right, bottom = last.box_px
    x, y = (face.box_px[0] + face.box_px[2]) / 2, (face.box_px[1] + face.box_px[3]) / 2
    return left < x < right and top < y < bottom


def _smoothing(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return Gaussian weights between instants, shape (n, n), rows summing to 1."""
    weights = np.exp(-0.5 * ((times_s[:, None] - times_s[None, :]) / _SMOOTHING_S) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
