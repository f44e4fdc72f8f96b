"""From fitted networks to a bundle: one ONNX graph with encoder, maps and networks inside, and `bundle.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel import __version__
from moodreel.bundle import BUNDLE_SCHEMA_VERSION, Bundle, read_network
from moodreel.errors import OutputError
from moodreel.face.appearance import NETWORK as APPEARANCE
from moodreel.labels import EMOTIONS
from moodreel.recognition.encoders import FACE, VOICE, Encoders
from moodreel.recognition.inputs import (
    DESCRIPTORS,
    EXPRESSIONS,
    FRAMES,
    FUNCTIONALS,
    SPEECH,
    InputSpec,
    input_names,
    spec_to_dict,
)
from moodreel.storage.whole_files import write_text
from moodreel.training.joint.maps import Maps
from moodreel.training.joint.material import summarise
from moodreel.training.joint.networks import JointNet, ResNetEncoder
from moodreel.training.joint.projection import Projection
from moodreel.training.onnx_export import GraphPlan, write_onnx
from moodreel.voice.descriptors import N_DESCRIPTORS
from moodreel.voice.functionals import N_FUNCTIONALS

AXES = {name: {0: f"n_{name}"} for name in (FRAMES, EXPRESSIONS, DESCRIPTORS)}
GRAPH_FILE = "joint.onnx"


@dataclass(frozen=True)
class TrainingFacts:
    """What `bundle.json` says of where a bundle comes from.

    Attributes:
        training_data: the corpus, its clips and speakers.
        licence: of the weights, which the data's licence may bind.
        command: the command that trained it.
        scores: measured figures with protocol; JSON types.
        training_clips: entry of the list of training clips, from `write_training_clips`; `None` without a list.
    """

    training_data: str
    licence: str
    command: str
    scores: Mapping[str, Any]
    training_clips: Mapping[str, Any] | None = None


class ClipNetwork(nn.Module):
    """Everything between a clip's inputs and its logits, for one clip."""

    def __init__(
        self, networks: Sequence[JointNet], maps: Maps, encoder: ResNetEncoder | None, spec: InputSpec
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.encoder = encoder
        self.frame_map = None if maps.frames is None else Projection(maps.frames)
        self.picture_scores_map = None if maps.picture_scores is None else Projection(maps.picture_scores)
        self.sound_map = None if maps.sound is None else Projection(maps.sound)
        self.input_names = input_names(spec)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Answer for one clip.

        Args:
            inputs: in the order of `input_names`: `expressions` float32 (n_frames, d), `frames` uint8 (n_frames, side,
                side, 3), n_frames at least 1, or both; `has_face` float32 (1,), 0 or 1; `functionals` float32 (1582,)
                or `speech` float32 (d,); `has_voice` float32 (1,).

        Returns:
            Logits, shape (7,); the mean log-probabilities where several networks stand together.
        """
        given = dict(zip(self.input_names, inputs, strict=True))
        there = torch.ones(1)
        seen = [given[EXPRESSIONS]] if EXPRESSIONS in given else []
        if FRAMES in given and self.encoder is not None:
            seen.append(self.encoder(given[FRAMES]))
        sound = given.get(FUNCTIONALS, given.get(SPEECH))
        sequence, picture_scores = (
            self._read_frames(torch.cat(seen, 1)) if seen else (torch.zeros(1, 1, 0), torch.zeros(1, 0))
        )
        vector = torch.zeros(1, 0) if sound is None or self.sound_map is None else self.sound_map(sound[None])
        has_face, has_voice = given.get("has_face", there), given.get("has_voice", there)
        answers: list[Tensor] = [
            net(sequence, None, picture_scores, vector, has_face, has_voice).logits for net in self.networks
        ]
        if len(answers) == 1:
            return answers[0][0]
        return torch.stack([torch.log_softmax(logits, 1) for logits in answers]).mean(0)[0]

    def _read_frames(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mapped: Tensor = features if self.frame_map is None else self.frame_map(features)
        picture_scores = (
            torch.zeros(1, 0) if self.picture_scores_map is None else self.picture_scores_map(summarise(features)[None])
        )
        return mapped[None], picture_scores


def _example_inputs(spec: InputSpec, encoders: Encoders, n_frames: int) -> dict[str, npt.NDArray[Any]]:
    """Return random inputs of the right shapes for a graph that reads `spec`."""
    rng = np.random.default_rng(n_frames)
    side_px = spec.frames.side_px if spec.frames else 1
    made: dict[str, npt.NDArray[Any]] = {
        FRAMES: rng.integers(0, 256, (n_frames, side_px, side_px, 3), dtype=np.uint8),
        EXPRESSIONS: rng.random((n_frames, encoders.face_width), dtype=np.float32),
        "has_face": np.ones(1, np.float32),
        FUNCTIONALS: rng.normal(size=N_FUNCTIONALS).astype(np.float32),
        SPEECH: rng.normal(size=encoders.voice_width).astype(np.float32),
        DESCRIPTORS: rng.normal(size=(4 * n_frames, N_DESCRIPTORS)).astype(np.float32),
        "has_voice": np.ones(1, np.float32),
    }
    return {name: made[name] for name in input_names(spec)}


class Exported(Protocol):
    """What an export needs to know of a recipe, a dataclass."""

    @property
    def name(self) -> str:
        """What the bundle is called."""

    @property
    def inputs(self) -> InputSpec:
        """What is read of each clip."""


def export_bundle(
    network: nn.Module, recipe: Exported, folder: Path, facts: TrainingFacts, base: Bundle | None = None
) -> None:
    """Write a bundle that `moodreel predict --model` reads.

    Args:
        network: the fitted network.
        recipe: what it was trained by.
        folder: where to write; made if missing.
        facts: where it comes from.
        base: the bundle whose encoders the network builds on; they are copied, and what tells people apart with them,
            so that the new bundle stands alone.

    Raises:
        BundleError: `base` lacks an encoder.
        MoodreelError: the graph's logits differ from torch's; no bundle is left then.
        OutputError: the folder cannot be written.
    """
    spec = recipe.inputs
    wanted = {FACE: spec.expressions, VOICE: spec.speech}
    encoders = Encoders() if base is None else Encoders.open(base, face=wanted[FACE], voice=wanted[VOICE], threads=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        examples = [_example_inputs(spec, encoders, n_frames) for n_frames in (5, 1, 12)]
        difference = write_onnx(network, folder / GRAPH_FILE, examples, GraphPlan(["logits"], AXES))
        manifest = _manifest(recipe, folder / GRAPH_FILE, facts, difference)
        if base is not None:
            follows_faces = spec.frames is not None and spec.frames.framing != "whole"
            wanted[APPEARANCE] = follows_faces and APPEARANCE in base.networks
            _copy_networks(base, [name for name in wanted if wanted[name]], folder, manifest)
        write_text(folder / "bundle.json", json.dumps(manifest, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{folder}: the bundle cannot be written ({error.strerror or error})") from error


def _copy_networks(base: Bundle, names: Sequence[str], folder: Path, manifest: dict[str, Any]) -> None:
    """Copy networks into a bundle and say so in its manifest; their licence binds the whole."""
    for name in names:
        entry = base.networks[name]
        (folder / str(entry["file"])).write_bytes(read_network(base.path, entry))
        manifest["networks"][name] = {**entry, "from": base.title}
    if names:
        manifest["licence"] += f"; built on the encoders of {base.title}: {base.licence}"


def _manifest(recipe: Any, graph: Path, facts: TrainingFacts, difference: float) -> dict[str, Any]:
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
        "inputs": spec_to_dict(replace(recipe.inputs, speeds=())),
        "networks": {"joint": {"file": graph.name, "sha256": digest, "largest_difference_from_torch": difference}},
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "scores": dict(facts.scores),
        **({} if facts.training_clips is None else {"training_clips": dict(facts.training_clips)}),
    }
