"""The predecessors' parts on toy data: each test fails when its part learns nothing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from moodreel.errors import MoodreelError
from moodreel.face.alignment import FER_TEMPLATE, align_face, flatten_face
from moodreel.predecessors.emonets import class_weights as fusion, face_cnn
from moodreel.predecessors.emonets.audio_dbn import DeepBeliefNetwork, bound_norms
from moodreel.predecessors.emonets.bag_of_mouths import (
    MOUTH_LEFT_PX,
    MOUTH_TOP_PX,
    MouthSettings,
    code_triangle,
    fit_mouths,
)
from moodreel.predecessors.emonets.face_cnn import CnnSettings, average_segments, fit_face_cnn, vary
from moodreel.predecessors.emonets.rbm import Rbm
from moodreel.predecessors.emonets.relational_autoencoder import (
    RelationalSettings,
    cut_blocks,
    fit_autoencoder,
    fit_motion,
)
from moodreel.predecessors.shared.logistic import make_logistic, to_module
from moodreel.predecessors.shared.svm import KernelSvm
from moodreel.predecessors.yao2015.au_relations import AuRelationSvm, choose_apart
from moodreel.predecessors.yao2015.patch_features import GRID, PatchFeatures, describe_gradients
from moodreel.training import machine
from moodreel.voice.descriptors import GROUPS, N_DESCRIPTORS, extract_descriptors

TINY_DBN = {"n_hidden": 8, "rbm_epochs": 1, "epochs": 5, "batch_size": 16, "learning_rate": 0.01}


@pytest.mark.parametrize(
    "estimator",
    [KernelSvm(), AuRelationSvm(kept=(1,), penalties=(1.0,)), Rbm(8, epochs=1), DeepBeliefNetwork(**TINY_DBN)],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_vector_estimators_keep_scikit_learns_contract(estimator):
    broken = [one for one in check_estimator(estimator, on_fail=None) if one["status"] == "failed"]
    assert not broken, [(one["check_name"], one["exception"]) for one in broken]


def blobs(n=120, d=6, seed=0, spread=0.7):
    """Three classes of points around three corners."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (np.eye(d)[y] * 3 + rng.normal(0, spread, (n, d))).astype(np.float32), y


class TestRbm:
    def test_it_rebuilds_binary_patterns_better_than_as_many_principal_components(self):
        rng = np.random.default_rng(0)
        prototypes = rng.random((12, 24)) < 0.5  # more than as many flat directions can hold
        rows = (prototypes[rng.integers(0, 12, 400)] ^ (rng.random((400, 24)) < 0.02)).astype(np.float32)
        rbm = Rbm(6, "binary", learning_rate=0.05, epochs=120, batch_size=10).fit(rows)
        assert rbm.errors_[-1] < 0.5 * rbm.errors_[0]
        pca = PCA(6).fit(rows)
        linear = ((pca.inverse_transform(pca.transform(rows)) - rows) ** 2).mean()
        assert ((rbm.reconstruct(rows) - rows) ** 2).mean() < linear

    def test_gaussian_units_follow_the_columns(self):
        rng = np.random.default_rng(1)
        rows = (rng.normal(size=(400, 2)) @ rng.normal(size=(2, 10))).astype(np.float32)
        rows /= rows.std(axis=0)
        rbm = Rbm(20, "gaussian", learning_rate=0.003, epochs=60, batch_size=20).fit(rows)
        assert rbm.errors_[-1] < 0.6 * rbm.errors_[0]


