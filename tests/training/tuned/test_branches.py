"""Upper parts of exported networks: rebuilt in torch as they answer, and put back without moving anything else."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from moodreel.bundle import load_bundle, read_network
from moodreel.errors import BundleError
from moodreel.inference import start_session
from moodreel.training.onnx_reading import NamedGraph, open_up_to
from moodreel.training.tuned.face_bench import read_face_branch, read_head, write_face_branch
from moodreel.training.tuned.voice_branch import count_blocks, graft, read_branch
from moodreel.training.voice.export import _make_example
from tiny_bundle import write_tiny_bundle
from tiny_networks import scramble, write_face, write_voice

EXAMPLES = [_make_example(seconds, n) for seconds, n in ((2.0, 2), (0.4, 1), (3.0, 4))]


@pytest.fixture(scope="module", params=["float32", "int8", "shipped"])
def voice(request, tmp_path_factory):
    """A voice network as bytes."""
    if request.param == "shipped":
        bundle = load_bundle("default")
        return read_network(bundle.path, bundle.networks["voice"])
    path = tmp_path_factory.mktemp("voice") / "voice.onnx"
    write_voice(path, request.param)
    return path.read_bytes()


@pytest.fixture(scope="module", params=["tiny", "shipped"])
def face(request, tmp_path_factory):
    """A face network as bytes."""
    if request.param == "shipped":
        bundle = load_bundle("default")
        return read_network(bundle.path, bundle.networks["face"])
    path = tmp_path_factory.mktemp("face") / "face.onnx"
    write_face(path)
    return path.read_bytes()


def ask(graph, example):
    session = start_session(graph, threads=1)
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, example), strict=True))


def ask_within(graph, name, example):
    """What a graph computes on its way."""
    model = onnx.load_from_string(graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return start_session(model.SerializeToString(), threads=1).run([name], example)[0]


def enter(graph, site, example):
    """Tokens at the door of a branch, (n_tokens, width), and the pooling of the first window."""
    return open_up_to(graph, site.tokens).run(None, {"mel": example["mel"]})[0][0], example["pooling"][0]


def close(found, expected, most=0.15):
    assert np.abs(found - expected).max() <= most * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("first_block", [1, 0])
def test_the_trained_half_answers_in_torch_as_in_its_graph(voice, first_block):
    branch, site = read_branch(voice, first_block)
    for example in EXAMPLES:
        tokens, _ = enter(voice, site, example)
        with torch.inference_mode():
            logits, snr_db = branch(torch.from_numpy(tokens)[None], torch.from_numpy(example["pooling"])[None])
        close(logits.numpy(), ask_within(voice, site.logits, example))
        close(snr_db[0].numpy(), ask(voice, example)["snr_db"])


@pytest.mark.parametrize("first_block", [1, 0])
def test_a_new_half_changes_its_own_answer_and_nothing_else(voice, first_block):
    """Gate, map and sound network read the other half, and go on reading what they read."""
    branch, site = read_branch(voice, first_block)
    before = ask_within(voice, site.logits, EXAMPLES[0])
    with torch.no_grad():
        branch.net.classifier.bias.add_(torch.arange(7.0))
        branch.net.encoder.layers[first_block].fc2.bias.add_(0.1)
    grafted = graft(voice, branch, site, [enter(voice, site, one) for one in EXAMPLES])
    tokens, _ = enter(voice, site, EXAMPLES[0])
    with torch.inference_mode():
        own, snr_db = branch(torch.from_numpy(tokens)[None], torch.from_numpy(EXAMPLES[0]["pooling"])[None])
    old, new = ask(voice, EXAMPLES[0]), ask(grafted, EXAMPLES[0])
    np.testing.assert_array_equal(new["statistics"], old["statistics"])
    close(new["logits"] - old["logits"], (own.numpy() - before)[0])
    close(new["snr_db"], snr_db[0].numpy())
    assert np.abs(new["logits"] - old["logits"]).max() > 1
    assert [one.name for one in onnx.load_from_string(grafted).graph.output] == ["logits", "snr_db", "statistics"]


def test_a_half_is_replaced_again_and_again(voice):
    """Also from further below than the last time."""
    graph, shifts = voice, 0.0
    before = ask(voice, EXAMPLES[0])["logits"]
    for first_block, shift in ((1, 1.0), (0, 2.0), (1, 4.0)):
        branch, site = read_branch(graph, first_block)
        with torch.no_grad():
            branch.net.classifier.bias[3] += shift
        graph = graft(graph, branch, site, [enter(graph, site, one) for one in EXAMPLES])
        shifts += shift
    close(ask(graph, EXAMPLES[0])["logits"] - before, shifts * np.eye(7)[3])
    assert count_blocks(graph) == 2


def test_a_half_in_8_bits_is_stored_as_the_one_before(tmp_path):
    write_voice(tmp_path / "voice.onnx")
    graph = (tmp_path / "voice.onnx").read_bytes()
    branch, site = read_branch(graph, 1)
    grafted = graft(graph, branch, site, [enter(graph, site, EXAMPLES[0])])
    kinds = [[node.op_type for node in onnx.load_from_string(one).graph.node] for one in (graph, grafted)]
    assert kinds[0].count("MatMulInteger") == kinds[1].count("MatMulInteger") > 0
    assert len(grafted) < 1.05 * len(graph)


def test_weights_come_back_under_their_names(tmp_path):
    pair = write_voice(tmp_path / "voice.onnx", "float32")
    found = NamedGraph(onnx.load(str(tmp_path / "voice.onnx"))).read()
    for name, value in pair.tuned.state_dict().items():
        np.testing.assert_allclose(found[f"net.tuned.{name}"], value.numpy(), err_msg=name)
    for name in ("encoder.layers.1.self_attn.k_proj.weight", "encoder.layers.1.fc2.weight", "classifier.weight"):
        np.testing.assert_allclose(found[f"net.plain.{name}"], pair.plain.state_dict()[name].numpy(), err_msg=name)


def test_a_foreign_voice_or_face_is_refused(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    for name, read in (("voice", lambda g: read_branch(g, 0)), ("face", lambda g: read_face_branch(g, is_whole=False))):
        with pytest.raises(BundleError, match=f"the {name} network is not one that moodreel trained"):
            read(read_network(bundle.path, bundle.networks[name]))


def faces_of(graph, n=3):
    side = onnx.load_from_string(graph).graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    coarse = np.random.default_rng(0).uniform(0, 255, (n, 3, 8, 8)).astype(np.float32)
    return {"faces": coarse.repeat(side // 8, axis=2).repeat(side // 8, axis=3)}


@pytest.mark.parametrize("is_whole", [False, True])
def test_the_upper_convolutions_see_in_torch_what_they_see_in_their_graph(face, is_whole):
    branch, _, tap = read_face_branch(face, is_whole=is_whole)
    assert len(branch.layers) > 2 if is_whole else len(branch.layers) == 2
    faces = faces_of(face)
    with torch.inference_mode():
        found = branch(torch.from_numpy(ask_within(face, tap, faces))).numpy()
    np.testing.assert_allclose(found, ask(face, faces)["features"], atol=2e-3)


@pytest.mark.parametrize("is_whole", [False, True])
def test_new_convolutions_are_put_into_their_graph(face, is_whole):
    branch, first, tap = read_face_branch(face, is_whole=is_whole)
    faces = faces_of(face)
    np.testing.assert_allclose(
        ask(write_face_branch(face, branch, first), faces)["features"], ask(face, faces)["features"], atol=5e-3
    )
    scramble(branch)
    written = write_face_branch(face, branch, first)
    with torch.inference_mode():
        expected = branch(torch.from_numpy(ask_within(face, tap, faces))).numpy()
    np.testing.assert_allclose(ask(written, faces)["features"], expected, atol=0.02)
    assert abs(len(written) - len(face)) < 100


def test_the_map_behind_the_features_is_read_as_it_answers(face):
    weights, bias = read_head(face)
    found = ask(face, faces_of(face))
    np.testing.assert_allclose(found["features"] @ weights + bias, found["logits"], atol=1e-3)
