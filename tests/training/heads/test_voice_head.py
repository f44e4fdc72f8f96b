"""The map beside the voice's own answer: it carries over to a corpus whose recordings sound otherwise."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.training.heads.recipe import VoiceHeadRecipe
from moodreel.training.heads.voice_head import fit_voice_head
from moodreel.training.heads.voices import HeardCorpus

WIDTH = 24
RECIPE = VoiceHeadRecipe(steps=40)


def make_corpus(name, rng, emotions=range(7), speakers=4, clips=6):
    """Recordings whose statistics are the emotion's, the speaker's and, larger, the corpus's."""
    shown = np.random.default_rng(0).normal(size=(7, WIDTH))
    corpus = 1.5 * rng.normal(size=WIDTH)
    samples, rows = [], []
    for speaker in range(speakers):
        own = rng.normal(size=WIDTH)
        for emotion in emotions:
            for _ in range(clips):
                clip = f"{name}-{len(samples)}"
                samples.append(Sample(Path(clip), EMOTIONS[emotion], f"s{speaker}", clip, None, name))
                rows.append(shown[emotion] + own + corpus + 0.3 * rng.normal(size=WIDTH))
    statistics = np.repeat(np.array(rows, np.float32)[:, None], 3, axis=1)
    logits = rng.normal(size=(len(rows), 3, 7)).astype(np.float32)
    return HeardCorpus(name, tuple(samples), statistics, logits, np.full(logits.shape[:2], 30, np.float32))


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
