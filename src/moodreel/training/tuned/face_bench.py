"""The face network tuned below its last layer: its upper convolutions, fitted from where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from moodreel.errors import BundleError, MoodreelError
from moodreel.inference import start_session
from moodreel.labels import N_EMOTIONS
from moodreel.recognition.fusion import FloatArray, Fusion
from moodreel.storage.cache import Cache
from moodreel.training.fitting import Epochs, scale_rate, schedule_rates, weigh_classes
from moodreel.training.machine import multiplies_bf16
from moodreel.training.onnx_export import TOLERANCES
from moodreel.training.onnx_reading import NamedGraph, open_up_to
from moodreel.training.onnx_weights import Float32, prune
from moodreel.training.tuned.clips import TunedClip, load_given
from moodreel.training.tuned.heads import Correction
from moodreel.training.tuned.watched_fit import MOST_EPOCHS, Watch, WatchedModule, fit_watched

LAYER = "net.trunk.layers."
"""How the names of the convolutions begin."""
FROZEN_LAYERS = 7
"""Counted from the stem, these stay in any case: they see edges, and the network was trained from the others on."""
BLOCK_LAYERS = 2
"""Convolutions of a block, the last of which is tuned alone."""
MOST_HELD_BYTES = 512 * 2**20
_MOST_FACES = 8
_FACES_A_STEP = 2
_N_BATCH = 16
_RATE = 3e-4
_WEIGHT_DECAY = 0.02
_LABEL_SMOOTHING = 0.1
_WARMUP = 0.1


class FaceBranch(nn.Module):
    """Convolutions, each clipped to 0..6, and the mean over the picture.

    Each channel's weights are learned in units of their length: folded weights differ in size from channel to channel
    by orders of magnitude, and one rate cannot fit them all.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        """Take convolutions with a bias each."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for index, layer in enumerate(layers):
            size = layer.weight.detach().flatten(1).norm(dim=1).clamp_min(1e-6)
            self.register_buffer(f"size{index}", size)
            with torch.no_grad():
                layer.weight.div_(size[:, None, None, None])
                assert layer.bias is not None
                layer.bias.div_(size)

    def forward(self, maps: Tensor) -> Tensor:
        """Turn what enters the first of them, shape (n, channels, height, width), into features, (n, n_features)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and multiplies_bf16()):
            for index, layer in enumerate(self.layers):
                maps = functional.relu6(layer(maps) * self.get_buffer(f"size{index}")[:, None, None])
        return maps.float().mean((2, 3))

    def read_weights(self) -> list[tuple[Float32, Float32]]:
        """Return weights and bias of each convolution as the graph has them."""
        found = []
        for index, layer in enumerate(self.layers):
            size = self.get_buffer(f"size{index}")
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            weight = layer.weight.detach() * size[:, None, None, None]
            found.append((weight.numpy(), (layer.bias.detach() * size).numpy()))
        return found


def read_face_branch(graph: bytes, *, is_whole: bool) -> tuple[FaceBranch, int, str]:
    """Rebuild the upper convolutions of a face network in torch.

    Args:
        graph: the serialised network.
        is_whole: whether all but the lowest layers are wanted, else the last block.

    Returns:
        Them, the number of the first, and the name of what enters it.

    Raises:
        BundleError: the network is not one that moodreel trained.
    """
    model = onnx.load_from_string(graph)
    weights = NamedGraph(model).read()
    convolutions = {node.input[1]: node for node in model.graph.node if node.op_type == "Conv"}
    n_layers = sum(name.startswith(LAYER) for name in convolutions)
    first = min(FROZEN_LAYERS, n_layers - 1) if is_whole else n_layers - BLOCK_LAYERS
    try:
        nodes = [convolutions[f"{LAYER}{index}.weight"] for index in range(max(first, 0), n_layers)]
        layers = [_build_layer(node, weights[node.input[1]], weights[node.input[2]]) for node in nodes]
        return FaceBranch(layers).eval(), first, str(nodes[0].input[0])
    except (KeyError, IndexError):
        raise BundleError(
            "the face network is not one that moodreel trained; tune its last layer alone (level: heads)"
        ) from None


