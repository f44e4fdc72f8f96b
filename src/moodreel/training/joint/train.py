"""`moodreel train`: a corpus and a recipe to a run folder with checkpoints, curves, scores and a bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from moodreel.bundle import load_bundle
from moodreel.corpora import Corpus
from moodreel.corpora.splits import Split
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import write_text
from moodreel.training.backbones.resnet import ResNet20, load_checkpoint, load_onnx_weights, load_shipped
from moodreel.training.extraction import extract_corpus
from moodreel.training.fit_progress import FitProgress
from moodreel.training.joint.batches import ClipItem
from moodreel.training.joint.curves import plot_curves
from moodreel.training.joint.export import ClipNetwork, TrainingFacts, export_bundle
from moodreel.training.joint.fit import Fitted, Sides, build, fit_network, predict_log_probabilities
from moodreel.training.joint.maps import fit_maps, make_items
from moodreel.training.joint.material import Material
from moodreel.training.joint.networks import JointNet, ResNetEncoder
from moodreel.training.joint.recipe import EXPRESSION, Recipe, load_recipe
from moodreel.training.machine import check_nodes, is_first_node
from moodreel.training.options import TrainOptions, list_clips, list_unreadable, make_run_split, open_corpus, score_side
from moodreel.training.progress import phase
from moodreel.training.run_folder import SCORES_FILE, begin_run, check_run, read_scores

logger = logging.getLogger(__name__)


Prepare = Callable[[Corpus, Recipe, TrainOptions], Material]
"""Reads and encodes a corpus's clips as a recipe wants them, as `prepare_material` does."""


def train(corpus_path: Path, recipe_name: str, out: Path, options: TrainOptions | None = None) -> dict[str, Any]:
    """Train a recipe on a corpus.

    Args:
        corpus_path: the corpus's folder or manifest.
        recipe_name: a shipped recipe or a YAML file.
        out: the run folder: `recipe.yaml`, `split.json`, `curves.png`, `valid-predictions.csv`,
            `test-predictions.csv`, `scores.json`, checkpoints, `bundle/`.
        options: see `TrainOptions`.

    Returns:
        What `scores.json` holds.

    Raises:
        CorpusError: the corpus cannot be used.
        RecipeError: the recipe cannot be used, or the run folder holds another recipe's run.
        OutputError: the run folder cannot be written, already holds a run and `resume` was not asked for, or holds a
            run of another split, fold or corpus.
        MoodreelError: training diverged; names clips and step.
    """
    options = options or TrainOptions()
    recipe = load_recipe(recipe_name, options.changes)
    if options.max_epochs is not None:
        recipe = replace(recipe, fit=replace(recipe.fit, epochs=options.max_epochs))
    check_nodes(options.nodes)
    if not is_first_node():
        _take_part(corpus_path, recipe, out, options)
        return {}
    run = _start(*_open(corpus_path, recipe, out, options), recipe, out, options, prepare_material)
    fitted = run.fit()
    scores = run.score(fitted)
    run.export(fitted, scores)
    return scores


def _take_part(corpus_path: Path, recipe: Recipe, out: Path, options: TrainOptions) -> None:
    """Take a share of each batch of a run that another machine writes."""
    corpus = open_corpus(corpus_path, recipe, options)
    material = prepare_material(corpus, recipe, options)
    run = _Run(material, make_run_split(corpus, recipe, options), recipe, out, options)
    for member in range(recipe.fit.ensemble):
        run.fit_member(member)


def train_and_score(
    corpus_path: Path, recipe: Recipe, out: Path, options: TrainOptions, prepare: Prepare | None = None
) -> dict[str, Any]:
    """Do what `train` does, but for the bundle; where a run is to go on that has come to its end, read its scores.

    Args:
        corpus_path: see `train`.
        recipe: how.
        out: see `train`.
        options: see `TrainOptions`.
        prepare: reads and encodes the clips; `prepare_material` when None.

    Raises:
        MoodreelError: see `train`.
    """
    corpus, split = _open(corpus_path, recipe, out, options)
    scores = read_scores(out, split)
    if scores is not None:
        return scores
    run = _start(corpus, split, recipe, out, options, prepare or prepare_material)
    return run.score(run.fit())


def fit_once(
    material: Material,
    split: Split,
    recipe: Recipe,
    out: Path,
    options: TrainOptions,
    callbacks: Sequence[Callback] = (),
    name: str = "fitting",
) -> Fitted:
    """Fit one network of a recipe on material that was prepared before.

    Args:
        material: the corpus.
        split: its sides.
        recipe: how; it reads of each clip what the material holds.
        out: folder for checkpoints.
        options: see `TrainOptions`.
        callbacks: told of every epoch.
        name: of the fit, as it is shown.

    Raises:
        MoodreelError: training diverged; names clips and step.
    """
    return _Run(material, split, recipe, out, options).fit_member(0, callbacks, name)


def _open(corpus_path: Path, recipe: Recipe, out: Path, options: TrainOptions) -> tuple[Corpus, Split]:
    """Refuse what cannot be run, while nothing was read of any clip and nothing written."""
    check_run(out, recipe, resume=options.resume)
    corpus = open_corpus(corpus_path, recipe, options)
    return corpus, make_run_split(corpus, recipe, options)


def _start(corpus: Corpus, split: Split, recipe: Recipe, out: Path, options: TrainOptions, prepare: Prepare) -> _Run:
    run = _Run(prepare(corpus, recipe, options), split, recipe, out, options)
    begin_run(out, recipe, split)
    return run


