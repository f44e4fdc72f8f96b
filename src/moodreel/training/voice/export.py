"""The voice network as ONNX."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal, Protocol

import onnx
import torch
from torch import Tensor, nn

from moodreel.training.onnx_weights import quantise
from moodreel.voice.speech import N_MELS

OPSET = 17


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


def export_voice(net: Exportable, path: Path, storage: Literal["int8", "float32"] = "int8") -> None:
    """Write the network as ONNX.

    Inputs are `mel` (1, 80, n_frames), n_frames even and at most 800, and `pooling` (n_windows, n_tokens), n_tokens =
    n_frames / 2; outputs are `logits` (n_windows, 7), `snr_db` (n_windows,) and `statistics` (n_windows,
    n_statistics), which other networks may build on; all float32.

    Args:
        net: the trained network.
        path: where to write.
        storage: of large weights; see `quantise` for `int8`.
    """
    chunk = _OneChunk(net).eval()
    n_tokens = 100
    example = (torch.zeros(1, N_MELS, 2 * n_tokens), torch.full((2, n_tokens), 1 / n_tokens))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            chunk,
            example,
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["mel", "pooling"],
            output_names=["logits", "snr_db", "statistics"],
            dynamic_axes={
                "mel": {2: "n_frames"},
                "pooling": {0: "n_windows", 1: "n_tokens"},
                "logits": {0: "n_windows"},
                "snr_db": {0: "n_windows"},
                "statistics": {0: "n_windows"},
            },
        )
    model = onnx.load_from_string(buffer.getvalue())
    if storage == "int8":
        model = quantise(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
