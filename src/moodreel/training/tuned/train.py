"""`moodreel train --recipe tuned`: a late bundle tuned to a corpus, and kept where that is no better."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remember
from pathlib import Path
from typing import Any, Literal

import numpy as np

from moodreel.bundle import Bundle
from moodreel.corpora import UNKNOWN_SPEAKER, Corpus
from moodreel.corpora.splits import Split
from moodreel.errors import CorpusError, RecipeError
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.guard import TESTED, find_leaks
from moodreel.leaks.training_clips import KnownClip, know_clips, read_training_clips
from moodreel.metrics import score, to_plain
from moodreel.recognition.adaptation import read_adapter
from moodreel.recognition.fusion import Fusion, read_fusion
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import write_text
from moodreel.training.calibration.calibrate import describe_adapter
from moodreel.training.calibration.offsets import learn_adapter, measure_adapter, measure_given
from moodreel.training.extraction import Unreadable
from moodreel.training.options import TrainOptions, list_unreadable, make_run_split, open_corpus, score_side
from moodreel.training.progress import phase
from moodreel.training.run_folder import SCORES_FILE, begin_run, check_run, read_scores
from moodreel.training.tuned.bundle import Outcome, write_tuned
from moodreel.training.tuned.clips import TunedClip, open_late, read_described
from moodreel.training.tuned.networks import NETWORK_LEVELS, Workshop
from moodreel.training.tuned.recipe import TunedRecipe, load_tuned
from moodreel.training.tuned.tune import (
    WORDS,
    Judged,
    Level,
    Tuned,
    Tuner,
    answer_as_is,
    compare_answers,
    tune,
    tune_where_better,
)

logger = logging.getLogger(__name__)

LEAST_CLIPS = 12
LEAST_SPEAKERS = 2
"""From so many clips and speakers on `auto` tunes the last layers too."""


def train_tuned(corpus_path: Path, recipe_name: str, out: Path, options: TrainOptions) -> dict[str, Any]:
    """Tune a late bundle to a corpus.

    Args:
        corpus_path: the corpus's folder or manifest.
        recipe_name: `tuned` or a YAML file.
        out: the run folder: `recipe.yaml`, `split.json`, `test-predictions.csv`, `scores.json`, `bundle/`.
        options: as of `moodreel train`, without epochs and devices.

    Returns:
        What `scores.json` holds.

    Raises:
        BundleError: the bundle cannot be tuned.
        CorpusError: the corpus cannot be used, or the bundle was trained on all of it.
        RecipeError: the recipe cannot be used.
        OutputError: the run folder cannot be written, or holds a run that is not to go on, or one of another split.
    """
    recipe = load_tuned(recipe_name, options.changes)
    if options.max_epochs is not None or options.devices > 1 or options.nodes > 1:
        raise RecipeError(
            f"{recipe.name}: is fitted without epochs, in one process: no --max-epochs, --devices, --nodes"
        )
    check_run(out, recipe, resume=options.resume)
    base = open_late(recipe.model)
    corpus = open_corpus(corpus_path, recipe, options)
    _check_speakers(make_run_split(corpus, recipe, options), options)
    cache = Cache(options.cache) if options.cache else default_cache()
    corpus, asked, known = _leave_out_known(corpus, base, cache, options)
    split = make_run_split(corpus, recipe, options)
    _check_speakers(split, options)
    if (scores := read_scores(out, split)) is not None:
        return scores
    done = read_described(
        corpus.samples,
        recipe.model,
        cache,
        options.workers,
        ray=options.ray,
        allow_unreadable=options.allow_unreadable,
        keeps_given=recipe.level in NETWORK_LEVELS,
    )
    begin_run(out, recipe, split)
    run = _Run(base, recipe, split, [clip for _, clip in done.kept if not clip.is_empty], cache, out, options)
    return run.finish(done.unreadable, asked, known)


def choose_levels(
    asked: Literal["auto", "fusion", "heads", "last-block", "all"], n_clips: int, n_speakers: int
) -> tuple[tuple[Level, ...], str]:
    """Choose what is tried, the first that helps is taken, and say so in words."""
    if asked != "auto":
        return (asked,), f"tuning: {WORDS[asked]}, as asked"
    enough = n_clips >= LEAST_CLIPS and n_speakers >= LEAST_SPEAKERS
    levels: tuple[Level, ...] = ("heads", "fusion") if enough else ("fusion",)
    rule = f"last layers need {LEAST_CLIPS} clips and {LEAST_SPEAKERS} speakers"
    return levels, f"tuning: {WORDS[levels[0]]}, for {n_clips} clips of {n_speakers} speakers ({rule})"


def make_tuner(base: Bundle, cache: Cache, recipe: TunedRecipe) -> Tuner:
    """Return what tunes a bundle at any level; networks are opened when a level asks for them."""
    shop = remember(lambda level: Workshop(base, cache, level, recipe.seed))

    def tune_at(clips: Sequence[TunedClip], groups: Sequence[str], present: Fusion, level: Level) -> Tuned:
        if level in NETWORK_LEVELS:
            found: Tuned = shop(level).tune(clips, groups, present)
            return found
        return tune(clips, groups, present, level)

    return tune_at


def _check_speakers(split: Split, options: TrainOptions) -> None:
    """Refuse a corpus on which nobody could be set aside, before anything is read of it."""
    learned = [*split.train, *split.valid]
    speakers = {sample.speaker for sample in learned}
    if options.allow_shared_speakers or (len(speakers) > 1 and UNKNOWN_SPEAKER not in speakers):
        return
    raise CorpusError(
        "whether tuning helps is measured on speakers set aside, and fewer than two are known; name them with "
        "--speakers or --speakers-csv, or set clips aside, whoever speaks, with --allow-shared-speakers"
    )


def _leave_out_known(
    corpus: Corpus, base: Bundle, cache: Cache, options: TrainOptions
) -> tuple[Corpus, dict[str, KnownClip], tuple[KnownClip, ...] | None]:
    """Take out clips that the bundle was trained on: on those it answers better than on any others.

    Returns:
        The corpus without them, what its clips are known by, and the clips that the bundle was trained on.
    """
    samples = corpus.samples
    with phase("noting which clips are learned from", len(samples)) as show:
        prints = read_fingerprints(samples, cache, options.workers, show=show)
    asked = know_clips(samples, prints, [TESTED] * len(samples))
    trained = read_training_clips(base)
    leaked = set() if trained is None else set(find_leaks([*asked, *trained], "").leaked)
    kept = tuple(sample for sample in samples if sample.clip_id not in leaked)
    if leaked:
        logger.warning("left out %d of %d clips: %s was trained on them", len(leaked), len(samples), base.title)
    if not kept:
        raise CorpusError(f"{corpus.root}: {base.title} was trained on every clip or speaker; tune it to others")
    by_name = {one.name: one for one in asked if one.name not in leaked}
    return replace(corpus, samples=kept), by_name, trained


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: a bundle tuned to the clips to learn from, judged on them by folds, and scored on those to test on."""

    base: Bundle
    recipe: TunedRecipe
    split: Split
    clips: Sequence[TunedClip]
    cache: Cache
    out: Path
    options: TrainOptions

    def finish(
        self,
        unreadable: Sequence[Unreadable],
        asked: dict[str, KnownClip],
        known: tuple[KnownClip, ...] | None,
    ) -> dict[str, Any]:
        """Tune, judge, score and write."""
        learned, tested = self._side("train", "valid"), self._side("test")
        if len(learned) < 2:
            raise CorpusError("fewer than two clips to learn from show a face or hold speech; nothing can be tuned")
        present = read_fusion(self.base.section("fusion"))
        tuned, judged, notes = self._tune(learned, present)
        scores = self._score(tuned, judged, tested, present, notes)
        scores["unreadable"] = list_unreadable(unreadable, self.split)
        scores["n_unreadable"] = len(unreadable)
        marked = [replace(asked[clip.sample.clip_id], side="trained") for clip in learned]
        self._export(tuned, scores, marked, known)
        write_text(self.out / SCORES_FILE, json.dumps(scores, indent=2) + "\n")
        return scores

    def _tune(self, learned: Sequence[TunedClip], present: Fusion) -> tuple[Tuned | None, Judged, list[str]]:
        """Tune at the first level that helps on speakers set aside; `None` where none does."""
        speakers = [clip.sample.speaker for clip in learned]
        groups = [clip.sample.clip_id for clip in learned] if self.options.allow_shared_speakers else speakers
        levels, why = choose_levels(self.recipe.level, len(learned), len(set(speakers)))
        tuned, tried = tune_where_better(
            learned, groups, present, levels, make_tuner(self.base, self.cache, self.recipe)
        )
        notes = [why, *(_say_verdict(level, judged, self.options) for level, judged in tried)]
        if tuned is None:
            notes.append(f"kept: the bundle is {self.base.title} as it was")
        elif tried[-1][0] in NETWORK_LEVELS:
            notes.append(say_epochs(tuned))
        return tuned, tried[-1][1], notes

    def _side(self, *sides: str) -> list[TunedClip]:
        wanted = {sample.clip_id for side in sides for sample in getattr(self.split, side)}
        return [clip for clip in self.clips if clip.sample.clip_id in wanted]

    def _score(
        self,
        tuned: Tuned | None,
        judged: Judged,
        tested: Sequence[TunedClip],
        present: Fusion,
        notes: Sequence[str],
    ) -> dict[str, Any]:
        scores: dict[str, Any] = {
            "split": self.split.name,
            "speaker_independent": self.split.speaker_independent,
            "warnings": list(self.split.warnings),
            "notes": list(notes),
            "n_clips": {"train": len(self._side("train", "valid")), "test": len(tested)},
            "kept": tuned is None,
            "pulls": dict(tuned.pulls) if tuned else {},
            "epochs": {name: one.n_epochs for name, one in tuned.refitted.items()} if tuned else {},
            "set_aside": describe_judged(judged),
        }
        if tested:
            before = answer_as_is(tested, present)
            after = np.array([tuned.answer(clip) for clip in tested]) if tuned else before
            scores["test"] = score_side([clip.sample for clip in tested], after, "test", self.out)
            scores["test_against_base"] = describe_judged(compare_answers(tested, before, after, self.split.name))
        return scores

    def _export(
        self,
        tuned: Tuned | None,
        scores: dict[str, Any],
        learned: Sequence[KnownClip],
        known: tuple[KnownClip, ...] | None,
    ) -> None:
        corpus, n_speakers = learned[0].corpus, len({one.speaker for one in learned})
        said = f"{corpus}: {len(learned)} clips of {n_speakers} speakers ({self.split.name})"
        section = self.base.manifest.get("adaptation")
        outcome = None
        if tuned is not None:
            adaptation = choose_adaptation(tuned, section, said)
            outcome = Outcome(tuned.maps, tuned.fusion, adaptation, learned, tuned.refitted)
        licence = f"{self.options.licence}; tuned from {self.base.title}: {self.base.licence}"
        facts = {
            "licence": licence if tuned else self.base.licence,
            "training_data": _add_data(self.base, said if tuned else None),
            "command": f"moodreel train CORPUS --recipe {self.recipe.name}",
            "scores": scores,
        }
        write_tuned(self.base, outcome, self.recipe, self.out / "bundle", facts, known)


