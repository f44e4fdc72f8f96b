"""`moodreel tune`: search a recipe's settings, and score what was found on speakers that the search never saw.

One fold of speakers is set aside. The search sees the others only, in folds of their own: each trial is fitted once a
fold on the rest, and judged by its mean UAR. At the end the recipe as it is and the recipe as found are both trained as
`moodreel train --fold` does, and scored on the fold set aside; the gain is what they differ by there. (Cawley & Talbot
2010: scores that chose a model flatter it.)
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import lightning
import numpy as np
import optuna
import sqlalchemy.exc
from lightning.pytorch.callbacks import Callback
from optuna.trial import TrialState

from moodreel.batch.clips import map_clips
from moodreel.batch.on_ray import joined_cluster
from moodreel.corpora import Corpus
from moodreel.corpora.splits import Split, clip_folds, speaker_folds
from moodreel.errors import MoodreelError, OutputError, RecipeError
from moodreel.evaluation.run_folders import read_run
from moodreel.metrics.comparison import Comparison, compare
from moodreel.storage.cache import make_key
from moodreel.storage.whole_files import write_text
from moodreel.training import machine
from moodreel.training.joint.material import Material
from moodreel.training.joint.recipe import Recipe, is_predecessor, is_tuned, load_recipe, recipe_names
from moodreel.training.joint.train import fit_once, prepare_material, train_and_score
from moodreel.training.options import TrainOptions, make_run_split, open_corpus
from moodreel.training.progress import hide_bars, phase
from moodreel.training.run_folder import describe_split, holds_other_recipe
from moodreel.training.search.space import Space, load_space
from moodreel.training.strict_yaml import format_recipe

logger = logging.getLogger(__name__)

DATABASE = "search.db"
STUDY = "search"
LOCK_WAIT_S = 20.0
HEARTBEAT_S = 15
"""How often a worker says that it lives; trials of one that was killed are marked as failed after twice that time."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_WARM_UP_TRIALS = 5
_WARM_UP_EPOCHS = 3
_LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class TuneOptions:
    """What `moodreel tune` is told beside corpus, recipe and folder.

    Attributes:
        n_trials: trials in all, those of an interrupted search included.
        space: name or file of the space.
        inner_folds: folds of the speakers that the search sees, over which a trial's UAR is averaged.
        jobs: processes that try settings at once; with `train.ray`, actors, 1 for as many as the cluster has cores.
        threads: processor threads in all.
        train: fold, cache, speakers and changes, as for `moodreel train`.
    """

    n_trials: int
    space: str = "sane"
    inner_folds: int = 4
    jobs: int = 1
    threads: int = 2
    train: TrainOptions = field(default_factory=lambda: TrainOptions(fold=1))


@dataclass(frozen=True)
class Tuned:
    """What a search came to.

    Attributes:
        study: all trials.
        recipe: the best settings, ready to train.
        gain: the recipe as found against the recipe as it is, on speakers that the search never saw.
    """

    study: optuna.Study
    recipe: Recipe
    gain: Comparison


def tune(corpus_path: Path, recipe_name: str, out: Path, options: TuneOptions) -> Tuned:
    """Search settings; a search that was killed goes on.

    Args:
        corpus_path: the corpus's folder or manifest.
        recipe_name: a shipped recipe or a YAML file.
        out: folder of `search.db`, `best.yaml`, and the runs `default/` and `best/`.
        options: see `TuneOptions`.

    Raises:
        CorpusError: the corpus cannot be used.
        RecipeError: recipe or space cannot be used, or the folder holds another search.
        OutputError: the folder cannot be written, or its database is locked.
        MoodreelError: every trial failed.
    """
    if is_predecessor(recipe_name) or is_tuned(recipe_name):
        names = ", ".join(recipe_names())
        raise RecipeError(f"{recipe_name}: is no joint network, which tune searches; expected one of {names}")
    recipe = load_recipe(recipe_name, options.train.changes)
    space = load_space(options.space, recipe)
    split = make_run_split(open_corpus(corpus_path, recipe, options.train), recipe, options.train)
    with _database_errors(out):
        study = _open_study(out, recipe, space, split, options)
        _run_workers(corpus_path, recipe_name, out, options, study)
        best = _best_recipe(study, recipe_name, options)
    write_text(out / "best.yaml", format_recipe(best))
    return Tuned(study, best, _measure_gain(corpus_path, recipe, best, out, options))