class TestAudioDbn:
    def test_it_tells_classes_apart_and_its_weights_stay_bounded(self):
        X, y = blobs()
        dbn = DeepBeliefNetwork(32, rbm_epochs=5, epochs=40, batch_size=20, learning_rate=0.01, max_norm=0.9).fit(X, y)
        Z, truth = blobs(seed=1)
        assert (dbn.predict(Z) == truth).mean() > 0.9
        norms = [layer.weight.norm(dim=1).max() for layer in dbn.network_[1].modules() if isinstance(layer, linear())]
        assert len(norms) == 3 and max(norms) <= 0.9 + 1e-5

    def test_pretraining_is_where_fine_tuning_starts(self):
        X, y = blobs()
        dbn = DeepBeliefNetwork(16, rbm_epochs=5, epochs=0, batch_size=20).fit(X, y)
        first = next(layer for layer in dbn.network_[1].modules() if isinstance(layer, linear()))
        assert np.allclose(first.weight.detach().numpy(), dbn.rbms_[0].weights_.T)

    def test_norms_are_scaled_down_never_up(self):
        network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        network[0].weight.data[:] = torch.tensor([[3.0, 0, 0, 0], [0.1, 0, 0, 0]])
        bound_norms(network, 1.5)
        assert network[0].weight.norm(dim=1).tolist() == pytest.approx([1.5, 0.1])


def linear():
    return torch.nn.Linear


class TestSvm:
    @pytest.mark.parametrize("kernel", ["linear", "rbf", "chi2"])
    def test_graph_and_estimator_say_the_same(self, kernel):
        X, y = blobs()
        X = np.abs(X)
        svm = KernelSvm(kernel, (0.1, 10.0)).fit(X, y, groups=np.arange(len(y)) % 5)
        Z, truth = blobs(seed=1)
        Z = np.abs(Z)
        assert (svm.predict(Z) == truth).mean() > 0.85
        module = svm.to_module().float()
        assert np.abs(module(torch.from_numpy(Z)).numpy() - svm.predict_proba(Z)).max() < 1e-4

    def test_what_it_says_of_training_rows_is_no_memory(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(90, 30)), np.arange(90) % 3  # nothing to learn
        svm = KernelSvm("rbf", (100.0,)).fit(X, y)
        decisions = svm._kernel(torch.from_numpy(X)).numpy() @ svm.weights_ + svm.intercept_
        assert (decisions.argmax(1) == y).mean() > 0.9  # remembered
        assert (svm.out_of_fold_.argmax(1) == y).mean() < 0.5 and svm.score_ < 0.5

    def test_speakers_stay_on_one_side(self):
        rng = np.random.default_rng(0)
        groups = np.tile(np.arange(6), 20)
        y = np.arange(6)[groups] % 2
        X = np.eye(6)[groups] * 5 + rng.normal(0, 0.1, (120, 6))  # tells speakers apart, and labels by speaker alone
        assert KernelSvm("rbf").fit(X, y).score_ > 0.95
        assert KernelSvm("rbf").fit(X, y, groups).score_ < 0.7


def test_logistic_regression_becomes_a_layer():
    X, y = blobs()
    for rows, labels in ((X, y), (X[y < 2], y[y < 2])):
        fitted = make_logistic(0.1).fit(rows, labels)
        assert np.abs(to_module(fitted)(torch.from_numpy(rows)).numpy() - fitted.predict_proba(rows)).max() < 1e-5