def describe_judged(judged: Judged) -> dict[str, Any]:
    """Say what a comparison came to, as JSON types."""
    plain: dict[str, Any] = to_plain(
        {
            "folds": judged.folds,
            "n_clips": len(judged.before),
            "uar_before": score(judged.before).uar,
            "uar_after": score(judged.after).uar,
            "uar_gain": judged.gain.uar,
            "nll_before": judged.nll_before,
            "nll_after": judged.nll_after,
            "nll_gain": judged.nll_gain,
        }
    )
    return plain


def _say_verdict(level: Level, judged: Judged, options: TrainOptions) -> str:
    who = "clips set aside, of people learned from" if options.allow_shared_speakers else "speakers set aside"
    uar = f"UAR {score(judged.before).uar.value:.3f} -> {score(judged.after).uar.value:.3f}"
    nll = f"NLL {judged.nll_before.value:.2f} -> {judged.nll_after.value:.2f}"
    gains = f"{uar} (gain {judged.gain.uar}), {nll} (gain {judged.nll_gain})"
    return f"{WORDS[level]}, on {who} ({judged.folds}): {gains}: {'taken' if judged.is_better else 'no better'}"


def say_epochs(tuned: Tuned) -> str:
    """Say how long each network was tuned below its last layer, or that none gained by it."""
    told = [f"{name} for {one.n_epochs} epochs" for name, one in tuned.refitted.items()]
    return f"networks tuned: {', '.join(told)}" if told else "no epoch of a network helped: last layers alone"


def choose_adaptation(tuned: Tuned, section: Mapping[str, Any] | None, said: str) -> dict[str, Any] | None:
    """Keep how answers vary from person to person, learn it anew, or leave it out, whichever serves left-out people.

    Where people are not known nothing can be told, and what the bundle had stays.

    Args:
        tuned: the networks and fusion as tuned.
        section: `adaptation` of the bundle that was tuned, if it has one.
        said: what it was tuned to, in words.
    """
    clips, calibration = tuned.left_out, tuned.calibration
    shipped = None if section is None else dict(section)
    if UNKNOWN_SPEAKER in {clip.sample.speaker for clip in clips}:
        return shipped
    given = measure_given(clips, calibration, read_adapter(section))
    own = measure_adapter(clips, calibration)
    if own is not None and own.nll_after < min(given.nll_before, given.nll_after):
        return describe_adapter(learn_adapter(clips, calibration), own, said)
    return shipped if given.nll_after <= given.nll_before else None


def _add_data(base: Bundle, said: str | None) -> Any:
    listed = base.manifest.get("training_data", [])
    data = list(listed) if isinstance(listed, list) else [listed]
    return data if said is None else [*data, {"network": "tuned to", "name": said}]
