"""Fitting a recipe's network with Lightning: checkpoints, resuming, early stopping, several processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn import functional

from moodreel.errors import MoodreelError, OutputError, RecipeError
from moodreel.metrics import confusion_matrix, unweighted_average_recall
from moodreel.storage.cache import make_key
from moodreel.training.fitting import CHECKPOINT, check_losses, read_checkpoint, weigh_classes
from moodreel.training.joint.batches import Batches, ClipItem
from moodreel.training.joint.material import Material
from moodreel.training.joint.networks import Answers, ClipBatch, JointNet, ResNetEncoder, build_network
from moodreel.training.joint.recipe import Recipe
from moodreel.training.lightning_noise import hush_lightning
from moodreel.training.machine import Precision, choose_precision, is_first_node, start_log
from moodreel.training.progress import phase

logger = logging.getLogger(__name__)

_SCORED_AT_ONCE = 64

hush_lightning()  # here, for in processes that it starts Lightning speaks before it calls any hook


@dataclass(frozen=True)
class Sides:
    """The clips of a split as networks read them.

    Attributes:
        train: never empty.
        valid: may be empty; then the last epoch is kept.
    """

    train: tuple[ClipItem, ...]
    valid: tuple[ClipItem, ...]

    @property
    def fingerprint(self) -> str:
        """A short hash of the clips' names; checkpoints carry it so that no run goes on from other clips."""
        return make_key(*([item.clip_id for item in side] for side in (self.train, self.valid)))[:16]


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve.

    Attributes:
        epoch: from 0.
        train_loss: mean over the training clips.
        valid_loss: cross-entropy over the validation clips; NaN without any.
        valid_uar: unweighted average recall over the validation clips, 0-1; NaN without any.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_uar: float


@dataclass(frozen=True)
class Fitted:
    """One fitted network.

    Attributes:
        network: with the weights of the epoch that was kept.
        learning_rate: the one drawn.
        curve: one row per epoch.
    """

    network: JointNet
    learning_rate: float
    curve: tuple[Epoch, ...]


