"""How fast ResNet-20 encodes frames, which is what training on whole frames costs.

    python benchmarks/encode_speed.py [--threads 2] [--seconds 4]

Prints one row a choice of frames: frames per second, seconds per clip, and the process's peak memory so far.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass

import torch

from moodreel.training.backbones.resnet import ResNet20
from moodreel.training.joint.networks import ResNetEncoder

BATCH_FRAMES = 16
LEAST_S = 3.0


@dataclass(frozen=True)
class Choice:
    """One way to read frames.

    Attributes:
        name: in words.
        side_px: side of a frame.
        rate_hz: frames per second of clip.
        cells: see `VideoRecipe`.
        stages: see there.
    """

    name: str
    side_px: int
    rate_hz: float
    cells: int
    stages: int = 3


CHOICES = (
    Choice("paper: whole frames, maps whole", 256, 25.0, 0),
    Choice("whole frames, 4x4 cells", 256, 7.5, 4),
    Choice("repaired: face crops, two stages, 8x8 cells", 64, 7.5, 8, 2),
)


def measure_rate(choice: Choice, dtype: torch.dtype) -> float:
    """Return the frames per second that are encoded."""
    encoder = ResNetEncoder(ResNet20(), choice.cells, stages=choice.stages).eval().to(memory_format=torch.channels_last)
    frames = torch.randint(0, 256, (BATCH_FRAMES, choice.side_px, choice.side_px, 3), dtype=torch.uint8)
    n_frames, begun_s = 0, 0.0
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        encoder(frames)
        begun_s = time.perf_counter()
        while time.perf_counter() - begun_s < LEAST_S:
            encoder(frames)
            n_frames += BATCH_FRAMES
    return n_frames / (time.perf_counter() - begun_s)


def main() -> None:
    """Measure every choice and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the clip that costs are stated for")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| frames | type | frames per second | s per clip | peak memory, MB |\n|---|---|---|---|---|")
    for choice in CHOICES:
        for dtype in (torch.float32, torch.bfloat16):
            rate = measure_rate(choice, dtype)
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            clip_s = arguments.seconds * choice.rate_hz / rate
            print(f"| {choice.name} | {str(dtype)[6:]} | {rate:.1f} | {clip_s:.2f} | {peak_mb:.0f} |", flush=True)


if __name__ == "__main__":
    main()
