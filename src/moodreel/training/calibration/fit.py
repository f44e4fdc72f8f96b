"""Choose temperatures, modality weights, trust by background and the abstention threshold on answers with labels.

Every fit but the threshold's is convex: one least value, whatever it starts from. With few clips each is pulled towards
the values that the bundle has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from moodreel.labels import N_EMOTIONS
from moodreel.metrics import fit_temperature
from moodreel.recognition.fusion import FloatArray, Fusion, log_softmax

ANSWERED_SHARE = 0.95
"""Share of the answers that are not marked as abstained."""

_MOST_WEIGHT = 10.0
_LEAST_FACE_WEIGHT = 0.01
"""A face beside a voice that is not trusted must still answer."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Answers of a network on what it was not trained on.

    Attributes:
        logits: float64, shape (n, 7), uncalibrated.
        label: int64, shape (n,), 0-6.
        snr_db: float64, shape (n,): the voice network's estimate; zeros for faces.
        weight: float64, shape (n,), summing to 1: how much each answer counts.
    """

    logits: FloatArray
    label: Labels
    snr_db: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class Pairs:
    """Answers of the face network and of the voice network to the same clips.

    Attributes:
        face: uncalibrated logits, float64, shape (n, 7).
        voice: uncalibrated logits, float64, shape (n, 7).
        snr_db: speech-to-background ratio that the voice network estimates, shape (n,).
        speaker_share: how likely the voice is the face's, 0-1, shape (n,).
        label: int64, shape (n,), 0-6.
        weight: how much each clip counts, in any scale, shape (n,).
    """

    face: FloatArray
    voice: FloatArray
    snr_db: FloatArray
    speaker_share: FloatArray
    label: Labels
    weight: FloatArray


def fit_fusion(faces: HeldOut, voices: HeldOut, pairs: Pairs, present: Fusion, prior_clips: float = 0.0) -> Fusion:
    """Choose temperatures, weights, trust and the abstention threshold of a late bundle.

    Args:
        faces: answers of the face network alone; may be empty.
        voices: answers of the voice network alone; may be empty.
        pairs: answers of both to the same clips; may be empty.
        present: the values to start from; what no answer tells of stays as it is, and so do the biases.
        prior_clips: as many clips speak for the present values: each costs a nat where 1 / temperature moved by as much
            as it is, or a weight by 1.

    Returns:
        The values chosen, rounded to four digits.
    """
    fusion = replace(
        present,
        face_temperature=_refit_temperature(
            replace(faces, logits=faces.logits + present.face_bias), present.face_temperature, prior_clips
        ),
        voice_temperature=_refit_temperature(
            replace(voices, logits=voices.logits + present.voice_bias), present.voice_temperature, prior_clips
        ),
    )
    fusion = fit_weights(pairs, fusion, prior_clips)
    tops = [
        np.exp(fusion.face_log_probabilities(faces.logits)),
        np.exp(fusion.voice_log_probabilities(voices.logits)),
        fuse_pairs(pairs, fusion),
    ]
    threshold = choose_threshold([p.max(axis=1) for p in tops], present.abstain_below, prior_clips)
    return replace(fusion, abstain_below=threshold)


def fit_weights(pairs: Pairs, present: Fusion, prior_clips: float = 0.0) -> Fusion:
    """Choose the weights of face and voice and the voice's trust by background.

    Clearer sound is never trusted less, so what is fitted is by how much the voice's weight rises from knot to knot: no
    rise may be negative. (Forced to rise afterwards, by a running maximum, a weight that falls first would stand at its
    value in the worst noise for ever.)

    Args:
        pairs: answers to the same clips; with none `present` is given back.
        present: its temperatures are used, its weights started from and pulled to, its knots kept.
        prior_clips: as in `fit_fusion`.

    Returns:
        `present` with other weights.
    """
    if not len(pairs.label):
        return present
    design, start = _design(pairs, present), _rises(present)
    weight, pull = pairs.weight / pairs.weight.sum(), prior_clips / len(pairs.label)
    rows = np.arange(len(pairs.label))

    def loss(rises: FloatArray) -> tuple[float, FloatArray]:
        log_p = log_softmax(design @ rises)
        slope = np.einsum("n,nc,nck->k", weight, np.exp(log_p), design) - weight @ design[rows, pairs.label]
        moved = rises - start
        cost = -float(weight @ log_p[rows, pairs.label])
        return cost + pull * float(moved @ moved), slope + 2 * pull * moved

    lows = np.where(np.arange(len(start)) == 0, _LEAST_FACE_WEIGHT, 0.0)
    bounds = optimize.Bounds(lows, _MOST_WEIGHT)
    found = optimize.minimize(loss, np.clip(start, lows, _MOST_WEIGHT), jac=True, method="L-BFGS-B", bounds=bounds)
    return _with_rises(present, np.asarray(found.x, dtype=np.float64))


def fuse_pairs(pairs: Pairs, fusion: Fusion) -> FloatArray:
    """Return the probabilities of clips that have both, shape (n, 7)."""
    return np.asarray(np.exp(log_softmax(_design(pairs, fusion) @ _rises(fusion))))


def choose_threshold(tops: Sequence[FloatArray], present: float, prior_clips: float = 0.0) -> float:
    """Choose below which top probability an answer is marked as abstained: `ANSWERED_SHARE` stay above it.

    Args:
        tops: top probabilities, shape (n,) each, of several kinds of answers that count alike; some may be empty.
        present: the threshold so far.
        prior_clips: how many clips speak for it.
    """
    kinds = [top for top in tops if len(top)]
    if not kinds:
        return present
    found = float(np.mean([np.quantile(top, 1 - ANSWERED_SHARE) for top in kinds]))
    n_clips = max(len(top) for top in kinds)
    return round((n_clips * found + prior_clips * present) / (n_clips + prior_clips), 4)


def _refit_temperature(held: HeldOut, present: float, prior_clips: float) -> float:
    if not len(held.label):
        return present
    pull = prior_clips / len(held.label)
    return round(fit_temperature(held.label, held.logits, held.weight, present=present, pull=pull), 4)


def _design(pairs: Pairs, fusion: Fusion) -> FloatArray:
    """What the face's weight and each rise of the voice's add to the logits, shape (n, 7, 1 + n_knots)."""
    knots = np.array(fusion.voice_trust_db)
    beyond = [np.interp(pairs.snr_db, knots, np.arange(len(knots)) >= knot) for knot in range(len(knots))]
    reach = np.stack(beyond, axis=1) * pairs.speaker_share[:, None]
    voice = fusion.voice_log_probabilities(pairs.voice)[:, :, None] * reach[:, None, :]
    return np.concatenate([fusion.face_log_probabilities(pairs.face)[:, :, None], voice], axis=2)


def _rises(fusion: Fusion) -> FloatArray:
    """The face's weight, the voice's at the first knot, and by how much it rises to each next one."""
    voice = fusion.voice_weight * np.maximum.accumulate(fusion.voice_trust)
    return np.concatenate([[fusion.face_weight], np.diff(voice, prepend=0.0)])


def _with_rises(fusion: Fusion, rises: FloatArray) -> Fusion:
    voice = np.cumsum(rises[1:])
    trust = voice / voice[-1] if voice[-1] > 0 else np.ones(len(voice))
    return replace(
        fusion,
        face_weight=round(float(rises[0]), 4),
        voice_weight=round(float(voice[-1]), 4),
        voice_trust=tuple(round(float(value), 4) for value in trust),
    )


def no_answers() -> HeldOut:
    """Return what stands for a network that answered nothing."""
    return HeldOut(np.zeros((0, N_EMOTIONS)), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