@contextmanager
def _database_errors(out: Path) -> Iterator[None]:
    """Turn what SQLite says into one line."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        path = out / DATABASE
        if "locked" in f"{error} {error.__cause__}":
            waited = f"locked by another process for {LOCK_WAIT_S:.0f} s"
            raise OutputError(f"{path}: {waited}; stop it and start again") from None
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(f"{path}: cannot be used ({reason}); name another folder with --out") from None


def _open_study(out: Path, recipe: Recipe, space: Space, split: Split, options: TuneOptions) -> optuna.Study:
    """Open the search in a folder, or begin it; refuse another one's."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); name another --out") from None
    study = optuna.create_study(storage=_open_storage(out), study_name=STUDY, direction="maximize", load_if_exists=True)
    asked = {
        "recipe": recipe.fingerprint,
        "space": repr(space),
        "folds": [options.train.fold, options.inner_folds],
        "split": make_key(describe_split(split)),
    }
    if study.user_attrs and study.user_attrs != asked:
        raise OutputError(
            f"{out}: holds a search of another recipe, space, corpus, fold or inner folds; "
            "name another folder with --out"
        )
    for key, value in asked.items():
        study.set_user_attr(key, value)
    point = space.defaults(recipe)
    if point and not study.trials:
        study.enqueue_trial(point)
    return study


def _open_storage(out: Path) -> optuna.storages.RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the heartbeat, kept on purpose
        return optuna.storages.RDBStorage(
            f"sqlite:///{out / DATABASE}",
            engine_kwargs={"connect_args": {"timeout": LOCK_WAIT_S}},
            heartbeat_interval=HEARTBEAT_S,
        )


