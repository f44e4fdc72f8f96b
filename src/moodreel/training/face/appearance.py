"""The network that tells people apart by their faces: the low layers of the face network, and a map found on faces.

The face network comes from a face recogniser. Its last features have forgotten whose face they see, for they were
trained on expressions; those half way up have not. They are averaged over nine parts of the face, and mapped so that
over many faces no direction varies more than another: what all faces share then counts nothing, and what few have in
common counts as much as it should. No labels are needed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from moodreel.bundle import load_bundle, read_network
from moodreel.errors import BundleError, MoodreelError
from moodreel.face.appearance import NETWORK
from moodreel.inference import run_network, start_session
from moodreel.storage.cache import hash_file
from moodreel.storage.whole_files import whole_file, whole_folder, write_text
from moodreel.training.face.ferplus import FACE_SIDE, Faces, read_ferplus
from moodreel.training.onnx_weights import halve_weights, prune

GRID = 3
"""Parts of a face, down and across."""
_SCALE = 2
"""Size of the crops that the network takes, in sizes of FER2013's faces."""
_AT_ONCE = 32
_CELLS = "cells"

SAME_PERSON = 0.60
"""Least average cosine of one person's faces. Of pairs of tracks of strangers before one camera fewer than one in a
thousand reach it, of pairs of one person's tracks more than nine in ten."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AppearanceRecipe:
    """How the network is made.

    Attributes:
        layers: convolutions of the face network that stay, from the first.
        channels: directions that the features of each part of the face keep.
        width: length of the vector.
        faces: most faces that the map is found on.
        seed: of the choice of faces.
    """

    layers: int = 13
    channels: int = 64
    width: int = 192
    faces: int = 6000
    seed: int = 0


@dataclass(frozen=True)
class AppearanceMap:
    """From features of a face's parts, shape (parts, features), to its vector.

    Attributes:
        channels: shape (features, channels), for each part.
        centre: shape (parts * channels,): what all faces share.
        whitening: shape (parts * channels, width).
    """

    channels: Float32
    centre: Float32
    whitening: Float32


def write_appearance(face: bytes, faces: Faces, path: Path, recipe: AppearanceRecipe = AppearanceRecipe()) -> Path:
    """Make the network out of a face network, and write it.

    Args:
        face: the face network as `export_onnx` writes it.
        faces: any faces, of many people; their labels are not looked at.
        path: of the file to write.
        recipe: how.

    Returns:
        The path.

    Raises:
        MoodreelError: the face network has too few layers.
        OutputError: the file cannot be written.
    """
    model = cut_layers(face, recipe.layers)
    chosen = np.random.default_rng(recipe.seed).permutation(len(faces))[: recipe.faces]
    _add_map(model, find_map(_read_cells(model, faces.images[chosen]), recipe))
    halve_weights(model)
    onnx.checker.check_model(model)
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return path


def add_appearance(model: str, ferplus: Path, out: Path) -> Path:
    """Write a late bundle anew, with what tells people apart made of its face network.

    Args:
        model: name or folder of the bundle.
        ferplus: folder with FER2013 and FER+ as `train.npz`.
        out: folder of the new bundle, which must not be there yet.

    Returns:
        The path of `bundle.json`.

    Raises:
        BundleError: the bundle has no such face network.
        CorpusError: the faces cannot be read.
        OutputError: the folder cannot be written, or is there already.
    """
    bundle = load_bundle(model)
    if "face" not in bundle.networks:
        raise BundleError(f"{bundle.path}: has no face network to make it of; expected a late bundle such as `default`")
    manifest: dict[str, Any] = json.loads(json.dumps(dict(bundle.manifest)))
    with whole_folder(out) as folder:
        shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
        path = folder / f"{NETWORK}.onnx"
        write_appearance(read_network(bundle.path, bundle.networks["face"]), read_ferplus(ferplus / "train.npz"), path)
        manifest["networks"][NETWORK] = describe_appearance(path)
        write_text(folder / "bundle.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return out / "bundle.json"


def describe_appearance(path: Path) -> dict[str, Any]:
    """Return the network's entry of `bundle.json`."""
    side_px = _SCALE * FACE_SIDE
    return {
        "file": path.name,
        "sha256": hash_file(path),
        "side_px": side_px,
        "same_person": SAME_PERSON,
        "input": "aligned face, RGB 0-255",
    }


