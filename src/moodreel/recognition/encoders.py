"""Pretrained encoders that a joint network may build on: the networks of a late bundle, read for their features.

A joint network on top of them is trained on features alone. Its bundle carries the encoders along, so that it answers
without the bundle they came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.errors import BundleError
from moodreel.inference import output_width, run_network
from moodreel.voice.speech import TOKEN_S, Speech, pool_windows, trim_silence

if TYPE_CHECKING:
    import onnxruntime

FACE, VOICE = "face", "voice"
"""What the two networks are called in `bundle.json`."""
OUTPUTS = {FACE: "features", VOICE: "statistics"}
"""The output of each that other networks build on."""
_FACES_AT_ONCE = 16


@dataclass(frozen=True)
class Encoders:
    """Opened encoders.

    Attributes:
        face: aligned crops to features; `None` where no features of faces are wanted.
        voice: log-mel spectra to statistics; `None` where no statistics of speech are wanted.
        checksums: sha256 by `FACE` and `VOICE` of those that were opened; features of other encoders cannot stand for
            theirs.
    """

    face: onnxruntime.InferenceSession | None = None
    voice: onnxruntime.InferenceSession | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def open(bundle: Bundle, *, face: bool, voice: bool, threads: int) -> Encoders:
        """Open the networks of a bundle that are wanted.

        Args:
            bundle: one with the networks `face` and `voice`.
            face: whether faces will be described.
            voice: whether speech will be described.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network, or it gives no features.
        """
        names = [name for name, wanted in ((FACE, face), (VOICE, voice)) if wanted]
        sessions = {name: bundle.session(name, threads) for name in names}
        _check_outputs(sessions, bundle.path)
        checksums = {name: str(bundle.networks[name]["sha256"]) for name in names}
        return Encoders(sessions.get(FACE), sessions.get(VOICE), checksums)

    @property
    def face_width(self) -> int:
        """Features of a face; 0 without that encoder."""
        return 0 if self.face is None else output_width(self.face, OUTPUTS[FACE])

    @property
    def voice_width(self) -> int:
        """Statistics of speech; 0 without that encoder."""
        return 0 if self.voice is None else output_width(self.voice, OUTPUTS[VOICE])

    def describe_faces(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Describe aligned faces.

        Args:
            crops: RGB, shape (n, side, side, 3), of the side that the network reads.

        Returns:
            Features, shape (n, face_width).

        Raises:
            BundleError: there is no such encoder, or it reads crops of another side.
        """
        if self.face is None:
            raise BundleError("no face encoder was opened")
        planes = crops.transpose(0, 3, 1, 2)
        parts = [np.zeros((0, self.face_width), np.float32)]
        for start in range(0, len(crops), _FACES_AT_ONCE):
            faces = np.ascontiguousarray(planes[start : start + _FACES_AT_ONCE], dtype=np.float32)
            parts += run_network(self.face, {"faces": faces}, {"features": (len(faces), self.face_width)})
        return np.concatenate(parts)

    def describe_speech(self, speech: Speech) -> npt.NDArray[np.float32]:
        """Describe the speech of one chunk: what the voice network pools over all of it.

        Args:
            speech: from `extract_speech`.

        Returns:
            Statistics, shape (voice_width,).

        Raises:
            BundleError: there is no such encoder.
        """
        if self.voice is None:
            raise BundleError("no voice encoder was opened")
        mel, weights = trim_silence(speech, pool_windows(speech.active, [(0.0, len(speech.active) * TOKEN_S)]))
        inputs = {"mel": mel, "pooling": weights}
        (statistics,) = run_network(self.voice, inputs, {"statistics": (1, self.voice_width)})
        return statistics.reshape(-1)


def _check_outputs(sessions: Mapping[str, onnxruntime.InferenceSession], path: Path) -> None:
    """Refuse networks that do not say what they rest on.

    Args:
        sessions: opened networks by `FACE` and `VOICE`.
        path: of their bundle, to name in an error.

    Raises:
        BundleError: one gives no features.
    """
    try:
        for name, session in sessions.items():
            output_width(session, OUTPUTS[name])
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
