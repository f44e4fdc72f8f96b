"""Write a tuned late bundle: networks with their new last layers, fusion, adaptation, and the clips learned from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from moodreel import __version__
from moodreel.bundle import Bundle, read_network
from moodreel.leaks.training_clips import KnownClip, write_training_clips
from moodreel.metrics import to_plain
from moodreel.recognition.encoders import OUTPUTS
from moodreel.recognition.fusion import Fusion
from moodreel.storage.whole_files import whole_folder
from moodreel.training.tuned.heads import Correction
from moodreel.training.tuned.recipe import TunedRecipe
from moodreel.training.tuned.tune import Refitted


@dataclass(frozen=True, eq=False)
class Outcome:
    """What tuning changes of a bundle.

    Attributes:
        maps: maps of features that networks get.
        fusion: how the answers are calibrated and added.
        adaptation: how answers vary from person to person, as `bundle.json` has it; `None` for nothing known.
        learned_from: the clips.
        refitted: networks that were tuned below their last layers.
    """

    maps: Mapping[str, Correction]
    fusion: Fusion
    adaptation: Mapping[str, Any] | None
    learned_from: Sequence[KnownClip]
    refitted: Mapping[str, Refitted] = field(default_factory=dict)


def write_tuned(
    base: Bundle,
    outcome: Outcome | None,
    recipe: TunedRecipe,
    folder: Path,
    facts: Mapping[str, Any],
    known: Sequence[KnownClip] | None,
) -> None:
    """Write a tuned bundle, whole or not at all.

    Args:
        base: the bundle that was tuned.
        outcome: what changes; `None` where it is kept as it was.
        recipe: what it was tuned by.
        folder: where to write; must not be there yet.
        facts: `licence`, `training_data`, `command` and `scores`, as `bundle.json` states them.
        known: the clips that the base was trained on; `None` where it does not say.

    Raises:
        BundleError: a network of the base is missing or altered.
        OutputError: the folder cannot be written, or is there already.
    """
    manifest: dict[str, Any] = {
        "schema_version": base.manifest["schema_version"],
        "name": recipe.name,
        "version": __version__,
        "kind": base.kind,
        "labels": base.manifest["labels"],
        **facts,
        "tuned_from": base.title,
        "recipe": json.loads(json.dumps(asdict(recipe))),
    }
    adaptation = outcome.adaptation if outcome else base.manifest.get("adaptation")
    with whole_folder(folder) as temporary:
        manifest["networks"] = {name: _write_network(base, name, outcome, temporary) for name in base.networks}
        manifest["fusion"] = _describe_fusion(base, outcome, manifest["networks"])
        if adaptation is not None:
            manifest["adaptation"] = dict(adaptation)
        if known is not None:
            learned_from = outcome.learned_from if outcome else ()
            manifest["training_clips"] = write_training_clips([*known, *learned_from], temporary)
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (temporary / "bundle.json").write_text(text, encoding="utf-8")


def _write_network(base: Bundle, name: str, outcome: Outcome | None, folder: Path) -> dict[str, Any]:
    entry = dict(base.networks[name])
    graph = read_network(base.path, entry)
    if outcome is not None and (refitted := outcome.refitted.get(name)) is not None:
        graph = refitted.write()
        entry["blocks"] = f"those of {base.title}, tuned for {refitted.n_epochs} epochs"
    if outcome is not None and (correction := outcome.maps.get(name)) is not None:
        graph = add_correction(graph, OUTPUTS[name], correction)
        entry["last_layer"] = f"that of {base.title}, tuned"
    entry["sha256"] = sha256(graph).hexdigest()
    (folder / str(entry["file"])).write_bytes(graph)
    return entry


def _describe_fusion(base: Bundle, outcome: Outcome | None, networks: Mapping[str, Any]) -> dict[str, Any]:
    if outcome is None:
        return dict(base.section("fusion"))
    chosen_with = {name: entry["sha256"] for name, entry in networks.items()}
    return {**to_plain(outcome.fusion), "chosen_on": "the clips tuned to: `scores`", "chosen_with": chosen_with}


def add_correction(graph: bytes, features: str, correction: Correction) -> bytes:
    """Return a network whose `logits` are what they were and a linear map of its features beside; the rest stays.

    Args:
        graph: the serialised network.
        features: name of the output that is mapped.
        correction: the map, of that output's width.
    """
    assert correction.weights is not None
    model = onnx.load_from_string(graph)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    mark = next(f"tuned{number}" for number in range(len(taken) + 1) if f"tuned{number}.logits" not in taken)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "logits":
                    names[place] = f"{mark}.logits"
    values = {"weights": correction.weights, "bias": correction.bias}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), f"{mark}.{name}") for name, value in values.items()
    )
    model.graph.node.extend(
        [
            helper.make_node("MatMul", [features, f"{mark}.weights"], [f"{mark}.mapped"]),
            helper.make_node("Add", [f"{mark}.mapped", f"{mark}.bias"], [f"{mark}.moved"]),
            helper.make_node("Add", [f"{mark}.logits", f"{mark}.moved"], ["logits"]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
