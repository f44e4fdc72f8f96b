"""What every fit of a network shares: trainer, learning rates, weight averaging, checkpoints, finite losses."""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor, nn

from moodreel.errors import MoodreelError, OutputError
from moodreel.training.lightning_noise import hush_lightning
from moodreel.training.machine import Precision

_log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
"""Where a fit stands: Lightning's checkpoint of the last epoch that came to its end."""


@dataclass(frozen=True)
class Course:
    """How a fit runs, whatever the network.

    Attributes:
        epochs: passes over the data.
        clip_norm: bound on the norm of all gradients together; `None` for none.
        averaging: decay of the weight averaging per step; the average is kept in the end. `None` for none.
        is_warmed: whether the decay begins low, see `average_weights`.
        precision: Lightning's.
    """

    epochs: int
    clip_norm: float | None = None
    averaging: float | None = None
    is_warmed: bool = False
    precision: Precision = "32-true"


class Epochs(lightning.LightningDataModule):
    """Batches drawn anew in each epoch; what chance has given so far is kept with the checkpoint."""

    def __init__(
        self, n_steps: int, draw: Callable[[int], Iterator[Any]], rng: np.random.Generator | None = None
    ) -> None:
        """Store where batches come from.

        Args:
            n_steps: batches per epoch.
            draw: the number of an epoch, from 0, to its batches.
            rng: the generator that `draw` uses from one epoch to the next; `None` where each epoch has its own.
        """
        super().__init__()
        self.n_steps = n_steps
        self.draw = draw
        self.rng = rng

    def train_dataloader(self) -> _Epoch:
        """Return the batches of the current epoch."""
        assert self.trainer is not None
        return _Epoch(self.n_steps, self.draw(self.trainer.current_epoch))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave batches where they are: training runs on the CPU, and Lightning cannot copy frozen dataclasses."""
        del device, dataloader_idx
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all generators that a fit draws from."""
        return {"torch": torch.get_rng_state(), "numpy": self.rng.bit_generator.state if self.rng else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the generators back to where the checkpoint was written."""
        torch.set_rng_state(state_dict["torch"])
        if self.rng:
            self.rng.bit_generator.state = state_dict["numpy"]


class _Epoch:
    """One epoch; its length is known, so that Lightning draws no batch ahead of its step."""

    def __init__(self, n_steps: int, batches: Iterator[Any]) -> None:
        self.n_steps = n_steps
        self.batches = batches

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[Any]:
        return self.batches


class FitModule(lightning.LightningModule):
    """A network with its loss: stops at a loss that is not finite, and says how each epoch went."""

    def __init__(self, network: nn.Module, name: str) -> None:
        """Store what is fitted.

        Args:
            network: changed in place.
            name: of the network, for messages.
        """
        super().__init__()
        self.network = network
        self.fitted_name = name
        self._begun_s = 0.0

    def measure_loss(self, batch: Any) -> Tensor:
        """Return the loss of one batch, a scalar."""
        raise NotImplementedError

    def on_train_epoch_start(self) -> None:
        """Take the time."""
        self._begun_s = time.monotonic()

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            MoodreelError: it is NaN or infinite; names step and rate.
        """
        loss = self.measure_loss(batch)
        check_losses(loss, self.fitted_name, self.global_step, highest_rate(self.trainer.optimizers[0]))
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_train_epoch_end(self) -> None:
        """Say how the epoch went."""
        seconds, loss = time.monotonic() - self._begun_s, float(self.trainer.callback_metrics["loss"])
        epoch, n_epochs = self.current_epoch + 1, self.trainer.max_epochs
        _log.info("%s, epoch %d of %s: loss %.4f, %.0f s", self.fitted_name, epoch, n_epochs, loss, seconds)


def fit_module(module: FitModule, epochs: Epochs, course: Course, out: Path | None = None) -> None:
    """Fit a network in place; it ends in evaluation mode, with averaged weights where weights are averaged.

    Args:
        module: the network, its loss and its optimiser.
        epochs: what it learns from.
        course: how.
        out: folder of the checkpoint: a fit found there goes on, and loses at most the epoch under way. `None` keeps
            none.

    Raises:
        MoodreelError: the loss is NaN or infinite.
        OutputError: the checkpoint is damaged or another network's, or cannot be written.
    """
    hush_lightning()
    found = None if out is None else _find_checkpoint(module, out / CHECKPOINT)
    module.train()  # Lightning leaves modules as they are
    try:
        make_trainer(course, out).fit(module, datamodule=epochs, ckpt_path=found, weights_only=True)
    except OSError as error:
        raise OutputError(f"{out}: training cannot write there ({error.strerror or error})") from error
    if found is not None:  # a fit that had come to its end is not run again, and its average not put in place
        module.load_state_dict(read_checkpoint(found)["state_dict"])
    module.eval()


def make_trainer(course: Course, out: Path | None, told: Sequence[Callback] = ()) -> lightning.Trainer:
    """Make a trainer on this processor that keeps `CHECKPOINT` in `out` and says nothing of its own."""
    callbacks = [*told]
    if course.averaging is not None:
        callbacks.append(average_weights(course.averaging, is_warmed=course.is_warmed))
    if out is not None:
        name = CHECKPOINT.removesuffix(".ckpt")
        callbacks.append(ModelCheckpoint(out, name, save_on_train_epoch_end=True, enable_version_counter=False))
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=course.epochs,
        precision=course.precision,
        gradient_clip_val=course.clip_norm,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=out is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=out,
    )


