"""The voice network: Whisper's first blocks, statistics over each window's speech, two linear heads; and its export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.training.backbones.whisper import WhisperEncoder
from moodreel.training.machine import multiplies_bf16
from moodreel.training.voice.examples import SNR_RANGE_DB, Example

_VARIANCE_FLOOR = 1e-5
_SNR_CENTRE_DB = 15.0
_SNR_SPREAD_DB = 15.0


@dataclass(frozen=True)
class Batch:
    """Examples padded on the left to one length; windows padded with rows that weigh nothing.

    Attributes:
        features: float32, shape (n, 80, n_frames) or (n, width, n_tokens), as in `Example`; 0 where padded.
        real: bool, shape (n, n_tokens), False where padded.
        pooling: float32, shape (n, n_windows, n_tokens).
        labels: int64, shape (n, n_windows); -1 for windows without speech and padding.
        snr_db: float32, shape (n, n_windows); NaN for padding.
        known: bool, shape (n, 7).
    """

    features: Tensor
    real: Tensor
    pooling: Tensor
    labels: Tensor
    snr_db: Tensor
    known: Tensor


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to a batch."""
    n, n_tokens = len(examples), max(example.pooling.shape[1] for example in examples)
    n_windows = max(len(example.labels) for example in examples)
    n_channels, n_columns = examples[0].features.shape
    per_token = n_columns // examples[0].pooling.shape[1]
    features = np.zeros((n, n_channels, per_token * n_tokens), dtype=np.float32)
    real = np.zeros((n, n_tokens), dtype=np.bool_)
    pooling = np.zeros((n, n_windows, n_tokens), dtype=np.float32)
    labels = np.full((n, n_windows), -1, dtype=np.int64)
    snr_db = np.full((n, n_windows), np.nan, dtype=np.float32)
    for row, example in enumerate(examples):
        rows, length = example.pooling.shape
        features[row, :, per_token * (n_tokens - length) :] = example.features
        real[row, n_tokens - length :] = True
        pooling[row, :rows, n_tokens - length :] = example.pooling
        labels[row, :rows], snr_db[row, :rows] = example.labels, example.snr_db
    known = np.stack([example.known for example in examples])
    return Batch(*(torch.from_numpy(array) for array in (features, real, pooling, labels, snr_db, known)))


class VoiceNet(nn.Module):
    """Mel spectrum and pooling weights to the logits of seven emotions and the speech-to-background ratio.

    Args:
        encoder: the pretrained blocks.
        dropout: share of the pooled statistics dropped in training.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, encoder: WhisperEncoder, dropout: float = 0.3) -> None:
        super().__init__()
        self.encoder = encoder
        n_statistics = 2 * encoder.conv1.out_channels * len(encoder.layers)
        self.register_buffer("centre", torch.zeros(n_statistics))
        self.register_buffer("spread", torch.ones(n_statistics))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(n_statistics, N_EMOTIONS)
        self.snr_estimator = nn.Linear(n_statistics, 1)
        for head in (self.classifier, self.snr_estimator):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self, features: Tensor, pooling: Tensor, real: Tensor | None = None, first_block: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Answer for each window.

        Args:
            features: log-mel, float32, shape (n, 80, n_frames); or what enters `first_block`, (n, width, n_tokens).
            pooling: float32, shape (n, n_windows, n_tokens), each row sums to 1.
            real: bool, shape (n, n_tokens), False for padding; None when there is none.
            first_block: where to start; 0 takes the log-mel.

        Returns:
            Logits, shape (n, n_windows, 7), and the ratio in dB, shape (n, n_windows), within `SNR_RANGE_DB`.
        """
        return self.answer((self.pool(features, pooling, real, first_block) - self.centre) / self.spread)

    def read(self, mel: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gives of log-mel, and the statistics it rests on: (n, n_windows, n_statistics)."""
        statistics = self.pool(mel, pooling)
        return *self.answer((statistics - self.centre) / self.spread), statistics

    def answer(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and ratio in dB of standardised statistics of shape (n, n_windows, n_statistics)."""
        statistics = self.dropout(statistics)
        snr_db = self.snr_estimator(statistics).squeeze(-1) * _SNR_SPREAD_DB + _SNR_CENTRE_DB
        return self.classifier(statistics), snr_db.clamp(*SNR_RANGE_DB)

    def pool(self, features: Tensor, pooling: Tensor, real: Tensor | None = None, first_block: int = 0) -> Tensor:
        """Mean and deviation of each block's tokens over each window, shape (n, n_windows, n_statistics)."""
        return pool_tokens(self._encode(features, real, first_block), pooling)

    def _encode(self, features: Tensor, real: Tensor | None, first_block: int) -> list[Tensor]:
        """The normed outputs of all blocks; those before `first_block` but the last must not be needed.

        Training may run the blocks in bf16; what is pooled is float32, for the variance is a difference of squares.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and multiplies_bf16()):
            if first_block == 0:
                outputs: list[Tensor] = self.encoder(features, real)
            else:
                outputs = self.raise_tokens(features.transpose(1, 2), real, first_block)
        return [tokens.float() for tokens in outputs]

    def raise_tokens(self, tokens: Tensor, real: Tensor | None, first_block: int) -> list[Tensor]:
        """The normed outputs of the block before one and of all from it on, of what enters it, (n, n_tokens, width)."""
        raised = self.encoder.run_blocks(tokens, real, first_block)[1]
        return [self.encoder.norms[first_block - 1](tokens), *raised] if first_block else raised

    @torch.no_grad()
    def standardise(self, batches: Sequence[Batch], first_block: int = 0) -> None:
        """Set the scale of the statistics by what the encoder gives now; done once, before training."""
        rows = torch.cat([self.pool(b.features, b.pooling, b.real, first_block)[b.labels >= 0] for b in batches])
        self.centre.copy_(rows.mean(dim=0))
        self.spread.copy_(rows.std(dim=0).clamp_min(1e-3))


def pool_tokens(outputs: Sequence[Tensor], pooling: Tensor) -> Tensor:
    """Mean and deviation of tokens over each window.

    Args:
        outputs: of one or more blocks, float32, shape (n, n_tokens, width) each.
        pooling: as in `VoiceNet.forward`.

    Returns:
        Shape (n, n_windows, n_statistics).
    """
    statistics = []
    for tokens in outputs:
        mean = pooling @ tokens
        variance = pooling @ tokens.square() - mean.square()
        statistics += [mean, variance.clamp_min(_VARIANCE_FLOOR).sqrt()]
    return torch.cat(statistics, dim=-1)


@torch.no_grad()
def raise_examples(net: VoiceNet, examples: Sequence[Example], stop: int) -> list[Example]:
    """Replace the log-mel of examples by the tokens that leave the first `stop` blocks, to train the rest on."""
    raised = []
    for example in examples:
        mel = torch.from_numpy(example.features)[None]
        tokens = net.encoder.run_blocks(net.encoder.embed(mel), None, 0, stop)[0]
        raised.append(replace(example, features=tokens[0].T.numpy().astype(np.float16)))
    return raised