def prepare_material(corpus: Corpus, recipe: Recipe, options: TrainOptions) -> Material:
    """Read and encode a corpus's clips, through the cache.

    Raises:
        CorpusError: see `extract_corpus`.
    """
    extraction = extract_corpus(
        corpus.samples,
        recipe.inputs,
        Cache(options.cache) if options.cache else default_cache(),
        workers=options.workers,
        ray=options.ray,
        functionals_source="corpus" if recipe.audio and recipe.audio.source == "corpus" else "opensmile",
        encoders=recipe.encoders,
        allow_unreadable=options.allow_unreadable,
    )
    return Material(extraction, recipe, make_encoder(recipe))


def make_encoder(recipe: Recipe) -> ResNetEncoder | None:
    """Return the recipe's frame encoder, `None` for a network without frames, or of features of faces."""
    if recipe.video is None or recipe.video.weights == EXPRESSION:
        return None
    torch.manual_seed(recipe.seed)
    video = recipe.video
    return ResNetEncoder(_load_weights(video.weights), video.cells, stages=video.stages, grey=video.grey)


def _load_weights(weights: str) -> ResNet20:
    if weights == "cifar10":
        return load_shipped()
    if weights == "none":
        return ResNet20()
    path = Path(weights)
    return load_onnx_weights(path) if path.suffix == ".onnx" else load_checkpoint(path)


class _Run:
    """One run: networks fitted on a split of the material, scored and exported."""

    def __init__(self, material: Material, split: Split, recipe: Recipe, out: Path, options: TrainOptions) -> None:
        self.material = material
        self.split = split
        self.recipe = recipe
        self.out = out
        self.options = options
        self.rows = {side: material.index_of(getattr(split, side)) for side in ("train", "valid", "test")}
        with phase("fitting class scores", 3) as show:
            self.maps = fit_maps(material, self.rows["train"])
            show(1)
            train = self._items("train")
            show(2)
            self.sides = Sides(train, self._items("valid"))
            show(3)

    def fit(self) -> list[Fitted]:
        """Fit the recipe's networks and draw their curves."""
        fitted = [self.fit_member(member) for member in range(self.recipe.fit.ensemble)]
        plot_curves([one.curve for one in fitted], self.out / "curves.png")
        return fitted

    def fit_member(self, member: int, callbacks: Sequence[Callback] = (), name: str = "") -> Fitted:
        """Fit one of the recipe's networks, from 0."""
        name = name or f"fitting network {member + 1} of {self.recipe.fit.ensemble}"
        sides, seed = self.sides, self.recipe.seed + member
        return fit_network(
            self._build(sides.train[0], seed),
            self.material,
            sides,
            self.recipe,
            self.out / f"network-{member}",
            seed=seed,
            resume=self.options.resume,
            devices=self.options.devices,
            nodes=self.options.nodes,
            callbacks=[*callbacks, FitProgress(name)],
        )

    def _items(self, side: str) -> tuple[ClipItem, ...]:
        return make_items(self.material, self.rows[side], self.maps, training=side == "train")

    def _build(self, example: ClipItem, seed: int) -> JointNet:
        held = isinstance(example.sequence, torch.Tensor)
        encoder = None if held else make_encoder(self.recipe)
        n_video = example.sequence.shape[1] if isinstance(example.sequence, torch.Tensor) else self._encoder_width()
        torch.manual_seed(seed)
        return build(self.recipe, n_video, len(example.vector), len(example.picture_scores), encoder)

    def _encoder_width(self) -> int:
        assert self.material.encoder is not None and self.recipe.frames is not None
        return self.material.encoder.width(self.recipe.frames.side_px)

    def score(self, fitted: Sequence[Fitted]) -> dict[str, Any]:
        """Score what was fitted and write `scores.json` and the predictions."""
        scores: dict[str, Any] = {
            "split": self.split.name,
            "speaker_independent": self.split.speaker_independent,
            "warnings": list(self.split.warnings),
            "n_clips": {side: len(rows) for side, rows in self.rows.items()},
            "n_unreadable": len(self.material.extraction.unreadable),
            "unreadable": list_unreadable(self.material.extraction.unreadable, self.split),
            "learning_rates": [one.learning_rate for one in fitted],
        }
        networks = [one.network for one in fitted]
        for side in ("valid", "test"):
            if len(self.rows[side]):
                log_probabilities = predict_log_probabilities(
                    networks, self.material, self._items(side), f"scoring the {side} clips"
                )
                samples = [self.material.extraction.samples[row] for row in self.rows[side]]
                scores[side] = score_side(samples, np.exp(log_probabilities), side, self.out)
        write_text(self.out / SCORES_FILE, json.dumps(scores, indent=2) + "\n")
        return scores

    def export(self, fitted: Sequence[Fitted], scores: dict[str, Any]) -> None:
        """Write the bundle."""
        networks = [one.network for one in fitted]
        encoder = networks[0].encoder or self.material.encoder
        speakers = {sample.speaker for sample in self.split.train}
        spec = self.recipe.inputs
        base = load_bundle(self.recipe.encoders) if spec.expressions or spec.speech else None
        cache = self.material.extraction.cache
        facts = TrainingFacts(
            training_data=f"{self.material.extraction.samples[0].corpus}: {len(self.rows['train'])} clips of "
            f"{len(speakers)} speakers ({self.split.name})",
            licence=self.options.licence,
            command=f"moodreel train CORPUS --recipe {self.recipe.name}",
            scores=scores,
            training_clips=list_clips(self.split, cache, self.options.workers, self.out, base),
        )
        with phase("writing the bundle"):
            network = ClipNetwork(networks, self.maps, encoder, spec)
            export_bundle(network, self.recipe, self.out / "bundle", facts, base)
