"""The inputs of a joint network, read out of a clip: the same for training and predicting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.face.alignment import align_face, flatten_face
from moodreel.face.detector import Face, FaceDetector
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.media.stretches import read_stretch
from moodreel.recognition.encoders import Encoders
from moodreel.recognition.inputs import (
    ANALYSIS_SIDE_PX,
    NO_DESCRIPTORS,
    NO_ENCODERS,
    NOT_READ,
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
    stretch = read_stretch(
        clip,
        start_s,
        min(start_s + spec.longest_s, np.inf if end_s is None else end_s),
        longest_side_px=ANALYSIS_SIDE_PX,
        frames_rate_hz=spec.frames.rate_hz if spec.frames else 0.0,
        sound_rate_hz=RATE_HZ if spec.reads_sound else 0,
    )
    has_video, has_sound = clip.has_picture, clip.has_sound
    return build_features(stretch.frames, stretch.sound, spec, encoders, has_video=has_video, has_sound=has_sound)


def build_features(
    frames: Sequence[Frame],
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
    seen = read_pictures(frames, spec, encoders, has_video=has_video)
    heard = read_sound(sound, spec, encoders, has_sound=has_sound)
    return replace(heard, frames=seen.frames, expressions=seen.expressions, face_state=seen.state)


@dataclass(frozen=True)
class Pictures:
    """What a stretch shows, ready for a network.

    Attributes:
        times_s: float64, shape (n,), time of each frame that shows it.
        frames: RGB uint8, shape (n, side, side, 3), or none of them where the spec keeps none.
        expressions: float32, shape (n, d), features of the frames' faces; none where they were not asked for.
        state: one of `moodreel.recognition.prediction.FACE_STATES`.
        places_px: float64, shape (n, 2), middle of the followed face in the source picture; none where faces are not
            looked for.
    """

    times_s: npt.NDArray[np.float64]
    frames: npt.NDArray[np.uint8]
    expressions: npt.NDArray[np.float32]
    state: str
    places_px: npt.NDArray[np.float64]

    def between(self, start_s: float, end_s: float) -> Pictures:
        """Return what is shown from one instant up to, and not at, another."""
        inside = (self.times_s >= start_s) & (self.times_s < end_s)
        return Pictures(
            times_s=self.times_s[inside],
            frames=self.frames[inside] if len(self.frames) else self.frames,
            expressions=self.expressions[inside] if len(self.expressions) else self.expressions,
            state=self.state,
            places_px=self.places_px[inside] if len(self.places_px) else self.places_px,
        )


def join_pictures(parts: Sequence[Pictures]) -> Pictures:
    """Join what consecutive stretches show, at least one of them.

    The state is that of those that show something, else that of the first.
    """
    seen = [part for part in parts if len(part.times_s)] or parts[:1]
    return Pictures(
        times_s=np.concatenate([part.times_s for part in seen]),
        frames=np.concatenate([part.frames for part in seen]),
        expressions=np.concatenate([part.expressions for part in seen]),
        state=seen[0].state,
        places_px=np.concatenate([part.places_px for part in seen]),
    )


def read_pictures(frames: Sequence[Frame], spec: InputSpec, encoders: Encoders, *, has_video: bool) -> Pictures:
    """Build what is seen in a stretch of a clip; arguments as for `build_features`."""
    pictures, landmarks_px, state = _frame_pictures(frames, spec.frames, has_video)
    expressions = encoders.describe_faces(pictures) if spec.expressions else np.zeros((0, 0), np.float32)
    times_s = np.array([frame.time_s for frame in frames] if state == "ok" else [])
    places_px = np.zeros((0, 2))
    if landmarks_px is not None:
        scales = np.array([frame.scale for frame in frames])
        places_px = landmarks_px.mean(axis=1, dtype=np.float64) / scales[:, None]
    return Pictures(times_s, pictures if spec.keeps_frames else pictures[:0], expressions, state, places_px)


def read_sound(sound: npt.NDArray[np.float32], spec: InputSpec, encoders: Encoders, *, has_sound: bool) -> Features:
    """Build what is heard in a stretch of a clip, nothing seen; arguments as for `build_features`."""
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
    return replace(
        NOT_READ,
        functionals=functionals,
        speech=speech,
        descriptors=descriptors,
        varied=varied,
        voice_state=voice_state,
    )


def cut_face(
    pixels: npt.NDArray[np.uint8], landmarks_px: npt.NDArray[np.float32], spec: FrameSpec
) -> npt.NDArray[np.uint8]:
    """Cut out a face as a spec asks for: RGB uint8, shape (side, side, 3)."""
    cut = flatten_face if spec.framing == "frontal" else align_face
    return cut(pixels, landmarks_px, spec.side_px)


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


def _judge_sound(sound: npt.NDArray[np.float32], has_track: bool) -> str:
    if not has_track:
        return "no_audio_track"
    if len(sound) == 0:
        return "undecodable"
    return "ok" if len(sound) >= LEAST_S * RATE_HZ and np.abs(sound).max() > SILENCE else "silent"


def _frame_pictures(
    frames: Sequence[Frame], spec: FrameSpec | None, has_track: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None, str]:
    """Return the pictures of a stretch, the landmarks of the face they follow, and the state."""
    side_px = spec.side_px if spec else 1
    nothing = np.zeros((0, side_px, side_px, 3), np.uint8)
    if spec is None or not has_track:
        return nothing, None, "no_video_track"
    if not frames:
        return nothing, None, "undecodable"
    if spec.framing == "whole":
        return np.stack([_squeeze(frame.pixels, side_px) for frame in frames]), None, "ok"
    landmarks_px = _follow_face(frames, face_detector(spec.face_threshold))
    if landmarks_px is None:
        return nothing, None, "no_face"
    pairs = zip(frames, landmarks_px, strict=True)
    return np.stack([cut_face(frame.pixels, points, spec) for frame, points in pairs]), landmarks_px, "ok"


def _squeeze(pixels: npt.NDArray[np.uint8], side_px: int) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8)


@cache
def face_detector(threshold: float) -> FaceDetector:
    """Return the detector that takes a face from a score on; each is opened once."""
    return FaceDetector(threshold=threshold)


def _follow_face(frames: Sequence[Frame], detector: FaceDetector) -> npt.NDArray[np.float32] | None:
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
