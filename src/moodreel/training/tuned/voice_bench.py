"""The voice network tuned below its last layer: its trained half, fitted to labelled clips from where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from moodreel.labels import N_EMOTIONS
from moodreel.recognition.fusion import FloatArray, Fusion
from moodreel.storage.cache import Cache
from moodreel.training.fitting import Epochs, scale_rate, schedule_rates, weigh_classes
from moodreel.training.onnx_reading import open_up_to
from moodreel.training.tuned.clips import TunedClip, load_given
from moodreel.training.tuned.heads import Correction
from moodreel.training.tuned.voice_branch import Branch, count_blocks, graft, read_branch
from moodreel.training.tuned.watched_fit import MOST_EPOCHS, Watch, WatchedModule, fit_watched
from moodreel.training.voice.fit import make_optimizer
from moodreel.training.voice.recipe import Schedule

SCHEDULE = Schedule(epochs=MOST_EPOCHS, encoder_rate=1e-4, head_rate=1e-4)
"""Half and a twentieth of the rates at which the network was trained."""
MOST_HELD_BYTES = 512 * 2**20
"""Tokens beyond this are made anew whenever they are wanted."""
_N_EXAMPLES = 3
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A stretch of speech at the branch's door: tokens (n_tokens, width), pooling (n_tokens,), and its weight."""

    tokens: Tensor
    pooling: Tensor
    weight: float


@dataclass(frozen=True)
class BranchBatch:
    """What one step learns from: chunks padded on the left to one length.

    Attributes:
        tokens: float32, shape (n, n_tokens, width).
        real: bool, shape (n, n_tokens), False for padding.
        pooling: float32, shape (n, 1, n_tokens).
        fixed: what all else adds to the clips' logits, float32, shape (n, 7).
        label: int64, shape (n,).
        snr_db: the ratios that the branch gave before, float32, shape (n,).
    """

    tokens: Tensor
    real: Tensor
    pooling: Tensor
    fixed: Tensor
    label: Tensor
    snr_db: Tensor


class VoiceBench:
    """Fits the trained half of a voice network and tells what it says then."""

    def __init__(self, graph: bytes, cache: Cache, *, is_whole: bool) -> None:
        """Rebuild the half.

        Args:
            graph: the bundle's voice network.
            cache: where what it was given of the clips stands.
            is_whole: whether all blocks are tuned, else the last alone.

        Raises:
            BundleError: the network is not one that moodreel trained.
        """
        first_block = 0 if is_whole else max(count_blocks(graph) - 1, 0)
        self._shipped, self._site = read_branch(graph, first_block)
        self._below = open_up_to(graph, self._site.tokens)
        self._graph = graph
        self._cache = cache
        self._schedule = replace(SCHEDULE, first_block=first_block)
        self._held: dict[str, list[_Chunk]] = {}
        self._held_bytes = 0
        self._before: dict[str, tuple[FloatArray, float]] = {}

    def fit(
        self,
        clips: Sequence[TunedClip],
        correction: Correction,
        fusion: Fusion,
        seed: int,
        watch: Watch | None = None,
        n_epochs: int | None = None,
    ) -> tuple[Branch, int]:
        """Fit the half to clips that hold speech.

        Args:
            clips: what to learn from.
            correction: what is added to the network's logits beside.
            fusion: how they are calibrated.
            seed: decides all randomness.
            watch: tells what a branch costs on other clips; the epoch of the least cost is kept, 0 for none.
            n_epochs: fit for so many instead.

        Returns:
            The half, and the epochs that it was fitted for.
        """
        branch = deepcopy(self._shipped)
        if not clips or n_epochs == 0:
            return branch, 0
        torch.manual_seed(seed)
        source = _Source(self, clips, correction, fusion)
        rng = np.random.default_rng(seed)
        epochs = Epochs(source.n_steps, lambda _: source.draw(rng), rng)
        module = _BranchModule(branch, self._schedule, source, fusion.voice_temperature, watch)
        return branch, fit_watched(module, epochs, n_epochs)

    def move(self, branch: Branch, clip: TunedClip) -> TunedClip:
        """Return a clip as the network with another half hears it; its statistics stay."""
        logits = clip.description.logits
        if logits.voice is None or not self.load(clip):
            return clip
        moved = logits.voice + self._ask(branch, clip)[0] - self.ask_before(clip)[0]
        return replace(clip, description=replace(clip.description, logits=replace(logits, voice=moved)))

    def write(self, branch: Branch, clips: Sequence[TunedClip]) -> bytes:
        """Return the voice network with another half; `clips` serve the comparison with torch.

        Raises:
            MoodreelError: the exported half answers otherwise than torch's.
        """
        chunks = [chunk for clip in clips for chunk in self.load(clip)[:1]][:_N_EXAMPLES]
        examples = [(chunk.tokens.numpy(), chunk.pooling.numpy()) for chunk in chunks]
        return graft(self._graph, branch, self._site, examples)

    def load(self, clip: TunedClip) -> list[_Chunk]:
        """Return what enters the half of a clip."""
        if (held := self._held.get(clip.given)) is not None:
            return held
        chunks = [
            _Chunk(
                torch.from_numpy(self._below.run(None, {"mel": one.mel[None]})[0][0]),
                torch.from_numpy(one.pooling),
                one.weight,
            )
            for one in load_given(clip, self._cache).speech
        ]
        size = sum(chunk.tokens.numel() * 4 for chunk in chunks)
        if self._held_bytes + size <= MOST_HELD_BYTES:
            self._held[clip.given] = chunks
            self._held_bytes += size
        return chunks

    def ask_before(self, clip: TunedClip) -> tuple[FloatArray, float]:
        """Return logits, shape (7,), and ratio of the half that shipped."""
        if clip.given not in self._before:
            self._before[clip.given] = self._ask(self._shipped, clip)
        return self._before[clip.given]

    def _ask(self, branch: Branch, clip: TunedClip) -> tuple[FloatArray, float]:
        chunks = self.load(clip)
        was_training = branch.training
        branch.eval()
        with torch.inference_mode():
            answers = [branch(chunk.tokens[None], chunk.pooling[None, None]) for chunk in chunks]
        branch.train(was_training)
        weights = [chunk.weight for chunk in chunks]
        logits = np.average([logits[0, 0].numpy() for logits, _ in answers], axis=0, weights=weights)
        return logits.astype(np.float64), float(np.average([float(snr_db) for _, snr_db in answers], weights=weights))


