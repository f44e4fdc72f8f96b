"""A clip's named inputs of a joint network: frames or expressions, functionals, descriptors, speech statistics.

One code serves training and predicting.

What is read and how stands in an `InputSpec`, which a recipe holds and a bundle repeats, so the two cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.alignment import align_face, flatten_face
from moodreel.descriptors import N_DESCRIPTORS, extract_descriptors
from moodreel.encoders import Encoders
from moodreel.errors import BundleError
from moodreel.faces import Face, FaceDetector
from moodreel.functionals import LEAST_S, N_FUNCTIONALS, change_speed, extract_functionals
from moodreel.media import Clip
from moodreel.sampling import Frame
from moodreel.speech import CHUNK_S, RATE_HZ, cut_to_speech, extract_speech

Framing = Literal["whole", "face", "frontal"]
FRAMINGS: tuple[str, ...] = get_args(Framing)

FRAMES, EXPRESSIONS, FUNCTIONALS, SPEECH = "frames", "expressions", "functionals", "speech"
DESCRIPTORS = "descriptors"
"""What a joint network's inputs are called; beside them stand `has_face` and `has_voice`."""

Part = Literal["picture", "sound"]
"""What a clip's inputs are kept apart by: one can be read anew without the other."""

FEATURES_VERSION = 3
"""Part of every cache key: raise it when the same spec reads other values than before."""

ANALYSIS_SIDE_PX = 640
SILENCE = 1e-5
"""Sound whose largest sample stays below this (-100 dBFS) is silent."""
NO_ENCODERS = Encoders()
NO_DESCRIPTORS = np.zeros((0, N_DESCRIPTORS), np.float32)
NOT_VARIED = np.zeros((0, N_FUNCTIONALS), np.float32)
_SMOOTHING_S = 0.2
_DETECT_EVERY = 3
_SAME_FACE_BONUS = 0.3


@dataclass(frozen=True)
class FrameSpec:
    """How a clip's frames are read.

    Attributes:
        framing: `whole` (the whole frame, squeezed to a square, as the paper has it), `face` (an aligned crop) or
            `frontal` (a crop whose foreshortening is undone as well).
        side_px: side of the square.
        rate_hz: frames a second; a clip with fewer gives all it has.
        face_threshold: least score of the face detector, 0-1; low for drawn faces, which it was not taught.
    """

    framing: Framing = "face"
    side_px: int = 64
    rate_hz: float = 7.5
    face_threshold: float = 0.3


@dataclass(frozen=True)
class InputSpec:
    """What a joint network reads of a clip.

    Attributes:
        frames: how frames are read; `None` where the network has no eyes.
        expressions: whether a pretrained face encoder describes the frames; its features then stand for them.
        beside: with `expressions`: whether the frames themselves go in beside them.
        functionals: whether openSMILE's IS10 functionals are computed.
        trimmed: whether they are computed without the silence before and behind the speech.
        speech: whether a pretrained voice encoder describes the speech.
        longest_s: what lies beyond is left out; at most 8 s.
        descriptors: whether low-level descriptors of the speech are computed, one row every 20 ms.
        speeds: speeds at which functionals, or statistics of the speech, are computed once more, for training to learn
            from.
    """

    frames: FrameSpec | None = None
    expressions: bool = False
    beside: bool = False
    functionals: bool = False
    trimmed: bool = False
    speech: bool = False
    longest_s: float = 8.0
    descriptors: bool = False
    speeds: tuple[float, ...] = ()

    @property
    def hears(self) -> bool:
        """Whether sound is read."""
        return self.functionals or self.speech or self.descriptors

    @property
    def keeps_frames(self) -> bool:
        """Whether the frames themselves go in."""
        return self.frames is not None and (self.beside or not self.expressions)

    @property
    def picture(self) -> InputSpec:
        """What of it is seen."""
        return InputSpec(self.frames, self.expressions, self.beside, longest_s=self.longest_s)

    @property
    def sound(self) -> InputSpec:
        """What of it is heard."""
        return replace(self, frames=None, expressions=False, beside=False)


