"""Fitting the speaker network: lips are read once and compared with four sounds each."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor, nn

from moodreel.training.machine import multiplies_bf16
from moodreel.training.speaker.examples import N_SOUNDS, Batch, ExampleMaker
from moodreel.training.speaker.network import SpeakerNetwork
from moodreel.training.speaker.recipe import SpeakerRecipe

logger = logging.getLogger(__name__)

_WARMUP = 0.15
_CLIP = 2.0
_TELL_EVERY = 25


def fit_speaker(network: SpeakerNetwork, maker: ExampleMaker, recipe: SpeakerRecipe) -> SpeakerNetwork:
    """Train a network on examples as they are made.

    Args:
        network: where to begin; it is changed.
        maker: makes the examples.
        recipe: how.

    Returns:
        The running mean of the network over its training.
    """
    torch.manual_seed(recipe.seed)
    network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    mean = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.n_steps, pct_start=_WARMUP
    )
    for step in range(recipe.n_steps):
        optimiser.zero_grad()
        cost = measure_cost(network, maker.make(), recipe)
        cost.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
        _average(mean, network, min(recipe.average, (1 + step) / (10 + step)))
        if step % _TELL_EVERY == 0:
            logger.info("step %d of %d: %.3f", step, recipe.n_steps, float(cost.detach()))
    return mean.eval()


def measure_cost(network: SpeakerNetwork, batch: Batch, recipe: SpeakerRecipe) -> Tensor:
    """Return the cross-entropy over all slots of which it is sure whether the face speaks."""
    with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16()):
        seen = network.see(batch.lips).repeat_interleave(N_SOUNDS, 0)
        scores = network.compare(network.hear(batch.spectra), seen).float()
    is_sure = ~torch.isnan(batch.speaks)
    smoothing = recipe.label_smoothing
    targets = torch.nan_to_num(batch.speaks) * (1 - 2 * smoothing) + smoothing
    costs = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    weights = is_sure * batch.weights[:, None]
    return (costs * weights).sum() / weights.sum()


@torch.no_grad()
def _average(mean: nn.Module, network: nn.Module, kept: float) -> None:
    for held, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
        if held.dtype.is_floating_point:
            held.mul_(kept).add_(new, alpha=1 - kept)
        else:
            held.copy_(new)
