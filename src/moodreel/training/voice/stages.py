"""Train the voice network on RAVDESS and nEMO, measure it on unseen speakers and across corpora, export it.

The encoder is first adapted to emotion on nEMO alone. Its lower block stays so; the upper one and the heads are then
trained on RAVDESS and a part of nEMO: for each fold on sixteen actors, for what ships on all twenty. Since the lower
block is common to them, what it gives is computed once for a few degraded variants of each take, and kept. Beside the
tuned block stands the untuned one, under a linear head: see `plain_head`.

Every stage writes its results into the output folder, whole, and is skipped when they are there already, so that a
stopped run goes on where it stopped; a folder of another recipe, seed or data is refused (`run_folder`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moodreel.errors import OutputError
from moodreel.labels import EMOTIONS
from moodreel.storage.cache import hash_file, make_key
from moodreel.storage.whole_files import write_text
from moodreel.training.backbones.whisper import fetch_whisper, load_whisper
from moodreel.training.fitting import load_fitted
from moodreel.training.run_folder import begin_or_resume
from moodreel.training.voice import examples as voice_examples
from moodreel.training.voice.export import export_voice
from moodreel.training.voice.fit import fit_voice
from moodreel.training.voice.network import VoiceNet, raise_examples
from moodreel.training.voice.plain_head import Statistics, VoicePair, fit_plain, measure_statistics
from moodreel.training.voice.recipe import VoiceRecipe
from moodreel.training.voice.recordings import Recording, list_known, read_recordings, split_folds
from moodreel.training.voice.scores import predict_recordings, score_folds, score_transfer
from moodreel.training.voice.sources import FreshExamples, KeptExamples
from moodreel.training.voice.takes import Take, load_takes, make_take, save_takes


def pretrain_voice(
    ravdess: Path,
    nemo: Path,
    out: Path,
    stages: Sequence[str] | None = None,
    recipe: VoiceRecipe | None = None,
    threads: int = 1,
) -> None:
    """Train, measure and export the voice network.

    Args:
        ravdess: folder with RAVDESS's speech.
        nemo: folder with nEMO's `data.tsv` and `audio`.
        out: where the stages' results go: `voice.onnx`, `scores.json`, `heldout.npz` and what is needed between.
        stages: which to run; all of them when None. See `list_stages`.
        recipe: settings; the default gives the shipped network. One recipe gives the same weights on one machine with
            the same `threads`; on another processor, rounding moves scores by up to about .02 UAR.
        threads: torch threads.

    Raises:
        MoodreelError: a corpus is incomplete, the origin's weights cannot be fetched, or training diverged.
        OutputError: the folder cannot be written, or holds another or an unknown run.
        RecipeError: it holds a run of another recipe or seed.
        ValueError: there is no such stage.
    """
    torch.set_num_threads(threads)
    run = VoiceRun(Corpora.find(ravdess, nemo), out, recipe or VoiceRecipe())
    chosen = stages or run.list_stages()
    run.check_stages(chosen)
    begin_or_resume(out, run.recipe, run.corpora.describe(), run.list_results())
    for stage in chosen:
        run.run(stage)


@dataclass(frozen=True)
class Corpora:
    """The recordings of both corpora."""

    ravdess: list[Recording]
    nemo: list[Recording]

    @classmethod
    def find(cls, ravdess: Path, nemo: Path) -> Corpora:
        """List both corpora."""
        return cls(read_recordings(ravdess, "ravdess"), read_recordings(nemo, "nemo"))

    def describe(self) -> dict[str, Any]:
        """Say which recordings these are, label, speaker and content, as JSON types."""
        return {name: _describe(recordings) for name, recordings in vars(self).items()}


def _describe(recordings: Sequence[Recording]) -> dict[str, Any]:
    rows = [[r.path.stem, r.speaker, r.label, hash_file(r.path)] for r in recordings]
    return {"n_recordings": len(rows), "recordings_sha256": make_key(rows)}


@dataclass(frozen=True)
class VoiceRun:
    """One training run and its folder."""

    corpora: Corpora
    out: Path
    recipe: VoiceRecipe

    @property
    def seed(self) -> int:
        """The recipe's."""
        return self.recipe.seed

    def list_results(self) -> list[str]:
        """Name what a run leaves in its folder."""
        finals = ["voice.onnx", "scores.json", "heldout.npz", "adapted", "adapted.npz"]
        return [*finals, *(f"takes-{name}-{self.seed}.npz" for name in ("ravdess", "nemo"))]

    def check_stages(self, stages: Sequence[str]) -> None:
        """Refuse stages that there are not.

        Raises:
            ValueError: names the first.
        """
        unknown = [stage for stage in stages if stage not in self.list_stages()]
        if unknown:
            raise ValueError(f"unknown stage {unknown[0]!r}: expected one of {', '.join(self.list_stages())}")

    def list_stages(self) -> list[str]:
        """Name the stages in order."""
        folds = [f"fold-{index}" for index in range(len(split_folds(self.corpora.ravdess)))]
        return ["takes", "adapt", "statistics", *self._list_parts(), *folds, "from-ravdess", "final", "scores"]

    def run(self, stage: str) -> None:
        """Run one of `list_stages`, but for what is there already."""
        kind, _, index = stage.partition("-")
        if kind == "fold":
            self._run_fold(int(index))
        elif stage in self._list_parts():
            self._make_examples(stage)
        else:
            stages = {
                "takes": self._make_takes,
                "adapt": self._adapt,
                "statistics": self._measure_statistics,
                "from-ravdess": self._train_on_ravdess,
                "final": self._train_final,
                "scores": self._write_scores,
            }
            stages[stage]()

    def _make_takes(self) -> None:
        for name, recordings, n_copies in (
            ("ravdess", self.corpora.ravdess, self.recipe.ravdess_copies),
            ("nemo", self.corpora.nemo, self.recipe.nemo_copies),
        ):
            if not (path := self._takes_path(name)).exists():
                save_takes([make_take(recording, n_copies, self.seed) for recording in recordings], path)

    def _adapt(self) -> None:
        """Adapt the encoder to emotion on nEMO, and see what that alone makes of RAVDESS, clean and not.

        From RAVDESS under backgrounds, which it never learned from, fusion learns when not to trust the voice.
        """
        net = self._new_net()
        if not load_fitted(net, self.out / "adapted", self.recipe.adapt.epochs):
            maker = voice_examples.ExampleMaker(self._load_takes("nemo"), voice_examples.make_backgrounds(self.seed))
            fit_voice(net, FreshExamples(maker), self.recipe.adapt, self.seed, self.out / "adapted")
        self._predict_ravdess(net.eval(), "nemo-to-ravdess.npz", 1, ("clean",))
        self._predict_ravdess(net, "nemo-to-ravdess-covered.npz", self.recipe.transfer_step, None)

    def _predict_ravdess(self, net: VoiceNet, name: str, step: int, conditions: Sequence[str] | None) -> None:
        if not (self.out / name).exists():
            found = predict_recordings(net, self.corpora.ravdess[::step], conditions, self.seed)
            found.among(list_known("nemo")).save(self.out / name)

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
            takes = [
                nemo[int(i)] for i in rng.choice(len(nemo), min(self.recipe.n_nemo_variants, len(nemo)), replace=False)
            ]
        else:
            actors = split_folds(self.corpora.ravdess)[int(part.removeprefix("examples-"))]
            takes = [take for take in self._load_takes("ravdess") if take.recording.speaker in actors]
            takes *= self.recipe.n_variants
        maker = voice_examples.ExampleMaker([*takes, *nemo], voice_examples.make_backgrounds(self.seed))
        examples = [maker.make(take, rng) for take in takes]
        voice_examples.save_examples(raise_examples(self._adapted_net(), examples, self.recipe.tune.first_block), path)

    def _load_examples(self, without: int | None = None) -> list[voice_examples.Example]:
        """Load all parts but the one of a fold's actors."""
        parts = [part for part in self._list_parts() if part != f"examples-{without}"]
        return [example for part in parts for example in voice_examples.load_examples(self.out / f"{part}.npz")]

    def _run_fold(self, fold: int) -> None:
        path = self.out / f"fold-{fold}.npz"
        if path.exists():
            return
        unseen = split_folds(self.corpora.ravdess)[fold]
        pair = self._pair(self._tune(f"net-{fold}", without=fold), unseen)
        recordings = [recording for recording in self.corpora.ravdess if recording.speaker in unseen]
        predict_recordings(pair, recordings, None, self.seed).save(path)

    def _tune(self, name: str, without: int | None = None) -> VoiceNet:
        """Train the upper block on all parts but the one of a fold's actors, unless that was done before."""
        net = self._adapted_net()
        if not load_fitted(net, self.out / name, self.recipe.tune.epochs):
            examples = KeptExamples(self._load_examples(without), self.recipe.n_variants)
            fit_voice(net, examples, self.recipe.tune, self.seed, self.out / name)
        return net.eval()

    def _pair(self, tuned: VoiceNet, unseen: Sequence[str] = ()) -> VoicePair:
        """Put the untuned network beside the tuned one, its head fitted without the unseen actors."""
        plain = fit_plain(self._adapted_net(), Statistics.load(self._statistics_path()).without(unseen))
        return VoicePair(tuned, plain, self.recipe.tune.first_block).eval()

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
            predict_recordings(plain, self.corpora.nemo[:: self.recipe.transfer_step], ("clean",), self.seed).save(path)

    def _train_final(self) -> None:
        path = self.out / "voice.onnx"
        if not path.exists():
            export_voice(self._pair(self._tune("final")), path)

    def _write_scores(self) -> None:
        folds = [self.out / f"fold-{index}.npz" for index in range(len(split_folds(self.corpora.ravdess)))]
        scores = {
            "schedule": {
                "adapt": asdict(self.recipe.adapt),
                "tune": asdict(self.recipe.tune),
                "seed": self.seed,
            },
            "folds": score_folds(folds, self.out / "heldout.npz"),
            "nemo_to_ravdess": score_transfer(self.out / "nemo-to-ravdess.npz"),
            "ravdess_to_nemo": score_transfer(self.out / "ravdess-to-nemo.npz"),
        }
        write_text(self.out / "scores.json", json.dumps(scores, indent=2) + "\n")

    def _new_net(self) -> VoiceNet:
        return VoiceNet(load_whisper(fetch_whisper(self.out), self.recipe.n_blocks))

    def _adapted_net(self) -> VoiceNet:
        """The encoder adapted on nEMO under fresh heads: nEMO's know nothing of disgust."""
        net = self._new_net()
        if not load_fitted(net, self.out / "adapted", self.recipe.adapt.epochs):
            raise OutputError(f"{self.out}: the encoder is not adapted yet; run the stage adapt first")
        return VoiceNet(net.encoder)

    def _load_takes(self, name: str) -> list[Take]:
        return load_takes(getattr(self.corpora, name), self._takes_path(name))

    def _takes_path(self, name: str) -> Path:
        return self.out / f"takes-{name}-{self.seed}.npz"

    def _statistics_path(self) -> Path:
        return self.out / f"statistics-{self.seed}.npz"


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
    recipe = replace(VoiceRecipe(), seed=arguments.seed)
    pretrain_voice(arguments.ravdess, arguments.nemo, arguments.out, arguments.stage, recipe, arguments.threads)


if __name__ == "__main__":
    main()
