"""Folds hold about as many clips, of each class too, and never share a speaker."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from moodreel.corpora import Sample
from moodreel.corpora.balance import balance
from moodreel.corpora.splits import speaker_folds

COUNTS = st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3).filter(any), min_size=2, max_size=14)


def spread(counts, fold_of, n_folds):
    """Return how far the folds are from equal parts, over all classes and the clips together."""
    sums = np.stack([counts[fold_of == fold].sum(axis=0) for fold in range(n_folds)])
    columns = np.hstack([sums, sums.sum(axis=1, keepdims=True)]).astype(float)
    return float(np.abs(columns / columns.sum(axis=0).clip(min=1) - 1 / n_folds).max())


def test_equal_speakers_keep_consecutive_folds():
    assert balance(np.full((24, 7), 8), 6).tolist() == [k for k in range(6) for _ in range(4)]
    assert balance(np.full((7, 2), 3), 3).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_unequal_speakers_are_balanced():
    """Consecutive thirds of such a corpus once held 28, 11 and 78 clips."""
    n_clips = [1, 1, 1, 25, 2, 3, 3, 3, 20, 19, 20, 19]
    counts = np.array([[n // 2, n - n // 2] for n in n_clips])
    sums = [int(counts[balance(counts, 3) == fold].sum()) for fold in range(3)]
    assert max(sums) - min(sums) <= 3 and sum(sums) == sum(n_clips)


def test_a_class_of_two_speakers_is_not_heaped_into_one_fold():
    """Equal parts of the other classes would put both on one side, and no network could be trained for it."""
    counts = np.array([[1, *[10] * 6], [1, *[10] * 6], [0, *[20] * 6]])
    fold_of = balance(counts, 2)
    assert fold_of[0] != fold_of[1]


@settings(max_examples=150)
@given(rows=COUNTS, n_folds=st.integers(2, 14))
def test_every_fold_has_a_speaker_and_no_class_lies_in_one_alone(rows, n_folds):
    counts = np.array(rows)
    n_folds = min(n_folds, len(counts))
    fold_of = balance(counts, n_folds)
    assert sorted(set(fold_of.tolist())) == list(range(n_folds))
    assert [int(np.argmax(fold_of == fold)) for fold in range(n_folds)] == sorted(
        int(np.argmax(fold_of == fold)) for fold in range(n_folds)
    )
    for column in counts.T:
        holding = {int(fold) for fold, n in zip(fold_of, column, strict=True) if n}
        assert len(holding) > 1 or (column > 0).sum() <= 1


def unevenness(counts, fold_of, n_folds):
    """What is made least: squares of each fold's shares of all classes and, weighing as much as they, of all clips."""
    shares = np.stack([counts[fold_of == fold].sum(axis=0) for fold in range(n_folds)]) / counts.sum(axis=0)
    of_all = np.array([counts[fold_of == fold].sum() for fold in range(n_folds)]) / counts.sum()
    return (shares**2).sum() + counts.shape[1] * (of_all**2).sum()


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), n_speakers=st.integers(10, 40), n_folds=st.integers(2, 5))
@example(seed=6440, n_speakers=10, n_folds=2)
def test_folds_are_no_less_equal_than_consecutive_ones(seed, n_speakers, n_folds):
    counts = np.random.default_rng(seed).geometric(0.1, (n_speakers, 4))
    consecutive = np.concatenate([np.full(len(part), k) for k, part in enumerate(np.array_split(counts, n_folds))])
    equal = unevenness(counts, balance(counts, n_folds), n_folds)
    assert equal <= unevenness(counts, consecutive, n_folds) + 1e-9


def test_the_largest_difference_between_folds_shrinks_too():
    found, consecutive = [], []
    for seed in range(40):
        counts = np.random.default_rng(seed).geometric(0.1, (20, 4))
        found.append(spread(counts, balance(counts, 4), 4))
        consecutive.append(spread(counts, np.arange(20) * 4 // 20, 4))
    assert np.mean(found) < np.mean(consecutive) / 2


@pytest.mark.parametrize("n_speakers", [3000])
def test_many_speakers_take_no_long_time(n_speakers):
    counts = np.random.default_rng(0).geometric(0.2, (n_speakers, 7))
    sums = np.bincount(balance(counts, 5), weights=counts.sum(axis=1))
    assert sums.max() / sums.min() < 1.01


@settings(max_examples=20)
@given(seed=st.integers(0, 99))
def test_the_order_of_the_clips_does_not_matter(seed):
    rng = random.Random(seed)
    clips = [
        Sample(f"{s}-{n}.mp4", rng.choice(["sad", "happy"]), f"s{s}", f"{s}-{n}", None, "toy")
        for s in range(8)
        for n in range(rng.randint(2, 20))
    ]
    clips += [Sample(f"{s}-{e}.mp4", e, f"s{s}", f"{s}-{e}", None, "toy") for s in (0, 1) for e in ("sad", "happy")]
    shuffled = rng.sample(clips, len(clips))
    folds, again = (speaker_folds(given, 3) for given in (clips, shuffled))
    assert [{s.speaker for s in f.test} for f in folds] == [{s.speaker for s in f.test} for f in again]
    for fold in folds:
        assert not {s.speaker for s in fold.test} & {s.speaker for s in fold.train}