def find_map(cells: Float32, recipe: AppearanceRecipe) -> AppearanceMap:
    """Find the directions in which faces differ most, and scale them alike.

    Args:
        cells: features of faces' parts, shape (n, parts, features).
        recipe: how many directions.
    """
    parts = cells.reshape(-1, cells.shape[-1])
    channels = _principal_axes(parts - parts.mean(axis=0), recipe.channels)[0]
    joined = (cells @ channels).reshape(len(cells), -1)
    centre = joined.mean(axis=0)
    axes, variances = _principal_axes(joined - centre, recipe.width)
    return AppearanceMap(channels, centre, np.asarray(axes / np.sqrt(variances), np.float32))


def _principal_axes(rows: Float32, most: int) -> tuple[Float32, Float32]:
    """Return the directions of the greatest variance, as columns, and the variances."""
    variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    kept = slice(-1, -1 - min(most, len(variances)), -1)
    return axes[:, kept].astype(np.float32), np.maximum(variances[kept], 1e-9).astype(np.float32)


def cut_layers(face: bytes, n_layers: int) -> onnx.ModelProto:
    """Cut a face network off above a layer; its output is what that layer gives, averaged over parts of the face.

    Args:
        face: the network: convolutions, each clipped.
        n_layers: how many convolutions stay.

    Returns:
        A network from `faces` to `cells`, shape (n, parts, features).

    Raises:
        MoodreelError: there are not so many.
    """
    model = onnx.load_from_string(face)
    clipped = [node.output[0] for node in model.graph.node if node.op_type == "Clip"]
    if len(clipped) < n_layers:
        raise MoodreelError(f"the face network has {len(clipped)} layers, expected {n_layers} or more")
    top = clipped[n_layers - 1]
    prune(model, [top])
    _name_output(model, top, None)
    side, width = _measure_layer(model, top)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(_average_parts(side), "parts"),
            numpy_helper.from_array(np.array([0, width, side * side], np.int64), "flat"),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("Reshape", [top, "flat"], ["flattened"]),
            helper.make_node("Transpose", ["flattened"], ["places"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["parts", "places"], [_CELLS]),
        ]
    )
    _name_output(model, _CELLS, ["n", GRID * GRID, width])
    return model


def _name_output(model: onnx.ModelProto, name: str, shape: list[str | int] | None) -> None:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _measure_layer(model: onnx.ModelProto, name: str) -> tuple[int, int]:
    """Return side and width of a layer's output."""
    session = start_session(model.SerializeToString(), threads=1)
    side_px = int(session.get_inputs()[0].shape[-1])
    (found,) = session.run([name], {"faces": np.zeros((1, 3, side_px, side_px), np.float32)})
    return found.shape[-1], found.shape[1]


def _average_parts(side: int) -> Float32:
    """Return the weights of each place in each part of a square, shape (parts, side * side)."""
    edges = np.linspace(0, side, GRID + 1).round().astype(int)
    strips = np.zeros((GRID, side), np.float32)
    for strip, first, last in zip(strips, edges, edges[1:], strict=False):
        strip[first:last] = 1 / (last - first)
    return np.asarray(np.einsum("iy,jx->ijyx", strips, strips).reshape(GRID * GRID, side * side))


def _read_cells(model: onnx.ModelProto, images: npt.NDArray[np.uint8]) -> Float32:
    session = start_session(model.SerializeToString(), threads=2)
    width = int(session.get_outputs()[0].shape[-1])
    parts = []
    for start in range(0, len(images), _AT_ONCE):
        grey = images[start : start + _AT_ONCE, None].repeat(3, axis=1).repeat(_SCALE, axis=2).repeat(_SCALE, axis=3)
        shapes = {_CELLS: (len(grey), GRID * GRID, width)}
        parts += run_network(session, {"faces": grey.astype(np.float32)}, shapes)
    return np.concatenate(parts)


def _add_map(model: onnx.ModelProto, found: AppearanceMap) -> None:
    """Let a network of cells go on to vectors of length one."""
    flat = np.array([0, GRID * GRID * found.channels.shape[1]], np.int64)
    weights: dict[str, npt.NDArray[Any]] = {"row": flat, **vars(found)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    model.graph.node.extend(
        [
            helper.make_node("MatMul", [_CELLS, "channels"], ["reduced"]),
            helper.make_node("Reshape", ["reduced", "row"], ["joined"]),
            helper.make_node("Sub", ["joined", "centre"], ["centred"]),
            helper.make_node("MatMul", ["centred", "whitening"], ["whitened"]),
            helper.make_node("LpNormalization", ["whitened"], [NETWORK], axis=1, p=2),
        ]
    )
    _name_output(model, NETWORK, ["n", found.whitening.shape[1]])
