"""Log-linear fusion of face and voice: calibrated log-probabilities, weighted and added.

    log p(emotion) = w_face log p_face(emotion) + w_voice(snr) log p_voice(emotion) + constant

(Hinton 2002, "Training products of experts": a log-linear pool). The voice's weight falls with the speech-to-background
ratio that the voice network itself estimates, so that music, laughter and babble do not outvote the face.
All numbers stand in `bundle.json`, with how they were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError
from moodreel.labels import N_EMOTIONS

FloatArray = npt.NDArray[np.float64]

BIASES = ("face_bias", "voice_bias")
_LEAST_TEMPERATURE = 1e-3
_MOST_WEIGHT = 1e3


@dataclass(frozen=True)
class ClipLogits:
    """What a bundle's networks said of one clip, pooled over time, before it is calibrated.

    Attributes:
        face: of the face alone, float64, shape (7,); `None` without a face.
        voice: of the voice alone, float64, shape (7,); `None` without speech.
        joint: of a joint network that sees and hears at once; `None` with a late bundle, or with nothing to go by.
        snr_db: speech-to-background ratio that the voice network estimates; `None` where it said nothing.
        speaker_share: how likely the voice is the face's, 0-1.
    """

    face: FloatArray | None = None
    voice: FloatArray | None = None
    joint: FloatArray | None = None
    snr_db: float | None = None
    speaker_share: float = 1.0


@dataclass(frozen=True)
class Fusion:
    """How calibrated face and voice are added.

    Attributes:
        face_temperature: divides the face's logits, above 0.
        voice_temperature: divides the voice's logits, above 0.
        face_weight: exponent of the face's probabilities where both are there.
        voice_weight: exponent of the voice's probabilities where both are there and the sound is clean.
        voice_trust_db: speech-to-background ratios in dB, rising.
        voice_trust: factor on `voice_weight` at each of them, 0-1; linear between, flat outside.
        abstain_below: the answer is marked as abstained where its top probability is below this, 0-1.
        face_bias: added to the face's logits, seven values in the order of `EMOTIONS`: a part of the class prior, since
            a network with none of it sees rare emotions everywhere.
        voice_bias: added to the voice's logits likewise.
    """

    face_temperature: float
    voice_temperature: float
    face_weight: float
    voice_weight: float
    voice_trust_db: tuple[float, ...]
    voice_trust: tuple[float, ...]
    abstain_below: float
    face_bias: tuple[float, ...] = (0.0,) * N_EMOTIONS
    voice_bias: tuple[float, ...] = (0.0,) * N_EMOTIONS

    def face_log_probabilities(self, logits: npt.ArrayLike) -> FloatArray:
        """Calibrate the face network's logits, shape (…, 7), to log-probabilities of the same shape."""
        return log_softmax((np.asarray(logits, dtype=np.float64) + self.face_bias) / self.face_temperature)

    def voice_log_probabilities(self, logits: npt.ArrayLike) -> FloatArray:
        """Calibrate the voice network's logits, shape (…, 7), to log-probabilities of the same shape."""
        return log_softmax((np.asarray(logits, dtype=np.float64) + self.voice_bias) / self.voice_temperature)

    def face_answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what the face alone says of a clip: probabilities, shape (7,); `None` without a face."""
        return None if logits.face is None else np.exp(self.face_log_probabilities(logits.face))

    def voice_answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what the voice alone says of a clip: probabilities, shape (7,); `None` without speech."""
        return None if logits.voice is None else np.exp(self.voice_log_probabilities(logits.voice))

    def answer(self, logits: ClipLogits) -> FloatArray | None:
        """Return what both say of a clip: probabilities, shape (7,); `None` with neither."""
        face = None if logits.face is None else self.face_log_probabilities(logits.face)
        voice = None if logits.voice is None else self.voice_log_probabilities(logits.voice)
        return self.fuse(face, voice, logits.snr_db, logits.speaker_share)

    def weights(self, snr_db: float | None, *, has_face: bool, speaker_share: float = 1.0) -> tuple[float, float]:
        """Return the exponents of face and voice.

        Args:
            snr_db: speech-to-background ratio in dB that the voice network estimates; `None` without speech.
            has_face: whether a face was seen.
            speaker_share: how likely the voice is that of the face, 0-1: less than 1 where several people are seen.

        Returns:
            Exponents of the face and of the voice; a modality that stands alone has 1, an absent one 0.
        """
        if snr_db is None:
            return (1.0 if has_face else 0.0), 0.0
        if not has_face:
            return 0.0, 1.0
        trust = float(np.interp(snr_db, self.voice_trust_db, self.voice_trust))
        return self.face_weight, self.voice_weight * trust * speaker_share

    def fuse(
        self, face: FloatArray | None, voice: FloatArray | None, snr_db: float | None, speaker_share: float = 1.0
    ) -> FloatArray | None:
        """Add calibrated log-probabilities.

        Args:
            face: shape (7,), or `None` without a face.
            voice: shape (7,), or `None` without speech.
            snr_db: as the voice network estimates it, `None` without speech.
            speaker_share: as in `weights`.

        Returns:
            Probabilities, shape (7,), summing to 1; `None` with neither.
        """
        face_weight, voice_weight = self.weights(
            snr_db if voice is not None else None, has_face=face is not None, speaker_share=speaker_share
        )
        if face is None and voice is None:
            return None
        total = np.zeros(N_EMOTIONS)
        if face is not None:
            total += face_weight * face
        if voice is not None:
            total += voice_weight * voice
        return np.asarray(np.exp(log_softmax(total)))