@dataclass(frozen=True)
class Features:
    """The inputs of one clip.

    Attributes:
        frames: RGB uint8, shape (n_frames, side, side, 3); n_frames is 0 unless `face_state` is `ok` and
            the spec keeps them.
        expressions: float32, shape (n_frames, d), features of the frames' faces; n_frames is 0 unless `face_state` is
            `ok` and they were asked for.
        functionals: float32, shape (1582,); zeros unless `voice_state` is `ok` and they were asked for.
        speech: float32, shape (d,), statistics of the speech; zeros unless `voice_state` is `ok`, d is 0 unless they
            were asked for.
        descriptors: float32, shape (n_rows, 86), of the sound between the first and the last speech; n_rows is 0
            unless `voice_state` is `ok` and they were asked for.
        varied: float32, shape (n_speeds, 1582 or d), what is heard at other speeds; zeros unless `voice_state` is `ok`.
        face_state: one of `moodreel.prediction.FACE_STATES`.
        voice_state: one of `moodreel.prediction.VOICE_STATES`.
    """

    frames: npt.NDArray[np.uint8]
    expressions: npt.NDArray[np.float32]
    functionals: npt.NDArray[np.float32]
    speech: npt.NDArray[np.float32]
    face_state: str
    voice_state: str
    descriptors: npt.NDArray[np.float32] = field(default_factory=lambda: NO_DESCRIPTORS)
    varied: npt.NDArray[np.float32] = field(default_factory=lambda: NOT_VARIED)

    @property
    def has_face(self) -> bool:
        """Whether there are frames to look at."""
        return self.face_state == "ok"

    @property
    def has_voice(self) -> bool:
        """Whether there is sound to listen to."""
        return self.voice_state == "ok"

    def to_arrays(self, part: Part) -> dict[str, npt.NDArray[Any]]:
        """Return what was seen, or heard, as arrays for the cache."""
        return {name: np.asarray(getattr(self, name)) for name in _FIELDS[part]}

    def with_arrays(self, part: Part, arrays: Mapping[str, npt.NDArray[Any]]) -> Features:
        """Return the features with what was seen, or heard, out of what `to_arrays` gave.

        Raises:
            KeyError: a field is missing.
        """
        given: dict[str, Any] = {name: arrays[name] for name in _FIELDS[part]}
        state = _FIELDS[part][-1]
        return replace(self, **{**given, state: str(given[state])})


_FIELDS: Mapping[Part, tuple[str, ...]] = {
    "picture": ("frames", "expressions", "face_state"),
    "sound": ("functionals", "speech", "descriptors", "varied", "voice_state"),
}
NOT_READ = Features(
    frames=np.zeros((0, 1, 1, 3), np.uint8),
    expressions=np.zeros((0, 0), np.float32),
    functionals=np.zeros(N_FUNCTIONALS, np.float32),
    speech=np.zeros(0, np.float32),
    face_state="no_video_track",
    voice_state="no_audio_track",
)
"""The inputs of a clip of which nothing was asked for."""


def input_names(spec: InputSpec) -> tuple[str, ...]:
    """Return the names of the inputs of a network that reads a spec, in their order."""
    pictures = [name for name, wanted in ((EXPRESSIONS, spec.expressions), (FRAMES, spec.keeps_frames)) if wanted]
    seen = [*pictures, "has_face"] if pictures else []
    sounds = ((FUNCTIONALS, spec.functionals), (SPEECH, spec.speech), (DESCRIPTORS, spec.descriptors))
    heard = [name for name, wanted in sounds if wanted]
    return (*seen, *heard, *(["has_voice"] if heard else []))


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


def spec_to_dict(spec: InputSpec) -> dict[str, Any]:
    """Return a spec as the `inputs` section of `bundle.json`.

    What came later is named only where it is asked for, so that bundles and caches of before it stay good.
    """
    section = asdict(spec)
    return {key: value for key, value in section.items() if value or key not in ("beside", "descriptors", "speeds")}


def spec_from_dict(section: Mapping[str, Any]) -> InputSpec:
    """Read the `inputs` section of `bundle.json`.

    Raises:
        BundleError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    try:
        frames = section["frames"]
        if "speeds" in section:
            raise ValueError("speeds are for training alone")
        spec = InputSpec(
            frames=None if frames is None else FrameSpec(**frames),
            **{key: value for key, value in section.items() if key != "frames"},
        )
        check_spec(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle.json: inputs: {error}; export the bundle anew") from None
    return spec


def check_spec(spec: InputSpec) -> None:
    """Check the ranges of a spec, which may come from a stranger's bundle.

    Raises:
        ValueError: a value is out of range; names it.
    """
    if not 0 < spec.longest_s <= CHUNK_S:
        raise ValueError(f"longest_s must lie within 0-{CHUNK_S:g}, found {spec.longest_s}")
    if not all(0.5 <= speed <= 2 for speed in spec.speeds):
        raise ValueError(f"speeds must lie within 0.5-2, found {', '.join(map(str, spec.speeds))}")
    if spec.speeds and spec.speech == spec.functionals:
        raise ValueError("speeds need functionals or speech, and not both")
    if spec.expressions and (spec.frames is None or spec.frames.framing != "face"):
        raise ValueError("expressions need frames with framing: face")
    if spec.beside and not spec.expressions:
        raise ValueError("beside needs expressions, which the frames stand beside")
    if spec.frames is None:
        return
    if spec.frames.framing not in FRAMINGS:
        raise ValueError(f"framing must be one of {', '.join(FRAMINGS)}, found {spec.frames.framing!r}")
    if not 8 <= spec.frames.side_px <= 512:
        raise ValueError(f"side_px must lie within 8-512, found {spec.frames.side_px}")
    if not 0 < spec.frames.rate_hz <= 60:
        raise ValueError(f"rate_hz must lie within 0-60, found {spec.frames.rate_hz}")
    if not 0 < spec.frames.face_threshold < 1:
        raise ValueError(f"face_threshold must lie within 0-1, found {spec.frames.face_threshold}")


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
