"""`moodreel tune`: survives kills and failures, never sees the fold that scores it, and writes a recipe that trains."""

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from made_answers import make_answers
from tiny_corpus import changes_for, stand_in_functionals, write_corpus

torch = pytest.importorskip("torch")
optuna = pytest.importorskip("optuna")

from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.evaluation.answers import gather_outcomes
from moodreel.evaluation.run_folders import read_run
from moodreel.metrics import Interval, compare
from moodreel.metrics.comparison import Comparison
from moodreel.training.joint.recipe import load_recipe, recipe_names
from moodreel.training.joint.train import fit_once
from moodreel.training.options import TrainOptions
from moodreel.training.search import tune as module
from moodreel.training.search.report import (
    _plot_history,
    _plot_slices,
    format_tuned,
    headline,
    judge_gain,
    measure_importance,
    write_tune_report,
)  # fmt: skip
from moodreel.training.search.space import load_space, space_names
from moodreel.training.search.tune import TuneOptions, tune

SPEAKER = "(?P<speaker>[a-z]+)_"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def functionals(monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in_functionals)


@pytest.fixture
def options(cache):
    def make(n_trials, **rest):
        small = ("audio.dense=[32, 32, 32]", "head.dense=[32, 32, 32]")  # a point of the space
        changes = (*changes_for("audio"), *small, "fit.epochs=1")
        train = TrainOptions(fold=1, changes=changes, speaker_regex=SPEAKER, cache=cache)
        return TuneOptions(n_trials, train=train, threads=1, **{"inner_folds": 2, **rest})

    return make


@pytest.fixture
def no_gain(monkeypatch):
    """Leave out training the recipe as it is and as found."""
    monkeypatch.setattr(module, "_measure_gain", lambda *_: None)


def states(out):
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{out / 'search.db'}")
    return [trial.state.name for trial in study.trials], study


def test_a_search_ends_in_a_recipe_that_trains_and_a_gain_on_unseen_speakers(corpus, options, tmp_path, monkeypatch):
    seen = set()

    def watch(material, split, *rest):
        seen.update(sample.speaker for sample in (*split.train, *split.valid))
        return fit_once(material, split, *rest)

    monkeypatch.setattr(module, "fit_once", watch)
    tuned = tune(corpus, "audio", tmp_path, options(5))
    write_tune_report(tuned, tmp_path)
    test = read_run(tmp_path / "best")
    assert seen and not seen & set(test.speakers), "the search saw speakers that it is scored on"
    assert tuned.gain == compare(read_run(tmp_path / "default"), test)
    assert load_recipe(str(tmp_path / "best.yaml")) == tuned.recipe and tuned.recipe.name == "audio-tuned"
    assert f"{tuned.recipe.fit.rate_low:.9f}" == f"{tuned.study.best_params['fit.rate_low']:.9f}"
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"search.db", "tune.json", "report.html", "history.png", "slices.png"}
    assert not [name for name in names if name.startswith(".trial")], "folders of trials are taken away"
    report = json.loads((tmp_path / "tune.json").read_text())
    assert len(report["trials"]) == 5 and report["best"]["uar"] == tuned.study.best_value
    assert "gain over the recipe as it is" in format_tuned(tuned, tmp_path)
    assert 'src="data:' in (tmp_path / "report.html").read_text()


