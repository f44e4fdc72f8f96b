"""ONNX Runtime's 8-bit products as processors without VNNI compute them, so that a test tells the same on all.

There `pmaddubsw` multiplies unsigned inputs by signed weights and adds neighbouring products in 16 bits, cut off at
32767; `MatMulInteger` alone is computed so, as exported graphs hold no other product of 8-bit integers.
"""

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

OTHER_INTEGER_PRODUCTS = {"ConvInteger", "QLinearConv", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul"}


def multiply_saturating(inputs, weights):
    """Products of uint8 (..., n_in) and int8 (n_in, n_out): int32, shape (..., n_out)."""
    n_missing = inputs.shape[-1] % 2
    inputs = np.pad(inputs.astype(np.int32), [(0, 0)] * (inputs.ndim - 1) + [(0, n_missing)])
    weights = np.pad(weights.astype(np.int32), [(0, n_missing), (0, 0)])
    pairs = (inputs[..., k : k + 2] @ weights[k : k + 2] for k in range(0, len(weights), 2))
    return sum(np.clip(pair, -(2**15), 2**15 - 1) for pair in pairs)


def can_saturate(weights):
    """Whether any inputs make products with int8 weights (n_in, n_out) saturate."""
    # Inputs of 255 wherever weights of one sign stand do so before all others.
    weights = np.pad(weights.astype(np.int32), [(0, len(weights) % 2), (0, 0)])
    sums = [np.maximum(sign * weights, 0).reshape(-1, 2, weights.shape[1]).sum(1).max() for sign in (1, -1)]
    return 255 * sums[0] > 2**15 - 1 or 255 * sums[1] > 2**15


class MatMulInteger(OpRun):
    op_domain = ""

    def _run(self, inputs, weights, zero=0, weights_zero=0):
        assert not np.any(weights_zero), "weights lie around zero"
        # The kernel multiplies inputs as they are; what their zero adds is taken off afterwards.
        zeros = np.asarray(zero, np.int32) * weights.astype(np.int32).sum(0)
        return ((multiply_saturating(inputs, weights) - zeros).astype(np.int32),)


def run_saturating(model, outputs, inputs):
    """Run an `onnx.ModelProto` with saturating products."""
    found = {node.op_type for node in model.graph.node} & OTHER_INTEGER_PRODUCTS
    assert not found, f"the reference does not know how {found} saturates"
    return ReferenceEvaluator(model, new_ops=[MatMulInteger]).run(outputs, inputs)
