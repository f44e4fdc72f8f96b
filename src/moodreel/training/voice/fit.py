"""Fitting a voice network: its schedule, loss and optimiser, and its weights on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from moodreel.errors import MoodreelError
from moodreel.labels import N_EMOTIONS
from moodreel.training.voice.network import Batch, VoiceNet, collate
from moodreel.training.voice.sources import ExampleSource


@dataclass(frozen=True)
class Schedule:
    """How one network is trained.

    Attributes:
        epochs: passes over the takes.
        n_batch: chunks in a step.
        encoder_rate: learning rate of the last block; the one before takes `block_decay` times as much.
        block_decay: see `encoder_rate`.
        head_rate: learning rate of the heads.
        weight_decay: AdamW's.
        label_smoothing: share of the target spread over all known emotions.
        snr_weight: weight of the ratio's loss beside the emotion's.
        warmup: share of the steps in which the rate rises; it falls by half a cosine afterwards.
        average: decay of the running mean of the weights, which is what is kept.
        first_block: the blocks before this one stay as they are.
    """

    epochs: int
    n_batch: int = 16
    encoder_rate: float = 2e-4
    block_decay: float = 0.7
    head_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    snr_weight: float = 0.1
    warmup: float = 0.1
    average: float = 0.98
    first_block: int = 0


def fit(net: VoiceNet, source: ExampleSource, schedule: Schedule, seed: int) -> None:
    """Train a network in place; it ends with the running mean of its weights, in evaluation mode.

    Args:
        net: the network; its convolutions, positions and the blocks before `schedule.first_block` stay as they are.
        source: the examples.
        schedule: how.
        seed: decides all randomness.

    Raises:
        MoodreelError: the loss is NaN or infinite.
    """
    rng = np.random.default_rng([seed, 2])
    torch.manual_seed(seed)
    class_weights = weigh_classes(source.count_labels())
    sample = source.draw_sample(rng)
    batches = [collate(sample[start : start + 16]) for start in range(0, len(sample), 16)]
    net.eval().standardise(batches, schedule.first_block)
    optimiser, scheduler = make_optimiser(net, schedule, schedule.epochs * -(-len(source) // schedule.n_batch))
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(schedule.average))  # type: ignore[no-untyped-call]
    for epoch in range(schedule.epochs):
        losses = []
        net.train()
        for batch in source.draw_epoch(schedule.n_batch, rng):
            loss = measure_loss(net, batch, class_weights, schedule)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            scheduler.step()
            averaged.update_parameters(net)
            losses.append(float(loss.detach()))
        if not np.isfinite(losses).all():
            raise MoodreelError(f"voice, epoch {epoch + 1}: the loss is NaN or infinite; lower the schedule's rates")
        print(f"epoch {epoch + 1}/{schedule.epochs}: loss {np.mean(losses):.3f}", flush=True)
    net.load_state_dict(averaged.module.state_dict())
    net.eval()


def make_optimiser(
    net: VoiceNet, schedule: Schedule, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
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
    optimiser = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
    n_warmup = max(int(schedule.warmup * n_steps), 1)

    def scale_rate(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(n_steps - n_warmup, 1)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, scale_rate)


def weigh_classes(counts: NDArray[np.int64]) -> Tensor:
    """Weigh emotions so that all that occur count alike; mean 1 over the takes."""
    weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / (counts > 0).sum(), 1.0)
    return torch.tensor(weights, dtype=torch.float32)


def measure_loss(net: VoiceNet, batch: Batch, class_weights: Tensor, schedule: Schedule) -> Tensor:
    """Cross-entropy over the emotions the corpus knows, and the error of the ratio in tens of dB."""
    logits, snr_db = net(batch.features, batch.pooling, batch.real, schedule.first_block)
    known = batch.known[:, None, :].expand_as(logits)
    log_probabilities = logits.masked_fill(~known, -1e4).log_softmax(dim=-1)
    heard = batch.labels >= 0
    picked, labels, share = log_probabilities[heard], batch.labels[heard], known[heard].float()
    target = functional.one_hot(labels, N_EMOTIONS) * (1 - schedule.label_smoothing)
    target = target + schedule.label_smoothing * share / share.sum(dim=-1, keepdim=True)
    weights = class_weights[labels]
    total = weights.sum().clamp_min(1e-6)  # the last batch may hold a single take, in which no speech is heard
    emotion_loss: Tensor = -((target * picked).sum(dim=-1) * weights).sum() / total
    measured = ~batch.snr_db.isnan()
    snr_loss: Tensor = functional.smooth_l1_loss(snr_db[measured] / 10, batch.snr_db[measured] / 10)
    loss: Tensor = emotion_loss + schedule.snr_weight * snr_loss
    return loss


def save_state(net: VoiceNet, path: Path) -> None:
    """Keep a network's weights as plain arrays."""
    arrays: dict[str, NDArray[np.float32]] = {name: value.numpy() for name, value in net.state_dict().items()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_state(net: VoiceNet, path: Path) -> None:
    """Read what `save_state` kept."""
    with np.load(path, allow_pickle=False) as stored:
        net.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
