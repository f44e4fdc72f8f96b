"""`moodreel train --recipe emonets|yao2015`: parts fitted one after the other, fused, scored, exported."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from moodreel.corpora.splits import Split
from moodreel.errors import CorpusError, RecipeError
from moodreel.labels import N_EMOTIONS
from moodreel.predecessors import plots
from moodreel.predecessors.clips import Clips
from moodreel.predecessors.emonets import class_weights as fusion
from moodreel.predecessors.emonets.static_faces import FittedCnn, load_face_cnn
from moodreel.predecessors.network import PredecessorNetwork
from moodreel.predecessors.parts import Array, FittedPart, Part, make_parts
from moodreel.predecessors.recipe import CONVNET_AUDIO_MEMBERS, PredecessorRecipe, load_predecessor
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import write_text
from moodreel.training.extraction import extract_corpus
from moodreel.training.joint.export import TrainingFacts, export_bundle
from moodreel.training.options import (
    TrainOptions,
    list_clips,
    list_unreadable,
    make_run_split,
    open_corpus,
    score_side,
)
from moodreel.training.run_folder import SCORES_FILE, begin_run, check_run

logger = logging.getLogger(__name__)

SIDES = ("train", "valid", "test")


@dataclass(frozen=True)
class Answered:
    """A fitted part and what it says.

    Attributes:
        fitted: the part.
        probabilities: of the clips of `valid` and `test`, shape (n, 7); uniform where the part has nothing to go by.
        train_cpu_s: processor seconds of fitting, encoding the training clips included.
        clip_cpu_s: processor seconds of encoding and answering one clip, once decoded and its face cut out.
    """

    fitted: FittedPart
    probabilities: dict[str, Array]
    train_cpu_s: float
    clip_cpu_s: float


def train_predecessor(
    corpus_path: Path,
    recipe_name: str,
    out: Path,
    options: TrainOptions,
    *,
    only: str | None = None,
    faces: Path | None = None,
) -> dict[str, Any]:
    """Train a predecessor on a corpus.

    Args:
        corpus_path: the corpus's folder or manifest.
        recipe_name: `emonets`, `yao2015` or a YAML file.
        out: the run folder: `recipe.yaml`, `split.json`, `scores.json`, predictions, `parts/`, `pictures/`, `bundle/`.
        options: as of `moodreel train`, without epochs and devices; with `resume`, parts are fitted anew and take the
            place of those there.
        only: fit this part alone, and those it builds on.
        faces: folder of static faces, instead of the recipe's.

    Returns:
        What `scores.json` holds.

    Raises:
        CorpusError: the corpus or the faces cannot be used, or a part has nothing to learn from.
        RecipeError: the recipe cannot be used, or has no such part.
        OutputError: the run folder cannot be written, or holds a run that is not to go on, or one of another split.
    """
    recipe = load_predecessor(recipe_name, options.changes)
    if options.max_epochs is not None or options.devices > 1 or options.nodes > 1:
        raise RecipeError(
            f"{recipe.name}: its parts are fitted one by one, each with epochs of its own, in one process: "
            "--max-epochs and --devices mean nothing; change a part, e.g. --set parts.face_cnn.epochs=5"
        )
    if faces is not None:
        recipe = replace(recipe, faces=str(faces))
    names = choose_parts(recipe, only)
    recipe = recipe.keep(names)
    check_run(out, recipe, resume=options.resume)
    corpus = open_corpus(corpus_path, recipe, options)
    split = make_run_split(corpus, recipe, options)
    cache = Cache(options.cache) if options.cache else default_cache()
    cnn = load_cnn(recipe, cache)
    extraction = extract_corpus(
        corpus.samples,
        recipe.inputs,
        cache,
        workers=options.workers,
        ray=options.ray,
        allow_unreadable=options.allow_unreadable,
    )
    run = _Run(Clips.open(extraction), split, recipe, out, only)
    begin_run(out, recipe, split)
    answered = run.fit(make_parts(recipe, cnn.cnn if cnn else None))
    scores = run.score(answered, cnn)
    run.export(answered, scores, options)
    return scores


def choose_parts(recipe: PredecessorRecipe, only: str | None) -> tuple[str, ...]:
    """Return the parts to fit.

    Raises:
        RecipeError: the recipe has no such part, or the part needs faces that are not given.
    """
    names = recipe.part_names
    if only is None:
        return names
    if only not in names:
        raise RecipeError(f"{recipe.name}: has no part {only!r}; expected one of {', '.join(names)}")
    chosen = (*CONVNET_AUDIO_MEMBERS, only) if only == "convnet_audio" else (only,)
    if "face_cnn" in chosen and recipe.faces is None:
        raise RecipeError(f"{only}: needs static faces to learn from; give their folder with --faces")
    return chosen


def load_cnn(recipe: PredecessorRecipe, cache: Cache) -> FittedCnn | None:
    """Fit a recipe's face network or take it from the cache.

    Args:
        recipe: the recipe.
        cache: where fitted networks are kept.

    Returns:
        The network; `None` where no part needs it, or, with a warning, where there are no faces to learn from.

    Raises:
        CorpusError: the faces cannot be used.
    """
    settings = recipe.parts.face_cnn
    if settings is None:
        return None
    if recipe.faces is None:
        left_out = [name for name in ("face_cnn", "convnet_audio") if name in recipe.part_names]
        logger.warning("left out %s: no static faces to learn from; give a folder with --faces", " and ".join(left_out))
        return None
    return load_face_cnn(Path(recipe.faces), settings, recipe.seed, cache)


class _Run:
    """One run: parts fitted on one side of a split, fused on the second, scored on the third."""

    def __init__(self, clips: Clips, split: Split, recipe: PredecessorRecipe, out: Path, only: str | None) -> None:
        self.clips = clips
        self.split = split
        self.recipe = recipe
        self.out = out
        self.only = only
        places = {(s.corpus, s.clip_id): row for row, s in enumerate(clips.extraction.samples)}
        self.rows = {
            side: [places[s.corpus, s.clip_id] for s in getattr(split, side) if (s.corpus, s.clip_id) in places]
            for side in SIDES
        }

    def fit(self, parts: Sequence[Part]) -> dict[str, Answered]:
        """Fit parts in their order."""
        torch.manual_seed(self.recipe.seed)
        answered: dict[str, Answered] = {}
        for part in parts:
            answered[part.name] = self._fit_joined(part, answered) if part.members else self._fit_part(part)
            logger.info("%s: fitted in %.0f s of a processor", part.name, answered[part.name].train_cpu_s)
        return answered

    def _fit_part(self, part: Part) -> Answered:
        rows, clips = self.rows, self.clips
        if not clips.usable(rows["train"], part):
            raise CorpusError(f"{part.name}: no training clip has a {part.modality} to learn from")
        begun_cpu_s = time.process_time()
        encoder = part.fit_encoder(clips.inputs(rows["train"], part))
        encoded = clips.encode(part, encoder, rows["train"])
        counts = [len(one) for one in encoded.rows.values()]
        known = list(encoded.rows)
        classifier = part.make_classifier()
        given = torch.cat(list(encoded.rows.values())).numpy()
        speakers = {"groups": np.repeat(clips.speakers[known], counts)} if part.by_speaker else {}
        fitted = FittedPart(part, encoder, classifier.fit(given, np.repeat(clips.targets[known], counts), **speakers))
        train_cpu_s = time.process_time() - begun_cpu_s + encoded.kept_cpu_s
        plots.draw_part(part.name, fitted, classifier, self.out / "pictures")
        return self._answer(fitted, train_cpu_s)

    def _answer(self, fitted: FittedPart, train_cpu_s: float) -> Answered:
        probabilities, spent_cpu_s, n_asked = {}, 0.0, 0
        for side in ("valid", "test"):
            encoded = self.clips.encode(fitted.part, fitted.encoder, self.rows[side])
            begun_cpu_s = time.process_time()
            answers = np.full((len(self.rows[side]), N_EMOTIONS), 1 / N_EMOTIONS)
            with torch.inference_mode():
                for place, rows in encoded.of(self.rows[side]):
                    answers[place] = fitted.classify(rows).numpy()
            spent_cpu_s += time.process_time() - begun_cpu_s + encoded.cpu_s + encoded.kept_cpu_s
            n_asked += len(encoded.rows)
            probabilities[side] = answers
        return Answered(fitted, probabilities, train_cpu_s, spent_cpu_s / max(n_asked, 1))

    def _fit_joined(self, part: Part, answered: dict[str, Answered]) -> Answered:
        """Fit a part that reads other parts' answers, on the validation clips, which those parts did not see."""
        begun_cpu_s = time.process_time()
        answers = {
            side: np.concatenate([answered[name].probabilities[side] for name in part.members], axis=1)
            for side in ("valid", "test")
        }
        valid = self.rows["valid"]
        classifier = part.make_classifier().fit(answers["valid"], self.clips.targets[valid], self.clips.speakers[valid])
        fitted = FittedPart(part, nn.Identity(), classifier)
        train_cpu_s = time.process_time() - begun_cpu_s
        # What it says of clips it was fitted on would flatter it before the fusion.
        probabilities = {"valid": classifier.out_of_fold_ @ fitted.columns.numpy()}
        with torch.inference_mode():
            rows = torch.from_numpy(answers["test"]).float()
            probabilities["test"] = (fitted.classifier(rows) @ fitted.columns).double().numpy()
        return Answered(fitted, probabilities, train_cpu_s, sum(answered[name].clip_cpu_s for name in part.members))

    def score(self, answered: dict[str, Answered], cnn: FittedCnn | None) -> dict[str, Any]:
        """Score every part and every fusion; write predictions, pictures and `scores.json`."""
        fusions = self._fuse(answered)
        answers = {name: one.probabilities for name, one in answered.items()}
        stacked = {side: np.stack([one[side] for one in answers.values()]) for side in ("valid", "test")}
        answers |= {
            name: {side: fusion.fuse(stacked[side], weights) for side in stacked} for name, weights in fusions.items()
        }
        entries = {name: self._score_one(name, one) for name, one in answers.items()}
        for name, one in answered.items():
            entries[name] |= {"train_cpu_s": one.train_cpu_s, "clip_cpu_s": one.clip_cpu_s}
        chosen = self._answers_by(answered)
        scores: dict[str, Any] = {
            "split": self.split.name,
            "speaker_independent": self.split.speaker_independent,
            "warnings": list(self.split.warnings),
            "n_clips": {side: len(rows) for side, rows in self.rows.items()},
            "n_unreadable": len(self.clips.extraction.unreadable),
            "unreadable": list_unreadable(self.clips.extraction.unreadable, self.split),
            "answers_by": chosen,
            **{side: entries[chosen][side] for side in ("valid", "test") if side in entries[chosen]},
            "parts": {name: entries[name] for name in answered},
            "fusions": {name: {**entries[name], "weights": fusions[name].tolist()} for name in fusions},
        }
        if cnn is not None:
            scores["static_faces"] = {key: getattr(cnn, key) for key in ("n_faces", "accuracy", "uar", "train_cpu_s")}
        for side in ("valid", "test"):
            if self.rows[side]:
                score_side(self._samples(side), answers[chosen][side], side, self.out)
        write_text(self.out / SCORES_FILE, json.dumps(scores, indent=2) + "\n")
        return scores

    def _fuse(self, answered: dict[str, Answered]) -> dict[str, Array]:
        """Return the weights of each fusion; none where one part is asked for, or one alone is there."""
        if self.only or len(answered) == 1:
            return {}
        fusions = {"mean": fusion.average(len(answered))}
        if self.rows["valid"]:
            stacked = np.stack([one.probabilities["valid"] for one in answered.values()])
            targets = self.clips.targets[self.rows["valid"]]
            fusions["class_weights"] = fusion.search_weights(stacked, targets, self.recipe.search, self.recipe.seed)
            plots.draw_weights(fusions["class_weights"], list(answered), self.out / "pictures")
        return fusions

    def _answers_by(self, answered: dict[str, Answered]) -> str:
        """Name the fusion, or the part, that the bundle answers by."""
        if self.only or len(answered) == 1:
            return self.only or next(iter(answered))
        return self.recipe.fusion if self.rows["valid"] else "mean"

    def _samples(self, side: str) -> list[Any]:
        return [self.clips.extraction.samples[row] for row in self.rows[side]]

    def _score_one(self, name: str, answers: dict[str, Array]) -> dict[str, Any]:
        folder = self.out / "parts" / name
        folder.mkdir(parents=True, exist_ok=True)
        sides = [side for side in ("valid", "test") if self.rows[side]]
        return {side: score_side(self._samples(side), answers[side], side, folder) for side in sides}

    def export(self, answered: dict[str, Answered], scores: dict[str, Any], options: TrainOptions) -> None:
        """Write the bundle."""
        chosen = scores["answers_by"]
        weights = (
            {chosen: [1.0] * N_EMOTIONS}
            if chosen in answered
            else dict(zip(answered, scores["fusions"][chosen]["weights"], strict=True))
        )
        spec = self.recipe.inputs
        network = PredecessorNetwork([one.fitted for one in answered.values()], weights, spec)
        speakers = {sample.speaker for sample in self.split.train}
        extraction = self.clips.extraction
        facts = TrainingFacts(
            training_data=f"{extraction.samples[0].corpus}: {len(self.rows['train'])} clips of "
            f"{len(speakers)} speakers ({self.split.name})"
            + ("; static faces of FER2013 with FER+ votes" if "static_faces" in scores else ""),
            licence=options.licence,
            command=f"moodreel train CORPUS --recipe {self.recipe.name}",
            scores=scores,
            training_clips=list_clips(self.split, extraction.cache, options.workers, self.out),
        )
        export_bundle(network, self.recipe, self.out / "bundle", facts)