def test_a_killed_search_goes_on_and_the_first_trial_is_the_recipe_itself(
    corpus, options, tmp_path, monkeypatch, no_gain
):
    calls = []

    def kill(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise SystemExit("killed")
        return fit_once(*arguments)

    monkeypatch.setattr(module, "fit_once", kill)
    with pytest.raises(SystemExit):
        tune(corpus, "audio", tmp_path, options(3))
    tune(corpus, "audio", tmp_path, options(3))
    found, study = states(tmp_path)
    assert found.count("COMPLETE") + found.count("PRUNED") >= 2
    assert study.trials[0].params["fit.rate_low"] == pytest.approx(load_recipe("audio").fit.rate_low)
    tune(corpus, "audio", tmp_path, options(3))
    assert len(states(tmp_path)[0]) == len(found), "all trials are done: nothing is tried again"
    with pytest.raises(OutputError, match="another recipe, space, corpus, fold"):
        tune(corpus, "audio", tmp_path, options(3, space="paper"))


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nmore"), "can't allocate memory"),
        (MoodreelError("step 3: the loss is NaN"), "the loss is NaN"),
    ],
)
def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(
    corpus, options, tmp_path, monkeypatch, no_gain, error, words
):
    calls = []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise error
        return fit_once(*arguments)

    monkeypatch.setattr(module, "fit_once", fail_once)
    tune(corpus, "audio", tmp_path, options(2))
    found, study = states(tmp_path)
    assert found == ["FAIL", "COMPLETE"] and words in study.trials[0].user_attrs["failure"]


