"""Fitting the face network: stages of rising picture size, averaged weights, a checkpoint per epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.training.face.augment import augment_faces
from moodreel.training.face.ferplus import Faces
from moodreel.training.face.loss import FaceTargets, Priors, loss_of
from moodreel.training.face.network import FaceNet, enlarge, normalise_pictures
from moodreel.training.face.recipe import FaceRecipe, Generation
from moodreel.training.fitting import Course, Epochs, FitModule, fit_module, scale_rate, schedule_rates
from moodreel.training.machine import multiplies_bf16

N_MEASURED = 96
"""Faces that the scale of each layer is measured on."""
_CLIP_NORM = 2.0

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Teacher:
    """A network that others are distilled from.

    Attributes:
        net: folded, in evaluation mode.
        side: of the pictures it takes, pixels.
    """

    net: FaceNet
    side: int


def fit_faces(
    recipe: FaceRecipe,
    generation: Generation,
    train: Faces,
    start: FaceNet,
    out: Path,
    soft_targets: Tensor | None = None,
    teachers: Sequence[Teacher] = (),
) -> FaceNet:
    """Fit one network, going on from the last epoch's checkpoint in `out` where there is one.

    Args:
        recipe: settings.
        generation: which of the recipe's networks.
        train: cleaned faces to learn from.
        start: what to start from, folded; stays as it is.
        out: folder of the checkpoint.
        soft_targets: the teachers' probabilities of FER2013's labels of the faces, float32, shape (n, 7), or None.
        teachers: asked about each picture anew; they decide all of both heads' targets.

    Returns:
        The network with averaged weights, folded, in evaluation mode; what the generation keeps of `start` blended in.

    Raises:
        MoodreelError: the loss is NaN or infinite.
        OutputError: the checkpoint is damaged or another network's, or cannot be written.
    """
    batches = FaceBatches.of(recipe, generation, train, soft_targets, teachers)
    net = unfold_start(recipe, generation, train, start)
    module = FaceModule(net, recipe, batches.priors, batches.n_steps * generation.epochs)
    course = Course(generation.epochs, _CLIP_NORM, recipe.averaging, is_warmed=True)
    fit_module(module, Epochs(batches.n_steps, batches.draw), course, out)
    net.trunk.fold()
    _keep(generation.kept, start, net)
    return net.eval()


def unfold_start(recipe: FaceRecipe, generation: Generation, train: Faces, start: FaceNet) -> FaceNet:
    """Return a copy of the network to start from, ready to be trained: its low layers frozen, the others unfolded."""
    net = copy.deepcopy(start)
    net.trunk.freeze(recipe.frozen_layers)
    net.trunk.unfold(_sample_pictures(train, recipe, generation))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def _keep(share: float, start: FaceNet, net: FaceNet) -> None:
    """Move a folded network's weights that share of the way back to what it started from."""
    for value, before in zip(net.state_dict().values(), start.state_dict().values(), strict=True):
        value.lerp_(before, share)


def answer(net: FaceNet, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of both heads, float32, shape (n, 7) each, computed in bfloat16 where the processor multiplies it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16()):
        fer2013, ferplus = net(pictures.contiguous(memory_format=torch.channels_last))
    return fer2013.float(), ferplus.float()


@dataclass(frozen=True)
class FaceBatch:
    """What one step learns from.

    Attributes:
        pictures: normalised, each a mixture of two faces, float32, shape (n, 1, side, side).
        targets: of the mixtures by their teachers; or of the first faces and of the second ones by their labels.
        share: of the second faces, 0..0.5.
    """

    pictures: Tensor
    targets: tuple[FaceTargets, ...]
    share: float


