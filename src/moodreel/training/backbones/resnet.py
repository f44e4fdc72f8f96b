"""ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2): option-A shortcuts, key names of the public checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.errors import MoodreelError
from moodreel.storage.whole_files import write_text
from moodreel.training.onnx_export import GraphPlan, write_onnx

IMAGE_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G and B in 0-1 that inputs are centred on; the public CIFAR-10 checkpoints use these too."""
IMAGE_STD = (0.229, 0.224, 0.225)
"""Deviation of R, G and B that inputs are divided by."""
STAGE_WIDTHS = (16, 32, 64)
N_STAGES = len(STAGE_WIDTHS)
N_CIFAR_CLASSES = 10
SHIPPED_WEIGHTS = "resnet20-cifar10"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A: every second pixel, zero-padded channels)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride = stride
        self.n_pad = (n_out - n_in) // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, ceil(h / stride), ceil(w / stride))."""
        residual = functional.relu(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self._shortcut(maps))

    def _shortcut(self, maps: Tensor) -> Tensor:
        if self.stride == 1:
            return maps
        thinned = maps[:, :, :: self.stride, :: self.stride]
        return functional.pad(thinned, (0, 0, 0, 0, self.n_pad, self.n_pad))


class ResNet20(nn.Module):
    """The 20-layer CIFAR network: 3 stages of 3 blocks, 0.27 million parameters."""

    def __init__(self, n_classes: int = N_CIFAR_CLASSES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STAGE_WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_WIDTHS[0])
        self.layer1 = _stage(STAGE_WIDTHS[0], STAGE_WIDTHS[0], 1)
        self.layer2 = _stage(STAGE_WIDTHS[0], STAGE_WIDTHS[1], 2)
        self.layer3 = _stage(STAGE_WIDTHS[1], STAGE_WIDTHS[2], 2)
        self.linear = nn.Linear(STAGE_WIDTHS[2], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The three stages, in order."""
        return self.layer1, self.layer2, self.layer3

    def maps(self, images: Tensor, n_stages: int = N_STAGES) -> Tensor:
        """Run all but average pooling, dense and softmax: what the paper keeps of the network.

        Args:
            images: normalised float, shape (n, 3, height, width); see `normalise_images`.
            n_stages: stop behind so many stages, 1-3.

        Returns:
            Non-negative float, shape (n, channels, height / scale, width / scale), rounded up: 16 channels and scale 1
            behind the first stage, 32 and 2 behind the second, 64 and 4 behind the third.
        """
        maps: Tensor = functional.relu(self.bn1(self.conv1(images)))
        for stage in self.stages[:n_stages]:
            maps = stage(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits (n, n_classes) of normalised images (n, 3, height, width)."""
        pooled = self.maps(images).mean(dim=(2, 3))
        logits: Tensor = self.linear(pooled)
        return logits


def _stage(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(n_in, n_out, stride), BasicBlock(n_out, n_out, 1), BasicBlock(n_out, n_out, 1))


def normalise_images(images: Tensor) -> Tensor:
    """Centre and scale pictures as ResNet-20 expects them.

    Args:
        images: RGB, values 0-255 of any dtype, shape (n, 3, height, width).

    Returns:
        float32 of the same shape.
    """
    mean = images.new_tensor(IMAGE_MEAN, dtype=torch.float32).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGE_STD, dtype=torch.float32).view(1, 3, 1, 1)
    return (images.float() / 255.0 - mean) / std


def load_checkpoint(path: Path) -> ResNet20:
    """Load a CIFAR-10 checkpoint of the usual public naming.

    Args:
        path: a `.th`/`.pt` file, a state dict or a dict with `state_dict`; keys may start with `module.`.

    Returns:
        The network in evaluation mode.

    Raises:
        MoodreelError: the file is missing, holds more than tensors (it is opened with `weights_only=True`), or is
            not a ResNet-20; names the file and what does not fit.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, OSError, … by kind of damage
        raise MoodreelError(f"{path}: not a checkpoint of plain tensors ({str(error).splitlines()[0]})") from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise MoodreelError(f"{path}: expected a state dict, found {type(content).__name__}")
    return _network_of({str(key).removeprefix("module."): value for key, value in state.items()}, str(path))


def load_onnx_weights(path: Path) -> ResNet20:
    """Read the network's weights back from the initialisers of an ONNX file that `save_onnx_weights` wrote.

    Args:
        path: the ONNX file; its initialisers carry the state dict's names, fp16 or fp32.

    Returns:
        The network in evaluation mode, float32.

    Raises:
        MoodreelError: the file is missing, not ONNX, or holds another network.
    """
    import onnx

    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's DecodeError shares no base with OSError
        raise MoodreelError(f"{path}: not a readable ONNX file ({str(error).splitlines()[0]})") from error
    arrays = {tensor.name.removeprefix("network."): onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    wanted = ResNet20().state_dict()
    state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in wanted if key in arrays}
    return _network_of(state, str(path))


def load_shipped() -> ResNet20:
    """Load the CIFAR-10 weights that ship inside the package.

    Raises:
        MoodreelError: this installation carries no such weights.
    """
    with resources.as_file(resources.files("moodreel") / "weights" / SHIPPED_WEIGHTS) as folder:
        path = folder / "resnet20.onnx"
        if not path.is_file():
            raise MoodreelError(
                "no ResNet-20 weights are installed: train them (moodreel pretrain cifar10 CIFAR10 --out DIR) and pass "
                "--set video.weights=DIR/resnet20.onnx, or a public checkpoint's file"
            )
        return load_onnx_weights(path)


def save_onnx_weights(network: ResNet20, folder: Path, facts: Mapping[str, object]) -> None:
    """Write `resnet20.onnx` (runnable: RGB 0-255 in, logits out; fp32) and `resnet20.json` (what is known of it).

    Args:
        network: the trained network.
        folder: where to write; made if missing.
        facts: JSON types: scores, data, licence, the command that trains it.

    Raises:
        MoodreelError: the graph answers otherwise than the network; no file is left then.
        OutputError: a file cannot be written.
    """
    rng = np.random.default_rng(0)
    examples = [{"images": rng.uniform(0, 255, (n, 3, 32, 32)).astype(np.float32)} for n in (2, 5)]
    plan = GraphPlan(["logits"], {"images": {0: "n"}}, keeps_names=True)
    write_onnx(_FromPixels(network), folder / "resnet20.onnx", examples, plan)
    write_text(folder / "resnet20.json", json.dumps(facts, indent=2) + "\n")


class _FromPixels(nn.Module):
    """The network with its input scaling inside the graph."""

    def __init__(self, network: ResNet20) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise_images(images))
        return logits


def _network_of(state: Mapping[str, Tensor], source: str) -> ResNet20:
    network = ResNet20()
    expected = network.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(set(expected) - set(state) - counters)
    misshapen = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if missing or misshapen:
        raise MoodreelError(
            f"{source}: not a ResNet-20 of CIFAR-10 ({(missing + misshapen)[0]} is missing or misshapen)"
        )
    network.load_state_dict(dict(state), strict=False)
    return network.eval()
