"""The voice network as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from moodreel.training.onnx_export import GraphPlan, Inputs, write_onnx
from moodreel.training.onnx_weights import Storage
from moodreel.voice.speech import CHUNK_S, RATE_HZ, extract_speech

AXES = {
    "mel": {2: "n_frames"},
    "pooling": {0: "n_windows", 1: "n_tokens"},
    "logits": {0: "n_windows"},
    "snr_db": {0: "n_windows"},
    "statistics": {0: "n_windows"},
}


class Exportable(Protocol):
    """A network over log-mel spectra that `export_voice` can write."""

    def read(self, mel: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, ratio in dB and statistics of each window; see `VoiceNet.read`."""


class _OneChunk(nn.Module):
    """The network as it is exported: one chunk, any number of windows."""

    def __init__(self, net: Exportable) -> None:
        super().__init__()
        self.net = net

    def forward(self, mel: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, snr_db, statistics = self.net.read(mel, pooling[None])
        return logits[0], snr_db[0], statistics[0]


def export_voice(net: Exportable, path: Path, storage: Storage = "int8") -> None:
    """Write the network as ONNX.

    Inputs are `mel` (1, 80, n_frames), n_frames even and at most 800, and `pooling` (n_windows, n_tokens), n_tokens =
    n_frames / 2; outputs are `logits` (n_windows, 7), `snr_db` (n_windows,) and `statistics` (n_windows,
    n_statistics), which other networks may build on; all float32.

    Args:
        net: the trained network.
        path: where to write.
        storage: of large weights.

    Raises:
        MoodreelError: the graph answers otherwise than the network; no file is left then.
        OutputError: the file cannot be written.
    """
    examples = [_make_example(seconds, n_windows) for seconds, n_windows in ((2.0, 2), (0.1, 1), (CHUNK_S, 8))]
    write_onnx(_OneChunk(net), path, examples, GraphPlan(["logits", "snr_db", "statistics"], AXES, storage))


def _make_example(seconds: float, n_windows: int) -> Inputs:
    """Syllables of a harmonic tone, which windows weigh at random: 8 bits are made for speech, not for noise."""
    rng = np.random.default_rng(n_windows)
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 150 * k * times_s) / k for k in range(1, 15))
    syllables = 0.1 * tone * np.maximum(np.sin(4 * np.pi * times_s), 0) + 1e-3 * rng.standard_normal(len(times_s))
    mel = extract_speech(syllables.astype(np.float32)).mel
    weights = rng.random((n_windows, mel.shape[1] // 2), dtype=np.float32)
    return {"mel": mel[None], "pooling": weights / weights.sum(1, keepdims=True)}