class TestFaceCnn:
    def test_it_learns_where_a_bright_spot_lies(self):
        rng = np.random.default_rng(0)
        targets = np.arange(140) % 7
        faces = rng.integers(0, 80, (140, 48, 48)).astype(np.uint8)
        for face, target in zip(faces, targets, strict=True):
            face[6 * target : 6 * target + 6, 12:36] = 250
        cnn = fit_face_cnn(faces, targets, CnnSettings(epochs=12, batch_size=20, learning_rate=0.02))
        found = cnn(torch.from_numpy(faces).float() / 255).argmax(1).numpy()
        assert (found == targets).mean() > 0.8

    @pytest.mark.parametrize("fast", [True, False])
    def test_it_learns_in_bf16_only_where_that_is_fast(self, monkeypatch, fast):
        seen = []
        monkeypatch.setattr(machine, "multiplies_bf16", lambda: fast)
        forward = face_cnn.FaceCnn.forward
        monkeypatch.setattr(
            face_cnn.FaceCnn, "forward", lambda cnn, faces: seen.append(forward(cnn, faces)) or seen[-1]
        )
        faces, targets = np.zeros((14, 48, 48), np.uint8), np.arange(14) % 7
        fit_face_cnn(faces, targets, CnnSettings(epochs=1, batch_size=14))
        assert {logits.dtype for logits in seen} == {torch.bfloat16 if fast else torch.float32}

    def test_a_loss_that_is_not_finite_stops_the_fit(self):
        wild = CnnSettings(epochs=3, batch_size=4, learning_rate=1e30)
        faces = np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)
        with pytest.raises(MoodreelError, match=r"face network, step \d: the loss is NaN or infinite"):
            fit_face_cnn(faces, np.arange(8) % 7, wild)

    def test_faces_are_moved_and_mirrored_but_stay_faces(self):
        faces = torch.zeros(64, 48, 48, dtype=torch.uint8)
        faces[:, 20:24, 10:14] = 255
        varied = vary(faces)
        assert varied.sum((1, 2)).tolist() == pytest.approx([16.0] * 64)
        centres = {int(face.sum(0).argmax()) for face in varied}
        assert min(centres) < 14 and max(centres) > 30


class TestSegments:
    def test_rows_are_averaged_within_stretches(self):
        rows = torch.arange(20.0)[:, None]
        assert average_segments(rows, 10)[:, 0].tolist() == pytest.approx([0.5 + 2 * n for n in range(10)])

    def test_a_row_on_a_border_counts_on_both_sides(self):
        assert average_segments(torch.tensor([[0.0], [3.0], [6.0]]), 2)[:, 0].tolist() == pytest.approx([1.0, 5.0])

    def test_few_rows_fill_all_stretches(self):
        assert average_segments(torch.tensor([[1.0, 2.0]]), 10).tolist() == [[1.0, 2.0]] * 10