def _run_workers(corpus: Path, recipe_name: str, out: Path, options: TuneOptions, study: optuna.Study) -> None:
    if count_left(study, options.n_trials) <= 0:
        return
    if options.train.ray is not None:
        _work_on_cluster(corpus, recipe_name, out, options, study)
        return
    if options.jobs == 1:
        work(corpus, recipe_name, out, options, 0)
        return
    context = get_context("spawn")
    alone = replace(options, threads=max(1, options.threads // options.jobs))
    workers = [context.Process(target=work, args=(corpus, recipe_name, out, alone, n)) for n in range(options.jobs)]
    try:
        for worker in workers:
            worker.start()
        _wait(workers, study, options.n_trials)
    finally:
        for worker in workers:
            worker.terminate()
    if all(worker.exitcode for worker in workers):
        raise MoodreelError(f"{out}: every worker died (exit status {workers[0].exitcode}); try --jobs 1 to see why")


def _work_on_cluster(corpus: Path, recipe_name: str, out: Path, options: TuneOptions, study: optuna.Study) -> None:
    """Have actors of a Ray cluster try settings, each with a core; they meet in the database, as processes here do."""
    recipe = load_recipe(recipe_name, options.train.changes)
    prepare_material(open_corpus(corpus, recipe, options.train), recipe, options.train)  # then it is in the cache
    alone = replace(options, threads=1, jobs=2, train=replace(options.train, ray=None))
    with joined_cluster(options.train.ray) as crew, phase("trials", options.n_trials) as show:
        assert crew is not None
        numbers = range(options.jobs if options.jobs > 1 else crew.count())
        read = partial(_work_far, corpus.absolute(), recipe_name, out.absolute(), alone)
        outcomes = list(map_clips(read, numbers, 0, lambda _: False, in_order=False, crew=crew))
        show(options.n_trials - count_left(study, options.n_trials))
    if not any(outcomes):
        raise MoodreelError(f"{out}: every worker died; try without --ray to see why")


def _work_far(corpus: Path, recipe_name: str, out: Path, options: TuneOptions, number: int) -> bool:
    """Do what `work` does; runs on a cluster."""
    work(corpus, recipe_name, out, options, number)
    return True


def _wait(workers: Sequence[BaseProcess], study: optuna.Study, n_trials: int) -> None:
    """Wait for workers, and show for them all how many trials are done."""
    with phase("trials", n_trials) as show:
        while any(worker.is_alive() for worker in workers):
            wait([worker.sentinel for worker in workers if worker.is_alive()], timeout=_LOOK_EVERY_S)
            show(n_trials - count_left(study, n_trials))
    for worker in workers:
        worker.join()


def count_left(study: optuna.Study, n_trials: int) -> int:
    """Return how many trials are still to be run."""
    return n_trials - len(study.get_trials(deepcopy=False, states=DONE))


def work(corpus_path: Path, recipe_name: str, out: Path, options: TuneOptions, number: int) -> None:
    """Try settings until all trials are done; one of several processes may do so on one database.

    Raises:
        MoodreelError: see `tune`.
    """
    machine.start(options.threads)
    if options.jobs > 1:
        hide_bars()
    recipe = load_recipe(recipe_name, options.train.changes)
    space = load_space(options.space, recipe)
    with _database_errors(out):
        study = optuna.load_study(
            study_name=STUDY,
            storage=_open_storage(out),
            sampler=optuna.samplers.TPESampler(seed=recipe.seed + number, constant_liar=True, n_startup_trials=10),
            pruner=optuna.pruners.MedianPruner(_WARM_UP_TRIALS, n_warmup_steps=_WARM_UP_EPOCHS),
        )
        train = options.train
        searcher = Searcher(open_corpus(corpus_path, recipe, train), recipe, recipe_name, space, out, options)
        limit = optuna.study.MaxTrialsCallback(options.n_trials, states=DONE)
        study.optimize(
            searcher,
            callbacks=[limit, partial(_report, options.n_trials)],
            catch=(MoodreelError, MemoryError, RuntimeError),
        )


def _report(n_trials: int, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    is_known = trial.value is not None and math.isfinite(trial.value)
    worth = f"UAR {trial.value:.3f}" if is_known else trial.user_attrs.get("failure", "")
    done = study.get_trials(deepcopy=False, states=DONE)
    took_s = [one.duration.total_seconds() for one in done if one.duration is not None]
    left_s = float(np.mean(took_s)) * max(n_trials - len(done), 0) if took_s else 0.0
    state = f"{trial.state.name.lower()} {worth}".strip()
    logger.info("trial %d of %d: %s; %.0f min left", trial.number + 1, n_trials, state, left_s / 60)


class Searcher:
    """Fits and judges one trial after another on clips that are read and encoded once."""

    def __init__(
        self, corpus: Corpus, recipe: Recipe, recipe_name: str, space: Space, out: Path, options: TuneOptions
    ) -> None:
        self.recipe_name = recipe_name
        self.space = space
        self.out = out
        self.options = options.train
        self.material: Material = prepare_material(corpus, recipe, options.train)
        self.splits = make_search_splits(corpus, recipe, options)

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the trial's UAR on speakers of the search that it was not fitted on.

        Raises:
            TrialPruned: it does worse than most did at the same epoch.
            MoodreelError: training diverged.
        """
        try:
            return self._try(trial)
        except optuna.TrialPruned:
            raise
        except (MoodreelError, MemoryError, RuntimeError) as error:
            trial.set_user_attr("failure", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            raise

    def _try(self, trial: optuna.Trial) -> float:
        changes = (*self.options.changes, *self.space.suggest(trial), "fit.ensemble=1")
        recipe = load_recipe(self.recipe_name, changes)
        material = self.material.under(recipe)
        uars: list[float] = []
        for number, split in enumerate(self.splits, 1):
            name = f"trial {trial.number + 1}, fold {number} of {len(self.splits)}"
            uars.append(self._fit(material, split, recipe, PruneCallback(trial, uars, recipe.fit.epochs), name))
        return float(np.mean(uars))

    def _fit(self, material: Material, split: Split, recipe: Recipe, callback: Callback, name: str) -> float:
        """Fit one network and return the validation UAR of the epoch that it keeps."""
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=self.out) as folder:
            fitted = fit_once(material, split, recipe, Path(folder), self.options, [callback], name)
        uars = [epoch.valid_uar for epoch in fitted.curve if not math.isnan(epoch.valid_uar)]
        return max(uars) if recipe.fit.patience else uars[-1]


def make_search_splits(corpus: Corpus, recipe: Recipe, options: TuneOptions) -> tuple[Split, ...]:
    """Part the speakers that the search may see into folds, or the clips where speakers may be shared.

    Returns:
        One split per fold: its clips are `valid`, the others `train`; the fold set aside stands in none.

    Raises:
        CorpusError: speakers unknown or too few.
    """
    outer = make_run_split(corpus, recipe, options.train)
    samples = [*outer.train, *outer.valid]
    if options.train.allow_shared_speakers:
        folds = clip_folds(samples, options.inner_folds, recipe.seed, allow_shared_speakers=True)
    else:
        folds = speaker_folds(samples, min(options.inner_folds, len({sample.speaker for sample in samples})))
    return tuple(replace(fold, valid=fold.test, test=()) for fold in folds)


class PruneCallback(Callback):
    """Tells the search a trial's mean UAR after each epoch of each fold, and stops it where others did better."""

    def __init__(self, trial: optuna.Trial, done: Sequence[float], n_epochs: int) -> None:
        """Store whom to tell.

        Args:
            trial: the trial.
            done: UARs of the folds before this one.
            n_epochs: most epochs of a fold.
        """
        self.trial = trial
        self.done = tuple(done)
        self.n_epochs = n_epochs

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report the epoch.

        Raises:
            TrialPruned: others did better.
        """
        del pl_module
        uar = trainer.callback_metrics.get("valid_uar")
        if uar is None:
            return
        step = len(self.done) * self.n_epochs + trainer.current_epoch
        self.trial.report(float(np.mean([*self.done, float(uar)])), step)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _best_recipe(study: optuna.Study, recipe_name: str, options: TuneOptions) -> Recipe:
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not complete:
        failures = [trial.user_attrs.get("failure", "killed") for trial in study.get_trials(deepcopy=False)]
        raise MoodreelError(f"none of {len(failures)} trials came to an end; the first: {failures[0]}")
    changes = options.train.changes
    recipe = load_recipe(recipe_name, changes)
    drawn = load_space(options.space, recipe).suggest(optuna.trial.FixedTrial(study.best_params))
    return replace(load_recipe(recipe_name, (*changes, *drawn)), name=f"{recipe.name}-tuned")


def _measure_gain(corpus: Path, recipe: Recipe, best: Recipe, out: Path, options: TuneOptions) -> Comparison:
    """Train the recipe as it is and as found, and compare them on the fold that the search never saw.

    Runs go on where they were stopped, but for that of an earlier best, which makes room for the one of today.
    """
    runs = {"default": recipe, "best": best}
    for name, one in runs.items():
        if holds_other_recipe(out / name, one):
            shutil.rmtree(out / name)
        train_and_score(corpus, one, out / name, replace(options.train, changes=(), resume=True))
    return compare(read_run(out / "default"), read_run(out / "best"))
