"""Train the voice network on RAVDESS and nEMO, measure it on unseen speakers and across corpora, export it.

The encoder is first adapted to emotion on nEMO alone. Its lower block stays so; the upper one and the heads are then
trained on RAVDESS and a part of nEMO: for each fold on sixteen actors, for what ships on all twenty. Since the lower
block is common to them, what it gives is computed once for a few degraded variants of each take, and kept. Beside the
tuned block stands the untuned one, under a linear head: see `voice_plain`.

Every stage writes its result into the output folder and is skipped when it is there already, so that a stopped run goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.training import voice_data as data
from moodreel.training.voice_net import Batch, VoiceNet, collate, export_voice, raise_examples
from moodreel.training.voice_plain import Statistics, VoicePair, fit_plain, measure_statistics
from moodreel.training.voice_scores import hear, score_folds, score_transfer
from moodreel.training.whisper import fetch_origin, load_whisper

N_BLOCKS = 2
RAVDESS_COPIES = 1
N_SAMPLE = 256
N_VARIANTS = 8
"""Degraded variants of each RAVDESS take that the upper block is trained on."""
N_NEMO_VARIANTS = 1600
"""As many nEMO takes go along, so that what was learned there stays."""
UNHEARD_STEP = 3
"""Every third recording is heard under all backgrounds, for time's sake."""
NEMO_COPIES = 0
"""nEMO has enough takes of its own; degraded copies of it would cost more time than they bring."""


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


ADAPT = Schedule(epochs=3)
TUNE = Schedule(epochs=10, encoder_rate=3e-4, first_block=1)


def pretrain_voice(
    ravdess: Path, nemo: Path, out: Path, stages: Sequence[str] | None = None, seed: int = 0, threads: int = 1
) -> None:
    """Train, measure and export the voice network.

    Args:
        ravdess: folder with RAVDESS's speech.
        nemo: folder with nEMO's `data.tsv` and `audio`.
        out: where the stages' results go: `voice.onnx`, `scores.json`, `heldout.npz` and what is needed between.
        stages: which to run; all of them when None. See `list_stages`.
        seed: decides all randomness. One seed gives the same weights on one machine with the same `threads`; on another
            processor, rounding moves scores by up to about .02 UAR.
        threads: torch threads.

    Raises:
        MoodreelError: a corpus is incomplete or the origin's weights cannot be fetched.
    """
    torch.set_num_threads(threads)
    run = VoiceRun(Corpora.find(ravdess, nemo), out, seed)
    for stage in stages or run.list_stages():
        run.run(stage)


@dataclass(frozen=True)
class Corpora:
    """The recordings of both corpora."""

    ravdess: list[data.Recording]
    nemo: list[data.Recording]

    @classmethod
    def find(cls, ravdess: Path, nemo: Path) -> Corpora:
        """List both corpora."""
        return cls(data.find_ravdess(ravdess), data.find_nemo(nemo))


