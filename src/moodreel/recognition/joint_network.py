"""A joint network: face and voice in, one answer out.

What each modality says alone is what the network answers with the other hidden; the shares of both are even, for it
states none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from moodreel.bundle import Bundle
from moodreel.errors import BundleError
from moodreel.face.appearance import AppearanceReader
from moodreel.labels import N_EMOTIONS
from moodreel.recognition.abstention import ABSTAIN_BELOW
from moodreel.recognition.encoders import Encoders
from moodreel.recognition.evidence import Answer
from moodreel.recognition.fusion import ClipLogits, FloatArray, log_softmax
from moodreel.recognition.inputs import (
    DESCRIPTORS,
    EXPRESSIONS,
    FRAMES,
    FUNCTIONALS,
    SPEECH,
    Features,
    FrameSpec,
    InputSpec,
    input_names,
    spec_from_dict,
)
from moodreel.voice.descriptors import N_DESCRIPTORS

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True)
class JointCalibration:
    """How sure a joint bundle may be.

    Attributes:
        temperature: divides the network's logits, above 0.
        abstain_below: least top probability of an answer to rely on, 0-1.
    """

    temperature: float = 1.0
    abstain_below: float = ABSTAIN_BELOW

    def face_answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what the network says of a clip with its sound hidden: probabilities, shape (7,), or `None`."""
        return self._soften(logits.face)

    def voice_answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what the network says of a clip with its picture hidden: probabilities, shape (7,), or `None`."""
        return self._soften(logits.voice)

    def answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what the network says of a clip: probabilities, shape (7,); `None` with nothing to go by."""
        return self._soften(logits.joint)

    def _soften(self, logits: FloatArray | None) -> FloatArray | None:
        return None if logits is None else np.exp(log_softmax(logits / self.temperature))


@dataclass(frozen=True)
class JointNetwork:
    """The opened joint network, with the encoders it builds on.

    Attributes:
        title: name and version of the bundle.
        spec: what the network reads.
        calibration: how sure it may be.
        path: where the bundle lies.
        session: the network.
        encoders: the encoders.
        appearance: what tells people apart; `None` where the bundle has nothing that does.
    """

    title: str
    spec: InputSpec
    calibration: JointCalibration
    path: str
    session: onnxruntime.InferenceSession
    encoders: Encoders
    appearance: AppearanceReader | None = None

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int) -> JointNetwork:
        """Open the network of a joint bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that the network may use.

        Raises:
            BundleError: the bundle lacks the network, or what it reads is not stated soundly.
        """
        spec = spec_from_dict(bundle.section("inputs"))
        return cls(
            title=bundle.title,
            spec=spec,
            calibration=JointCalibration(
                temperature=bundle.number("joint", "temperature", 1.0, 1e-3, 1e3),
                abstain_below=bundle.number("joint", "abstain_below", ABSTAIN_BELOW, 0, 1),
            ),
            path=str(bundle.path),
            session=bundle.session("joint", threads),
            encoders=Encoders.open(bundle, face=spec.expressions, voice=spec.speech, threads=threads),
            appearance=AppearanceReader.open(bundle, threads=threads),
        )

    @property
    def reads(self) -> tuple[bool, bool]:
        """Whether the network looks at the picture, and whether it listens to the sound."""
        names = input_names(self.spec)
        return "has_face" in names, "has_voice" in names

    @property
    def follows(self) -> FrameSpec | None:
        """How faces are cut out; `None` where the network sees no faces, but nothing or the whole frame."""
        frames = self.spec.frames
        return None if frames is None or frames.framing == "whole" else frames

    def answer(self, features: Features) -> Answer:
        """Answer one stretch: as a whole, and with each modality hidden."""
        face, voice = (
            there and read for there, read in zip((features.has_face, features.has_voice), self.reads, strict=True)
        )
        if not face and not voice:
            return Answer()
        fused = self.run(features)
        by_face = self.run(replace(features, voice_state="unused")) if face and voice else fused
        by_voice = self.run(replace(features, face_state="unused")) if face and voice else fused
        weights = (face / (face + voice), voice / (face + voice))
        return Answer(by_face if face else None, by_voice if voice else None, fused, weights)

    def run(self, features: Features) -> FloatArray:
        """Return the calibrated probabilities of a stretch, shape (7,).

        Raises:
            BundleError: the network cannot read what its bundle says it reads, or does not answer with seven numbers.
        """
        side_px = self.spec.frames.side_px if self.spec.frames else 1
        black = np.zeros((1, side_px, side_px, 3), np.uint8)
        nobody = np.zeros((1, self.encoders.face_width), np.float32)
        silence = np.zeros(self.encoders.voice_width, np.float32)
        given = {
            FRAMES: features.frames if features.has_face else black,
            EXPRESSIONS: features.expressions if features.has_face else nobody,
            "has_face": np.array([features.has_face], np.float32),
            FUNCTIONALS: features.functionals,
            SPEECH: features.speech if features.has_voice else silence,
            DESCRIPTORS: features.descriptors if features.has_voice else np.zeros((1, N_DESCRIPTORS), np.float32),
            "has_voice": np.array([features.has_voice], np.float32),
        }
        try:
            (logits,) = self.session.run(["logits"], {name: given[name] for name in input_names(self.spec)})
        except Exception as error:  # ONNX Runtime raises a family of its own without a common base
            raise BundleError(f"{self.path}: the joint network cannot read this clip's inputs ({error})") from None
        if logits.shape != (N_EMOTIONS,) or not np.isfinite(logits).all():
            raise BundleError(f"{self.path}: the joint network gave {logits.shape} values, expected 7 finite ones")
        return np.asarray(np.exp(log_softmax(np.asarray(logits, dtype=np.float64) / self.calibration.temperature)))
