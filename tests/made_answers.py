"""Answers of a bundle that nobody had to train."""

import numpy as np

from moodreel.evaluation.answers import ClipAnswer, ModalityAnswer
from moodreel.labels import EMOTIONS


def make_answers(n=210, n_speakers=6, seed=0, both=True):
    """Answers of a face that is weak and a voice that is better, and of both together."""
    rng = np.random.default_rng(seed)
    answers = []
    for i in range(n):
        truth = int(rng.integers(7))
        face, voice = (_probabilities(rng, truth, strength) for strength in (0.5, 1.5))
        fused = face * voice / (face * voice).sum()
        answers.append(
            ClipAnswer(
                clip=f"clip{i}",
                speaker=f"s{i % n_speakers}",
                label=EMOTIONS[truth],
                gender=("female", "male")[i % 2],
                age=20 + 10 * (i % 5),
                duration_s=1.0 + i % 10,
                probabilities=tuple(fused if both else voice),
                abstained=bool(fused.max() < 0.4),
                face=ModalityAnswer("ok", tuple(face)) if both else ModalityAnswer("no_face", None),
                voice=ModalityAnswer("ok", tuple(voice)),
            )
        )
    return answers


def _probabilities(rng, truth, strength):
    logits = rng.normal(size=7) + strength * np.eye(7)[truth]
    return np.exp(logits) / np.exp(logits).sum()
