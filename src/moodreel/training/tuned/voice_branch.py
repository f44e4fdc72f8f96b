"""The trained half of a shipped voice network: its upper blocks as torch has them, and back into the graph.

The graph of a voice network is two halves over one lower part (`VoicePair`). One was trained on emotions; the other's
statistics are what maps, gate and sound network read. The first alone is tuned here, with a lower part of its own where
that changes too, so that everything else in the bundle is given what it was given before.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from moodreel.errors import BundleError
from moodreel.training.backbones.whisper import WhisperEncoder
from moodreel.training.machine import multiplies_bf16
from moodreel.training.onnx_export import GraphPlan, Inputs, write_onnx
from moodreel.training.onnx_reading import NamedGraph
from moodreel.training.onnx_weights import Float32, Storage, prune
from moodreel.training.voice.network import VoiceNet, pool_tokens

HALF = "net.tuned."
"""How the names of the half's weights begin."""
_HEAD_WIDTH = 64
"""Of an attention head: Whisper's."""
_AXES = {
    "tokens": {1: "n_branch_tokens"},
    "pooling": {0: "n_windows", 1: "n_branch_tokens"},
    "own": {1: "n_windows"},
    "snr_db": {0: "n_windows"},
}


class Branch(nn.Module):
    """The blocks of the trained half from one on, and its heads.

    Args:
        net: the half; what lies below the first block is not used.
        first_block: the first that is trained.
    """

    def __init__(self, net: VoiceNet, first_block: int) -> None:
        super().__init__()
        self.net = net
        self.first_block = first_block

    def forward(self, tokens: Tensor, pooling: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Answer for each window.

        Args:
            tokens: what enters the first block, float32, shape (n, n_tokens, width).
            pooling: float32, shape (n, n_windows, n_tokens).
            real: bool, shape (n, n_tokens), False for padding; `None` where there is none.

        Returns:
            Logits, shape (n, n_windows, 7), and the ratio in dB, shape (n, n_windows).
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and multiplies_bf16()):
            outputs = self.net.raise_tokens(tokens, real, self.first_block)
        statistics = pool_tokens([one.float() for one in outputs], pooling)
        return self.net.answer((statistics - self.net.centre) / self.net.spread)


@dataclass(frozen=True)
class Site:
    """Where the branch stands in its graph.

    Attributes:
        tokens: name of what enters its first block.
        logits: name of its own answer.
    """

    tokens: str
    logits: str


def count_blocks(graph: bytes) -> int:
    """Return how many blocks the trained half has; 0 where a network has none of these names."""
    return _count_blocks([tensor.name for tensor in onnx.load_from_string(graph).graph.initializer])


def _count_blocks(names: Iterable[str]) -> int:
    found = (re.search(rf"{re.escape(HALF)}encoder\.layers\.(\d+)\.fc1\.bias$", name) for name in names)
    return max((int(match.group(1)) + 1 for match in found if match), default=0)


def read_branch(graph: bytes, first_block: int) -> tuple[Branch, Site]:
    """Rebuild the trained half of a voice network in torch.

    Args:
        graph: the serialised network.
        first_block: the first block that is to be trained.

    Returns:
        The branch in evaluation mode, and where it stands.

    Raises:
        BundleError: the network is not one that moodreel trained.
    """
    named = NamedGraph(onnx.load_from_string(graph))
    weights = named.read()
    marks = [*_list_marks(weights), ""]
    try:
        net = _build(weights, marks)
        normed = next(one for mark in marks if (one := _name_norm(mark, first_block)) in weights)
        site = Site(named.find_normed(normed), named.find_added(f"{marks[0]}{HALF}classifier.bias"))
    except (KeyError, StopIteration, RuntimeError, ValueError):
        raise BundleError(
            "the voice network is not one that moodreel trained; tune its last layer alone (level: heads)"
        ) from None
    return Branch(net, first_block).eval(), site


def _name_norm(mark: str, block: int) -> str:
    return f"{mark}{HALF}encoder.layers.{block}.self_attn_layer_norm.weight"