def mouth_clip(is_open, seed, n_frames=4):
    """Noise with a dark mouth: a wide line, or a round hole."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(150, 170, (n_frames, 96, 96, 1)).repeat(3, axis=3).astype(np.uint8)
    height, width = (16, 14) if is_open else (4, 28)
    top, left = MOUTH_TOP_PX + 19 - height // 2, MOUTH_LEFT_PX + 19 - width // 2
    frames[:, top : top + height, left : left + width] = 20
    return torch.from_numpy(frames)


class TestBagOfMouths:
    def test_it_tells_two_mouths_apart(self):
        labels = np.arange(16) % 2
        clips = [mouth_clip(label == 1, seed) for seed, label in enumerate(labels)]
        encoder = fit_mouths(clips, MouthSettings(words=12, every=2))
        bags = torch.cat([encoder(clip) for clip in clips]).numpy()
        assert bags.shape == (32, 16 * 12) and bags.min() >= 0
        fitted = make_logistic(0.01).fit(bags, labels.repeat(2))
        strangers = [mouth_clip(is_open, 100 + n) for n, is_open in enumerate((False, True))]
        assert [fitted.predict(encoder(clip).numpy()).tolist() for clip in strangers] == [[0, 0], [1, 1]]

    def test_a_word_nearer_than_the_average_is_active_and_no_other(self):
        codes = code_triangle(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, 3.0]]]))
        assert codes[0, 0].tolist() == pytest.approx([1.0, 0.0], abs=1e-3)


class TestRelationalAutoencoder:
    def test_mapping_units_know_the_shift_between_random_dots(self):
        rng = np.random.default_rng(0)
        shifts = rng.integers(0, 3, 3000)
        x = (rng.random((3000, 10, 10)) < 0.2).astype(np.float32)
        y = np.stack([np.roll(picture, shift - 1, axis=1) for picture, shift in zip(x, shifts, strict=True)])
        x, y = x.reshape(3000, -1), y.reshape(3000, -1)
        settings = RelationalSettings(hidden=40, factors=100, components=100, noise=0.2, epochs=25, learning_rate=0.003)
        states = fit_autoencoder(x, y, settings)(torch.from_numpy(x), torch.from_numpy(y)).numpy()
        told = LogisticRegression(max_iter=500).fit(states[:2000], shifts[:2000]).score(states[2000:], shifts[2000:])
        both = np.concatenate([x, y], axis=1)  # the pictures side by side do not tell the shift linearly
        plain = LogisticRegression(max_iter=200).fit(both[:2000], shifts[:2000]).score(both[2000:], shifts[2000:])
        assert told > 0.85 and plain < 0.5

    def test_blocks_are_space_time_and_the_last_frame_stays_on(self):
        frames = torch.randint(0, 256, (12, 96, 96, 3), dtype=torch.uint8)
        blocks = cut_blocks(frames)
        assert blocks.shape == (3 * 25, 10, 256)
        assert torch.equal(blocks[-1, 2], blocks[-1, 1]) and not torch.equal(blocks[-1, 0], blocks[-1, 1])
        assert cut_blocks(frames[:1]).shape == (25, 10, 256)

    def test_words_of_motion_sum_to_one(self):
        clips = [torch.randint(0, 256, (11, 96, 96, 3), dtype=torch.uint8) for _ in range(3)]
        settings = RelationalSettings(hidden=8, factors=8, components=8, epochs=1, blocks=60, words=5)
        histogram = fit_motion(clips, settings)(clips[0])
        assert histogram.shape == (1, 5) and float(histogram.sum()) == pytest.approx(1)


class TestFusion:
    def test_class_weights_beat_the_mean_where_each_model_knows_one_class(self):
        rng = np.random.default_rng(0)
        targets = np.arange(280) % 7
        probabilities = rng.dirichlet(np.ones(7), (2, 280))
        for model, known in enumerate(((0, 1, 2, 3), (4, 5, 6))):  # each is sure of its own classes, and guesses others
            knows = np.isin(targets, known)
            probabilities[model, knows] = 0.5 * np.eye(7)[targets[knows]] + 0.5 * probabilities[model, knows]
            others = [c for c in range(7) if c not in known]
            wrong = rng.choice(others, size=280)
            probabilities[model, ~knows] = 0.7 * np.eye(7)[wrong[~knows]] + 0.3 * probabilities[model, ~knows]
        first, second = slice(0, 140), slice(140, 280)
        settings = fusion.SearchSettings(1000, 1000)
        weights = fusion.search_weights(probabilities[:, first], targets[first], settings)
        assert weights.shape == (2, 7) and weights.sum(axis=0) == pytest.approx(np.ones(7))
        right = {
            name: (fusion.fuse(probabilities[:, second], w).argmax(1) == targets[second]).mean()
            for name, w in (("weights", weights), ("mean", fusion.average(2)))
        }
        assert right["weights"] > right["mean"] + 0.1

    def test_fused_rows_are_probabilities(self):
        probabilities = np.random.default_rng(0).dirichlet(np.ones(7), (3, 5))
        fused = fusion.fuse(probabilities, fusion.average(3))
        assert np.allclose(fused, probabilities.mean(axis=0)) and np.allclose(fused.sum(axis=1), 1)


class TestAuRelations:
    def test_the_planted_patch_is_found_and_told(self):
        rng = np.random.default_rng(0)
        y = np.arange(120) % 3
        X = rng.normal(size=(120, 25, 4))
        X[y == 1, 7] += 2.0  # what sets class 1 apart lies in patch 7 alone
        X[y == 2, 18] -= 2.0
        svm = AuRelationSvm(5, kept=(2,), components=4, penalties=(1.0,)).fit(X.reshape(120, -1), y)
        found = dict(zip(map(tuple, svm.pairs_.tolist()), svm.patches_[:, 0].tolist(), strict=True))
        assert found[0, 1] == 7 and found[0, 2] == 18 and found[1, 2] in (7, 18)
        assert svm.out_of_fold_.shape == (120, 3) and (svm.out_of_fold_.argmax(1) == y).mean() > 0.8

    def test_relations_say_what_single_patches_cannot(self):
        rng = np.random.default_rng(0)
        signs = rng.choice([-1.0, 1.0], (400, 2))
        y = (signs[:, 0] == signs[:, 1]).astype(int)  # whether two patches agree
        X = rng.normal(0, 0.3, (400, 9, 2))
        X[:, 0, 0] += signs[:, 0]
        X[:, 8, 0] += signs[:, 1]
        svm = AuRelationSvm(3, kept=(9,), components=2, penalties=(0.1, 1.0)).fit(X.reshape(400, -1), y)
        assert svm.svm_.score_ > 0.85

    def test_neighbours_wait_for_patches_further_off(self):
        scores = np.zeros(9)
        scores[[0, 1, 8]] = (3, 2, 1)
        assert choose_apart(scores, 3, 2).tolist() == [0, 8]
        assert choose_apart(scores, 3, 5).tolist() == [0, 8, 2, 6, 1]
        assert len(choose_apart(scores, 3, 99)) == 9


class TestPatchFeatures:
    @pytest.mark.parametrize(("family", "width"), [("gradients", 32), ("binary_patterns", 59), ("grey", 64)])
    def test_each_patch_has_mean_and_deviation(self, family, width):
        still = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
        row = PatchFeatures(family)(still.repeat(3, 1, 1, 1)).reshape(GRID**2, 2, width)
        assert row[:, 1].abs().max() < 1e-3 and row[:, 0].abs().max() > 0.01  # a still clip does not deviate

    def test_an_edge_shows_in_its_direction_and_place(self):
        frame = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
        frame[:, :, 48:] = 255
        histograms = describe_gradients(frame).reshape(GRID, GRID, 4, 8)
        assert histograms[5, 5].sum(0).argmax() == 0 and histograms[5, 0].abs().max() == 0


class TestInputs:
    def test_descriptors_follow_pitch_and_level(self):
        time_s = np.arange(16_000) / 16_000
        low, high = (0.3 * np.sin(2 * np.pi * pitch_hz * time_s).astype(np.float32) for pitch_hz in (200, 3000))
        starts = dict(zip(GROUPS, np.cumsum([0, *GROUPS.values()]), strict=False))
        rows = {name: extract_descriptors(sound) for name, sound in (("low", low), ("high", high), ("quiet", low / 10))}
        assert rows["low"].shape == (49, N_DESCRIPTORS) and np.isfinite(rows["low"]).all()
        means = {name: one.mean(axis=0) for name, one in rows.items()}
        assert means["high"][starts["sharpness"]] > means["low"][starts["sharpness"]]
        assert means["low"][starts["energy"]] - means["quiet"][starts["energy"]] == pytest.approx(np.log(100), abs=0.1)
        assert means["low"][starts["autocorrelation"] + 3] > 0.8  # 5 ms, one period of 200 Hz
        with pytest.raises(ValueError, match="at least"):
            extract_descriptors(np.zeros(10, np.float32))

    def test_a_foreshortened_face_is_widened_again(self):
        landmarks_px = np.array(FER_TEMPLATE) * 96 * [0.7, 1.0] + [60, 40]  # as when the head is turned
        picture = np.zeros((200, 200, 3), np.uint8)
        for x, y in landmarks_px:
            picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
        eyes = [np.flatnonzero(cut(picture, landmarks_px, 96)[30:48].sum((0, 2)) > 300)
                for cut in (align_face, flatten_face)]  # fmt: skip
        turned, frontal = (columns.max() - columns.min() for columns in eyes)
        assert frontal > turned + 5 and abs(frontal - 0.37 * 96) < 6