@dataclass(frozen=True)
class VoiceRun:
    """One training run and its folder."""

    corpora: Corpora
    out: Path
    seed: int

    def list_stages(self) -> list[str]:
        """Name the stages in order."""
        folds = [f"fold-{index}" for index in range(len(data.split_folds(self.corpora.ravdess)))]
        return ["takes", "adapt", "statistics", *self._list_parts(), *folds, "from-ravdess", "final", "scores"]

    def run(self, stage: str) -> None:
        """Run one stage, unless its result is there.

        Raises:
            ValueError: there is no such stage.
        """
        kind, _, index = stage.partition("-")
        if kind == "fold" and index.isdigit():
            self._run_fold(int(index))
            return
        if stage in self._list_parts():
            self._make_examples(stage)
            return
        stages = {
            "takes": self._make_takes,
            "adapt": self._adapt,
            "statistics": self._measure_statistics,
            "from-ravdess": self._train_on_ravdess,
            "final": self._train_final,
            "scores": self._write_scores,
        }
        if stage not in stages:
            raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(self.list_stages())}")
        stages[stage]()

    def _make_takes(self) -> None:
        for name, recordings, n_copies in (
            ("ravdess", self.corpora.ravdess, RAVDESS_COPIES),
            ("nemo", self.corpora.nemo, NEMO_COPIES),
        ):
            if not (path := self._takes_path(name)).exists():
                data.save_takes([data.make_take(recording, n_copies, self.seed) for recording in recordings], path)

    def _adapt(self) -> None:
        """Adapt the encoder to emotion on nEMO, and see what that alone says of RAVDESS."""
        if self._state_path("adapted").exists():
            return
        net = self._new_net()
        maker = data.ExampleMaker(self._load_takes("nemo"), data.make_backgrounds(self.seed))
        fit(net, FreshExamples(maker), ADAPT, self.seed)
        save_state(net, self._state_path("adapted"))
        heard = hear(net, self.corpora.ravdess, ("clean",), self.seed)
        heard.among(data.list_known("nemo")).save(self.out / "nemo-to-ravdess.npz")
        self._hear_covered(net)

    def _hear_covered(self, net: VoiceNet) -> None:
        """Hear a part of the unheard corpus under backgrounds: from that fusion learns when not to trust the voice."""
        heard = hear(net, self.corpora.ravdess[::UNHEARD_STEP], None, self.seed)
        heard.among(data.list_known("nemo")).save(self.out / "nemo-to-ravdess-covered.npz")

    def _list_parts(self) -> list[str]:
        """Name the parts of the examples: one for each fold's actors, and nEMO's."""
        return [*(f"examples-{index}" for index in range(len(data.split_folds(self.corpora.ravdess)))), "examples-nemo"]

    def _make_examples(self, part: str) -> None:
        """Make a part's variants and run the lower block over them; no voice of another fold is in the background."""
        path = self.out / f"{part}.npz"
        if path.exists():
            return
        rng = np.random.default_rng([self.seed, *part.encode()])
        nemo = self._load_takes("nemo")
        if part == "examples-nemo":
            takes = [nemo[int(i)] for i in rng.choice(len(nemo), min(N_NEMO_VARIANTS, len(nemo)), replace=False)]
        else:
            actors = data.split_folds(self.corpora.ravdess)[int(part.removeprefix("examples-"))]
            takes = [take for take in self._load_takes("ravdess") if take.recording.speaker in actors] * N_VARIANTS
        maker = data.ExampleMaker([*takes, *nemo], data.make_backgrounds(self.seed))
        examples = [maker.make(take, rng) for take in takes]
        data.save_examples(raise_examples(self._adapted_net(), examples, TUNE.first_block), path)

    def _load_examples(self, without: int | None = None) -> list[data.Example]:
        """Load all parts but the one of a fold's actors."""
        parts = [part for part in self._list_parts() if part != f"examples-{without}"]
        return [example for part in parts for example in data.load_examples(self.out / f"{part}.npz")]

    def _run_fold(self, fold: int) -> None:
        path = self.out / f"fold-{fold}.npz"
        if path.exists():
            return
        unseen = data.split_folds(self.corpora.ravdess)[fold]
        tuned = self._tune(f"net-{fold}", without=fold)
        pair = self._pair(tuned, unseen)
        hear(pair, [r for r in self.corpora.ravdess if r.speaker in unseen], None, self.seed).save(path)

    def _tune(self, name: str, without: int | None = None) -> VoiceNet:
        """Train the upper block on all parts but the one of a fold's actors, unless that was done before."""
        net = self._adapted_net()
        if (state := self._state_path(name)).exists():
            load_state(net, state)
            return net.eval()
        fit(net, KeptExamples(self._load_examples(without)), TUNE, self.seed)
        save_state(net, state)
        return net

    def _pair(self, tuned: VoiceNet, unseen: Sequence[str] = ()) -> VoicePair:
        """Put the untuned network beside the tuned one, its head fitted without the unseen actors."""
        plain = fit_plain(self._adapted_net(), Statistics.load(self._statistics_path()).without(unseen))
        return VoicePair(tuned, plain, TUNE.first_block).eval()

    def _measure_statistics(self) -> None:
        if not self._statistics_path().exists():
            net = self._adapted_net().eval()
            measure_statistics(net, self.corpora.ravdess, self.seed).save(self._statistics_path())

    def _train_on_ravdess(self) -> None:
        """Fit a linear head on RAVDESS alone, on the origin's encoder, and test on nEMO."""
        path = self.out / "ravdess-to-nemo.npz"
        if not path.exists():
            net = self._new_net().eval()
            plain = fit_plain(net, measure_statistics(net, self.corpora.ravdess, self.seed))
            hear(plain, self.corpora.nemo[::UNHEARD_STEP], ("clean",), self.seed).save(path)

    def _train_final(self) -> None:
        if (self.out / "voice.onnx").exists():
            return
        export_voice(self._pair(self._tune("final")), self.out / "voice.onnx")

    def _write_scores(self) -> None:
        folds = [self.out / f"fold-{index}.npz" for index in range(len(data.split_folds(self.corpora.ravdess)))]
        scores = {
            "schedule": {"adapt": asdict(ADAPT), "tune": asdict(TUNE), "seed": self.seed},
            "folds": score_folds(folds, self.out / "heldout.npz"),
            "nemo_to_ravdess": score_transfer(self.out / "nemo-to-ravdess.npz"),
            "ravdess_to_nemo": score_transfer(self.out / "ravdess-to-nemo.npz"),
        }
        (self.out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")

    def _new_net(self) -> VoiceNet:
        return VoiceNet(load_whisper(fetch_origin(self.out), N_BLOCKS))

    def _adapted_net(self) -> VoiceNet:
        """The encoder adapted on nEMO under fresh heads: nEMO's know nothing of disgust."""
        net = self._new_net()
        load_state(net, self._state_path("adapted"))
        return VoiceNet(net.encoder)

    def _load_takes(self, name: str) -> list[data.Take]:
        return data.load_takes(getattr(self.corpora, name), self._takes_path(name))

    def _takes_path(self, name: str) -> Path:
        return self.out / f"takes-{name}-{self.seed}.npz"

    def _statistics_path(self) -> Path:
        return self.out / f"statistics-{self.seed}.npz"

    def _state_path(self, name: str) -> Path:
        return self.out / f"{name}.npz"


class ExampleSource(Protocol):
    """Where `fit` takes its examples from."""

    def __len__(self) -> int:
        """How many examples an epoch has."""

    def draw_sample(self, rng: Generator) -> list[data.Example]:
        """Draw a few hundred examples to measure scales on."""

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """Draw the batches of an epoch."""

    def count_labels(self) -> NDArray[np.int64]:
        """Count the takes of each emotion, shape (7,)."""


@dataclass(frozen=True)
class FreshExamples:
    """Every epoch goes over all takes, each degraded anew."""

    maker: data.ExampleMaker

    def __len__(self) -> int:
        """See `ExampleSource`."""
        return len(self.maker.takes)

    def draw_sample(self, rng: Generator) -> list[data.Example]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self), min(N_SAMPLE, len(self)), replace=False)
        return [self.maker.make(self.maker.takes[int(index)], rng) for index in chosen]

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """See `ExampleSource`; made in pieces of a few hundred, so that memory stays small."""
        order = rng.permutation(len(self))
        for start in range(0, len(order), 20 * n_batch):
            chosen = order[start : start + 20 * n_batch]
            examples = [self.maker.make(self.maker.takes[int(index)], rng) for index in chosen]
            yield from map(collate, data.group_batches(examples, n_batch, rng))

    def count_labels(self) -> NDArray[np.int64]:
        """See `ExampleSource`."""
        return np.bincount([take.recording.label for take in self.maker.takes], minlength=N_EMOTIONS)


