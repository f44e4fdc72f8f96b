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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from moodreel.labels import EMOTIONS
from moodreel.training.backbones.whisper import fetch_origin, load_whisper
from moodreel.training.voice import examples as voice_examples
from moodreel.training.voice.export import export_voice
from moodreel.training.voice.fit import Schedule, fit, load_state, save_state
from moodreel.training.voice.network import VoiceNet, raise_examples
from moodreel.training.voice.plain_head import Statistics, VoicePair, fit_plain, measure_statistics
from moodreel.training.voice.recordings import Recording, find_nemo, find_ravdess, list_known, split_folds
from moodreel.training.voice.scores import hear, score_folds, score_transfer
from moodreel.training.voice.sources import N_VARIANTS, FreshExamples, KeptExamples
from moodreel.training.voice.takes import Take, load_takes, make_take, save_takes

N_BLOCKS = 2
RAVDESS_COPIES = 1
N_NEMO_VARIANTS = 1200
"""As many nEMO takes go along, so that what was learned there stays."""
UNHEARD_STEP = 3
"""Every third recording is heard under all backgrounds, for time's sake."""
NEMO_COPIES = 0
"""nEMO has enough takes of its own; degraded copies of it would cost more time than they bring."""

ADAPT = Schedule(epochs=2)
TUNE = Schedule(epochs=8, encoder_rate=3e-4, first_block=1)


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

    ravdess: list[Recording]
    nemo: list[Recording]

    @classmethod
    def find(cls, ravdess: Path, nemo: Path) -> Corpora:
        """List both corpora."""
        return cls(find_ravdess(ravdess), find_nemo(nemo))


@dataclass(frozen=True)
class VoiceRun:
    """One training run and its folder."""

    corpora: Corpora
    out: Path
    seed: int

    def list_stages(self) -> list[str]:
        """Name the stages in order."""
        folds = [f"fold-{index}" for index in range(len(split_folds(self.corpora.ravdess)))]
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
                save_takes([make_take(recording, n_copies, self.seed) for recording in recordings], path)

    def _adapt(self) -> None:
        """Adapt the encoder to emotion on nEMO, and see what that alone says of RAVDESS."""
        if self._state_path("adapted").exists():
            return
        net = self._new_net()
        maker = voice_examples.ExampleMaker(self._load_takes("nemo"), voice_examples.make_backgrounds(self.seed))
        fit(net, FreshExamples(maker), ADAPT, self.seed)
        save_state(net, self._state_path("adapted"))
        heard = hear(net, self.corpora.ravdess, ("clean",), self.seed)
        heard.among(list_known("nemo")).save(self.out / "nemo-to-ravdess.npz")
        self._hear_covered(net)

    def _hear_covered(self, net: VoiceNet) -> None:
        """Hear a part of the unheard corpus under backgrounds: from that fusion learns when not to trust the voice."""
        heard = hear(net, self.corpora.ravdess[::UNHEARD_STEP], None, self.seed)
        heard.among(list_known("nemo")).save(self.out / "nemo-to-ravdess-covered.npz")

    def _list_parts(self) -> list[str]:
        """Name the parts of the examples: one for each fold's actors, and nEMO's."""
        return [
            *(f"examples-{index}" for index in range(len(split_folds(self.corpora.ravdess)))),
            "examples-nemo",
        ]

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
            actors = split_folds(self.corpora.ravdess)[int(part.removeprefix("examples-"))]
            takes = [take for take in self._load_takes("ravdess") if take.recording.speaker in actors] * N_VARIANTS
        maker = voice_examples.ExampleMaker([*takes, *nemo], voice_examples.make_backgrounds(self.seed))
        examples = [maker.make(take, rng) for take in takes]
        voice_examples.save_examples(raise_examples(self._adapted_net(), examples, TUNE.first_block), path)

    def _load_examples(self, without: int | None = None) -> list[voice_examples.Example]:
        """Load all parts but the one of a fold's actors."""
        parts = [part for part in self._list_parts() if part != f"examples-{without}"]
        return [example for part in parts for example in voice_examples.load_examples(self.out / f"{part}.npz")]

    def _run_fold(self, fold: int) -> None:
        path = self.out / f"fold-{fold}.npz"
        if path.exists():
            return
        unseen = split_folds(self.corpora.ravdess)[fold]
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
        folds = [self.out / f"fold-{index}.npz" for index in range(len(split_folds(self.corpora.ravdess)))]
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

    def _load_takes(self, name: str) -> list[Take]:
        return load_takes(getattr(self.corpora, name), self._takes_path(name))

    def _takes_path(self, name: str) -> Path:
        return self.out / f"takes-{name}-{self.seed}.npz"

    def _statistics_path(self) -> Path:
        return self.out / f"statistics-{self.seed}.npz"

    def _state_path(self, name: str) -> Path:
        return self.out / f"{name}.npz"


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
