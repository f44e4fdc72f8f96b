"""Size, load and run time of the voice network by how its weights are stored, on one thread.

    python benchmarks/weight_storage.py

The weights are random; size and time do not depend on them. `avx2_only.c` shows the same on a processor without VNNI.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from moodreel.training.backbones.whisper import WhisperEncoder
from moodreel.training.onnx_weights import store_rest, store_weights
from moodreel.training.voice.export import export_voice
from moodreel.training.voice.network import VoiceNet
from moodreel.training.voice.plain_head import VoicePair
from moodreel.voice.speech import N_MELS
from network_speed import N_FRAMES, N_TOKENS, time_in_turn

LOADS = 9
PRECISE = "8 bits, `session.x64quantprecision`"


def write_files(folder: Path) -> dict[str, Path]:
    """Write the network in each storage; the name of each with its file."""
    torch.manual_seed(0)
    plain, pair = folder / "float32.onnx", VoicePair(VoiceNet(WhisperEncoder()), VoiceNet(WhisperEncoder()), 1)
    for net in (pair.tuned, pair.plain):
        torch.nn.init.normal_(net.classifier.weight)
    export_voice(pair.eval(), plain, "float32")
    files = {"float32": plain}
    for name, store in {
        "float16, computed in float32": lambda model: store_weights(model, "float16"),
        "8 bits, computed in float32": store_rest,
        "8 bits, no two neighbours beyond 128": lambda model: store_weights(model, "int8"),
    }.items():
        model = onnx.load(plain)
        store(model)
        files[name] = folder / f"{len(files)}.onnx"
        onnx.save(model, files[name])
    for name, narrow in {"8 bits (saturates without VNNI)": False, "7 bits (`reduce_range`)": True}.items():
        files[name] = folder / f"{len(files)}.onnx"
        quantize_dynamic(
            plain, files[name], ["MatMul"], per_channel=True, reduce_range=narrow, weight_type=QuantType.QInt8
        )
        model = onnx.load(files[name])
        store_rest(model)
        onnx.save(model, files[name])
    return files | {PRECISE: files["8 bits (saturates without VNNI)"]}


def open_network(path: Path, precise: bool) -> onnxruntime.InferenceSession:
    """Open a network on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Print the table."""
    inputs = {
        "mel": np.random.default_rng(0).uniform(-1, 1, (1, N_MELS, N_FRAMES)).astype(np.float32),
        "pooling": np.full((1, N_TOKENS), 1 / N_TOKENS, np.float32),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder))
        sizes_mb = {name: path.stat().st_size / 1e6 for name, path in files.items()}
        openings = {name: partial(open_network, path, name == PRECISE) for name, path in files.items()}
        loads_ms = time_in_turn(openings, LOADS)
        runs_ms = time_in_turn({name: partial(open_it().run, None, inputs) for name, open_it in openings.items()})
    print("| weights | MB | load, ms | 8 s, ms |\n|---|---|---|---|")
    for name in files:
        print(f"| {name} | {sizes_mb[name]:.1f} | {loads_ms[name]:.0f} | {runs_ms[name]:.1f} |")


if __name__ == "__main__":
    main()
