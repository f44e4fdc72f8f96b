"""A second opinion for the voice: the encoder as nEMO left it, under a linear head fitted in one go.

Sixteen actors are few. The tuned upper block learns them well, but some of what it learns is the actors; a strongly
regularised linear model on the untuned blocks errs elsewhere. Both share the stem and the lower block, and their
logits are added, a geometric mean of their probabilities (Hinton 2002, "products of experts").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.storage.whole_files import write_arrays
from moodreel.training.voice.network import VoiceNet
from moodreel.training.voice.recordings import Recording, read_recording
from moodreel.training.voice.scores import mix_background
from moodreel.voice.speech import CHUNK_S, RATE_HZ, Float32, extract_speech, pool_windows, trim_silence

PENALTIES = (0.001, 0.003, 0.01)
"""Inverse strengths of the penalty to choose from, by cross-validation over the training speakers."""
BACKGROUNDS = ("music 20 dB", "music 10 dB", "laughter 15 dB", "laughter 5 dB")
"""Every recording is learned from clean, and under one of these."""
N_INNER_FOLDS = 4
NEVER_SEEN = -20.0
"""Logit of an emotion that does not occur in training."""


class VoicePair(nn.Module):
    """Two networks over one lower part; called as a `VoiceNet` is.

    Args:
        tuned: the network whose upper blocks were trained; it also estimates the ratio.
        plain: the untuned network with its linear head.
        shared_blocks: the blocks that both have in common, counted from the stem.
    """

    def __init__(self, tuned: VoiceNet, plain: VoiceNet, shared_blocks: int) -> None:
        super().__init__()
        self.tuned = tuned
        self.plain = plain
        self.shared_blocks = shared_blocks

    def forward(self, mel: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor]:
        """Answer for each window; inputs and outputs are those of `VoiceNet`."""
        return self.read(mel, pooling)[:2]

    def read(self, mel: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gives, and the untuned network's statistics: no corpus of many emotions has touched those."""
        encoder = self.tuned.encoder
        lower = encoder.run_blocks(encoder.embed(mel), None, 0, self.shared_blocks)[0].transpose(1, 2)
        logits, snr_db = self.tuned(lower, pooling, None, self.shared_blocks)
        statistics = self.plain.pool(lower, pooling, None, self.shared_blocks)
        plain_logits, _ = self.plain.answer((statistics - self.plain.centre) / self.plain.spread)
        return logits + plain_logits, snr_db, statistics


@dataclass(frozen=True)
class Statistics:
    """What the untuned encoder gives of recordings.

    Attributes:
        values: float32, shape (n, n_statistics), clean recordings first, then the same under backgrounds.
        label: int64, shape (n,).
        speaker: names, shape (n,).
    """

    values: Float32
    label: NDArray[np.int64]
    speaker: NDArray[np.str_]

    def save(self, path: Path) -> None:
        """Write to one `.npz`."""
        write_arrays(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in stored.files})

    def without(self, speakers: Sequence[str]) -> Statistics:
        """Leave out some speakers."""
        kept = ~np.isin(self.speaker, speakers)
        return Statistics(self.values[kept], self.label[kept], self.speaker[kept])


def measure_statistics(net: VoiceNet, recordings: Sequence[Recording], seed: int) -> Statistics:
    """Measure each recording clean and under a background, the way predicting does.

    Args:
        net: the untuned network.
        recordings: with one label each.
        seed: together with a recording's place decides its background.
    """
    clean, mixed = [], []
    for place, recording in enumerate(recordings):
        sound = read_recording(recording.path)[: int(CHUNK_S * RATE_HZ)]
        rng = np.random.default_rng([seed, place, 7])
        clean.append(_pool(net, sound))
        mixed.append(_pool(net, mix_background(sound, BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))], [], rng)))
    label = np.array([recording.label for recording in recordings])
    speaker = np.array([recording.speaker for recording in recordings])
    return Statistics(np.array([*clean, *mixed], dtype=np.float32), np.tile(label, 2), np.tile(speaker, 2))


@torch.no_grad()
def _pool(net: VoiceNet, sound: Float32) -> Float32:
    speech = extract_speech(sound)
    mel, weights = trim_silence(speech, pool_windows(speech.active, [(0.0, CHUNK_S)]))
    pooled: Float32 = net.pool(torch.from_numpy(mel), torch.from_numpy(weights)[None])[0, 0].numpy()
    return pooled


def fit_plain(net: VoiceNet, statistics: Statistics) -> VoiceNet:
    """Fit the linear head of the untuned network.

    Args:
        net: the untuned network; its head and scales are set in place.
        statistics: of the training speakers alone.

    Returns:
        The network, in evaluation mode.
    """
    centre, spread = statistics.values.mean(axis=0), statistics.values.std(axis=0) + 1e-3
    rows = (statistics.values - centre) / spread
    model = _classifier(choose_penalty(rows, statistics)).fit(rows, statistics.label)
    net.centre.copy_(torch.from_numpy(centre))
    net.spread.copy_(torch.from_numpy(spread))
    weight, bias = np.zeros((N_EMOTIONS, rows.shape[1])), np.full(N_EMOTIONS, NEVER_SEEN)
    is_pair = len(model.classes_) == 2  # scikit-learn gives one row for two classes
    weight[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2 if is_pair else model.coef_
    bias[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2 if is_pair else model.intercept_
    with torch.no_grad():
        net.classifier.weight.copy_(torch.from_numpy(weight))
        net.classifier.bias.copy_(torch.from_numpy(bias))
    return net.eval()


def choose_penalty(rows: Float32, statistics: Statistics) -> float:
    """Choose the penalty by UAR on speakers left out of the fit, among the training speakers."""
    n_folds = min(N_INNER_FOLDS, len(np.unique(statistics.speaker)))
    if n_folds < 2:
        return PENALTIES[0]
    scores = [
        cross_val_score(
            _classifier(penalty),
            rows,
            statistics.label,
            groups=statistics.speaker,
            cv=GroupKFold(n_folds),
            scoring="balanced_accuracy",
        ).mean()
        for penalty in PENALTIES
    ]
    return PENALTIES[int(np.argmax(scores))]


def _classifier(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=200)
