"""The map beside the voice's own answer: it carries over to a corpus whose recordings sound otherwise."""

import numpy as np
import pytest

pytest.importorskip("torch")

from heard_corpus import make_corpus
from moodreel.training.heads.recipe import VoiceHeadRecipe
from moodreel.training.heads.voice_head import fit_voice_head

RECIPE = VoiceHeadRecipe(steps=40)


def recall(head, corpus):
    logits = corpus.statistics[:, 0].astype(np.float64) @ head.weights + head.bias
    return np.mean([(logits[corpus.labels == k].argmax(axis=1) == k).mean() for k in np.unique(corpus.labels)])


@pytest.fixture(scope="module")
def corpora():
    rng = np.random.default_rng(1)
    return [make_corpus(name, rng) for name in "abcde"]


def test_a_corpus_that_was_left_out_is_answered_far_above_chance(corpora):
    recalls = [recall(fit_voice_head([c for c in corpora if c is not one], RECIPE), one) for one in corpora]
    assert np.mean(recalls) > 0.6, recalls


def test_the_network_keeps_its_say(corpora):
    """The map is as large as the network's own logits times a factor of the recipe, not larger by itself."""
    small, large = (fit_voice_head(corpora, VoiceHeadRecipe(own_share=share, steps=40)) for share in (1.6, 0.8))
    np.testing.assert_allclose(2 * small.weights, large.weights, rtol=1e-6)


def test_corpora_that_lack_an_emotion_do_not_teach_that_it_never_occurs(corpora):
    rng = np.random.default_rng(2)
    without_disgust = [make_corpus(name, rng, emotions=(0, 2, 3, 4, 5, 6)) for name in "xyz"]
    head = fit_voice_head([corpora[0], *without_disgust], RECIPE)
    logits = corpora[1].statistics[:, 0].astype(np.float64) @ head.weights + head.bias
    shown = corpora[1].labels == 1
    assert logits[shown, 1].mean() > np.delete(logits[shown], 1, axis=1).mean()


def test_people_of_one_emotion_each_still_teach_the_regression():
    rng = np.random.default_rng(3)
    corpus = make_corpus("one", rng, emotions=(3,))
    other = make_corpus("two", rng, emotions=(5,))
    head = fit_voice_head([corpus, other], RECIPE)
    assert np.isfinite(head.weights).all() and np.isfinite(head.bias).all()
