"""The sound network itself: statistics of a window to probabilities of what sounds, through one hidden layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moodreel.training.onnx_export import GraphPlan, write_onnx
from moodreel.training.sounds.examples import Examples
from moodreel.training.sounds.material import SOUNDS
from moodreel.training.sounds.recipe import SoundRecipe
from moodreel.training.sounds.windows import UNSURE, WIDTH
from moodreel.voice.sounds import SPEECH

_LEAST_SPREAD = 1e-3
_WARMUP = 0.1


class SoundHead(nn.Module):
    """Statistics of windows to probabilities.

    Args:
        centre: mean of the statistics, shape (WIDTH,).
        spread: their deviation, of the same shape.
        recipe: width and dropout.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, centre: Tensor, spread: Tensor, recipe: SoundRecipe) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.layers = nn.Sequential(
            nn.Dropout(recipe.dropout),
            nn.Linear(WIDTH, recipe.n_hidden),
            nn.ReLU(),
            nn.Dropout(recipe.dropout),
            nn.Linear(recipe.n_hidden, len(SOUNDS)),
        )

    def score(self, statistics: Tensor) -> Tensor:
        """Logits, shape (n, n_sounds), of statistics, shape (n, WIDTH)."""
        scores: Tensor = self.layers((statistics - self.centre) / self.spread)
        return scores

    def forward(self, statistics: Tensor) -> Tensor:
        """Probabilities, shape (n, n_sounds)."""
        return torch.softmax(self.score(statistics), dim=-1)


def fit_head(examples: Examples, chosen: NDArray[np.bool_], recipe: SoundRecipe) -> SoundHead:
    """Fit a network to some windows.

    Args:
        examples: all of them.
        chosen: those to learn from, shape (n,); what is unsure is left out.
        recipe: how.
    """
    rows = np.flatnonzero(chosen & (examples.kinds != UNSURE))
    torch.manual_seed(recipe.seed)
    statistics = torch.from_numpy(examples.statistics[rows].astype(np.float32))
    kinds = torch.from_numpy(examples.kinds[rows])
    weights = torch.from_numpy(weigh(examples, rows, recipe).astype(np.float32))
    head = SoundHead(statistics.mean(0), statistics.std(0).clamp_min(_LEAST_SPREAD), recipe)
    n_steps = max(len(rows) // recipe.n_batch, 1)
    optimiser = torch.optim.AdamW(head.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=n_steps * recipe.epochs + 1, pct_start=_WARMUP
    )
    cost = nn.CrossEntropyLoss(reduction="none", label_smoothing=recipe.label_smoothing)
    head.train()
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(rows)).tensor_split(n_steps):
            optimiser.zero_grad()
            (cost(head.score(statistics[batch]), kinds[batch]) * weights[batch]).mean().backward()
            optimiser.step()
            schedule.step()
    return head.eval()


def weigh(examples: Examples, rows: NDArray[np.int64], recipe: SoundRecipe) -> NDArray[np.float64]:
    """Weigh windows so that speech has its share, the other classes the rest alike, and no source rules its class.

    Args:
        examples: all windows.
        rows: some of them.
        recipe: says what share speech has.

    Returns:
        Shape (n_rows,), mean 1; within a class a source counts by the root of its windows.
    """
    kinds = examples.kinds[rows]
    recordings = [origin.recording for origin in examples.origins]
    names = np.array([one.source if one else "" for one in recordings])[examples.scenes[rows]]
    weights = np.zeros(len(rows))
    there = np.unique(kinds)
    for kind in there:
        is_speech = SOUNDS[kind] == SPEECH
        share = recipe.speech_share if is_speech else (1 - recipe.speech_share) / max(len(there) - 1, 1)
        inside = kinds == kind
        sources, counts = np.unique(names[inside], return_counts=True)
        shares = np.sqrt(counts) / np.sqrt(counts).sum()
        for source, count, part in zip(sources, counts, shares, strict=True):
            weights[inside & (names == source)] = share * part / count
    return np.asarray(weights / weights.mean())


@torch.inference_mode()
def ask_head(head: SoundHead, statistics: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return probabilities, shape (n, n_sounds)."""
    answers: NDArray[np.float32] = head(torch.from_numpy(statistics.astype(np.float32))).numpy()
    return answers


def export_head(head: SoundHead, path: Path) -> None:
    """Write the network as ONNX: `statistics` (n_windows, WIDTH) to `probabilities` (n_windows, n_sounds), float32.

    Raises:
        MoodreelError: the graph answers otherwise than the network; no file is left then.
        OutputError: the file cannot be written.
    """
    rng = np.random.default_rng(0)
    centre, spread = head.centre.numpy(), head.spread.numpy()
    examples = [
        {"statistics": (centre + spread * rng.standard_normal((n, WIDTH))).astype(np.float32)} for n in (2, 1, 9)
    ]
    axes = {"statistics": {0: "n_windows"}, "probabilities": {0: "n_windows"}}
    write_onnx(head, path, examples, GraphPlan(["probabilities"], axes, "float16"))
