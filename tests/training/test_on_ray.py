"""`train --ray` and `tune --ray`: clips are read, and settings tried, by the actors of a cluster."""

import numpy as np
import pytest

from ray_cluster import started_cluster
from tiny_corpus import changes_for, stand_in_functionals, write_corpus

pytest.importorskip("ray")
pytest.importorskip("torch")
optuna = pytest.importorskip("optuna")

from moodreel.corpora import read_corpus
from moodreel.recognition.inputs import FrameSpec, InputSpec
from moodreel.storage.cache import Cache
from moodreel.training.extraction import extract_corpus
from moodreel.training.joint.recipe import load_recipe
from moodreel.training.joint.train import prepare_material
from moodreel.training.options import TrainOptions, open_corpus
from moodreel.training.search import tune as module
from moodreel.training.search.tune import TuneOptions, tune

SPEAKER = "(?P<speaker>[a-z]+)_"


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch, started_cluster(patch) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_features_read_on_a_cluster_are_those_read_here(cluster, corpus, tmp_path):
    samples = read_corpus(corpus, speaker_regex=SPEAKER).samples[:9]
    spec = InputSpec(FrameSpec("whole", side_px=16, rate_hz=5))
    here = extract_corpus(samples, spec, Cache(tmp_path / "here"))
    there = extract_corpus(samples, spec, Cache(tmp_path / "there"), ray=cluster.address)
    assert there.n_extracted == len(samples) and there.keys == here.keys
    for index in range(len(samples)):
        np.testing.assert_array_equal(there.load(index).frames, here.load(index).frames)


def test_settings_are_tried_on_a_cluster(cluster, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in_functionals)
    monkeypatch.setattr(module, "_measure_gain", lambda *_: None)
    changes = (*changes_for("audio"), "audio.dense=[32, 32, 32]", "head.dense=[32, 32, 32]", "fit.epochs=1")
    train = TrainOptions(fold=1, changes=changes, speaker_regex=SPEAKER, cache=tmp_path / "cache")
    recipe = load_recipe("audio", changes)
    prepare_material(open_corpus(corpus, recipe, train), recipe, train)  # the stand-in is not known on the cluster
    far = TrainOptions(**{**vars(train), "ray": cluster.address})
    tuned = tune(corpus, "audio", tmp_path / "out", TuneOptions(2, inner_folds=2, train=far))
    done = tuned.study.get_trials(states=module.DONE)
    assert len(done) >= 2 and any(trial.state.name == "COMPLETE" for trial in done), [t.user_attrs for t in done]
    assert (tmp_path / "out" / "best.yaml").exists()
