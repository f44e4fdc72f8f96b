"""Fitting the face network: stages of rising picture size, averaged weights, a checkpoint an epoch."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel.training.face.augment import augment
from moodreel.training.face.ferplus import Faces
from moodreel.training.face.loss import Priors, Targets, loss_of
from moodreel.training.face.network import FaceNet, enlarge, normalise
from moodreel.training.face.recipe import FaceRecipe, Generation
from moodreel.training.machine import multiplies_bf16

_CHECKPOINT = "checkpoint.pt"
N_MEASURED = 96
"""Faces that the scale of each layer is measured on."""
_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


def fit_faces(
    recipe: FaceRecipe,
    generation: Generation,
    train: Faces,
    start: FaceNet,
    out: Path,
    said: Tensor | None = None,
    elders: Sequence[Elder] = (),
) -> FaceNet:
    """Fit one network, going on from the last epoch's checkpoint in `out` where there is one.

    Args:
        recipe: settings.
        generation: which of the recipe's networks.
        train: cleaned faces to learn from.
        start: what to start from, folded; stays as it is.
        out: folder of the checkpoint; must exist.
        said: what elders said once: probabilities of FER2013's labels, float32, shape (n, 7), or None.
        elders: those who watch, and decide all of both heads' targets.

    Returns:
        The network with averaged weights, folded, in evaluation mode; what the generation keeps of `start` blended in.

    Raises:
        RuntimeError: the checkpoint is of another architecture.
    """
    run = _Run.start(recipe, generation, train, start, said, elders)
    checkpoint = out / _CHECKPOINT
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    while run.epoch < generation.epochs:
        run.fit_epoch()
        _save(run.state(), checkpoint)
    run.average.trunk.fold()
    _keep(generation.kept, start, run.average)
    return run.average.eval()


@torch.no_grad()
def _keep(share: float, start: FaceNet, net: FaceNet) -> None:
    """Move a folded network's weights that share of the way back to what it started from."""
    for value, before in zip(net.state_dict().values(), start.state_dict().values(), strict=True):
        value.lerp_(before, share)


def _save(state: Mapping[str, Any], path: Path) -> None:
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


@dataclass(frozen=True)
class Elder:
    """A network that teaches.

    Attributes:
        net: folded, in evaluation mode.
        side: of the pictures it sees, pixels.
    """

    net: FaceNet
    side: int


def answer(net: FaceNet, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of both heads, float32, shape (n, 7) each, computed in bfloat16 where the processor multiplies it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16()):
        fer2013, ferplus = net(pictures.contiguous(memory_format=torch.channels_last))
    return fer2013.float(), ferplus.float()