@dataclass(frozen=True)
class KeptExamples:
    """Every epoch goes over a random part of examples made before, as many as there are takes."""

    examples: Sequence[data.Example]

    def __len__(self) -> int:
        """See `ExampleSource`."""
        return max(len(self.examples) // N_VARIANTS, 1)

    def draw_sample(self, rng: Generator) -> list[data.Example]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self.examples), min(N_SAMPLE, len(self.examples)), replace=False)
        return [self.examples[int(index)] for index in chosen]

    def draw_epoch(self, n_batch: int, rng: Generator) -> Iterator[Batch]:
        """See `ExampleSource`."""
        chosen = rng.choice(len(self.examples), len(self), replace=False)
        for start in range(0, len(chosen), 20 * n_batch):
            examples = [self.examples[int(index)] for index in chosen[start : start + 20 * n_batch]]
            yield from map(collate, data.group_batches(examples, n_batch, rng))

    def count_labels(self) -> NDArray[np.int64]:
        """See `ExampleSource`."""
        labels = np.array([example.labels[0] for example in self.examples])
        return np.bincount(labels[labels >= 0], minlength=N_EMOTIONS)


def fit(net: VoiceNet, source: ExampleSource, schedule: Schedule, seed: int) -> None:
    """Train a network in place; it ends with the running mean of its weights, in evaluation mode.

    Args:
        net: the network; its convolutions, positions and the blocks before `schedule.first_block` stay as they are.
        source: the examples.
        schedule: how.
        seed: decides all randomness.
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
    emotion_loss: Tensor = -((target * picked).sum(dim=-1) * weights).sum() / weights.sum()
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


def main() -> None:
    """Run the stages from the command line."""
    parser = argparse.ArgumentParser(description=f"Train the voice network ({', '.join(EMOTIONS)}).")
    parser.add_argument("--ravdess", type=Path, required=True, help="folder with RAVDESS speech")
    parser.add_argument("--nemo", type=Path, required=True, help="folder with nEMO's data.tsv and audio")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--stage", action="append", help="run only this stage; may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    pretrain_voice(arguments.ravdess, arguments.nemo, arguments.out, arguments.stage, arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
