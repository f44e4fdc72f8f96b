"""How weights are stored: 8-bit products answer alike on every processor, float16 refuses what it cannot hold."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from moodreel.bundle import bundles_folder
from moodreel.errors import MoodreelError
from moodreel.training.onnx_weights import halve_weights, pair_scale, quantise
from saturating import can_saturate, multiply_saturating, run_saturating


def linear_model(weight):
    """One linear layer over rows."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weight.shape[0]])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weight.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "linear", [given], [answer], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, rows):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0]


def stored(model, suffix):
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith(suffix))
    return numpy_helper.to_array(weight)


@pytest.fixture(params=[(64, 24), (65, 7), (1, 3)], ids=str)
def weight(request):
    return np.random.default_rng(0).normal(size=request.param).astype(np.float32)


@pytest.fixture
def rows(weight):
    """One of them has its largest values where products of one sign meet, which saturates most easily."""
    rows = np.random.default_rng(1).uniform(0, 1, (5, len(weight))).astype(np.float32)
    rows[0] = weight[:, 0] > 0
    return rows


def test_the_reference_cuts_off_where_pmaddubsw_does():
    inputs = np.full((1, 4), 255, np.uint8)
    weights = np.array([[127, 127], [127, -127], [1, 64], [0, 64]], np.int8)
    assert multiply_saturating(inputs, weights).tolist() == [[32767 + 255, 32640]]
    assert multiply_saturating(inputs[:, :3], weights[:3]).tolist() == [[32767 + 255, 64 * 255]]


def test_products_are_alike_with_and_without_saturation(weight, rows):
    model = linear_model(weight)
    quantise(model)
    onnx.checker.check_model(model)
    (saturating,) = run_saturating(model, ["y"], {"x": rows})
    exact = rows @ weight
    assert np.abs(saturating - run(model, rows)).max() < 1e-4 * np.abs(exact).max()
    assert np.abs(saturating - exact).max() < 0.03 * max(1, np.abs(exact).max())


def test_the_runtimes_own_8_bits_are_not(tmp_path):
    """What was exported before: if this ever holds, the reference tells nothing."""
    weight = np.random.default_rng(0).normal(size=(64, 24)).astype(np.float32)
    rows = (weight[:, :5].T > 0).astype(np.float32)
    quantize_dynamic(linear_model(weight), tmp_path / "m.onnx", per_channel=True, weight_type=QuantType.QInt8)
    (saturating,) = run_saturating(onnx.load(tmp_path / "m.onnx"), ["y"], {"x": rows})
    assert np.abs(saturating - rows @ weight).max() > 0.03 * np.abs(rows @ weight).max()


def test_no_inputs_make_products_saturate(weight):
    steps = np.rint(weight / pair_scale(weight)).astype(np.int8)
    assert not can_saturate(steps)
    assert np.abs(steps.astype(int)).max(0).min() >= 63  # and no more is given away than that takes
    assert can_saturate(np.full((2, 1), 65, np.int8)) and can_saturate(np.full((3, 1), -65, np.int8))


def test_layers_with_equal_weights_share_them():
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    model = linear_model(weight)
    model.graph.node[0].output[0] = "between"
    model.graph.node.append(helper.make_node("Identity", ["w"], ["v"]))
    model.graph.node.append(helper.make_node("MatMul", ["between", "v"], ["y"]))
    quantise(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("MatMulInteger") == 2
    rows = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    expected = rows @ weight @ weight
    assert np.abs(run(model, rows) - expected).max() < 0.05 * np.abs(expected).max()


def test_a_silent_channel_stays_silent():
    model = linear_model(np.zeros((8, 2), np.float32))
    quantise(model)
    assert not run(model, np.ones((1, 8), np.float32)).any()


def test_the_voice_that_ships_saturates_nowhere():
    model = onnx.load(bundles_folder() / "default" / "voice.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 21
    assert [node.name for node in products if can_saturate(weights[node.input[1]])] == []


def test_half_precision_is_cast_back(rows):
    weight = np.random.default_rng(0).normal(size=(rows.shape[1], 300)).astype(np.float32)
    model = linear_model(weight)
    halve_weights(model)
    assert stored(model, "_half").dtype == np.float16
    assert np.abs(run(model, rows) - rows @ weight).max() < 0.05


@pytest.mark.parametrize("value", [1e5, np.nan, np.inf])
def test_weights_beyond_half_precision_are_refused(value):
    weight = np.ones((16, 32), np.float32)
    weight[3, 4] = value
    with pytest.raises(MoodreelError, match="half precision"):
        halve_weights(linear_model(weight))
