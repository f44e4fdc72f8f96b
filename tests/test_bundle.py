"""Bundles: a damaged or foreign one is refused in one line, and nothing in it can run or reach out."""

import json
import shutil

import pytest

from moodreel.bundle import load_bundle
from moodreel.errors import BundleError
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
    import hashlib

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
