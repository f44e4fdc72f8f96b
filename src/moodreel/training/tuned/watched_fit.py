"""A fit that is watched on people whom it does not learn from: the best epoch is kept, be it none."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from torch import nn

from moodreel.training.fitting import Course, Epochs, FitModule, fit_module

Watch = Callable[[nn.Module], float]
"""Tells what a network costs on clips that it does not learn from."""
MOST_EPOCHS = 5
PATIENCE = 2
"""Epochs without a lower cost after which a fit ends."""


class WatchedModule(FitModule):
    """A network whose epochs are compared on clips that it does not learn from."""

    def __init__(self, network: nn.Module, name: str, watch: Watch | None) -> None:
        """Store what is fitted; without a watch the last epoch is the best."""
        super().__init__(network, name)
        self._watch = watch
        self._least = float("inf") if watch is None else watch(network)
        self._best = deepcopy(network.state_dict())
        self._n_best = 0

    def on_train_epoch_end(self) -> None:
        """Keep the epoch that costs least; stop where several have not been better."""
        super().on_train_epoch_end()
        cost = -float("inf") if self._watch is None else self._watch(self.network)
        n_epochs = self.current_epoch + 1
        if cost < self._least or self._watch is None:
            self._least, self._n_best, self._best = cost, n_epochs, deepcopy(self.network.state_dict())
        elif n_epochs - self._n_best >= PATIENCE:
            self.trainer.should_stop = True

    def keep_best(self) -> int:
        """Put the best epoch's weights into the network; returns the number of that epoch, 0 for none."""
        self.network.load_state_dict(self._best)
        self.network.eval()
        return self._n_best


def fit_watched(module: WatchedModule, epochs: Epochs, n_epochs: int | None) -> int:
    """Fit a network in place and return the number of the epoch kept.

    Args:
        module: the network, its loss and its optimiser.
        epochs: what it learns from.
        n_epochs: how many; `None` for as many as help, at most `MOST_EPOCHS`.
    """
    fit_module(module, epochs, Course(n_epochs or MOST_EPOCHS, clip_norm=1.0))
    return module.keep_best()
