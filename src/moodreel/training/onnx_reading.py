"""Exported networks read back: weights under their names in torch, however they are stored, and values on the way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from moodreel.inference import start_session
from moodreel.training.onnx_weights import Float32, prune

_PRODUCTS = ("MatMul", "MatMulInteger")
_BIAS, _WEIGHT, _NORM, _KEY = ".bias", ".weight", "self_attn_layer_norm.weight", "self_attn.k_proj.weight"
_PASSED_OVER = ("Cast", "Mul", "DynamicQuantizeLinear")
"""What stands between a product in 8 bits and the nodes before and behind it."""


def open_up_to(graph: bytes, value: str) -> onnxruntime.InferenceSession:
    """Open a network that gives what another computes on its way, and takes of its inputs what that needs.

    Args:
        graph: the serialised network.
        value: name of what is wanted.
    """
    model = onnx.load_from_string(graph)
    prune(model, [value])
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    return start_session(model.SerializeToString(), threads=1)


class NamedGraph:
    """A graph whose weights are found by name.

    The exporter leaves the weights of linear layers without names. The bias that is added to a product names it; a
    product without one is an attention's key, and the norm in front of it says of which block.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._users: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def read(self) -> dict[str, Float32]:
        """Return all weights by name, float32; those of linear layers as torch has them, (n_out, n_in)."""
        named = {
            name.removesuffix("_half").removesuffix("_int8") for name in self._stored if not name.endswith("_scale")
        }
        weights = {name: self._restore(name) for name in named}
        for node in self.model.graph.node:  # the exporter lets layers with equal weights read copies
            if node.op_type == "Identity" and node.input[0] in weights:
                weights[node.output[0]] = weights[node.input[0]]
        for product in self.model.graph.node:
            if product.op_type in _PRODUCTS and (name := self._name(product)) is not None:
                weights[name] = self._restore(product.input[1].removesuffix("_int8")).T
        return weights

    def find_added(self, bias: str) -> str:
        """Return what comes of adding a bias to a product.

        Raises:
            KeyError: none is added.
        """
        return str(next(node for node in self._users[bias] if node.op_type == "Add").output[0])

    def find_normed(self, weight: str) -> str:
        """Return what a norm of this weight is given.

        Raises:
            KeyError: there is no such norm.
        """
        return str(self._users[weight][0].input[0])

    def _restore(self, name: str) -> Float32:
        if f"{name}_int8" in self._stored:
            values, scale = (numpy_helper.to_array(self._stored[f"{name}_{kind}"]) for kind in ("int8", "scale"))
            return np.asarray(values.astype(np.float32) * scale)
        stored = f"{name}_half" if f"{name}_half" in self._stored else name
        return np.asarray(numpy_helper.to_array(self._stored[stored]), np.float32)

    def _name(self, product: NodeProto) -> str | None:
        if product.input[1].removesuffix("_int8") == product.input[1] and product.input[1] not in self._stored:
            return None  # of two sequences, as attention has it
        for user in self._follow(product):
            if user.op_type == "Add" and (bias := next((one for one in user.input if one.endswith(_BIAS)), None)):
                return str(bias.removesuffix(_BIAS) + _WEIGHT)
        maker = self._makers.get(product.input[0])
        while maker is not None and maker.op_type in _PASSED_OVER:
            maker = self._makers.get(maker.input[0])
        if maker is None or len(maker.input) < 2 or not maker.input[1].endswith(_NORM):
            return None
        return str(maker.input[1].removesuffix(_NORM) + _KEY)

    def _follow(self, node: NodeProto) -> Iterable[NodeProto]:
        """Yield the users of what a node gives, behind those that are passed over."""
        for user in self._users.get(node.output[0], ()):
            if user.op_type in _PASSED_OVER and not any(one in self._stored for one in user.input):
                yield from self._follow(user)
            else:
                yield user
