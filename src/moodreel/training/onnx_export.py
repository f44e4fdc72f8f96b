"""How a trained network becomes an ONNX file: traced, stored in less, compared with torch, and only then written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from moodreel import __version__
from moodreel.errors import MoodreelError
from moodreel.inference import start_session
from moodreel.storage.whole_files import whole_file
from moodreel.training.onnx_weights import Storage, store_weights

OPSET = 17
TOLERANCES: Mapping[Storage, float] = {"float32": 1e-4, "float16": 0.05, "int8": 0.15}
"""Greatest difference between a graph's answers and torch's by how weights are stored, see `measure_difference`: of the
networks that ship, half precision moved the face's by up to .014 and 8 bits the voice's by up to .07."""

Inputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class GraphPlan:
    """What an exported graph looks like from outside, and how its weights are stored.

    Attributes:
        outputs: their names, in the order in which the network returns them.
        axes: of inputs and outputs the axes of any length, by index, with their names; names the graph lacks are
            passed over.
        storage: of large weights.
        keeps_names: every weight keeps its name in the network's state dict and nothing is folded together, so that
            the weights can be read back.
    """

    outputs: Sequence[str]
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    storage: Storage = "float32"
    keeps_names: bool = False


def write_onnx(network: nn.Module, path: Path, examples: Sequence[Inputs], plan: GraphPlan) -> float:
    """Write a network as an ONNX file, unless the file would answer otherwise than the network.

    Args:
        network: takes the inputs of an example in their order; it is set to evaluation mode.
        path: of the file; it appears whole or not at all.
        examples: inputs by name. The first is traced; on all of them the graph is compared with torch, so that they
            should differ in the length of each axis that has any length.
        plan: names, axes and storage.

    Returns:
        The greatest difference from torch, see `measure_difference`.

    Raises:
        MoodreelError: the graph's answers differ from torch's by more than `TOLERANCES` allows, are not finite, or a
            weight is too large for the storage; nothing is left then.
        OutputError: the file cannot be written.
    """
    network.eval()
    expected = [_ask(network, inputs) for inputs in examples]
    model = _trace_by_name(network, examples[0], plan) if plan.keeps_names else _trace(network, examples[0], plan)
    model.producer_name, model.producer_version = "moodreel", __version__
    difference = _check(model, examples, expected, "float32", path)
    if plan.storage != "float32":
        store_weights(model, plan.storage)
        difference = _check(model, examples, expected, plan.storage, path)
    onnx.checker.check_model(model)
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return difference


def measure_difference(
    graph: bytes, examples: Sequence[Inputs], expected: Sequence[Sequence[npt.NDArray[Any]]]
) -> float:
    """Return the greatest difference between what a graph answers and what is expected.

    Answers beyond 1 are compared by the largest of their output: float32 knows a logit of 1500 to 1e-4 at best.

    Args:
        graph: the serialised graph.
        examples: inputs by name.
        expected: the outputs for each example.

    Returns:
        A share of the largest answer, or an absolute difference where none exceeds 1; NaN where one is not finite.
    """
    session = start_session(graph, threads=1)
    differences = [
        np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max())
        for inputs, outputs in zip(examples, expected, strict=True)
        for found, wanted in zip(session.run(None, dict(inputs)), outputs, strict=True)
    ]
    return float(np.max(differences))


def _check(
    model: onnx.ModelProto,
    examples: Sequence[Inputs],
    expected: Sequence[Sequence[npt.NDArray[Any]]],
    storage: Storage,
    path: Path,
) -> float:
    difference = measure_difference(model.SerializeToString(), examples, expected)
    if not difference <= TOLERANCES[storage]:  # NaN is refused too
        raise MoodreelError(
            f"{path}: the exported graph's answers ({storage}) differ from torch's by {difference:.1g}, more than "
            f"{TOLERANCES[storage]:g}; please report what was trained"
        )
    return difference


def _ask(network: nn.Module, inputs: Inputs) -> list[npt.NDArray[Any]]:
    with torch.inference_mode():
        outputs = network(*_tensors(inputs))
    return [output.numpy() for output in ((outputs,) if isinstance(outputs, Tensor) else outputs)]


def _tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(value) for value in inputs.values())


def _trace(network: nn.Module, inputs: Inputs, plan: GraphPlan) -> onnx.ModelProto:
    """Trace with the exporter that takes shapes as they come, which folds constants."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are constants by design
        torch.onnx.export(
            network,
            _tensors(inputs),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(plan.outputs),
            dynamic_axes={name: dict(plan.axes.get(name, {})) for name in (*inputs, *plan.outputs)},
        )
    return onnx.load_from_string(buffer.getvalue())


def _trace_by_name(network: nn.Module, inputs: Inputs, plan: GraphPlan) -> onnx.ModelProto:
    """Trace with the exporter that keeps every weight under its own name; the other joins weights that are equal."""
    program = torch.onnx.export(
        network,
        _tensors(inputs),
        dynamo=True,
        input_names=list(inputs),
        output_names=list(plan.outputs),
        dynamic_shapes=tuple(
            {axis: torch.export.Dim(length) for axis, length in plan.axes.get(name, {}).items()} for name in inputs
        ),
        optimize=False,  # constant folding would merge batch norm away and with it the names to read back
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip_notes(model)
    return model


def _strip_notes(model: onnx.ModelProto) -> None:
    """Take out the exporter's notes on where each node came from, a third of the file, with paths of this machine."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.doc_string = ""
        part.ClearField("metadata_props")
