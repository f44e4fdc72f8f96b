"""The one export: the file answers as the network does, or it is not there."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from moodreel.errors import MoodreelError, OutputError
from moodreel.inference import start_session
from moodreel.training import onnx_export
from moodreel.training.onnx_export import GraphPlan, measure_difference, write_onnx

PLAN = GraphPlan(["sums", "means"], {"rows": {0: "n"}, "sums": {0: "n"}, "means": {0: "n"}})


class Layers(torch.nn.Module):
    """Two outputs, the first `size` times as large."""

    def __init__(self, size=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 7))
        self.size = size

    def forward(self, rows):
        answers = self.layers(rows)
        return self.size * answers, answers.mean(1)


class Forgetful(Layers):
    """Traced on three rows, it goes on adding three."""

    def forward(self, rows):
        answers, means = super().forward(rows)
        return answers + len(rows), means


def examples(*lengths):
    return [{"rows": np.random.default_rng(n).normal(size=(n, 64)).astype(np.float32)} for n in lengths]


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_the_file_answers_as_the_network_at_any_length(tmp_path, storage):
    network, path = Layers(), tmp_path / "graph.onnx"
    plan = GraphPlan(PLAN.outputs, PLAN.axes, storage)
    difference = write_onnx(network, path, examples(3, 1), plan)
    assert difference <= onnx_export.TOLERANCES[storage]
    (inputs,) = examples(20)
    found = start_session(path.read_bytes(), threads=1).run(list(PLAN.outputs), inputs)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs["rows"]))
    for output, wanted in zip(found, expected, strict=True):
        assert np.abs(output - wanted.numpy()).max() < max(10 * difference, 1e-6)
    assert onnx.load(path).producer_name == "moodreel"


def test_less_storage_makes_smaller_files(tmp_path):
    network, sizes = torch.nn.Linear(128, 128), []
    for storage in ("float32", "float16", "int8"):
        plan = GraphPlan(["y"], {}, storage)
        write_onnx(network, tmp_path / storage, [{"x": np.zeros((1, 128), np.float32)}], plan)
        sizes.append((tmp_path / storage).stat().st_size)
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.4 * sizes[0]


def test_a_graph_that_is_right_for_the_traced_length_alone_is_refused(tmp_path):
    with pytest.raises(MoodreelError, match=r"graph\.onnx: .* differ from torch's by .*, more than 0\.0001"):
        write_onnx(Forgetful(), tmp_path / "graph.onnx", examples(3, 1), PLAN)
    assert list(tmp_path.iterdir()) == []


def test_storage_that_changes_answers_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(onnx_export.TOLERANCES, "int8", 1e-5)
    with pytest.raises(MoodreelError, match="int8"):
        write_onnx(Layers(), tmp_path / "graph.onnx", examples(3), GraphPlan(PLAN.outputs, PLAN.axes, "int8"))
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_finite_answers_is_refused(tmp_path):
    network = Layers()
    torch.nn.init.constant_(network.layers[0].weight, float("nan"))
    with pytest.raises(MoodreelError, match="differ from torch's by nan"):
        write_onnx(network, tmp_path / "graph.onnx", examples(3), PLAN)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_file_leaves_the_one_before_it(tmp_path, monkeypatch):
    path = tmp_path / "graph.onnx"
    write_onnx(Layers(), path, examples(3), PLAN)
    before = path.read_bytes()
    monkeypatch.setattr(onnx_export, "measure_difference", lambda *_: 1.0)
    with pytest.raises(MoodreelError):
        write_onnx(Layers(2.0), path, examples(3), PLAN)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "graph.onnx").mkdir()
    with pytest.raises(OutputError, match=r"graph\.onnx"):
        write_onnx(Layers(), tmp_path / "graph.onnx", examples(3), PLAN)


def test_large_answers_are_compared_by_their_size_each_output_by_its_own():
    inputs = examples(3)
    model = onnx_export._trace(Layers(1e4).eval(), inputs[0], PLAN)
    graph = model.SerializeToString()
    found = start_session(graph, threads=1).run(None, inputs[0])
    sums, means = found[0] + 1, found[1] + 1
    assert measure_difference(graph, inputs, [[sums, found[1]]]) == pytest.approx(1 / np.abs(sums).max(), rel=0.1)
    assert measure_difference(graph, inputs, [[found[0], means]]) == pytest.approx(1 / np.abs(means).max(), rel=0.1)


def test_weights_keep_their_names_where_they_are_read_back(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.BatchNorm2d(4))
    plan = GraphPlan(["maps"], {"pictures": {0: "n"}}, keeps_names=True)
    pictures = [{"pictures": np.random.default_rng(n).normal(size=(n, 3, 8, 8)).astype(np.float32)} for n in (2, 3)]
    write_onnx(network, tmp_path / "graph.onnx", pictures, plan)
    model = onnx.load(tmp_path / "graph.onnx")
    names = {tensor.name for tensor in model.graph.initializer}
    assert {name for name in network.state_dict() if "num_batches" not in name} <= names
    assert b"site-packages" not in model.SerializeToString()