def read_fusion(section: Mapping[str, Any]) -> Fusion:
    """Read the `fusion` section of `bundle.json`.

    Raises:
        BundleError: a number is missing, of the wrong type or out of range.
    """
    try:
        fusion = Fusion(
            face_temperature=float(section["face_temperature"]),
            voice_temperature=float(section["voice_temperature"]),
            face_weight=float(section["face_weight"]),
            voice_weight=float(section["voice_weight"]),
            voice_trust_db=tuple(float(value) for value in section["voice_trust_db"]),
            voice_trust=tuple(float(value) for value in section["voice_trust"]),
            abstain_below=float(section["abstain_below"]),
            **{name: tuple(float(value) for value in section.get(name, (0.0,) * N_EMOTIONS)) for name in BIASES},
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"bundle.json: fusion: missing or malformed {error}; export the bundle anew") from None
    _check(fusion)
    return fusion


def _check(fusion: Fusion) -> None:
    knots, trust = np.array(fusion.voice_trust_db), np.array(fusion.voice_trust)
    numbers = [fusion.face_temperature, fusion.voice_temperature, fusion.face_weight, fusion.voice_weight]
    temperatures, weights = numbers[:2], numbers[2:]
    is_sound = (
        bool(np.isfinite([*numbers, fusion.abstain_below, *knots, *trust, *fusion.face_bias, *fusion.voice_bias]).all())
        and len(fusion.face_bias) == len(fusion.voice_bias) == N_EMOTIONS
        and all(_LEAST_TEMPERATURE <= value <= 1 / _LEAST_TEMPERATURE for value in temperatures)
        and all(0 <= value <= _MOST_WEIGHT for value in weights)
        and weights[0] > 0  # else a face beside a voice that is not trusted would leave nothing to answer with
        and 0 <= fusion.abstain_below <= 1
        and len(knots) == len(trust) >= 1
        and bool((np.diff(knots) > 0).all() and (trust >= 0).all() and (trust <= 1).all())
    )
    if not is_sound:
        raise BundleError(
            f"bundle.json: fusion: expected temperatures of {_LEAST_TEMPERATURE:g}-{1 / _LEAST_TEMPERATURE:g}, weights "
            f"of 0-{_MOST_WEIGHT:g}, rising voice_trust_db with a voice_trust of 0-1 each, abstain_below of 0-1, seven "
            "finite values of face_bias and of voice_bias"
        )


def log_softmax(values: npt.ArrayLike) -> FloatArray:
    """Return log-probabilities over the last axis, computed without overflow."""
    array = np.asarray(values, dtype=np.float64)
    shifted = array - array.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
