"""Bundles: a damaged or foreign one is refused in one line, and nothing in it can run or reach out."""

import hashlib
import json
import os
import shutil

import numpy as np
import onnx
import pytest

from moodreel import Recognizer
from moodreel.bundle import load_bundle
from moodreel.errors import BundleError
from moodreel.inference import run_network
from tiny_bundle import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "bundle")


def change(folder, **changes):
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest.update(changes)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def refused(folder, *words):
    with pytest.raises(BundleError) as caught:
        opened = load_bundle(folder)
        for network in opened.networks:
            opened.session(network, threads=1)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"


def test_opens_and_runs(bundle):
    opened = load_bundle(bundle)
    assert opened.title == "tiny 1"
    assert opened.session("face", threads=1).get_providers() == ["CPUExecutionProvider"]


def test_unknown_name_lists_what_there_is(tmp_path):
    refused("no-such-bundle", "no-such-bundle", "default")
    refused(tmp_path, "holds no bundle.json")
    (tmp_path / "a.txt").touch()
    refused(tmp_path / "a.txt", "is a file", "expected a bundle's folder")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\xff", '{"a": ' * 5000])
def test_unreadable_json(bundle, text):
    (bundle / "bundle.json").write_bytes(text.encode("latin-1"))
    refused(bundle, "bundle.json")


def test_other_schema_version(bundle):
    change(bundle, schema_version=99)
    refused(bundle, "99", "expected 1")


def test_swapped_label_order(bundle):
    change(bundle, labels=["disgust", "angry", "fear", "happy", "neutral", "sad", "surprise"])
    refused(bundle, "label order")


@pytest.mark.parametrize("file", ["../face.onnx", "/etc/passwd", "sub/face.onnx", "face.pkl", ""])
def test_network_outside_the_folder(bundle, file):
    change(bundle, networks={"face": {"file": file, "sha256": "0" * 64}})
    refused(bundle, "plain name")


def test_altered_network(bundle):
    (bundle / "voice.onnx").write_bytes((bundle / "voice.onnx").read_bytes()[:-5])
    refused(bundle, "voice.onnx", "sha256")


def test_missing_network_file(bundle):
    (bundle / "face.onnx").unlink()
    refused(bundle, "face.onnx", "cannot be read")


def test_network_that_is_no_onnx(bundle):
    (bundle / "face.onnx").write_bytes(b"not a network")
    sha256 = hashlib.sha256(b"not a network").hexdigest()
    change(bundle, networks={"face": {"file": "face.onnx", "sha256": sha256}})
    refused(bundle, "face.onnx", "not a network")


@pytest.mark.parametrize("key", ["name", "version", "licence", "networks", "kind"])
def test_missing_key_is_named(bundle, key):
    manifest = json.loads((bundle / "bundle.json").read_text())
    del manifest[key]
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    refused(bundle, key)


def test_folder_that_vanished(bundle):
    shutil.rmtree(bundle)
    refused(bundle, "no such bundle")


@pytest.mark.parametrize("name", ["a" * 400, "nul\0byte", "line\nbreak"])
def test_name_that_no_bundle_can_have(name):
    refused(name, "no such bundle")


def test_network_that_is_a_pipe_is_not_waited_for(bundle):
    (bundle / "face.onnx").unlink()
    os.mkfifo(bundle / "face.onnx")
    refused(bundle, "face.onnx", "no regular file")


@pytest.mark.parametrize("place", ["weights.bin", "/etc/passwd", "../weights.bin"])
def test_network_cannot_read_other_files(bundle, monkeypatch, place):
    """ONNX Runtime would resolve a tensor's external data against the working directory."""
    monkeypatch.chdir(bundle)
    (bundle / "weights.bin").write_bytes(bytes(4096))
    graph = onnx.load(bundle / "face.onnx")
    tensor = next(one for one in graph.graph.initializer if one.name == "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(3 * 7 * 4))):
        tensor.external_data.add(key=key, value=value)
    (bundle / "face.onnx").write_bytes(graph.SerializeToString())
    sha256 = hashlib.sha256(graph.SerializeToString()).hexdigest()
    change(bundle, networks={"face": {"file": "face.onnx", "sha256": sha256}})
    refused(bundle, "face.onnx", "not a network")


@pytest.mark.parametrize("side_px", ["96", None, -5, 0, float("nan"), 10**9, 10**400, [96], True, 64])
def test_absurd_side_is_refused_before_a_clip_is_read(bundle, side_px):
    networks = json.loads((bundle / "bundle.json").read_text())["networks"]
    change(bundle, networks={**networks, "face": {**networks["face"], "side_px": side_px}})
    with pytest.raises(BundleError):
        Recognizer.load(bundle)


def test_swapped_networks_are_refused_before_a_clip_is_read(bundle):
    networks = json.loads((bundle / "bundle.json").read_text())["networks"]
    change(bundle, networks={"face": {**networks["voice"], "side_px": 32}, "voice": networks["face"]})
    with pytest.raises(BundleError, match="cannot be run"):
        Recognizer.load(bundle)


class Network:
    """A stand-in that gives the same outputs whatever comes in."""

    def __init__(self, **outputs):
        self.outputs = outputs

    def run(self, names, inputs):
        return [self.outputs[name] for name in names]


@pytest.mark.parametrize("logits", [np.zeros((2, 7)), np.zeros(7), np.full((1, 7), np.nan), [0.0]])
def test_outputs_of_a_foreign_network_are_refused(logits):
    with pytest.raises(BundleError, match="logits"):
        run_network(Network(logits=logits), {}, {"logits": (1, 7)})
