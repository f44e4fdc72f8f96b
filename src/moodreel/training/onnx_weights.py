"""How the weights of an exported network are stored: as they are, in half precision, or in 8 bits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from moodreel.errors import MoodreelError

Storage = Literal["float32", "float16", "int8"]
"""Of large weights: `float16` is cast back when the file is loaded; for `int8` see `quantise`."""

Float32 = npt.NDArray[np.float32]

LARGEST_PAIR = 127
"""What two neighbouring 8-bit weights of one sign may add up to before rounding; see `pair_scale`."""

_SMALLEST_HALVED = 256
_SMALLEST_STORED = 4096


def store_weights(model: ModelProto, storage: Storage) -> None:
    """Store a float32 model's large weights in less.

    Args:
        model: changed in place.
        storage: how.

    Raises:
        MoodreelError: a weight is too large for float16.
    """
    if storage == "float16":
        halve_weights(model)
    elif storage == "int8":
        quantise(model)


def halve_weights(model: ModelProto) -> None:
    """Store large float32 weights as float16, cast back where they are used.

    Args:
        model: changed in place.

    Raises:
        MoodreelError: a weight is too large for float16.
    """
    casts = []
    for weight in _large_weights(model, _SMALLEST_HALVED):
        name, array = weight.name, numpy_helper.to_array(weight)
        if not np.abs(array).max() <= np.finfo(np.float16).max:
            raise MoodreelError(f"{name}: a weight lies beyond half precision's range, the network is not sound")
        weight.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    _replace_nodes(model, [*casts, *model.graph.node])


def quantise(model: ModelProto) -> None:
    """Store large weights in 8 bits, with one scale for each output channel, and multiply linear layers in 8 bits.

    Each input of a linear layer gets its own scale when it is known. No product can saturate on any processor
    (`pair_scale`), so that a network answers alike on all of them.

    Args:
        model: changed in place.
    """
    _read_weights_themselves(model)
    _multiply_in_8_bits(model)
    store_rest(model)


def store_rest(model: ModelProto) -> None:
    """Store large weights that are float32 still in 8 bits.

    Each is followed by the nodes that bring it back to float32; ONNX Runtime computes those once, when it loads the
    model, so that nothing is lost in speed.

    Args:
        model: changed in place.
    """
    restoring: list[NodeProto] = []
    for tensor in _large_weights(model, _SMALLEST_STORED):
        name, weight = tensor.name, numpy_helper.to_array(tensor)
        # Convolutions carry the output channel first, matrices last.
        axes = tuple(range(1, weight.ndim)) if weight.ndim > 2 else (0,)
        scale = np.maximum(np.abs(weight).max(axis=axes, keepdims=True) / 127, 1e-12).astype(np.float32)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.extend(_store_int8(name, weight, scale))
        restoring += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
        ]
    _replace_nodes(model, [*restoring, *model.graph.node])


def pair_scale(weight: Float32) -> Float32:
    """Return the step of each output channel's 8-bit weights, chosen so that no product of theirs saturates.

    ONNX Runtime multiplies unsigned 8-bit inputs by signed 8-bit weights. Without VNNI, x86-64 does so by `pmaddubsw`:
    the products of the first and second weight of a channel, of the third and fourth, and so on are added in 16 bits
    and cut off at 32767. Two weights of one sign must therefore add up to at most 32767 / 255 = 128, rounding included.
    ONNX Runtime's own way out, 7 bits for every weight, rounds twice as coarsely; this costs a quarter of a bit.

    Args:
        weight: shape (n_in, n_out).

    Returns:
        float32, shape (n_out,), above 0.
    """
    evened = np.pad(weight, ((0, len(weight) % 2), (0, 0)))
    sums = [np.maximum(sign * evened, 0).reshape(-1, 2, evened.shape[1]).sum(1).max(0) for sign in (1, -1)]
    scale: Float32 = np.maximum(np.maximum(*sums) / LARGEST_PAIR, 1e-12).astype(np.float32)
    return scale


def prune(model: ModelProto, outputs: Collection[str]) -> None:
    """Drop all nodes, weights and inputs that none of some values needs.

    Args:
        model: changed in place; its nodes stand in the order in which they run.
        outputs: names of the values.
    """
    needed, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    kept.reverse()
    inputs = [given for given in model.graph.input if given.name in needed]
    _replace_nodes(model, kept)
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(inputs)


def _read_weights_themselves(model: ModelProto) -> None:
    """Let nodes read weights where they read copies, as torch's exporter makes them of layers with equal weights."""
    stored = {tensor.name for tensor in model.graph.initializer}
    copies = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in stored
    }
    for node in model.graph.node:
        node.input[:] = [copies.get(name, name) for name in node.input]
    _replace_nodes(model, [node for node in model.graph.node if node.output[0] not in copies])


def _multiply_in_8_bits(model: ModelProto) -> None:
    """Replace each product with a constant matrix by one of 8-bit integers, in place."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    done: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        weight = stored.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.data_type != TensorProto.FLOAT or len(weight.dims) != 2:
            nodes.append(node)
            continue
        if weight.name not in done:
            array = numpy_helper.to_array(weight)
            model.graph.initializer.extend(_store_int8(weight.name, array, pair_scale(array)))
        if node.input[0] not in done:
            nodes.append(_quantise_input(node.input[0]))
        done |= set(node.input)
        nodes += _multiply(node)
    _replace_nodes(model, nodes)


def _quantise_input(name: str) -> NodeProto:
    return helper.make_node("DynamicQuantizeLinear", [name], [f"{name}_uint8", f"{name}_step", f"{name}_zero"])


def _multiply(product: NodeProto) -> list[NodeProto]:
    """The integer product in place of a float one, brought back to float: ONNX Runtime fuses these nodes into one."""
    given, weight = product.input
    name, factors = product.output[0], [f"{given}_uint8", f"{weight}_int8", f"{given}_zero"]
    return [
        helper.make_node("MatMulInteger", factors, [f"{name}_int32"], name=product.name),
        helper.make_node("Cast", [f"{name}_int32"], [f"{name}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{given}_step", f"{weight}_scale"], [f"{name}_steps"]),
        helper.make_node("Mul", [f"{name}_cast", f"{name}_steps"], [name]),
    ]


def _store_int8(name: str, weight: Float32, scale: Float32) -> list[TensorProto]:
    values = np.rint(weight / scale).astype(np.int8)
    return [numpy_helper.from_array(values, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]


def _large_weights(model: ModelProto, smallest: int) -> list[TensorProto]:
    """The float32 weights of at least so many elements."""
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= smallest
    ]


def _replace_nodes(model: ModelProto, nodes: Sequence[Any]) -> None:
    """Set a graph's nodes and drop the weights that none of them reads."""
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