def _build_layer(node: NodeProto, weight: Float32, bias: Float32) -> nn.Conv2d:
    groups, side = next((int(one.i) for one in node.attribute if one.name == "group"), 1), weight.shape[2]
    stride = next((int(one.ints[0]) for one in node.attribute if one.name == "strides"), 1)
    layer = nn.Conv2d(weight.shape[1] * groups, len(weight), side, stride, padding=side // 2, groups=groups)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor(bias))
    return layer


def write_face_branch(graph: bytes, branch: FaceBranch, first: int) -> bytes:
    """Return a face network with other upper convolutions, stored as those before were."""
    model = onnx.load_from_string(graph)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for index, pair in enumerate(branch.read_weights(), first):
        for name, values in zip((f"{LAYER}{index}.weight", f"{LAYER}{index}.bias"), pair, strict=True):
            place = f"{name}_half" if f"{name}_half" in stored else name
            kept = values.astype(np.float16 if place != name else np.float32)
            stored[place].CopyFrom(numpy_helper.from_array(kept, place))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def read_head(graph: bytes) -> tuple[Float32, Float32]:
    """Return the linear map from features to logits that a face network ends in: weights (d, 7) and bias (7,)."""
    model = onnx.load_from_string(graph)
    width = next(
        given.type.tensor_type.shape.dim[-1].dim_value for given in model.graph.output if given.name == "features"
    )
    kept = [node for node in model.graph.node if "features" not in node.output]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    model.graph.input.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width]))
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", N_EMOTIONS]))
    prune(model, ["logits"])
    rows = np.concatenate([np.eye(width), np.zeros((1, width))]).astype(np.float32)
    (found,) = start_session(model.SerializeToString(), threads=1).run(None, {"features": rows})
    return found[:-1] - found[-1], found[-1]


@dataclass(frozen=True)
class FaceBatch:
    """What one step learns from.

    Attributes:
        maps: what enters the first convolution, float32, shape (n, channels, height, width).
        label: emotions shown, int64, shape (n,), 0-6.
    """

    maps: Tensor
    label: Tensor


