"""The student taught by CenterFace: on each scene its maps become those of the teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from moodreel.training.detector.network import Detector, Maps
from moodreel.training.detector.pictures import Collection
from moodreel.training.detector.recipe import DetectorRecipe
from moodreel.training.detector.scenes import SHAPES, draw_scene
from moodreel.training.fitting import Course, Epochs, FitModule, fit_module, scale_rate, schedule_rates
from moodreel.training.machine import Precision

_FACE = 0.2
"""Cells that the teacher takes for a face with at least this probability teach sizes, offsets and landmarks."""
_FEATURES, _SIZES, _OFFSETS, _POINTS = 1.0, 3.0, 3.0, 24.0
"""What counts how much beside the heatmap; landmarks are fractions of a box, and small."""
_REFINED = 0.02


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """Scenes and what the teacher finds in them.

    Attributes:
        scenes: RGB 0-255, shape (n, 3, h, w).
        features: of the teacher's last layer but one.
        maps: logits of its heatmap, sizes, offsets, landmarks.
    """

    scenes: Tensor
    features: Tensor
    maps: Maps


def draw_scenes(pictures: Collection, n: int, shape: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Draw scenes of one shape, RGB 0-255, float32, shape (n, 3, h, w)."""
    scenes = np.stack([draw_scene(pictures, shape, rng) for _ in range(n)])
    return torch.from_numpy(scenes).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def ask_teacher(teacher: Detector, scenes: Tensor, precision: Precision = "32-true") -> SceneBatch:
    """Return scenes with the teacher's maps."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        features = teacher.describe(scenes).float()
    return SceneBatch(scenes, features, teacher.read(features))


class DetectorModule(FitModule):
    """The student under its recipe."""

    network: Detector

    def __init__(self, student: Detector, recipe: DetectorRecipe) -> None:
        """Store what is fitted."""
        super().__init__(student, "face detector")
        self.recipe = recipe

    def measure_loss(self, batch: SceneBatch) -> Tensor:
        """See `FitModule`."""
        features = self.network.describe(batch.scenes)
        return compare(features.float(), self.network.read(features), batch)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its rates."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        n_steps = self.recipe.epochs * self.recipe.steps
        return schedule_rates(optimizer, partial(scale_rate, n_steps=n_steps, n_warmup=self.recipe.warmup))


def compare(features: Tensor, maps: Maps, batch: SceneBatch) -> Tensor:
    """Return how far a student's maps lie from the teacher's, a scalar.

    The heatmap's loss is that of soft targets weighed by how wrong they are (Li et al. 2020, "Generalized Focal
    Loss"): nearly every cell is background, and right.
    """
    heat, sizes, offsets, points = (one.float() for one in maps)
    wanted = torch.sigmoid(batch.maps[0])
    is_face = wanted * (wanted > _FACE)
    n_faces = is_face.sum().clamp(min=1.0)
    wrong = (torch.sigmoid(heat) - wanted).abs().detach()
    costs = (wrong**2 + _REFINED * wrong) * F.binary_cross_entropy_with_logits(heat, wanted, reduction="none")
    loss = costs.sum() / n_faces
    for share, own, theirs in zip((_SIZES, _OFFSETS, _POINTS), (sizes, offsets, points), batch.maps[1:], strict=True):
        loss = loss + share * (is_face * (own - theirs).abs()).sum() / n_faces / own.shape[1]
    nearby = F.max_pool2d(wanted, 9, 1, 4) + 0.05
    distance = (nearby * (features - batch.features) ** 2).sum() / (nearby * batch.features**2).sum().clamp(min=1e-6)
    return loss + _FEATURES * distance


def distil(
    student: Detector,
    teacher: Detector,
    pictures: Collection,
    recipe: DetectorRecipe,
    precision: Precision,
    out: Path | None = None,
) -> None:
    """Teach a student in place; a run found in `out` goes on.

    Args:
        student: changed; ends in evaluation mode.
        teacher: CenterFace.
        pictures: what scenes are made of.
        recipe: how.
        precision: Lightning's.
        out: folder of the checkpoint.

    Raises:
        MoodreelError: the loss is NaN or infinite.
        OutputError: the checkpoint is damaged, or cannot be written.
    """

    def draw(epoch: int) -> Iterator[SceneBatch]:
        rng = np.random.default_rng([recipe.seed, epoch])
        for _ in range(recipe.steps):
            shape = SHAPES[int(rng.integers(len(SHAPES)))]
            yield ask_teacher(teacher, draw_scenes(pictures, recipe.batch, shape, rng), precision)

    for network in (student, teacher):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    course = Course(recipe.epochs, clip_norm=5.0, averaging=recipe.averaging, is_warmed=True, precision=precision)
    fit_module(DetectorModule(student, recipe), Epochs(recipe.steps, draw), course, out)