def _list_marks(names: Iterable[str]) -> list[str]:
    """Return the marks of branches that were put into a graph, the newest first."""
    numbers = [re.fullmatch(rf"branch(\d+)\.{re.escape(HALF)}classifier\.bias", name) for name in names]
    return [f"branch{number}." for number in sorted((int(match.group(1)) for match in numbers if match), reverse=True)]


def _build(weights: Mapping[str, Float32], marks: Sequence[str]) -> VoiceNet:
    """Build the half in torch; a weight that a newer branch lacks is an older one's."""

    def find(name: str) -> Float32:
        return next(weights[f"{mark}{HALF}{name}"] for mark in marks if f"{mark}{HALF}{name}" in weights)

    width, n_mels, _ = find("encoder.conv1.weight").shape
    n_positions = len(find("encoder.embed_positions.weight"))
    net = VoiceNet(WhisperEncoder(_count_blocks(weights), width, max(1, width // _HEAD_WIDTH), n_positions, n_mels))
    net.load_state_dict({name: torch.from_numpy(find(name).copy()) for name in net.state_dict()})
    return net


class _Exported(nn.Module):
    """A branch as it is exported, under the names that its weights had: one chunk, any number of windows."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"tuned": branch.net})
        self.branch = [branch]  # a list, so that its weights have one name

    def forward(self, tokens: Tensor, pooling: Tensor) -> tuple[Tensor, Tensor]:
        logits, snr_db = self.branch[0](tokens, pooling[None])
        return logits, snr_db[0]


def graft(
    graph: bytes, branch: Branch, site: Site, examples: Sequence[tuple[Float32, Float32]], storage: Storage = "int8"
) -> bytes:
    """Put a branch in the place of the one that a graph has; all else in it stays, bit by bit.

    Args:
        graph: the serialised network.
        branch: the new one.
        site: where the old one stands.
        examples: tokens (n_tokens, width) and pooling (n_tokens,) of real speech, for the comparison with torch.
        storage: of large weights.

    Raises:
        MoodreelError: the exported branch answers otherwise than torch's.
    """
    model = onnx.load_from_string(graph)
    older = _list_marks(tensor.name for tensor in model.graph.initializer)
    mark = f"branch{1 + int(older[0][len('branch') : -1]) if older else 0}."
    part = _export(branch, examples, storage)
    names = {"tokens": site.tokens, "pooling": "pooling", "snr_db": "snr_db"}
    _rename(part, lambda name: names.get(name, f"{mark}{name}") if name else name)
    _rename(model, lambda name: "replaced.snr_db" if name == "snr_db" else name)
    for node in model.graph.node:
        node.input[:] = [f"{mark}own" if name == site.logits else name for name in node.input]
    nodes = list(model.graph.node)
    behind = 1 + next(place for place, node in enumerate(nodes) if site.tokens in node.output)
    ordered = [*nodes[:behind], *part.graph.node, *nodes[behind:]]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    model.graph.initializer.extend(part.graph.initializer)
    prune(model, [given.name for given in model.graph.output])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _export(branch: Branch, examples: Sequence[tuple[Float32, Float32]], storage: Storage) -> onnx.ModelProto:
    shown: list[Inputs] = [{"tokens": tokens[None], "pooling": pooling[None]} for tokens, pooling in examples]
    tokens, pooling = examples[0]
    two = np.stack([pooling, np.full_like(pooling, 1 / len(pooling))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "branch.onnx"
        write_onnx(
            _Exported(branch),
            path,
            [{"tokens": tokens[None], "pooling": two}, *shown],
            GraphPlan(["own", "snr_db"], _AXES, storage),
        )
        return onnx.load(str(path))


def _rename(model: onnx.ModelProto, rename: Callable[[str], str]) -> None:
    """Give every value of a graph another name, but for its outputs' declarations."""
    for node in model.graph.node:
        node.name = rename(node.name)
        for names in (node.input, node.output):
            names[:] = [rename(name) for name in names]
    for tensor in model.graph.initializer:
        tensor.name = rename(tensor.name)