@dataclass(frozen=True)
class FaceBatches:
    """Faces varied and mixed, with what is to be learned of them.

    Attributes:
        recipe: settings.
        generation: which of the recipe's networks learns.
        images: uint8, shape (n, 48, 48).
        targets: of the faces, soft targets mixed in.
        priors: of the labels.
        teachers: asked about each picture as it is varied and mixed, instead of `targets`.
    """

    recipe: FaceRecipe
    generation: Generation
    images: Array
    targets: FaceTargets
    priors: Priors
    teachers: Sequence[Teacher]

    @classmethod
    def of(
        cls,
        recipe: FaceRecipe,
        generation: Generation,
        train: Faces,
        soft_targets: Tensor | None = None,
        teachers: Sequence[Teacher] = (),
    ) -> FaceBatches:
        """Make the batches of a fit; arguments as of `fit_faces`."""
        labels = FaceTargets.of(train)
        targets = labels if soft_targets is None else labels.soften(soft_targets, recipe.soft_share)
        return cls(recipe, generation, train.images, targets, Priors.of(labels), teachers)

    @property
    def n_steps(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.images) // self.recipe.batch)

    def draw(self, epoch: int) -> Iterator[FaceBatch]:
        """Draw the batches of an epoch; chance hangs on the seed and the epoch alone: a resumed run is the same."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1000 + epoch)
        torch.manual_seed(self.recipe.seed * 1000 + epoch)  # dropout draws from the global generator
        order, side = torch.randperm(len(self.images), generator=generator), self.generation.side_at(epoch)
        for chosen in torch.split(order, self.recipe.batch)[: self.n_steps]:
            yield self._vary(chosen, side, generator)

    def _vary(self, chosen: Tensor, side: int, generator: torch.Generator) -> FaceBatch:
        pictures = augment_faces(self.images[chosen.numpy()], side, self.recipe.augmentation, generator)
        share, order = self.draw_mixture(len(chosen), generator)
        pictures = normalise_pictures(
            pictures
        )  # a mixture is of equal contrasts, or the share would not be what it says
        pictures = pictures.lerp(pictures[order], share)
        if self.teachers:
            return FaceBatch(pictures, (self.ask_teachers(pictures, generator),), share)
        return FaceBatch(pictures, (self.targets.take(chosen), self.targets.take(chosen[order])), share)

    @torch.no_grad()
    def ask_teachers(self, pictures: Tensor, generator: torch.Generator) -> FaceTargets:
        """Soft targets of normalised pictures, (n, 1, side, side), each teacher taking them as they are or mirrored.

        In the mean over an epoch that is what they give for both, which errs less than either, for half the time.
        """
        answers = []
        for teacher in self.teachers:
            view = enlarge(pictures, teacher.side)
            is_mirrored = bool(torch.rand((), generator=generator) < 0.5)
            answers.append(answer(teacher.net, view.flip(3) if is_mirrored else view))
        fer2013, ferplus = (torch.stack(heads).mean(0) for heads in zip(*answers, strict=True))
        sure = torch.ones(len(pictures))
        return FaceTargets(
            (fer2013 + self.priors.fer2013).softmax(1), sure, (ferplus + self.priors.ferplus).softmax(1), sure
        )

    def draw_mixture(self, n: int, generator: torch.Generator) -> tuple[float, Tensor]:
        """The share of the second face in each mixture, 0..0.5, and which face that is, an index tensor (n,)."""
        mixing = self.generation.mixing
        if not mixing:
            return 0.0, torch.arange(n)
        seed = int(torch.randint(2**31, (), generator=generator))
        share = float(np.random.default_rng(seed).beta(mixing, mixing))
        return min(share, 1 - share), torch.randperm(n, generator=generator)


class FaceModule(FitModule):
    """The face network under its recipe."""

    network: FaceNet

    def __init__(self, net: FaceNet, recipe: FaceRecipe, priors: Priors, n_steps: int) -> None:
        """Store what is fitted; `n_steps` is of the whole fit."""
        super().__init__(net, "face network")
        self.recipe = recipe
        self.priors = priors
        self.n_steps = n_steps

    def measure_loss(self, batch: FaceBatch) -> Tensor:
        """See `FitModule`."""
        logits = answer(self.network, batch.pictures)
        losses = [loss_of(logits, targets, self.priors) for targets in batch.targets]
        return losses[0].lerp(losses[-1], batch.share)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its rates."""
        optimizer = torch.optim.AdamW(
            _parameter_groups(self.network, self.recipe), weight_decay=self.recipe.weight_decay
        )
        return schedule_rates(optimizer, partial(scale_rate, n_steps=self.n_steps, n_warmup=self.recipe.warmup))


def _sample_pictures(train: Faces, recipe: FaceRecipe, generation: Generation) -> Tensor:
    """A few training pictures as the first stage sees them, normalised."""
    generator = torch.Generator().manual_seed(recipe.seed)
    pictures = augment_faces(train.images[:N_MEASURED], generation.side_at(0), recipe.augmentation, generator)
    return normalise_pictures(pictures)


def _parameter_groups(net: FaceNet, recipe: FaceRecipe) -> list[dict[str, Any]]:
    """One group per block, the rate falling from the heads to the stem: low layers are general already."""
    groups = [{"params": [*net.fer2013.parameters(), *net.ferplus.parameters()], "lr": recipe.head_rate}]
    trained = list(zip(net.trunk.layers, net.trunk.norms, strict=True))[recipe.frozen_layers :]
    for index, (layer, norm) in enumerate(reversed(trained)):
        rate = recipe.learning_rate * recipe.layer_decay ** (index // 2)
        groups.append({"params": [*layer.parameters(), *norm.parameters()], "lr": rate})
    return groups
