"""The face expression network: a trunk under two heads, and its export to ONNX with normalisation inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.training.backbones.mobilenet import Architecture, MobileNet
from moodreel.training.face.ferplus import FACE_SIDE
from moodreel.training.greys import LUMA
from moodreel.training.onnx_export import GraphPlan, write_onnx

CROP_SIDE = 96
"""Side of the face crops the exported network takes: twice FER2013's, halved inside, so that sampling cannot alias."""


_SPREAD = 64.0


class FaceNet(nn.Module):
    """A trunk under two linear heads over the seven emotions."""

    def __init__(self, architecture: Architecture, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = MobileNet(architecture)
        self.dropout = nn.Dropout(dropout)
        self.fer2013 = nn.Linear(architecture.width, N_EMOTIONS)
        self.ferplus = nn.Linear(architecture.width, N_EMOTIONS)
        for head in (self.fer2013, self.ferplus):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Read expressions.

        Args:
            pictures: float32, shape (n, 1, side, side), grey values 0-255.

        Returns:
            Logits of the FER2013 and the FER+ head without their priors, float32, shape (n, 7) each.
        """
        return self.answer(self.features(pictures))

    def answer(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads, shape (n, 7) each, of pooled features (n, width)."""
        features = self.dropout(features)
        return self.fer2013(features), self.ferplus(features)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features of normalised pictures, float32, shape (n, width)."""
        pooled: Tensor = self.trunk(normalise_pictures(pictures))
        return pooled


def normalise_pictures(pictures: Tensor) -> Tensor:
    """Give each picture mean 0 and nearly the deviation 64, whatever its light and contrast.

    Args:
        pictures: float32, shape (n, 1, side, side), grey values 0-255.

    Returns:
        float32, same shape; a blank picture becomes 0.
    """
    centred = pictures - pictures.mean((2, 3), keepdim=True)
    deviation = (centred.square().mean((2, 3), keepdim=True) + 1e-3).sqrt()
    return centred * (_SPREAD / (deviation + 4.0))


class FaceGraph(nn.Module):
    """What is exported: colour crops in, balanced logits out; normalisation included."""

    def __init__(self, net: FaceNet, side: int, ferplus_weight: float) -> None:
        super().__init__()
        self.net = net
        self.side = side
        self.ferplus_weight = ferplus_weight
        self.luma: Tensor
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read expressions of aligned crops.

        Args:
            faces: float32, shape (n, 3, 96, 96), RGB, values 0-255.

        Returns:
            Balanced logits, float32, shape (n, 7); the features they rest on, shape (n, width), which other networks
            may build on; and the logits of the FER2013 and the FER+ head, shape (n, 7) each, so that each can be
            measured on its own labels.
        """
        grey = (faces * self.luma).sum(1, keepdim=True)
        features = self.net.features(enlarge(nn.functional.avg_pool2d(grey, CROP_SIDE // FACE_SIDE), self.side))
        heads = self.net.answer(features)
        return self.mix(*heads), features, *heads

    def mix(self, fer2013: Tensor, ferplus: Tensor) -> Tensor:
        """The exported logits, from those of the two heads; float32, shape (n, 7) each."""
        return (1 - self.ferplus_weight) * fer2013 + self.ferplus_weight * ferplus


def enlarge(pictures: Tensor, side: int) -> Tensor:
    """Scale grey pictures of shape (n, 1, height, width) to (n, 1, side, side), bilinearly."""
    return nn.functional.interpolate(pictures, (side, side), mode="bilinear", align_corners=False)


def export_onnx(graph: FaceGraph, path: Path) -> None:
    """Write the graph as ONNX with half-precision weights; it computes in single precision.

    Args:
        graph: the fitted network; it is set to evaluation mode.
        path: of the file to write.

    Raises:
        MoodreelError: the graph answers otherwise than the network, or a weight is too large for float16; no file is
            left then.
        OutputError: the file cannot be written.
    """
    rng = np.random.default_rng(0)
    examples = [{"faces": rng.uniform(0, 255, (n, 3, CROP_SIDE, CROP_SIDE)).astype(np.float32)} for n in (2, 1, 5)]
    outputs = ("logits", "features", "fer2013", "ferplus")
    axes = {name: {0: "n"} for name in ("faces", *outputs)}
    write_onnx(graph, path, examples, GraphPlan(outputs, axes, "float16"))
