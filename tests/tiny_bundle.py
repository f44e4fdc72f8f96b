"""A bundle of a few bytes whose answers can be foreseen: red faces are angry, and every voice is surprised."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from moodreel.labels import EMOTIONS

FUSION = {
    "face_temperature": 1.0,
    "voice_temperature": 1.0,
    "face_weight": 1.0,
    "voice_weight": 1.0,
    "voice_trust_db": [0.0, 20.0],
    "voice_trust": [0.0, 1.0],
    "abstain_below": 0.2,
}

OFFSETS = {
    "expressions": (1.5 * (np.eye(7) - 1 / 7)).tolist(),
    "person": (0.8 * np.eye(7)).tolist(),
    "within": (0.3 * np.eye(7)).tolist(),
}
"""A section of `adaptation` by which a bundle adapts."""


NARROW_OFFSETS = {
    **OFFSETS,
    "expressions": (np.array(OFFSETS["expressions"]) / 1e3).tolist(),
    "within": (np.eye(7) * 1e-6).tolist(),
}
"""The same where answers that vary little count as varied: those of tiny networks do."""


def write_tiny_bundle(folder: Path, **changes) -> Path:
    """Write a late bundle: logits of the face are (red, green, blue, 0...) / 100, of the voice (0, ..., 0, 2)."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_face_graph(), str(folder / "face.onnx"))
    onnx.save(_voice_graph(), str(folder / "voice.onnx"))
    manifest = {
        "schema_version": 1,
        "name": "tiny",
        "version": "1",
        "labels": list(EMOTIONS),
        "kind": "late",
        "licence": "none",
        "networks": {
            "face": {**_entry(folder / "face.onnx"), "side_px": 32},
            "voice": {**_entry(folder / "voice.onnx"), "no_speech_below_db": -50.0},
        },
        "fusion": FUSION,
    }
    manifest.update(changes)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def write_hearing_bundle(folder: Path, **changes) -> Path:
    """Write the same with a sound network: where high bands are the louder ones, it is laughter, else speech."""
    write_tiny_bundle(folder)
    onnx.save(_sound_graph(), str(folder / "sounds.onnx"))
    manifest = json.loads((folder / "bundle.json").read_text())
    entry = {**_entry(folder / "sounds.onnx"), "classes": ["speech", "laughter", "music"], "speech_above": 0.3}
    manifest["networks"]["sounds"] = {key: value for key, value in {**entry, **changes}.items() if value is not None}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


JOINT_INPUTS = {
    "frames": {"framing": "face", "side_px": 32, "rate_hz": 7.5, "face_threshold": 0.3},
    "expressions": False,
    "functionals": False,
    "speech": False,
    "trimmed": False,
    "longest_s": 4.0,
    "descriptors": True,
}


