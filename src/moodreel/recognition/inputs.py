"""A clip's named inputs of a joint network: frames or expressions, functionals, descriptors, speech statistics.

One code serves training and predicting.

What is read and how stands in an `InputSpec`, which a recipe holds and a bundle repeats, so the two cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError
from moodreel.recognition.encoders import Encoders
from moodreel.voice.descriptors import N_DESCRIPTORS
from moodreel.voice.functionals import N_FUNCTIONALS
from moodreel.voice.speech import CHUNK_S

Framing = Literal["whole", "face", "frontal"]
FRAMINGS: tuple[str, ...] = get_args(Framing)

FRAMES, EXPRESSIONS, FUNCTIONALS, SPEECH = "frames", "expressions", "functionals", "speech"
DESCRIPTORS = "descriptors"
"""What a joint network's inputs are called; beside them stand `has_face` and `has_voice`."""

Part = Literal["picture", "sound"]
"""What a clip's inputs are kept apart by: one can be read anew without the other."""

FEATURES_VERSION = 5
"""Part of every cache key: raise it when the same spec reads other values than before."""

ANALYSIS_SIDE_PX = 640
SILENCE = 1e-5
"""Sound whose largest sample stays below this (-100 dBFS) is silent."""
NO_ENCODERS = Encoders()
NO_DESCRIPTORS = np.zeros((0, N_DESCRIPTORS), np.float32)
NOT_VARIED = np.zeros((0, N_FUNCTIONALS), np.float32)


@dataclass(frozen=True)
class FrameSpec:
    """How a clip's frames are read.

    Attributes:
        framing: `whole` (the whole frame, squeezed to a square, as the paper has it), `face` (an aligned crop) or
            `frontal` (a crop whose foreshortening is undone as well).
        side_px: side of the square.
        rate_hz: frames per second; a clip with fewer gives all it has.
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
        frames: how frames are read; `None` where no frames are read.
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
    def reads_sound(self) -> bool:
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
        face_state: one of `moodreel.recognition.prediction.FACE_STATES`.
        voice_state: one of `moodreel.recognition.prediction.VOICE_STATES`.
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
