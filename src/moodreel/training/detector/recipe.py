"""Everything that the face detector depends on besides its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from moodreel.training.detector.network import Widths

STUDENT = Widths(24, (64, 96, 96, 144, 144, 144, 288, 288, 288, 288, 432, 432, 432, 640, 640, 640))


@dataclass(frozen=True)
class DetectorRecipe:
    """How the student is pruned and taught.

    Attributes:
        widths: of the student.
        pruning_scenes: scenes that channels are chosen and refitted on.
        epochs: passes of `steps` batches each.
        steps: batches per epoch.
        batch: scenes per batch; all of one shape.
        learning_rate: highest; the layers hold their normalisation, and ten times as much undoes what pruning fitted.
        warmup: steps of its rise.
        weight_decay: of AdamW.
        averaging: decay of the weight averaging per step.
        frame_s: seconds between frames that are taken of a clip.
        long_side_px: of the pictures that scenes are made of.
        seed: of all draws.
    """

    widths: Widths = STUDENT
    pruning_scenes: int = 48
    epochs: int = 5
    steps: int = 80
    batch: int = 12
    learning_rate: float = 4e-5
    warmup: int = 30
    weight_decay: float = 1e-4
    averaging: float = 0.98
    frame_s: float = 0.5
    long_side_px: int = 480
    seed: int = 0