def write_tiny_joint_bundle(folder: Path, **changes) -> Path:
    """Write a joint bundle: logits are (red, green, blue, 0...) / 100 of the faces, plus (0, ..., 0, 2) for a voice."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_joint_graph(), str(folder / "joint.onnx"))
    manifest = {
        "schema_version": 1,
        "name": "tiny-joint",
        "version": "1",
        "labels": list(EMOTIONS),
        "kind": "joint",
        "licence": "none",
        "networks": {"joint": {**_entry(folder / "joint.onnx"), "abstain_below": 0.2}},
        "inputs": JOINT_INPUTS,
    }
    manifest.update(changes)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def add_tiny_appearance(folder: Path) -> Path:
    """Give a bundle what tells people apart: by the tint of the face, whatever its light and framing."""
    path = folder / "appearance.onnx"
    nodes = [
        helper.make_node("ReduceMean", ["faces", "axes"], ["colour"], keepdims=0),
        helper.make_node("ReduceMean", ["colour", "channels"], ["grey"], keepdims=1),
        helper.make_node("Sub", ["colour", "grey"], ["tint"]),
        helper.make_node("LpNormalization", ["tint"], ["appearance"], axis=1, p=2),
    ]
    values = {"axes": np.array([2, 3]), "channels": np.array([1])}
    onnx.save(_model(nodes, values, {"faces": ["n", 3, 32, 32]}, {"appearance": ["n", 3]}), str(path))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["appearance"] = {**_entry(path), "side_px": 32, "same_person": 0.8}
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def add_tiny_speaker(folder: Path) -> Path:
    """Give a bundle what tells who speaks: those whose lips are light; a tenth of the grey above 60."""
    path = folder / "speaker.onnx"
    nodes = [
        helper.make_node("Cast", ["lips"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["grey"], keepdims=0),
        helper.make_node("Sub", ["grey", "middle"], ["above"]),
        helper.make_node("ReduceMean", ["spectra"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "zero"], ["nothing"]),
        helper.make_node("Div", ["above", "ten"], ["scaled"]),
        helper.make_node("Add", ["scaled", "nothing"], ["log_odds"]),
    ]
    values = {
        "axes": np.array([2, 3]),
        "middle": np.array(60.0, np.float32),
        "ten": np.array(10.0, np.float32),
        "zero": np.array(0.0, np.float32),
    }
    model = _model(nodes, values, {"spectra": [1, "frames", 13]}, {"log_odds": ["n", "times"]})
    model.graph.input.insert(0, helper.make_tensor_value_info("lips", TensorProto.UINT8, ["n", "times", 112, 112]))
    onnx.save(model, str(path))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["speaker"] = _entry(path)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def _joint_graph() -> onnx.ModelProto:
    red_green_blue, surprise = np.zeros((3, 7), np.float32), np.zeros((1, 7), np.float32)
    red_green_blue[:3, :3] = np.eye(3) / 100
    surprise[0, 6] = 2.0
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "has_face"], ["seen"]),
        helper.make_node("MatMul", ["seen", "red_green_blue"], ["face"]),
        helper.make_node("MatMul", ["has_voice", "surprise"], ["voice"]),
        helper.make_node("Add", ["face", "voice"], ["logits"]),
    ]
    values = {"axes": np.array([0, 1, 2]), "red_green_blue": red_green_blue, "surprise": surprise}
    inputs = {"has_face": [1], "descriptors": ["rows", 86], "has_voice": [1]}
    model = _model(nodes, values, inputs, {"logits": [7]})
    model.graph.input.insert(0, helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 32, 32, 3]))
    return model


def _entry(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _face_graph() -> onnx.ModelProto:
    weights = np.zeros((3, 7), np.float32)
    weights[:3, :3] = np.eye(3) / 100
    nodes = [
        helper.make_node("ReduceMean", ["faces", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
    ]
    values = {"axes": np.array([2, 3]), "weights": weights}
    nodes.append(helper.make_node("Identity", ["colour"], ["features"]))
    return _model(nodes, values, {"faces": ["n", 3, 32, 32]}, {"logits": ["n", 7], "features": ["n", 3]})


def _voice_graph() -> onnx.ModelProto:
    surprise = np.zeros((1, 7), np.float32)
    surprise[0, 6] = 2.0
    nodes = [
        helper.make_node("ReduceMean", ["mel", "axes"], ["level"], keepdims=0),
        helper.make_node("ReduceSum", ["pooling", "last"], ["ones"], keepdims=1),
        helper.make_node("MatMul", ["ones", "surprise"], ["logits"]),
        helper.make_node("Mul", ["level", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["pooling", "last"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "ratio"], ["clean"]),
        helper.make_node("Add", ["clean", "nothing"], ["snr_db"]),
        helper.make_node("Reshape", ["mel", "pairs"], ["frames"]),
        helper.make_node("ReduceMean", ["frames", "last_axis"], ["bands"], keepdims=0),
        helper.make_node("Transpose", ["bands"], ["tokens"], perm=[1, 0]),
        helper.make_node("MatMul", ["pooling", "tokens"], ["statistics"]),
    ]
    values = {
        "axes": np.array([1, 2]),
        "last": np.array([1]),
        "last_axis": np.array([2]),
        "pairs": np.array([80, -1, 2]),
        "surprise": surprise,
        "zero": np.zeros(1, np.float32),
        "ratio": np.array([20.0], np.float32),
    }
    inputs = {"mel": [1, 80, "frames"], "pooling": ["windows", "tokens"]}
    outputs = {"logits": ["windows", 7], "snr_db": ["windows"], "statistics": ["windows", 80]}
    return _model(nodes, values, inputs, outputs)


def _sound_graph() -> onnx.ModelProto:
    """Read 80 bands; 50 and up lie above 2.3 kHz."""
    weights = np.zeros((80, 3), np.float32)
    weights[:50, 0], weights[50:, 1] = 10 / 50, 10 / 30
    nodes = [
        helper.make_node("MatMul", ["statistics", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    return _model(nodes, {"weights": weights}, {"statistics": ["n", 80]}, {"probabilities": ["n", 3]})


def _model(nodes, values, inputs, outputs) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
