"""How far the fit of a network is, told by Lightning step by step."""

from __future__ import annotations

from contextlib import AbstractContextManager

import lightning
from lightning.pytorch.callbacks import Callback

from moodreel.training.progress import Show, phase


class FitProgress(Callback):
    """Shows how far a fit is, step by step; made anew in each process, so that it can be sent there."""

    def __init__(self, name: str) -> None:
        """Store what the fit is called."""
        self.name = name
        self._phase: AbstractContextManager[Show] | None = None
        self._show: Show | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin, in the first of several processes."""
        del pl_module
        if trainer.is_global_zero:
            n_steps = trainer.estimated_stepping_batches
            self._phase = phase(self.name, int(n_steps))
            self._show = self._phase.__enter__()
            self._show(trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Show the steps done."""
        if self._show is not None:
            self._show(trainer.global_step)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """End."""
        del trainer, pl_module
        self._close(None)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away before the error is told."""
        del trainer, pl_module
        self._close(exception)

    def _close(self, error: BaseException | None) -> None:
        if self._phase is not None:
            self._phase.__exit__(None if error is None else type(error), error, None)
        self._phase = self._show = None
