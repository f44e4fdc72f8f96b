"""Training end to end on tiny clips: every recipe, resuming, two processes, export."""

import json

import numpy as np
import pytest
from tiny_corpus import changes_for, stand_in_functionals, write_corpus

torch = pytest.importorskip("torch")

from moodreel.bundle import load_bundle
from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.training import commands
from moodreel.training.commands import TrainOptions, train

SPEAKER = "(?P<speaker>[a-z]+)_"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def functionals(monkeypatch):
    monkeypatch.setattr("moodreel.features.extract_functionals", stand_in_functionals)


def options(recipe, cache, *changes, **rest):
    return TrainOptions(
        changes=(*changes_for(recipe), *changes), speaker_regex=SPEAKER, cache=cache, **{"max_epochs": 1, **rest}
    )


@pytest.mark.parametrize("recipe", ["paper", "paper-adam", "repaired", "audio", "video"])
def test_every_recipe_fits_one_epoch_and_exports(recipe, corpus, cache, tmp_path):
    scores = train(corpus, recipe, tmp_path / "run", options(recipe, cache, fold=1))
    assert scores["n_clips"] == {"train": 21, "valid": 7, "test": 14} and scores["speaker_independent"]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 0
    assert len((tmp_path / "run" / "test-predictions.csv").read_text().splitlines()) == 15
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.kind == "joint" and bundle.networks["joint"]["largest_difference_from_torch"] < 1e-4