class JointModule(lightning.LightningModule):
    """The network, its loss and its optimiser."""

    class_weights: Tensor

    def __init__(self, network: JointNet, material: Material, sides: Sides, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.network = network
        self.material = material
        self.sides = sides
        self.recipe = recipe
        self.seed = seed
        counts = np.bincount([item.label for item in sides.train], minlength=len(network.out.bias))
        weights = weigh_classes(counts) if recipe.fit.class_weights else torch.ones(len(counts))
        self.register_buffer("class_weights", weights, persistent=False)
        self.learning_rate = float(np.random.default_rng(seed).uniform(recipe.fit.rate_low, recipe.fit.rate_high))
        self.curve: list[Epoch] = []
        self._seen: list[tuple[Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Say how it goes, in the first of several processes."""
        del stage
        if parent_process() is not None and self.trainer.is_global_zero:
            start_log()

    def train_dataloader(self) -> Batches:
        """Return the batches of the current epoch and this process."""
        return Batches(
            self.material,
            self.sides.train,
            self.recipe.fit.batch_size,
            seed=self.seed * 100_003 + self.current_epoch,
            modality_dropout=self.recipe.head.modality_dropout,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def val_dataloader(self) -> Batches | list[Any]:
        """Return the validation clips; every process reads them all."""
        return Batches(self.material, self.sides.valid, _SCORED_AT_ONCE) if self.sides.valid else []

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave batches where they are: training runs on the CPU, and Lightning cannot copy frozen dataclasses."""
        del device, dataloader_idx
        return batch

    def on_train_epoch_start(self) -> None:
        """Keep a frozen encoder's batch statistics as they are."""
        if self.network.encoder is not None and self.recipe.video is not None and self.recipe.video.frozen:
            self.network.encoder.eval()

    def training_step(self, batch: ClipBatch, _: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            MoodreelError: it is NaN or infinite; names step and clips.
        """
        answers = self.network.read_batch(batch)
        losses = self._losses(answers, batch)
        loss = losses.mean()
        check_losses(losses, self.recipe.name, self.global_step, self.learning_rate, batch.clip_ids)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.labels), sync_dist=True)
        return loss

    def _losses(self, answers: Answers, batch: ClipBatch) -> Tensor:
        """Return the weighted loss of each clip, shape (n,)."""
        smoothing, share = self.recipe.fit.label_smoothing, self.recipe.head.branch_loss

        def entropy(logits: Tensor) -> Tensor:
            return functional.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=smoothing)

        losses = entropy(answers.logits)
        if share and answers.video is not None:
            losses = losses + share * batch.has_face * entropy(answers.video)
        if share and answers.audio is not None:
            losses = losses + share * batch.has_voice * entropy(answers.audio)
        return losses * self.class_weights[batch.labels]

    def validation_step(self, batch: ClipBatch, _: int) -> None:
        """Keep what the network says of a batch."""
        self._seen.append((self.network.read_batch(batch).logits.float(), batch.labels))  # bf16 has no NumPy type

    def on_validation_epoch_end(self) -> None:
        """Log loss and UAR over all validation clips."""
        if not self._seen:
            return
        logits, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self.log("valid_loss", functional.cross_entropy(logits, labels), sync_dist=True)
        self.log("valid_uar", measure_uar(labels.numpy(), logits.numpy()), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Add a row to the learning curve."""
        seen = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        row = Epoch(self.current_epoch, *(seen.get(n, math.nan) for n in ("train_loss", "valid_loss", "valid_uar")))
        self.curve.append(row)
        logger.info("%s", format_epoch(row, self.trainer.max_epochs))

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser and schedule."""
        fit = self.recipe.fit
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer: torch.optim.Optimizer
        if fit.optimizer == "sgd":
            optimizer = torch.optim.SGD(trained, self.learning_rate, fit.momentum, weight_decay=fit.weight_decay)
        else:
            optimizer = torch.optim.AdamW(trained, self.learning_rate, weight_decay=fit.weight_decay)
        if fit.schedule == "constant":
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.epochs)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the recipe, the clips and the curve in the checkpoint."""
        checkpoint["recipe"] = self.recipe.fingerprint
        checkpoint["clips"] = self.sides.fingerprint
        checkpoint["curve"] = [[row.epoch, row.train_loss, row.valid_loss, row.valid_uar] for row in self.curve]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve back.

        Raises:
            RecipeError: the checkpoint is another recipe's.
            OutputError: it learned from other clips.
        """
        check_fingerprint(checkpoint, self.recipe, "checkpoint")
        if checkpoint.get("clips") != self.sides.fingerprint:
            raise OutputError(
                "checkpoint: learned from other clips than can be read now; repair those or name another folder"
            )
        self.curve = [Epoch(int(row[0]), *map(float, row[1:])) for row in checkpoint["curve"]]


def format_epoch(row: Epoch, n_epochs: int | None) -> str:
    """Say how an epoch went; of clips set aside only where there are some."""
    seen = f", set aside: loss {row.valid_loss:.4f}, UAR {row.valid_uar:.3f}" if math.isfinite(row.valid_uar) else ""
    return f"epoch {row.epoch + 1} of {n_epochs}: loss {row.train_loss:.4f}{seen}"


def check_fingerprint(checkpoint: dict[str, Any], recipe: Recipe, where: str) -> None:
    """Refuse a checkpoint of another recipe.

    Raises:
        RecipeError: it is another recipe's, or none of moodreel's.
    """
    found = checkpoint.get("recipe")
    if found != recipe.fingerprint:
        raise RecipeError(f"{where}: made by another recipe ({found}) than {recipe.name} ({recipe.fingerprint})")


def measure_uar(labels: npt.NDArray[np.int64], logits: npt.NDArray[np.float32]) -> float:
    """Return the unweighted average recall, 0-1, of the likeliest class of each row of logits (n, 7)."""
    return float(unweighted_average_recall(confusion_matrix(labels, logits.argmax(axis=1))))


def build(
    recipe: Recipe, n_video: int, n_audio: int, n_picture_scores: int = 0, encoder: ResNetEncoder | None = None
) -> JointNet:
    """Build a recipe's network.

    Args:
        recipe: the recipe.
        n_video: features per frame, after the frame map.
        n_audio: sound features per clip, after the projection.
        n_picture_scores: class scores of the picture as a whole; 0 for none.
        encoder: the frame encoder where frames are encoded in every step; `None` where they already are.
    """
    if encoder is not None and recipe.video is not None and recipe.video.frozen:
        encoder.requires_grad_(False)
    return build_network(
        recipe.video,
        recipe.audio,
        recipe.head,
        n_video=n_video,
        n_audio=n_audio,
        n_picture_scores=n_picture_scores,
        encoder=encoder,
    )


def fit_network(
    network: JointNet,
    material: Material,
    sides: Sides,
    recipe: Recipe,
    out: Path,
    *,
    seed: int,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    callbacks: Sequence[Callback] = (),
) -> Fitted:
    """Fit one network.

    Args:
        network: fresh, from `build`.
        material: the corpus.
        sides: clips to train on and to choose by.
        recipe: how.
        out: folder for checkpoints and logs.
        seed: of order, dropout and learning rate.
        resume: go on from `last.ckpt` where there is one; at most the epoch under way is lost.
        devices: processes of this machine that share each batch.
        nodes: machines that share it.
        callbacks: told of every epoch.

    Raises:
        MoodreelError: the loss is NaN or infinite; names step and clips.
        RecipeError: the checkpoint to go on from is another recipe's.
        OutputError: checkpoints cannot be written, or the one to go on from learned from other clips.
    """
    hush_lightning()
    lightning.seed_everything(seed, verbose=False)
    module = JointModule(network, material, sides, recipe, seed)
    last = out / CHECKPOINT
    goes_on = resume and last.is_file()
    if goes_on:
        read_checkpoint(last)
    try:
        precision = choose_precision() if network.encoder is not None else "32-true"
        trainer = _trainer(out, recipe, bool(sides.valid), (nodes, devices), callbacks, precision)
        trainer.fit(module, ckpt_path=str(last) if goes_on else None, weights_only=True)
    except OSError as error:
        raise OutputError(f"{out}: training cannot write there ({error.strerror or error})") from error
    if is_first_node():
        _keep_best(module, out, recipe)
    return Fitted(network.eval(), module.learning_rate, tuple(module.curve))


def _trainer(
    out: Path, recipe: Recipe, has_valid: bool, shared: tuple[int, int], told: Sequence[Callback], precision: Precision
) -> lightning.Trainer:
    """Make the trainer; small layers over features that are kept gain nothing by less than float32."""
    fit, (nodes, devices) = recipe.fit, shared
    callbacks: list[Callback] = [
        *told,
        ModelCheckpoint(out, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if has_valid and fit.patience:
        callbacks.append(EarlyStopping("valid_uar", mode="max", patience=fit.patience))
        callbacks.append(ModelCheckpoint(out, "best", monitor="valid_uar", mode="max", enable_version_counter=False))
    return lightning.Trainer(
        accelerator="cpu",
        num_nodes=nodes,
        devices=devices,
        strategy=_choose_strategy(nodes, devices),
        max_epochs=fit.epochs,
        precision=precision,
        gradient_clip_val=fit.clip_norm or None,
        logger=TensorBoardLogger(str(out), name="tensorboard", version=""),
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=out,
    )


def _choose_strategy(nodes: int, devices: int) -> str | DDPStrategy:
    """Return how batches are shared; on several machines torchrun has started the processes."""
    if nodes > 1:
        return DDPStrategy(process_group_backend="gloo")
    return "auto" if devices == 1 else DDPStrategy(process_group_backend="gloo", start_method="spawn")


def _keep_best(module: JointModule, out: Path, recipe: Recipe) -> None:
    """Take the weights of the best validation epoch, where epochs were compared; else those of the last."""
    best = out / "best.ckpt"
    kept = best if recipe.fit.patience and best.is_file() else out / CHECKPOINT
    checkpoint = read_checkpoint(kept)
    check_fingerprint(checkpoint, recipe, str(kept))
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(read_checkpoint(out / CHECKPOINT))


def predict_log_probabilities(
    networks: Sequence[JointNet], material: Material, items: Sequence[ClipItem], name: str = "scoring"
) -> npt.NDArray[np.float64]:
    """Return what networks say of clips, averaged: log-probabilities, shape (n, 7).

    Args:
        networks: at least one.
        material: the corpus.
        items: the clips.
        name: of the phase, as it is shown.

    Raises:
        MoodreelError: an answer is NaN; names the clip.
    """
    total: list[Tensor] = []
    batches = Batches(material, items, _SCORED_AT_ONCE)
    with torch.inference_mode(), phase(name, len(items)) as show:
        for batch in batches:
            parts = [functional.log_softmax(network.eval().read_batch(batch).logits, 1) for network in networks]
            total.append(torch.stack(parts).mean(0))
            show(sum(map(len, total)))
    answers = torch.log_softmax(torch.cat(total), 1)
    bad = [item.clip_id for item, row in zip(items, answers, strict=True) if bool(torch.isnan(row).any())]
    if bad:
        raise MoodreelError(f"the fitted network answers NaN to {bad[0]} ({len(bad)} clips): training diverged")
    return np.asarray(answers.numpy(), np.float64)
