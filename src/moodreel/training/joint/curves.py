"""Learning curves as a picture: loss and UAR over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moodreel.storage.whole_files import whole_file
from moodreel.training.joint.fit import Epoch


def plot_curves(curves: Sequence[Sequence[Epoch]], path: Path) -> None:
    """Draw the loss of the training and validation clips, and the validation UAR.

    Args:
        curves: one per network.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, recalls) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    for curve in curves:
        epochs = [row.epoch for row in curve]
        losses.plot(epochs, [row.train_loss for row in curve], color="tab:blue", alpha=0.6)
        losses.plot(epochs, [row.valid_loss for row in curve], color="tab:orange", alpha=0.6)
        recalls.plot(epochs, [row.valid_uar for row in curve], color="tab:orange", alpha=0.6)
    losses.set(xlabel="epoch", title="loss: training (blue), validation (orange)")
    recalls.set(xlabel="epoch", title="UAR, validation speakers", ylim=(0, 1))
    recalls.axhline(1 / 7, color="grey", linestyle=":", label="chance")
    recalls.legend()
    figure.tight_layout()
    with whole_file(path) as whole:
        figure.savefig(whole, dpi=100)
    pyplot.close(figure)
