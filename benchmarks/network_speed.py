"""How long the two networks of a bundle take, one face and 8 s of sound at a time, on one thread.

    python benchmarks/network_speed.py [--model default] [--voice-origin smart-turn-v3.2-cpu.onnx]

`pretrain voice` leaves the voice's origin in its run folder; it is timed in turn with ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from moodreel.bundle import load_bundle

RUNS = 200
N_FRAMES = 800
N_TOKENS = 400


def open_network(path: Path) -> onnxruntime.InferenceSession:
    """Open a network on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def time_in_turn(calls: Mapping[str, Callable[[], object]], runs: int = RUNS) -> dict[str, float]:
    """Return the median milliseconds of each call; they take turns, so that a busy moment hits all alike."""
    spent_ms: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            begun_s = time.perf_counter()
            call()
            spent_ms[name].append(1e3 * (time.perf_counter() - begun_s))
    return {name: float(np.median(times)) for name, times in spent_ms.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--voice-origin", type=Path)
    given = parser.parse_args()
    folder = load_bundle(given.model).path
    rng = np.random.default_rng(0)
    face, voice = open_network(folder / "face.onnx"), open_network(folder / "voice.onnx")
    faces = rng.uniform(0, 255, (1, 3, 96, 96)).astype(np.float32)
    mel = rng.uniform(-1, 1, (1, 80, N_FRAMES)).astype(np.float32)
    pooling = np.full((1, N_TOKENS), 1 / N_TOKENS, np.float32)
    calls: dict[str, Callable[[], object]] = {
        "face.onnx, one face": lambda: face.run(None, {"faces": faces}),
        "voice.onnx, 8 s": lambda: voice.run(None, {"mel": mel, "pooling": pooling}),
    }
    if given.voice_origin is not None:
        origin = open_network(given.voice_origin)
        calls[f"{given.voice_origin.name}, 8 s"] = lambda: origin.run(None, {"input_features": mel})
    print("| network, one thread | ms, median |\n|---|---|")
    for name, median_ms in time_in_turn(calls).items():
        print(f"| {name} | {median_ms:.1f} |")


if __name__ == "__main__":
    main()
