"""Fitting a voice network: its loss, its optimiser and what a fit leaves in its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moodreel.labels import N_EMOTIONS
from moodreel.training.fitting import (
    Course,
    Epochs,
    FitModule,
    fit_module,
    scale_rate,
    schedule_rates,
    weigh_classes,
)
from moodreel.training.voice.network import Batch, VoiceNet, collate
from moodreel.training.voice.recipe import Schedule
from moodreel.training.voice.sources import ExampleSource


def fit_voice(net: VoiceNet, source: ExampleSource, schedule: Schedule, seed: int, out: Path | None = None) -> None:
    """Train a network in place; it ends with averaged weights, in evaluation mode.

    Args:
        net: the network; its convolutions, positions and the blocks before `schedule.first_block` stay as they are.
        source: the examples.
        schedule: how.
        seed: decides all randomness.
        out: folder of the checkpoint; a fit found there goes on. `None` keeps none.

    Raises:
        MoodreelError: the loss is NaN or infinite.
        OutputError: the checkpoint is damaged or another network's, or cannot be written.
    """
    rng = np.random.default_rng([seed, 2])
    torch.manual_seed(seed)
    class_weights = weigh_classes(source.count_labels())
    sample = source.draw_sample(rng)
    batches = [collate(sample[start : start + 16]) for start in range(0, len(sample), 16)]
    net.eval().standardise(batches, schedule.first_block)
    n_steps = -(-len(source) // schedule.n_batch)
    module = VoiceModule(net, schedule, schedule.epochs * n_steps, class_weights)
    epochs = Epochs(n_steps, lambda _: source.draw_epoch(schedule.n_batch, rng), rng)
    fit_module(module, epochs, Course(schedule.epochs, clip_norm=1.0, averaging=schedule.average), out)


class VoiceModule(FitModule):
    """A voice network under its schedule."""

    network: VoiceNet

    def __init__(self, net: VoiceNet, schedule: Schedule, n_steps: int, class_weights: Tensor) -> None:
        """Store what is fitted; `n_steps` is of the whole fit, `class_weights` of shape (7,)."""
        super().__init__(net, "voice network")
        self.schedule = schedule
        self.n_steps = n_steps
        self.class_weights = class_weights

    def measure_loss(self, batch: Batch) -> Tensor:
        """See `FitModule`."""
        return measure_loss(self.network, batch, self.class_weights, self.schedule)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its rates."""
        n_warmup = max(int(self.schedule.warmup * self.n_steps), 1)
        scale = partial(scale_rate, n_steps=self.n_steps, n_warmup=n_warmup, falls_from=n_warmup)
        return schedule_rates(make_optimizer(self.network, self.schedule), scale)


def make_optimizer(net: VoiceNet, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW over blocks and heads, the rate falling towards the input; the stem and the positions are left alone."""
    n_blocks = len(net.encoder.layers)
    frozen = [net.encoder.conv1, net.encoder.conv2, net.encoder.embed_positions]
    for part in [*frozen, *list(net.encoder.layers)[: schedule.first_block]]:
        part.requires_grad_(False)
    groups = [
        {
            "params": [*net.encoder.layers[index].parameters(), *net.encoder.norms[index].parameters()],
            "lr": schedule.encoder_rate * schedule.block_decay ** (n_blocks - 1 - index),
        }
        for index in range(schedule.first_block, n_blocks)
    ]
    heads = [*net.classifier.parameters(), *net.snr_estimator.parameters()]
    groups.append({"params": heads, "lr": schedule.head_rate})
    return torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)


def measure_loss(net: VoiceNet, batch: Batch, class_weights: Tensor, schedule: Schedule) -> Tensor:
    """Cross-entropy over the emotions the corpus knows, and the error of the ratio in tens of dB."""
    logits, snr_db = net(batch.features, batch.pooling, batch.real, schedule.first_block)
    known = batch.known[:, None, :].expand_as(logits)
    log_probabilities = logits.masked_fill(~known, -1e4).log_softmax(dim=-1)
    has_speech = batch.labels >= 0
    picked, labels, share = log_probabilities[has_speech], batch.labels[has_speech], known[has_speech].float()
    target = functional.one_hot(labels, N_EMOTIONS) * (1 - schedule.label_smoothing)
    target = target + schedule.label_smoothing * share / share.sum(dim=-1, keepdim=True)
    weights = class_weights[labels]
    total = weights.sum().clamp_min(1e-6)  # the last batch may hold a single take, without any speech
    emotion_loss: Tensor = -((target * picked).sum(dim=-1) * weights).sum() / total
    measured = ~batch.snr_db.isnan()
    snr_loss: Tensor = functional.smooth_l1_loss(snr_db[measured] / 10, batch.snr_db[measured] / 10)
    loss: Tensor = emotion_loss + schedule.snr_weight * snr_loss
    return loss