@dataclass
class _Run:
    """A fit on its way."""

    recipe: FaceRecipe
    generation: Generation
    images: Array
    targets: Targets
    priors: Priors
    net: FaceNet
    average: FaceNet
    optimizer: torch.optim.Optimizer
    elders: Sequence[Elder] = ()
    epoch: int = 0

    @classmethod
    def start(
        cls,
        recipe: FaceRecipe,
        generation: Generation,
        train: Faces,
        start: FaceNet,
        said: Tensor | None = None,
        elders: Sequence[Elder] = (),
    ) -> _Run:
        net = copy.deepcopy(start)
        net.trunk.freeze(recipe.frozen_layers)
        net.trunk.unfold(_sample_pictures(train, recipe, generation))
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(net)
        targets = Targets.of(train)
        optimizer = torch.optim.AdamW(_parameter_groups(net, recipe), weight_decay=recipe.weight_decay)
        taught = targets if said is None else targets.taught(said, recipe.elder_share)
        return cls(recipe, generation, train.images, taught, Priors.of(targets), net, average, optimizer, elders)

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def fit_epoch(self) -> None:
        """One pass over the faces. Its randomness hangs on the seed and the epoch alone: a resumed run is the same."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1000 + self.epoch)
        torch.manual_seed(self.recipe.seed * 1000 + self.epoch)  # dropout draws from the global generator
        started, losses = time.monotonic(), []
        self.net.train()
        for step, chosen in enumerate(self._batches(generator)):
            self._set_rate(self.epoch * self._steps + step)
            losses.append(self._step(chosen, generator))
            self._update_average(self.epoch * self._steps + step)
        self.epoch += 1
        seconds = time.monotonic() - started
        _log.info("epoch %d of %d: loss %.4f, %.0f s", self.epoch, self.generation.epochs, np.mean(losses), seconds)

    @property
    def _steps(self) -> int:
        return max(1, len(self.images) // self.recipe.batch)

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(len(self.images), generator=generator)
        yield from torch.split(order, self.recipe.batch)[: self._steps]

    def _step(self, chosen: Tensor, generator: torch.Generator) -> float:
        side = self.generation.side_at(self.epoch)
        pictures = augment(self.images[chosen.numpy()], side, self.recipe.augmentation, generator)
        share, order = self._draw_mixture(len(chosen), generator)
        pictures = normalise(pictures)  # a mixture is of equal contrasts, or the share would not be what it says
        pictures = pictures.lerp(pictures[order], share)
        logits = answer(self.net, pictures)
        if self.elders:
            loss = loss_of(logits, self._watch(pictures, generator), self.priors)
        else:
            losses = [loss_of(logits, self.targets.take(faces), self.priors) for faces in (chosen, chosen[order])]
            loss = losses[0].lerp(losses[1], share)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _watch(self, pictures: Tensor, generator: torch.Generator) -> Targets:
        """What the elders see in normalised pictures, (n, 1, side, side), each straight or mirrored by chance.

        In the mean over an epoch that is what they see in both, which errs less than either, for half the time.
        """
        said = []
        for elder in self.elders:
            view = enlarge(pictures, elder.side)
            is_mirrored = bool(torch.rand((), generator=generator) < 0.5)
            said.append(answer(elder.net, view.flip(3) if is_mirrored else view))
        fer2013, ferplus = (torch.stack(heads).mean(0) for heads in zip(*said, strict=True))
        sure = torch.ones(len(pictures))
        return Targets(
            (fer2013 + self.priors.fer2013).softmax(1), sure, (ferplus + self.priors.ferplus).softmax(1), sure
        )

    def _draw_mixture(self, n: int, generator: torch.Generator) -> tuple[float, Tensor]:
        """The share of the second face in each mixture, 0..0.5, and which face that is, an index tensor (n,)."""
        mixing = self.generation.mixing
        if not mixing:
            return 0.0, torch.arange(n)
        seed = int(torch.randint(2**31, (), generator=generator))
        share = float(np.random.default_rng(seed).beta(mixing, mixing))
        return min(share, 1 - share), torch.randperm(n, generator=generator)

    def _set_rate(self, step: int) -> None:
        done = step / (self._steps * self.generation.epochs)
        factor = min((step + 1) / self.recipe.warmup, 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["highest_rate"]

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        weight = 1 - min(self.recipe.averaging, (1 + step) / (10 + step))
        for averaged, current in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if averaged.is_floating_point():
                averaged.lerp_(current, weight)


def _sample_pictures(train: Faces, recipe: FaceRecipe, generation: Generation) -> Tensor:
    """A few training pictures as the first stage sees them, normalised."""
    generator = torch.Generator().manual_seed(recipe.seed)
    pictures = augment(train.images[:N_MEASURED], generation.side_at(0), recipe.augmentation, generator)
    return normalise(pictures)


def _parameter_groups(net: FaceNet, recipe: FaceRecipe) -> list[dict[str, Any]]:
    """One group a block, the rate falling from the heads to the stem: low layers are general already."""
    groups = [{"params": [*net.fer2013.parameters(), *net.ferplus.parameters()], "highest_rate": recipe.head_rate}]
    trained = list(zip(net.trunk.layers, net.trunk.norms, strict=True))[recipe.frozen_layers :]
    for index, (layer, norm) in enumerate(reversed(trained)):
        rate = recipe.learning_rate * recipe.layer_decay ** (index // 2)
        groups.append({"params": [*layer.parameters(), *norm.parameters()], "highest_rate": rate})
    return groups
