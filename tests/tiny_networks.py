"""A bundle whose networks are those that ship in all but size: their weights are random, their graphs alike."""

import hashlib
import json

import numpy as np
import torch

from moodreel.training.backbones.mobilenet import Architecture
from moodreel.training.backbones.whisper import WhisperEncoder
from moodreel.training.face.network import FaceGraph, FaceNet, export_onnx
from moodreel.training.heads.gate import Gate, GatedCorrection, add_gated
from moodreel.training.tuned.bundle import add_correction
from moodreel.training.tuned.heads import Correction
from moodreel.training.voice.export import export_voice
from moodreel.training.voice.network import VoiceNet
from moodreel.training.voice.plain_head import VoicePair
from tiny_bundle import write_tiny_bundle

WIDTH = 64


def make_pair(n_blocks=2):
    """Make both halves of a voice network over one lower part."""
    torch.manual_seed(0)
    tuned, plain = (VoiceNet(WhisperEncoder(n_blocks, WIDTH, 1)) for _ in range(2))
    for net in (tuned, plain):
        scramble(net)
    with torch.no_grad():
        tuned.snr_estimator.bias.fill_(1.0)
    return VoicePair(tuned, plain, n_blocks - 1).eval()


def scramble(net):
    """Give every weight a value of its own, so that no two are taken for one."""
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.05 * torch.randn_like(value))


def write_voice(path, storage="int8", n_blocks=2):
    """Write a voice network with a gated map beside, as it ships; returns the pair."""
    pair = make_pair(n_blocks)
    export_voice(pair, path, storage)
    rng = np.random.default_rng(0)
    width = 2 * WIDTH * n_blocks
    correction = Correction(rng.normal(size=7), 0.1 * rng.normal(size=(width, 7)))
    path.write_bytes(
        add_gated(path.read_bytes(), "statistics", GatedCorrection(correction, Gate(rng.normal(size=width), 0.1)))
    )
    return pair


def write_face(path, side=65):
    """Write a face network with a map beside, as it ships; returns what it was made of."""
    torch.manual_seed(1)
    net = FaceNet(Architecture(stem=8, blocks=((16, 1), (24, 2), (32, 2), (32, 1), (48, 2))))
    for layer in net.trunk.layers:
        with torch.no_grad():
            layer.weight.mul_(4)
    scramble(net.fer2013), scramble(net.ferplus)
    graph = FaceGraph(net, side, 0.7).eval()
    export_onnx(graph, path)
    rng = np.random.default_rng(1)
    path.write_bytes(
        add_correction(path.read_bytes(), "features", Correction(rng.normal(size=7), rng.normal(size=(48, 7))))
    )
    return graph


def write_trained_bundle(folder, **changes):
    """Write a late bundle of both."""
    write_tiny_bundle(folder)
    write_face(folder / "face.onnx")
    write_voice(folder / "voice.onnx")
    manifest = json.loads((folder / "bundle.json").read_text())
    for name, entry in manifest["networks"].items():
        entry["sha256"] = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
    manifest["networks"]["face"]["side_px"] = 96
    (folder / "bundle.json").write_text(json.dumps({**manifest, **changes}))
    return folder