class FaceBench:
    """Fits the upper convolutions of a face network and tells what it says then."""

    def __init__(self, graph: bytes, cache: Cache, *, is_whole: bool) -> None:
        """Rebuild them.

        Args:
            graph: the bundle's face network.
            cache: where what it was given of the clips stands.
            is_whole: whether all but the lowest layers are tuned, else the last block alone.

        Raises:
            BundleError: the network is not one that moodreel trained.
        """
        self._graph, self._cache, self._is_whole = graph, cache, is_whole
        self._shipped, self._first, tap = read_face_branch(graph, is_whole=is_whole)
        self._head, self._bias = read_head(graph)
        self._below = open_up_to(graph, tap)
        self._held: dict[str, Tensor] = {}
        self._held_bytes = 0
        self._before: dict[str, FloatArray] = {}

    def fit(
        self,
        clips: Sequence[TunedClip],
        correction: Correction,
        fusion: Fusion,
        seed: int,
        watch: Watch | None = None,
        n_epochs: int | None = None,
    ) -> tuple[FaceBranch, int]:
        """Fit the convolutions to clips that show a face; see `VoiceBench.fit`."""
        branch, _, _ = read_face_branch(self._graph, is_whole=self._is_whole)
        if not clips or n_epochs == 0:
            return branch, 0
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        n_steps = -(-len(clips) // _N_BATCH)
        head = self._head if correction.weights is None else self._head + correction.weights
        bias = self._bias + correction.bias + np.asarray(fusion.face_bias)
        counts = np.bincount([clip.label for clip in clips], minlength=N_EMOTIONS)
        module = _FaceModule(branch, n_steps, (head, bias), counts, fusion.face_temperature, watch)
        epochs = Epochs(n_steps, lambda _: self._draw(clips, rng), rng)
        return branch, fit_watched(module, epochs, n_epochs)

    def move(self, branch: FaceBranch, clip: TunedClip) -> TunedClip:
        """Return a clip as the network with other convolutions sees it."""
        description = clip.description
        if description.face is None or description.logits.face is None or not len(self.load(clip)):
            return clip
        if clip.given not in self._before:
            self._before[clip.given] = self._ask(self._shipped, clip)
        moved = self._ask(branch, clip) - self._before[clip.given]
        logits = replace(description.logits, face=description.logits.face + moved @ self._head)
        return replace(clip, description=replace(description, logits=logits, face=description.face + moved))

    def write(self, branch: FaceBranch, clips: Sequence[TunedClip]) -> bytes:
        """Return the face network with other convolutions.

        Raises:
            MoodreelError: it answers otherwise than torch does.
        """
        graph = write_face_branch(self._graph, branch, self._first)
        faces = load_given(clips[0], self._cache).faces[:_MOST_FACES]
        (found,) = start_session(graph, threads=1).run(["features"], {"faces": _to_planes(faces)})
        with torch.inference_mode():
            expected = branch(torch.from_numpy(self._below.run(None, {"faces": _to_planes(faces)})[0])).numpy()
        difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
        if not difference <= TOLERANCES["float16"]:
            raise MoodreelError(f"the tuned face network answers otherwise than torch does, by {difference:.1g}")
        return graph

    def load(self, clip: TunedClip) -> Tensor:
        """Return what enters the first convolution of some of a clip's faces, float32, (n, channels, height, width)."""
        if (held := self._held.get(clip.given)) is not None:
            return held
        faces = load_given(clip, self._cache).faces
        picked = np.linspace(0, len(faces) - 1, min(len(faces), _MOST_FACES)).round().astype(int)
        if not len(picked):
            return torch.zeros(0, 1, 1, 1)
        maps = torch.from_numpy(self._below.run(None, {"faces": _to_planes(faces[picked])})[0])
        if self._held_bytes + maps.numel() * 4 <= MOST_HELD_BYTES:
            self._held[clip.given] = maps
            self._held_bytes += maps.numel() * 4
        return maps

    def _ask(self, branch: FaceBranch, clip: TunedClip) -> FloatArray:
        was_training = branch.training
        branch.eval()
        with torch.inference_mode():
            features = branch(self.load(clip)).mean(0)
        branch.train(was_training)
        return np.asarray(features.numpy(), np.float64)

    def _draw(self, clips: Sequence[TunedClip], rng: np.random.Generator) -> Iterator[FaceBatch]:
        order = rng.permutation(len(clips))
        for start in range(0, len(order), _N_BATCH):
            rows = order[start : start + _N_BATCH]
            maps = [self.load(clips[row]) for row in rows]
            drawn = [one[torch.from_numpy(rng.integers(0, len(one), _FACES_A_STEP))] for one in maps]
            label = np.repeat([clips[row].label for row in rows], _FACES_A_STEP)
            yield FaceBatch(torch.cat(drawn), torch.from_numpy(label))


def _to_planes(faces: npt.NDArray[np.uint8]) -> Float32:
    return np.ascontiguousarray(faces.transpose(0, 3, 1, 2), dtype=np.float32)


class _FaceModule(WatchedModule):
    """Convolutions under their schedule; the linear map behind them stays."""

    def __init__(
        self,
        branch: FaceBranch,
        n_steps: int,
        head: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        counts: npt.NDArray[np.int64],
        temperature: float,
        watch: Watch | None,
    ) -> None:
        """Store what is fitted and how; `head` is the map from features to logits, `counts` clips of each emotion."""
        super().__init__(branch, "face network", watch)
        self._n_steps = n_steps * MOST_EPOCHS
        self._weights, self._bias = (torch.from_numpy(np.asarray(one, np.float32)) for one in head)
        self._class_weights = weigh_classes(counts)
        self._temperature = temperature

    def measure_loss(self, batch: FaceBatch) -> Tensor:
        """See `FitModule`."""
        logits = (self.network(batch.maps) @ self._weights + self._bias) / self._temperature
        loss: Tensor = functional.cross_entropy(
            logits, batch.label, self._class_weights, label_smoothing=_LABEL_SMOOTHING
        )
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and its rates."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
        n_warmup = max(int(_WARMUP * self._n_steps), 1)
        return schedule_rates(optimizer, partial(scale_rate, n_steps=self._n_steps, n_warmup=n_warmup))
