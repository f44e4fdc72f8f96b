"""The network that tells people apart: cut out of a face network, mapped so that no direction of faces rules."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from moodreel.bundle import load_bundle
from moodreel.errors import BundleError, MoodreelError
from moodreel.face.appearance import AppearanceReader
from moodreel.inference import start_session
from moodreel.training.backbones.mobilenet import Architecture
from moodreel.training.face.appearance import (
    AppearanceRecipe,
    add_appearance,
    cut_layers,
    find_map,
    write_appearance,
)
from moodreel.training.face.ferplus import Faces
from moodreel.training.face.network import FaceGraph, FaceNet, export_onnx
from tiny_bundle import write_tiny_bundle

RECIPE = AppearanceRecipe(layers=3, channels=4, width=6, faces=60)
TINY = Architecture(stem=8, blocks=((16, 1), (24, 2)))


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("face") / "face.onnx"
    export_onnx(FaceGraph(FaceNet(TINY), 48, 0.5), path)
    return path.read_bytes()


def draw_faces(n, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 6, 6)).astype(np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return Faces(images, np.zeros((n, 10), np.uint8), np.zeros(n, np.uint8))


def test_no_direction_of_the_vectors_rules():
    rng = np.random.default_rng(1)
    shared, rare = rng.normal(size=(9, 12)), rng.normal(size=(9, 12))
    cells = 5 + 20 * rng.normal(size=(500, 1, 1)) * shared + rng.normal(size=(500, 1, 1)) * rare
    found = find_map(cells.astype(np.float32), AppearanceRecipe(channels=12, width=2))
    vectors = ((cells @ found.channels).reshape(500, -1) - found.centre) @ found.whitening
    np.testing.assert_allclose(np.cov(vectors.T), np.eye(2), atol=0.02)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-2)


def test_the_graph_gives_vectors_of_length_one_by_the_layer_it_was_cut_at(face, tmp_path):
    faces = draw_faces(80)
    path = write_appearance(face, faces, tmp_path / "appearance.onnx", RECIPE)
    session = start_session(path.read_bytes(), threads=1)
    crops = np.random.default_rng(2).uniform(0, 255, (3, 3, 96, 96)).astype(np.float32)
    (vectors,) = session.run(None, {"faces": crops})
    assert vectors.shape == (3, 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    kept = [node.op_type for node in onnx.load(path).graph.node].count("Conv")
    assert kept == 3, "layers above are left out"
    cells = start_session(cut_layers(face, 3).SerializeToString(), threads=1).run(None, {"faces": crops})[0]
    assert cells.shape == (3, 9, 16)


def test_the_parts_of_a_face_are_averaged_where_they_lie(face):
    """Light in the upper left third moves the first part alone."""
    session = start_session(cut_layers(face, 1).SerializeToString(), threads=1)
    dark = np.full((1, 3, 96, 96), 60, np.float32)
    lit = dark.copy()
    dark[..., 70:80, 70:80] = 200  # so that both have the same contrast, which is normalised away
    lit[..., 10:20, 10:20] = 200
    changed = np.abs(session.run(None, {"faces": lit})[0] - session.run(None, {"faces": dark})[0]).sum(axis=(0, 2))
    assert set(np.argsort(changed)[-2:].tolist()) == {0, 8}


def test_a_network_of_too_few_layers_is_refused(face):
    with pytest.raises(MoodreelError, match="has 5 layers, expected 99"):
        cut_layers(face, 99)


def test_a_bundle_gets_it_and_opens(face, tmp_path, monkeypatch):
    from moodreel.training.face import appearance

    bundle = write_tiny_bundle(tmp_path / "old")
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "face.onnx").write_bytes(face)
    manifest["networks"]["face"]["sha256"] = appearance.hash_file(bundle / "face.onnx")
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    faces = draw_faces(60)
    np.savez(tmp_path / "train.npz", images=faces.images, votes=faces.votes, fer2013=faces.fer2013)
    monkeypatch.setattr(appearance.write_appearance, "__defaults__", (RECIPE,))
    made = load_bundle(add_appearance(str(bundle), tmp_path, tmp_path / "new").parent)
    assert set(made.networks) == {"face", "voice", "appearance"}
    reader = AppearanceReader.open(made, threads=1)
    assert reader is not None and (reader.side_px, reader.width, reader.same_person) == (96, 6, 0.6)
    assert AppearanceReader.open(load_bundle(bundle), threads=1) is None
    with pytest.raises(BundleError, match="late bundle"):
        manifest["networks"] = {"joint": manifest["networks"]["voice"]}
        (bundle / "bundle.json").write_text(json.dumps(manifest))
        add_appearance(str(bundle), tmp_path, tmp_path / "other")
