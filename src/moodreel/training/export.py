"""From fitted networks to a bundle: one ONNX graph with encoder, maps and networks inside, and `bundle.json`."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel import __version__
from moodreel.bundle import BUNDLE_SCHEMA_VERSION
from moodreel.errors import MoodreelError, OutputError
from moodreel.features import InputSpec, spec_to_dict
from moodreel.functionals import N_FUNCTIONALS
from moodreel.labels import EMOTIONS
from moodreel.training.data import Maps
from moodreel.training.networks import JointNetwork, ResNetEncoder
from moodreel.training.projection import Projection
from moodreel.training.recipe import Recipe

OPSET = 17
TOLERANCE = 1e-4
"""Greatest difference between the exported graph's logits and torch's."""
GRAPH_FILE = "joint.onnx"


@dataclass(frozen=True)
class TrainingFacts:
    """What `bundle.json` says of where a bundle comes from.

    Attributes:
        training_data: the corpus, its clips and speakers.
        licence: of the weights, which the data's licence may bind.
        command: the command that trained it.
        scores: measured figures with protocol; JSON types.
    """

    training_data: str
    licence: str
    command: str
    scores: Mapping[str, Any]


class ClipNetwork(nn.Module):
    """Everything between a clip's inputs and its logits, for one clip."""

    def __init__(self, networks: Sequence[JointNetwork], maps: Maps, encoder: ResNetEncoder | None) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.encoder = encoder
        self.frame_map = None if maps.frames is None else Projection(maps.frames)
        self.sound_map = None if maps.sound is None else Projection(maps.sound)
        self.input_names = input_names(encoder is not None, maps.sound is not None)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Answer for one clip.

        Args:
            inputs: in the order of `input_names`: `frames` uint8 (n_frames, side, side, 3), n_frames at least 1;
                `has_face` float32 (1,), 0 or 1; `functionals` float32 (1582,); `has_voice` float32 (1,).

        Returns:
            Logits, shape (7,); the mean log-probabilities where several networks stand together.
        """
        given = dict(zip(self.input_names, inputs, strict=True))
        there = torch.ones(1)
        sequence = self._read_frames(given["frames"]) if "frames" in given else torch.zeros(1, 1, 0)
        vector = self.sound_map(given["functionals"][None]) if self.sound_map is not None else torch.zeros(1, 0)
        has_face, has_voice = given.get("has_face", there), given.get("has_voice", there)
        answers: list[Tensor] = [net(sequence, None, vector, has_face, has_voice).logits for net in self.networks]
        if len(answers) == 1:
            return answers[0][0]
        return torch.stack([torch.log_softmax(logits, 1) for logits in answers]).mean(0)[0]

    def _read_frames(self, frames: Tensor) -> Tensor:
        assert self.encoder is not None
        features = self.encoder(frames)
        mapped: Tensor = features if self.frame_map is None else self.frame_map(features)
        return mapped[None]


def input_names(has_eyes: bool, has_ears: bool) -> tuple[str, ...]:
    """Return the names of the graph's inputs, in their order."""
    return (("frames", "has_face") if has_eyes else ()) + (("functionals", "has_voice") if has_ears else ())


def example_inputs(spec: InputSpec, n_frames: int = 5, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return random inputs of the right shapes for a graph that reads `spec`."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, npt.NDArray[Any]] = {}
    if spec.frames is not None:
        side_px = spec.frames.side_px
        inputs["frames"] = rng.integers(0, 256, (n_frames, side_px, side_px, 3), dtype=np.uint8)
        inputs["has_face"] = np.ones(1, np.float32)
    if spec.functionals:
        inputs["functionals"] = rng.normal(size=N_FUNCTIONALS).astype(np.float32)
        inputs["has_voice"] = np.ones(1, np.float32)
    return inputs


def export_bundle(network: ClipNetwork, recipe: Recipe, folder: Path, facts: TrainingFacts) -> None:
    """Write a bundle that `moodreel predict --model` reads.

    Args:
        network: the fitted network.
        recipe: what it was trained by.
        folder: where to write; made if missing.
        facts: where it comes from.

    Raises:
        MoodreelError: the graph's logits differ from torch's by more than 1e-4.
        OutputError: the folder cannot be written.
    """
    network.eval()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_graph(network, recipe.inputs, folder / GRAPH_FILE)
        difference = measure_parity(network, recipe.inputs, folder / GRAPH_FILE)
        manifest = _manifest(recipe, folder / GRAPH_FILE, facts, difference)
        (folder / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: the bundle cannot be written ({error.strerror or error})") from error
    if difference > TOLERANCE:
        raise MoodreelError(
            f"{folder}: exported logits differ from torch's by {difference:.1g}, more than {TOLERANCE:g}"
        )


def _write_graph(network: ClipNetwork, spec: InputSpec, path: Path) -> None:
    inputs = example_inputs(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are constants by design
        torch.onnx.export(
            network,
            tuple(torch.from_numpy(value) for value in inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes={"frames": {0: "n_frames"}} if "frames" in inputs else None,
            opset_version=OPSET,
            dynamo=False,
        )


def measure_parity(network: ClipNetwork, spec: InputSpec, path: Path) -> float:
    """Return the greatest difference between the graph's logits and torch's, over clips of 1 to 12 frames."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences = []
    for n_frames in (1, 5, 12):
        inputs = example_inputs(spec, n_frames, seed=n_frames)
        (found,) = session.run(None, inputs)
        with torch.inference_mode():
            expected = network(*(torch.from_numpy(value) for value in inputs.values()))
        differences.append(float(np.abs(found - expected.numpy()).max()))
    return max(differences)


def _manifest(recipe: Recipe, graph: Path, facts: TrainingFacts, difference: float) -> dict[str, Any]:
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    return {
        "schema_version": BUNDLE_SCHEMA_VERSION,
        "name": recipe.name,
        "version": __version__,
        "kind": "joint",
        "labels": list(EMOTIONS),
        "licence": facts.licence,
        "training_data": facts.training_data,
        "command": facts.command,
        "inputs": spec_to_dict(recipe.inputs),
        "networks": {"joint": {"file": graph.name, "sha256": digest, "largest_difference_from_torch": difference}},
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "scores": dict(facts.scores),
    }