class _Source:
    """Batches of chunks, one of each clip an epoch."""

    def __init__(self, bench: VoiceBench, clips: Sequence[TunedClip], correction: Correction, fusion: Fusion) -> None:
        self._bench = bench
        self._clips = clips
        self._fixed = [_fix(bench, clip, correction, fusion) for clip in clips]
        self._label = np.array([clip.label for clip in clips], dtype=np.int64)
        self.class_weights = weigh_classes(np.bincount(self._label, minlength=N_EMOTIONS))
        self.n_steps = -(-len(clips) // SCHEDULE.n_batch)

    def draw(self, rng: np.random.Generator) -> Iterator[BranchBatch]:
        """Draw the batches of an epoch."""
        order = rng.permutation(len(self._clips))
        for start in range(0, len(order), SCHEDULE.n_batch):
            yield self._collate(order[start : start + SCHEDULE.n_batch], rng)

    def _collate(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> BranchBatch:
        drawn = [_draw_chunk(self._bench.load(self._clips[row]), rng) for row in rows]
        longest = max(len(chunk.pooling) for chunk in drawn)
        tokens = torch.zeros(len(rows), longest, drawn[0].tokens.shape[1])
        real, pooling = torch.zeros(len(rows), longest, dtype=torch.bool), torch.zeros(len(rows), 1, longest)
        for place, chunk in enumerate(drawn):
            tokens[place, longest - len(chunk.pooling) :] = chunk.tokens
            real[place, longest - len(chunk.pooling) :] = True
            pooling[place, 0, longest - len(chunk.pooling) :] = chunk.pooling
        fixed, snr_db = zip(*(self._fixed[row] for row in rows), strict=True)
        return BranchBatch(
            tokens,
            real,
            pooling,
            torch.from_numpy(np.array(fixed, np.float32)),
            torch.from_numpy(self._label[rows]),
            torch.from_numpy(np.array(snr_db, np.float32)),
        )


def _draw_chunk(chunks: Sequence[_Chunk], rng: np.random.Generator) -> _Chunk:
    weights = np.array([chunk.weight for chunk in chunks])
    return chunks[int(rng.choice(len(chunks), p=weights / weights.sum()))]


def _fix(bench: VoiceBench, clip: TunedClip, correction: Correction, fusion: Fusion) -> tuple[FloatArray, float]:
    """What all else but the half adds to a clip's logits, bias included, and the ratio that it gave."""
    description = clip.description
    assert description.logits.voice is not None and description.voice is not None
    own, snr_db = bench.ask_before(clip)
    whole = correction.apply(description.logits.voice, description.voice)
    return whole - own + np.asarray(fusion.voice_bias), snr_db


class _BranchModule(WatchedModule):
    """The half under its schedule."""

    network: Branch

    def __init__(
        self, branch: Branch, schedule: Schedule, source: _Source, temperature: float, watch: Watch | None
    ) -> None:
        """Store what is fitted and how."""
        super().__init__(branch, "voice network", watch)
        self._schedule = schedule
        self._n_steps = schedule.epochs * source.n_steps
        self._class_weights = source.class_weights
        self._temperature = temperature

    def measure_loss(self, batch: BranchBatch) -> Tensor:
        """See `FitModule`."""
        own, snr_db = self.network(batch.tokens, batch.pooling, batch.real)
        logits = (batch.fixed + own[:, 0]) / self._temperature
        cost: Tensor = functional.cross_entropy(
            logits, batch.label, self._class_weights, label_smoothing=self._schedule.label_smoothing
        )
        kept = functional.smooth_l1_loss(snr_db[:, 0] / 10, batch.snr_db / 10)
        loss: Tensor = cost + self._schedule.snr_weight * kept
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW and its rates."""
        n_warmup = max(int(self._schedule.warmup * self._n_steps), 1)
        scale = partial(scale_rate, n_steps=self._n_steps, n_warmup=n_warmup, falls_from=n_warmup)
        return schedule_rates(make_optimizer(self.network.net, self._schedule), scale)