def _find_checkpoint(module: FitModule, path: Path) -> Path | None:
    """Return the checkpoint of a fit that is to go on; refuse another network's."""
    if not path.exists():
        return None
    found = read_checkpoint(path)["state_dict"]
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    if {name: value.shape for name, value in found.items()} != shapes:
        raise OutputError(f"{path}: the checkpoint of another network; delete it, or name another folder")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one of Lightning's checkpoints, which holds arrays and plain values: nothing in it is run.

    Raises:
        OutputError: it is missing, damaged, or holds anything else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise OutputError(f"{path}: not a whole checkpoint ({reason}); delete it to train that part anew") from None
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise OutputError(f"{path}: not a checkpoint of a training; delete it to train that part anew")
    return found


def load_fitted(network: nn.Module, out: Path, n_epochs: int) -> bool:
    """Load what a fit in a folder ended with, where it came to its end.

    Args:
        network: its weights are set in place.
        out: the folder.
        n_epochs: that the fit has.

    Returns:
        Whether it had come to its end.

    Raises:
        OutputError: the checkpoint is damaged or another network's.
    """
    if not (out / CHECKPOINT).exists():
        return False
    checkpoint = read_checkpoint(out / CHECKPOINT)
    if checkpoint.get("epoch", -1) + 1 < n_epochs:
        return False
    state = {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise OutputError(f"{out / CHECKPOINT}: the checkpoint of another network; name another folder") from None
    return True


def scale_rate(step: int, n_steps: int, n_warmup: int, falls_from: int = 0) -> float:
    """Return the share of the highest rate at a step: a rise along a line, then a fall along half a cosine to zero.

    Args:
        step: from 0.
        n_steps: of the whole fit.
        n_warmup: steps of the rise, at least 1.
        falls_from: step at which the cosine begins.
    """
    fallen = max(step - falls_from, 0) / max(n_steps - falls_from, 1)
    return min((step + 1) / n_warmup, 0.5 * (1 + math.cos(math.pi * fallen)))


def schedule_rates(optimizer: torch.optim.Optimizer, scale: Callable[[int], float]) -> dict[str, Any]:
    """Return what Lightning takes for an optimiser whose rates are scaled at each step."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def schedule_one_cycle(
    optimizer: torch.optim.Optimizer, highest: float, n_steps: int, rising: float = 0.3
) -> dict[str, Any]:
    """Return what Lightning takes for one cycle of rate and momentum (Smith and Topin 2019, "Super-convergence").

    Args:
        optimizer: SGD with momentum.
        highest: the highest rate.
        n_steps: of the whole fit.
        rising: share of the steps in which the rate rises, 0-1.
    """
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, max(n_steps, 2), pct_start=rising)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def highest_rate(optimizer: torch.optim.Optimizer) -> float:
    """Return the highest learning rate of an optimiser's groups as it stands."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def average_weights(decay: float, *, is_warmed: bool = False) -> WeightAveraging:
    """Return Lightning's exponential moving average of weights, to be kept in the end.

    Args:
        decay: per step, 0-1.
        is_warmed: whether the decay begins at a tenth and rises, so that short fits forget their first weights too.
    """

    def average(kept: Tensor, current: Tensor, n_averaged: Tensor) -> Tensor:
        n = int(n_averaged)
        share = min(decay, (1 + n) / (10 + n)) if is_warmed else decay
        return kept.lerp(current, 1 - share) if kept.is_floating_point() else current

    return WeightAveraging(use_buffers=True, avg_fn=average)


def weigh_classes(counts: npt.NDArray[np.int64], power: float = 1.0) -> Tensor:
    """Return weights that make all classes that occur count alike, float32, shape (n_classes,).

    Args:
        counts: examples of each class, shape (n_classes,).
        power: 1 makes them count alike and the mean over the examples 1; .5 goes half the way.
    """
    n_present = np.count_nonzero(counts)
    weights = np.where(counts > 0, counts.sum() / (np.maximum(counts, 1) * max(n_present, 1)), 1.0)
    return torch.as_tensor(weights**power, dtype=torch.float32)


def check_losses(losses: Tensor, where: str, step: int, rate: float, clip_ids: Sequence[str] = ()) -> None:
    """Stop a training that diverges.

    Args:
        losses: one, or one per clip, shape (n,).
        where: which network learns.
        step: from 0.
        rate: learning rate at that step.
        clip_ids: names of the clips, where there is a loss for each.

    Raises:
        MoodreelError: one is NaN or infinite; names step, rate and up to five clips, and says what to try.
    """
    finite = torch.isfinite(losses)
    if bool(finite.all()):
        return
    bad = [clip_id for clip_id, is_finite in zip(clip_ids, finite, strict=True) if not is_finite] if clip_ids else []
    on = f" on {', '.join(bad[:5])}" if bad else ""
    raise MoodreelError(f"{where}, step {step}: the loss is NaN or infinite{on}; lower the learning rate ({rate:.2g})")
