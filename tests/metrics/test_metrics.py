"""Every figure against scikit-learn, SciPy or a value worked out by hand; intervals by simulation."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from moodreel.corpora import UNKNOWN_SPEAKER
from moodreel.errors import EvaluationError
from moodreel.labels import EMOTIONS
from moodreel.metrics import (
    Outcomes,
    Resampling,
    apply_temperature,
    balance_classes,
    brier_scores,
    compare,
    compare_balanced_nll,
    confusion_matrix,
    expected_calibration_error,
    f1_scores,
    fit_temperature,
    holm,
    log_probabilities,
    macro_f1,
    make_outcomes,
    mcnemar_p_value,
    measure_calibration,
    negative_log_likelihood,
    precisions,
    recalls,
    reliability,
    risk_coverage,
    score,
    student_quantile,
    to_plain,
    unweighted_average_recall,
    weighted_average_recall,
)

FAST = Resampling(n_draws=300)


def outcomes_of(truth, probabilities, speakers=None) -> Outcomes:
    n = len(truth)
    names = [f"clip{i}" for i in range(n)]
    who = speakers if speakers is not None else [f"s{i % 4}" for i in range(n)]
    return make_outcomes(names, who, [EMOTIONS[i] for i in truth], probabilities)


def certain(predicted, confidence: float = 0.94) -> np.ndarray:
    rest = (1 - confidence) / 6
    return np.full((len(predicted), 7), rest) + (confidence - rest) * np.eye(7)[predicted]


def random_outcomes(seed: int = 0, n: int = 280, n_speakers: int = 8, classes=range(7)) -> Outcomes:
    rng = np.random.default_rng(seed)
    truth = rng.choice(list(classes), n)
    logits = rng.normal(size=(n, 7)) + 1.5 * np.eye(7)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return outcomes_of(truth, probabilities, [f"s{i % n_speakers}" for i in range(n)])


class TestFigures:
    @pytest.mark.parametrize("seed", range(3))
    def test_against_scikit_learn(self, seed):
        metrics = pytest.importorskip("sklearn.metrics")
        o = random_outcomes(seed)
        confusion = confusion_matrix(o.truth, o.predicted)
        np.testing.assert_array_equal(confusion, metrics.confusion_matrix(o.truth, o.predicted, labels=range(7)))
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(o.truth, o.predicted, labels=range(7))
        np.testing.assert_allclose(recalls(confusion), recall)
        np.testing.assert_allclose(precisions(confusion), precision)
        np.testing.assert_allclose(f1_scores(confusion), f1)
        assert unweighted_average_recall(confusion) == pytest.approx(
            metrics.balanced_accuracy_score(o.truth, o.predicted)
        )
        assert weighted_average_recall(confusion) == pytest.approx(metrics.accuracy_score(o.truth, o.predicted))
        assert macro_f1(confusion) == pytest.approx(metrics.f1_score(o.truth, o.predicted, average="macro"))

    def test_by_hand(self):
        confusion = np.zeros((7, 7), int)
        confusion[0, :2] = 3, 1  # angry: 3 of 4 found
        confusion[1, :2] = 2, 2  # disgust: 2 of 4 found
        confusion[2, 0] = 2  # fear: none of 2 found
        assert unweighted_average_recall(confusion) == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)
        assert weighted_average_recall(confusion) == pytest.approx(5 / 10)
        np.testing.assert_allclose(precisions(confusion)[:3], [3 / 7, 2 / 3, np.nan])
        assert macro_f1(confusion) == pytest.approx((6 / 11 + 4 / 7 + 0) / 3)

    def test_a_batch_gives_what_each_gives(self):
        batch = np.random.default_rng(0).integers(0, 9, (5, 7, 7))
        for figure in (unweighted_average_recall, weighted_average_recall, macro_f1):
            np.testing.assert_allclose(figure(batch), [figure(one) for one in batch])

    def test_absent_classes_are_left_out_and_named(self):
        metrics = pytest.importorskip("sklearn.metrics")
        o = random_outcomes(classes=(0, 3, 5))
        scores = score(o, FAST)
        assert scores.absent == ("disgust", "fear", "neutral", "surprise")
        assert scores.present == ("angry", "happy", "sad")
        assert scores.uar.value == pytest.approx(
            metrics.recall_score(o.truth, o.predicted, labels=[0, 3, 5], average="macro")
        )
        assert scores.macro_f1.value == pytest.approx(
            metrics.f1_score(o.truth, o.predicted, labels=[0, 3, 5], average="macro")
        )
        assert math.isnan(scores.classes[1].recall.value)
        assert scores.classes[1].recall.low is None

    def test_no_clip_at_all_is_not_a_number(self):
        assert math.isnan(unweighted_average_recall(np.zeros((7, 7))))


class TestScore:
    def test_all_figures_are_there(self):
        o = random_outcomes()
        scores = score(o, FAST)
        assert (scores.n_clips, scores.n_speakers) == (280, 8)
        assert [c.label for c in scores.classes] == list(EMOTIONS)
        assert sum(map(sum, scores.confusion)) == 280
        for interval in (scores.uar, scores.war, scores.macro_f1, *(c.recall for c in scores.classes)):
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert scores.uar.method == "95% expanded percentile bootstrap over 8 speakers, 300 draws, seed 0"

    def test_seeded_and_blind_to_order(self):
        o = random_outcomes()
        again = score(o.select(np.random.default_rng(1).permutation(len(o))), FAST)
        assert score(o, FAST).uar == again.uar

    def test_perfect_predictions(self):
        truth = list(range(7)) * 4
        scores = score(outcomes_of(truth, certain(truth)), FAST)
        assert (scores.uar.value, scores.uar.low, scores.uar.high) == (1, 1, 1)

    def test_one_speaker_has_no_interval(self):
        scores = score(outcomes_of([0, 1], certain([0, 0]), ["a", "a"]), FAST)
        assert (scores.uar.value, scores.uar.low, scores.uar.high) == (0.5, None, None)
        assert scores.uar.method == "only one speaker: no interval"
        assert str(scores.uar) == "0.500 [no interval]"

    def test_one_clip(self):
        scores = score(outcomes_of([3], certain([3])), FAST)
        assert (scores.uar.value, scores.present) == (1.0, ("happy",))

    def test_unknown_speakers_are_drawn_as_clips(self):
        truth = list(range(7)) * 2
        assert "over 14 clips" in score(outcomes_of(truth, certain(truth), [UNKNOWN_SPEAKER] * 14), FAST).uar.method

    def test_few_speakers_are_said(self):
        assert "too few speakers" in score(random_outcomes(n_speakers=3), FAST).uar.method


def draw_test(rng: np.random.Generator, n_speakers: int, n_takes: int = 4) -> Outcomes:
    """A test set of speakers who differ in how well they are recognised, as people do."""
    chance = np.array([0.8, 0.5, 0.6, 0.75, 0.7, 0.55, 0.65]) + rng.normal(0, 0.1, (n_speakers, 1))
    truth = np.tile(np.repeat(np.arange(7), n_takes), n_speakers)
    speaker = np.repeat(np.arange(n_speakers), 7 * n_takes)
    right = rng.random(len(truth)) < chance[speaker, truth]
    predicted = np.where(right, truth, (truth + rng.integers(1, 7, len(truth))) % 7)
    return outcomes_of(truth, certain(predicted), [f"s{i}" for i in speaker])


class TestIntervals:
    @pytest.mark.parametrize("n_speakers", [6, 20])
    def test_cover_at_about_their_nominal_rate(self, n_speakers):
        rng = np.random.default_rng(11)
        truth = np.mean([0.8, 0.5, 0.6, 0.75, 0.7, 0.55, 0.65])
        scores = [score(draw_test(rng, n_speakers), Resampling(n_draws=300, seed=i)).uar for i in range(150)]
        covered = np.mean([uar.low <= truth <= uar.high for uar in scores])
        assert 0.90 <= covered <= 0.99  # 0.95 within 2.8 standard errors of 150 runs

    def test_clips_of_a_speaker_are_not_taken_as_independent(self):
        o = draw_test(np.random.default_rng(0), 10)
        alone = make_outcomes(o.clip_ids, o.clip_ids, [EMOTIONS[i] for i in o.truth], o.probabilities)
        by_speaker, by_clip = score(o).uar, score(alone).uar
        assert by_speaker.high - by_speaker.low > 1.2 * (by_clip.high - by_clip.low)

    @pytest.mark.parametrize("degrees", [1, 2, 5, 19, 300, 9999])
    @pytest.mark.parametrize("probability", [0.025, 0.5, 0.9, 0.975])
    def test_student_quantile(self, degrees, probability):
        stats = pytest.importorskip("scipy.stats")
        assert student_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), abs=1e-4)


class TestCalibration:
    def test_against_scikit_learn(self):
        metrics = pytest.importorskip("sklearn.metrics")
        o = random_outcomes()
        costs = negative_log_likelihood(o.truth, o.probabilities)
        assert costs.mean() == pytest.approx(metrics.log_loss(o.truth, o.probabilities, labels=range(7)))
        squares = [metrics.brier_score_loss(o.truth == k, o.probabilities[:, k]) for k in range(7)]
        assert brier_scores(o.truth, o.probabilities).mean() == pytest.approx(sum(squares))

    def test_even_probabilities_by_hand(self):
        even = np.full((3, 7), 1 / 7)
        np.testing.assert_allclose(negative_log_likelihood(np.array([0, 3, 6]), even), math.log(7))
        np.testing.assert_allclose(brier_scores(np.array([0, 3, 6]), even), (6 / 7) ** 2 + 6 / 49)

    def test_a_probability_of_zero_costs_much_and_not_infinity(self):
        assert negative_log_likelihood(np.array([1]), np.eye(7)[:1])[0] == pytest.approx(12 * math.log(10))

    def test_calibration_error_by_hand(self):
        truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
        probabilities = np.concatenate([certain([0, 0, 0, 1], 0.6), certain([1, 1, 1, 1], 0.9)])
        bins = reliability(truth, probabilities, n_bins=2)
        assert [(b.n_clips, round(b.confidence, 6), b.accuracy) for b in bins] == [(4, 0.6, 0.75), (4, 0.9, 1.0)]
        assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)

    def test_bins_hold_about_as_many_clips_each(self):
        o = random_outcomes(n=300)
        counts = [b.n_clips for b in reliability(o.truth, o.probabilities, 15)]
        assert sum(counts) == 300
        assert set(counts) <= {19, 20, 21}

    @settings(max_examples=30)
    @given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 99))
    def test_no_clip_is_lost_and_order_does_not_matter(self, n, n_bins, seed):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 7, n)
        probabilities = certain(rng.integers(0, 7, n)) if seed % 2 else rng.dirichlet(np.ones(7), n)
        bins = reliability(truth, probabilities, n_bins)
        shuffle = rng.permutation(n)
        assert sum(b.n_clips for b in bins) == n
        assert [b.n_clips for b in bins] == [
            b.n_clips for b in reliability(truth[shuffle], probabilities[shuffle], n_bins)
        ]

    def test_measured_together(self):
        o = random_outcomes()
        found = measure_calibration(o, resampling=FAST)
        assert found.nll.value == pytest.approx(negative_log_likelihood(o.truth, o.probabilities).mean())
        assert found.nll.low < found.nll.value < found.nll.high
        assert found.brier.low < found.brier.value < found.brier.high
        assert 0 < found.ece < 1


class TestTemperature:
    @pytest.mark.parametrize("distortion", [0.3, 1.0, 4.0])
    def test_undoes_a_known_distortion(self, distortion):
        rng = np.random.default_rng(0)
        honest = rng.dirichlet(np.ones(7), 20_000)
        truth = (rng.random((20_000, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 6)
        distorted = apply_temperature(honest, 1 / distortion)
        assert fit_temperature(truth, log_probabilities(distorted)) == pytest.approx(distortion, rel=0.03)

    def test_against_scipy(self):
        optimize = pytest.importorskip("scipy.optimize")
        o = random_outcomes()

        def cost(log_t):
            return negative_log_likelihood(o.truth, apply_temperature(o.probabilities, math.exp(log_t))).mean()

        found = math.exp(optimize.minimize_scalar(cost, bounds=(-2, 2), method="bounded").x)
        assert fit_temperature(o.truth, log_probabilities(o.probabilities)) == pytest.approx(found, rel=1e-3)

    def test_one_certain_mistake_does_not_mislead_it(self):
        truth = np.array([0] * 20)
        probabilities = certain([0] * 19 + [1], 0.999999)
        assert fit_temperature(truth, log_probabilities(probabilities)) > 2

    def test_ends_of_the_range(self):
        assert fit_temperature(np.array([0, 1]), log_probabilities(certain([0, 1]))) == pytest.approx(0.02, rel=1e-3)
        assert fit_temperature(np.array([0, 1]), log_probabilities(certain([1, 0]))) == pytest.approx(50, rel=1e-3)

    def test_temperature_one_changes_nothing(self):
        o = random_outcomes()
        np.testing.assert_allclose(apply_temperature(o.probabilities, 1.0), o.probabilities)

    def test_weights_say_which_clips_count(self):
        truth, logits = np.array([0, 0, 1, 1]), log_probabilities(certain([0, 0, 1, 0], 0.9))
        kept = fit_temperature(truth[:3], logits[:3], np.array([1.0, 1.0, 1.0]))
        assert fit_temperature(truth, logits, np.array([5.0, 5.0, 5.0, 0.0])) == pytest.approx(kept)

    def test_few_clips_stay_near_the_present_temperature_and_many_do_not(self):
        truth, logits = np.zeros(20, dtype=int), log_probabilities(certain([0] * 10 + [1] * 10, 0.99))
        free = fit_temperature(truth, logits)
        strong, weak = (fit_temperature(truth, logits, present=2.0, pull=pull) for pull in (100.0, 0.01))
        assert strong == pytest.approx(2.0, rel=0.02)
        assert 2.0 < strong < weak < free

    def test_classes_weigh_alike(self):
        weights = balance_classes(np.array([2, 2, 2, 5]))
        np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])

    def test_nats_of_two_answers_by_hand(self):
        """Class 0 costs ln 2 in both of its clips, class 1 ln 4 in its one; after, everything costs ln 2."""
        half, quarter = [0.5, 0.5, 0, 0, 0, 0, 0], [0.75, 0.25, 0, 0, 0, 0, 0]
        before = outcomes_of([0, 0, 1], np.array([half, half, quarter]))
        after = outcomes_of([0, 0, 1], np.array([half, half, half]))
        first, second, gain = compare_balanced_nll(before, after, FAST)
        assert first.value == pytest.approx(1.5 * math.log(2)) and second.value == pytest.approx(math.log(2))
        assert gain.value == pytest.approx(0.5 * math.log(2))

    def test_bad_input(self):
        with pytest.raises(EvaluationError, match="NaN"):
            fit_temperature(np.array([0]), np.full((1, 7), np.nan))
        with pytest.raises(EvaluationError, match="no clips"):
            fit_temperature(np.array([], dtype=int), np.zeros((0, 7)))


class TestRiskCoverage:
    def test_by_hand(self):
        confidence = [0.9, 0.8, 0.8, 0.5]
        probabilities = np.concatenate([certain([0], c) for c in confidence])
        found = risk_coverage(outcomes_of([0, 1, 0, 1], probabilities))
        assert found.thresholds == pytest.approx((0.9, 0.8, 0.5))
        assert found.coverage == (0.25, 0.75, 1.0)
        assert found.risk == pytest.approx((0, 1 / 3, 1 / 2))
        assert found.area == pytest.approx(0.25 * 0 + 0.5 / 3 + 0.25 / 2)

    def test_at_a_threshold(self):
        probabilities = np.concatenate([certain([0], c) for c in (0.9, 0.7, 0.5)])
        found = risk_coverage(outcomes_of([0, 0, 1], probabilities))
        assert found.at(0.6) == pytest.approx((2 / 3, 0))
        assert found.at(0.95) == (0.0, None)
        assert found.at(0.0) == pytest.approx((1.0, 1 / 3))


class TestComparison:
    def test_mcnemar_against_scipy(self):
        stats = pytest.importorskip("scipy.stats")
        for b, c in [(0, 1), (3, 9), (9, 3), (12, 12), (0, 20), (400, 470)]:
            assert mcnemar_p_value(b, c) == pytest.approx(stats.binomtest(min(b, c), b + c).pvalue)
        assert mcnemar_p_value(0, 0) == 1.0
        assert mcnemar_p_value(3, 9) == pytest.approx(2 * (1 + 12 + 66 + 220) / 4096)

    def test_large_counts_do_not_overflow(self):
        assert 0 <= mcnemar_p_value(40_000, 50_000) < 1e-100

    def test_holm_by_hand(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
        assert holm([0.9, 0.8]) == (1.0, 1.0)
        assert holm([]) == ()

    def test_same_predictions_do_not_differ(self):
        o = random_outcomes()
        found = compare(o, o, FAST)
        assert (found.uar.value, found.uar.low, found.uar.high, found.mcnemar_p) == (0, 0, 0, 1)
        assert not found.differs

    def test_a_clear_gain_is_found_whatever_the_order_of_clips(self):
        o = random_outcomes(n_speakers=10)
        better = make_outcomes(o.clip_ids, o.speakers, [EMOTIONS[i] for i in o.truth], certain(o.truth))
        found = compare(o, better.select(np.arange(len(o))[::-1]), FAST)
        assert found.uar.value == pytest.approx(1 - score(o, FAST).uar.value)
        assert found.war.value == pytest.approx(1 - score(o, FAST).war.value)
        assert found.differs
        assert (found.n_only_first, found.mcnemar_p < 1e-6) == (0, True)

    def test_pairing_narrows_the_interval(self):
        o = draw_test(np.random.default_rng(3), 10)
        predicted = o.predicted.copy()
        predicted[::40] = o.truth[::40]
        other = make_outcomes(o.clip_ids, o.speakers, [EMOTIONS[i] for i in o.truth], certain(predicted))
        gain, own = compare(o, other).uar, score(o).uar
        assert gain.high - gain.low < 0.5 * (own.high - own.low)

    def test_other_clips_are_refused(self):
        o = random_outcomes()
        with pytest.raises(EvaluationError, match=r"1 only in the first, 0 only in the second, such as 'clip279'"):
            compare(o, o.select(np.arange(279)))

    def test_other_labels_are_refused(self):
        o = random_outcomes()
        labels = [EMOTIONS[i] for i in o.truth]
        labels[5] = "sad" if labels[5] != "sad" else "fear"
        with pytest.raises(EvaluationError, match="'clip5'"):
            compare(o, make_outcomes(o.clip_ids, o.speakers, labels, o.probabilities))


class TestOutcomes:
    def test_damaged_probabilities_name_the_clip(self):
        for value, message in [(np.nan, "NaN"), (np.inf, "infinite"), (-0.1, "negative"), (0.5, "add up to 1")]:
            probabilities = certain([0, 1, 2])
            probabilities[1, 4] = value
            with pytest.raises(EvaluationError, match=f"clip 'clip1': .*{message}"):
                outcomes_of([0, 1, 2], probabilities)

    def test_other_faults(self):
        with pytest.raises(EvaluationError, match="no clips"):
            make_outcomes([], [], [], np.zeros((0, 7)))
        with pytest.raises(EvaluationError, match="two clips of one name: 'a'"):
            make_outcomes(["a", "a"], ["x", "y"], ["sad", "sad"], certain([0, 0]))
        with pytest.raises(EvaluationError, match=r"unknown label 'bored'.*angry"):
            make_outcomes(["a"], ["x"], ["bored"], certain([0]))
        with pytest.raises(EvaluationError, match=r"sizes differ.*expected probabilities \(1, 7\)"):
            make_outcomes(["a"], ["x"], ["sad"], np.full((1, 6), 1 / 6))

    def test_rows_are_scaled_to_one(self):
        o = outcomes_of([0], certain([0]).astype(np.float32) * 1.0005)
        assert o.probabilities.sum() == pytest.approx(1, abs=1e-12)

    def test_select_by_mask(self):
        o = random_outcomes()
        assert o.select(o.truth == 2).truth.tolist() == [2] * int((o.truth == 2).sum())


def test_figures_are_strict_json():
    o = random_outcomes(classes=(0, 3))
    plain = to_plain(score(o, FAST))
    json.dumps([plain, to_plain(measure_calibration(o, resampling=FAST))], allow_nan=False)
    assert plain["classes"][1]["recall"]["value"] is None
    assert plain["uar"]["low"] < plain["uar"]["value"]


def test_the_base_install_is_enough():
    blocked = "import sys; sys.modules.update(dict.fromkeys(['pandas', 'sklearn', 'scipy', 'torch', 'pyarrow']))"
    code = f"{blocked}; import moodreel.evaluation, moodreel.corpora.splits, moodreel.corpora"
    subprocess.run([sys.executable, "-c", code], check=True)