def test_every_trial_failing_is_one_line(corpus, options, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(module, "fit_once", fail)
    with pytest.raises(MoodreelError, match="none of 1 trials came to an end; the first: MemoryError"):
        tune(corpus, "audio", tmp_path, options(1))


def test_a_locked_database_is_one_line(corpus, options, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    holder = sqlite3.connect(tmp_path / "search.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match=r"search\.db: locked by another process"):
        tune(corpus, "audio", tmp_path, options(1))
    holder.close()


def test_a_file_that_is_no_database_is_one_line(corpus, options, tmp_path):
    (tmp_path / "search.db").write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(OutputError, match="cannot be used"):
        tune(corpus, "audio", tmp_path, options(1))


def kill(*_, **__):
    raise SystemExit("killed")


@pytest.fixture
def best_rates(monkeypatch):
    """Let the search find the rates given, one more a search; returns the list."""
    rates = []

    def find(study, name, options):
        changes = (*options.train.changes, f"fit.rate_low={rates[-1]}", f"fit.rate_high={rates[-1]}")
        return replace(load_recipe(name, changes), name=f"{name}-tuned")

    monkeypatch.setattr(module, "_best_recipe", find)
    return rates


def test_a_better_setting_of_an_extended_search_is_trained_anew(corpus, options, tmp_path, best_rates, monkeypatch):
    """The gain told is that of today's best, even where a kill left the run of an earlier one half done."""
    best_rates.append(1e-3)
    tune(corpus, "audio", tmp_path, options(1))
    default = (tmp_path / "default" / "scores.json").stat().st_mtime_ns
    best_rates.append(2e-3)
    with monkeypatch.context() as patch:
        patch.setattr("moodreel.training.joint.train.fit_network", kill)
        with pytest.raises(SystemExit):
            tune(corpus, "audio", tmp_path, options(1))
    assert (tmp_path / "best" / "recipe.yaml").exists() and not (tmp_path / "best" / "scores.json").exists()
    best_rates.append(3e-3)
    tuned = tune(corpus, "audio", tmp_path, options(1))
    scores = json.loads((tmp_path / "best" / "scores.json").read_text())
    assert load_recipe(str(tmp_path / "best" / "recipe.yaml")) == tuned.recipe
    assert scores["learning_rates"] == [pytest.approx(3e-3)]
    assert (tmp_path / "default" / "scores.json").stat().st_mtime_ns == default, "trained once, never again"


def test_a_search_does_not_go_on_with_another_corpus(corpus, options, tmp_path, no_gain):
    tune(corpus, "audio", tmp_path / "out", options(1))
    other = write_corpus(tmp_path / "other")
    with pytest.raises(OutputError, match="another recipe, space, corpus"):
        tune(other, "audio", tmp_path / "out", options(2))


@pytest.mark.parametrize("recipe", ["emonets", "yao2015", "tuned"])
def test_what_is_no_joint_network_cannot_be_searched_and_that_is_said(corpus, options, tmp_path, recipe):
    with pytest.raises(
        RecipeError, match=f"{recipe}: is no joint network, which tune searches; expected one of audio, best"
    ):
        tune(corpus, recipe, tmp_path, options(1))


def test_speakers_may_be_shared_when_asked_for(corpus, options, tmp_path, no_gain):
    """Without speakers there are no folds of them: clips are dealt instead."""
    asked = options(1)
    changes = (*asked.train.changes, "audio.cross_fit=0")  # which leaves a speaker out at a time
    unknown = replace(asked, train=replace(asked.train, speaker_regex=None, changes=changes))
    with pytest.raises(CorpusError, match="--allow-shared-speakers"):
        tune(corpus, "audio", tmp_path / "out", unknown)
    shared = replace(unknown, train=replace(unknown.train, allow_shared_speakers=True))
    tune(corpus, "audio", tmp_path / "out", shared)
    assert states(tmp_path / "out")[0] == ["COMPLETE"]


def test_two_processes_share_one_search(corpus, options, tmp_path, no_gain):
    tune(corpus, "audio", tmp_path / "one", options(1))  # fills the cache: the stand-in is not known to other processes
    tune(corpus, "audio", tmp_path / "two", options(3, jobs=2))
    found, _ = states(tmp_path / "two")
    assert len(found) >= 3 and set(found) <= {"COMPLETE", "PRUNED"}


def test_a_trial_that_does_worse_than_most_is_pruned():
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(2, n_warmup_steps=0))
    for value in (0.8, 0.9):
        trial = study.ask()
        trial.report(value, 0)
        study.tell(trial, value)

    trainer = SimpleNamespace(callback_metrics={"valid_uar": torch.tensor(0.1)}, current_epoch=0)
    with pytest.raises(optuna.TrialPruned):
        module.PruneCallback(study.ask(), (), 1).on_validation_end(trainer, None)


def test_a_trial_reports_its_mean_over_the_folds_so_far():
    trial = optuna.create_study(direction="maximize").ask()
    trainer = SimpleNamespace(callback_metrics={"valid_uar": torch.tensor(0.3)}, current_epoch=2)
    module.PruneCallback(trial, (0.6,), 5).on_validation_end(trainer, None)
    assert trial.study.trials[0].intermediate_values == {7: pytest.approx(0.45)}


def test_importance_finds_the_setting_that_matters():
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("matters", 0, 1) + 1e-3 * t.suggest_float("not", 0, 1), n_trials=40)
    importance = measure_importance(study)
    assert importance["matters"] > 0.9 and next(iter(importance)) == "matters"
    empty = optuna.create_study()
    assert measure_importance(empty) == {}


class TestSpaces:
    @pytest.mark.parametrize("recipe", recipe_names())
    @pytest.mark.parametrize("space", space_names())
    def test_every_point_of_a_shipped_space_is_a_recipe(self, recipe, space):
        loaded = load_space(space, load_recipe(recipe))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(10):
            load_recipe(recipe, loaded.suggest(study.ask()))

    def test_the_default_is_a_point_of_the_space(self):
        recipe = load_recipe("repaired")
        space = load_space("sane", recipe)
        point = space.defaults(recipe)
        assert point["fit.rate_low"] == recipe.fit.rate_low
        assert load_recipe("repaired", space.suggest(optuna.trial.FixedTrial(point))) == recipe
        assert load_space("paper", recipe).defaults(recipe) == {}

    def test_the_papers_space_is_uniform(self):
        (setting,) = load_space("paper", load_recipe("paper")).settings
        assert (setting.kind, setting.low, setting.high) == ("uniform", 1e-8, 1e-6)
        assert setting.keys == ("fit.rate_low", "fit.rate_high")

    @pytest.mark.parametrize(
        "text, words",
        [
            ("- {keys: [fit.rate], kind: log, low: 1, high: 2}", "no key 'fit.rate'"),
            ("- {keys: [frames.side_px], kind: choice, options: ['32']}", "'frames.side_px' cannot be searched"),
            ("- {keys: [fit.momentum], kind: log, low: 0, high: 1}", "low must lie below high, and above 0"),
            ("- {keys: [fit.momentum], kind: uniform, low: 2, high: 1}", "low must lie below high"),
            ("- {keys: [fit.momentum], kind: choice}", "choice without options"),
            ("- {keys: [], kind: choice}", "setting without keys"),
            ("- {keys: [video.width], kind: choice, options: ['8']}", "none of its settings fits"),
            ("- {keys: [fit.momentum], kind: linear}", "must be one of uniform, log, choice"),
        ],
    )
    def test_bad_spaces_are_one_line(self, tmp_path, text, words):
        path = tmp_path / "mine.yaml"
        path.write_text(f"name: mine\nsettings:\n  {text}\n")
        with pytest.raises(RecipeError, match=words):
            load_space(str(path), load_recipe("audio"))

    def test_the_space_that_the_docs_show(self, tmp_path):
        page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
        (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        (tmp_path / "mine.yaml").write_text(text)
        assert len(load_space(str(tmp_path / "mine.yaml"), load_recipe("repaired")).settings) == 2

    def test_a_misspelt_name(self):
        with pytest.raises(RecipeError, match="did you mean 'sane'"):
            load_space("sain", load_recipe("audio"))


def test_what_was_found_is_no_better_than_luck_says_so(corpus, options, tmp_path, monkeypatch):
    answers = make_answers(140)
    rng = np.random.default_rng(0)
    pair = [gather_outcomes([replace(a, probabilities=tuple(rng.dirichlet(np.ones(7)))) for a in answers])
            for _ in range(2)]  # fmt: skip
    monkeypatch.setattr(module, "_measure_gain", lambda *_: compare(*pair))
    tuned = tune(corpus, "audio", tmp_path, options(1))
    assert "no evidence of a difference" in format_tuned(tuned, tmp_path)


class TestWords:
    def test_no_gain_is_headlined_without_evidence(self):
        unsure = Interval(0.025, -0.01, 0.06, "bootstrap")
        gain = Comparison(unsure, unsure, 3, 5, 0.7)
        assert headline(gain) == judge_gain(gain) == "no evidence of a difference"
        sure = Comparison(Interval(0.2, 0.1, 0.3, "bootstrap"), unsure, 3, 50, 0.01)
        assert headline(sure) == "gain in UAR 0.200 [0.100, 0.300]"
        assert judge_gain(sure) == "the settings found are better"

    def test_one_speaker_is_said(self):
        alone = Interval(0.5, None, None, "only one speaker: no interval")
        assert headline(Comparison(alone, alone, 0, 9, 0.01)) == (
            "no evidence of a difference (only one speaker: no interval)"
        )

    def test_trials_are_counted_in_whole_numbers(self):
        study = optuna.create_study()
        for number in range(3):
            study.add_trial(optuna.trial.create_trial(value=0.1 * number))
        (axes,) = _plot_history(study).axes
        assert all(float(tick).is_integer() for tick in axes.get_xticks())

    def test_a_setting_of_whole_numbers_has_whole_numbers_on_its_axis(self):
        spaces = {
            "layers": optuna.distributions.IntDistribution(1, 3),
            "rate": optuna.distributions.FloatDistribution(0, 1.5),
        }
        trials = [
            optuna.trial.create_trial(value=0.1 * n, params={"layers": n, "rate": n / 2}, distributions=spaces)
            for n in (1, 2, 3)
        ]
        layers, rate = _plot_slices(trials).axes
        assert all(float(tick).is_integer() for tick in layers.get_xticks())
        assert not all(float(tick).is_integer() for tick in rate.get_xticks()), "the axis would have them anyway"
