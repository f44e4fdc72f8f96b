"""Training end to end on tiny clips: every recipe, resuming, two processes, export, bad input."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from media_files import write_clip
from tiny_bundle import write_tiny_bundle
from tiny_corpus import changes_for, stand_in_functionals, write_corpus, write_voices

torch = pytest.importorskip("torch")

from moodreel.bundle import load_bundle
from moodreel.corpora import read_corpus
from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.leaks.fingerprints import read_fingerprint
from moodreel.leaks.guard import TESTED, find_leaks
from moodreel.leaks.training_clips import know_clips, read_training_clips, write_training_clips
from moodreel.recognition.recognizer import Recognizer
from moodreel.storage.cache import Cache
from moodreel.training import onnx_export
from moodreel.training.backbones.resnet import ResNet20
from moodreel.training.extraction import extract_corpus
from moodreel.training.joint import batches, maps, material
from moodreel.training.joint.export import TrainingFacts, export_bundle
from moodreel.training.joint.fit import Epoch, fit_network, format_epoch
from moodreel.training.joint.networks import ResNetEncoder
from moodreel.training.joint.projection import class_scores, fit_lda
from moodreel.training.joint.recipe import load_recipe
from moodreel.training.joint.train import prepare_material, train, train_and_score
from moodreel.training.options import TrainOptions, change_labels
from moodreel.training.search.postmortem import (
    CAUSES,
    applicable,
    count_cost,
    format_postmortem,
    postmortem,
    shrink,
)

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


def options(recipe, cache, *changes, **rest):
    return TrainOptions(
        changes=(*changes_for(recipe), *changes), speaker_regex=SPEAKER, cache=cache, **{"max_epochs": 1, **rest}
    )


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("encoders"))


def encoder_changes(encoders):
    """Build on the tiny bundle's encoders; its corpus shows no faces, so frames have no scale."""
    return (
        f"encoders={encoders}",
        "frames.framing=face",
        "frames.side_px=32",
        "video.weights=expression",
        "video.expressions=false",
        "video.scale=false",
        "video.reduced=0",
        "video.scores=false",
    )


def weights(run):
    return torch.load(run / "network-0" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("recipe", ["paper", "paper-adam", "repaired", "audio", "video", "best"])
def test_every_recipe_fits_one_epoch_exports_and_predicts(recipe, corpus, cache, encoders, tmp_path):
    run = tmp_path / "run"
    changes = encoder_changes(encoders) if recipe == "best" else ()
    scores = train(corpus, recipe, run, options(recipe, cache, *changes, fold=1))
    assert scores["n_clips"] == {"train": 21, "valid": 7, "test": 14} and scores["speaker_independent"]
    assert (run / "curves.png").stat().st_size > 0
    assert len((run / "test-predictions.csv").read_text().splitlines()) == 15
    bundle = load_bundle(run / "bundle")
    assert bundle.kind == "joint" and bundle.networks["joint"]["largest_difference_from_torch"] < 1e-4
    prediction = Recognizer.load(run / "bundle").predict(next(corpus.rglob("*.mp4")))
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-3)
    check_modalities(prediction)


def test_what_the_encoders_learned_from_is_known_to_the_leak_guard(corpus, cache, tmp_path):
    """Nobody tests a network honestly on what its encoders heard."""
    heard = read_corpus(write_voices(tmp_path / "heard")).samples
    prints = [read_fingerprint(sample) for sample in heard]
    place = tmp_path / "encoders"
    entry = write_training_clips(know_clips(heard, prints, ["trained"] * len(heard)), place)
    changes = encoder_changes(write_tiny_bundle(place, training_clips=entry))
    train(corpus, "best", tmp_path / "run", options("best", cache, *changes, fold=1))
    known = read_training_clips(load_bundle(tmp_path / "run" / "bundle"))
    assert len(known) == len(heard) + 28, "28 clips were learned from or chosen by"
    report = find_leaks([*know_clips(heard, prints, [TESTED] * len(heard)), *known], "")
    assert set(report.leaked) == {sample.clip_id for sample in heard}


def test_both_eyes_stand_side_by_side(corpus, cache, encoders, tmp_path):
    changes = (*encoder_changes(encoders), "video.weights=cifar10", "video.expressions=true", "video.cells=2")
    train(corpus, "best", tmp_path / "run", options("best", cache, *changes, fold=1))
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.networks["joint"]["largest_difference_from_torch"] < 1e-4
    assert set(bundle.networks) == {"joint", "face", "voice"}
    lstm = weights(tmp_path / "run")["network.video.lstm.weight_ih_l0"]
    n_features = 3 + 2 * 2 * 32  # the tiny encoder's, and ResNet's second maps averaged to 2x2
    assert lstm.shape[1] == 2 * n_features
    prediction = Recognizer.load(tmp_path / "run" / "bundle").predict(next(corpus.rglob("*.mp4")))
    check_modalities(prediction)


def check_modalities(prediction):
    """Each modality that is there answers with the other hidden; one alone answers what the whole does."""
    there = [one for one in (prediction.face, prediction.voice) if one.state == "ok"]
    assert all(sum(one.probabilities) == pytest.approx(1, abs=1e-3) for one in there)
    assert all(one.probabilities is None for one in (prediction.face, prediction.voice) if one.state != "ok")
    if len(there) == 1:
        assert there[0].probabilities == pytest.approx(prediction.probabilities)


STEADY = ("audio.dropout=0", "head.dropout=0", "fit.patience=0", "fit.schedule=constant")
"""Without dropout nothing but seed and epoch decides what a step does: runs can be compared number by number."""


def test_a_run_goes_on_where_it_was_killed(corpus, cache, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(corpus, "audio", whole, options("audio", cache, *STEADY, max_epochs=3))
    with pytest.MonkeyPatch.context() as patch:
        kill_in_epoch(patch, 2)
        with pytest.raises(SystemExit):
            train(corpus, "audio", parts, options("audio", cache, *STEADY, max_epochs=3))
    assert len(torch.load(parts / "network-0" / "last.ckpt", weights_only=True)["curve"]) == 2
    assert not (parts / "bundle").exists()
    train(corpus, "audio", parts, options("audio", cache, *STEADY, max_epochs=3, resume=True))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-5, atol=1e-6)
    assert len(torch.load(parts / "network-0" / "last.ckpt", weights_only=True)["curve"]) == 3


def test_two_processes_give_the_weights_of_one(corpus, cache, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(corpus, "audio", one, options("audio", cache, *STEADY, max_epochs=2))
    train(corpus, "audio", two, options("audio", cache, *STEADY, max_epochs=2, devices=2))
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-4, atol=1e-5)


def kill_in_epoch(patch, epoch):
    from moodreel.training.joint.fit import JointModule

    whole = JointModule.training_step

    def step(self, batch, index):
        if self.current_epoch == epoch:
            raise SystemExit("killed")
        return whole(self, batch, index)

    patch.setattr(JointModule, "training_step", step)


def test_batches_of_two_processes_are_the_batches_of_one(corpus, cache, tmp_path):
    items = [
        batches.ClipItem(torch.zeros(1, 0), torch.zeros(0), torch.zeros(2), True, True, n % 7, f"clip{n}")
        for n in range(21)
    ]
    one = list(batches.Batches(None, items, 8, seed=3, modality_dropout=0.3))
    two = [list(batches.Batches(None, items, 8, seed=3, modality_dropout=0.3, rank=r, world_size=2)) for r in (0, 1)]
    for whole, *halves in zip(one, *two, strict=True):
        assert sorted(whole.clip_ids) == sorted(halves[0].clip_ids + halves[1].clip_ids)
        assert whole.has_face.sum() == halves[0].has_face.sum() + halves[1].has_face.sum()


def test_a_second_run_extracts_nothing(corpus, cache, tmp_path, monkeypatch, caplog):
    train(corpus, "audio", tmp_path / "one", options("audio", cache))
    monkeypatch.setattr("moodreel.training.extraction.open_clip", lambda *_: pytest.fail("a clip was read again"))
    train(corpus, "audio", tmp_path / "two", options("audio", cache))


def test_a_run_folder_is_not_overwritten_nor_continued_by_another_recipe(corpus, cache, tmp_path):
    train(corpus, "audio", tmp_path / "run", options("audio", cache))
    with pytest.raises(OutputError, match="--resume"):
        train(corpus, "audio", tmp_path / "run", options("audio", cache))
    with pytest.raises(RecipeError, match="another recipe"):
        train(corpus, "audio", tmp_path / "run", options("audio", cache, "seed=1", resume=True))


def test_a_run_does_not_go_on_with_another_fold_or_corpus(corpus, cache, tmp_path):
    """Its network has learned from the speakers that the other fold scores: the figure would be a lie."""
    run = tmp_path / "run"
    train(corpus, "audio", run, options("audio", cache, fold=1))
    scored, told = (run / "scores.json").read_text(), json.loads((run / "split.json").read_text())
    assert told["split"] == "fold 1 of 5, by speaker" and told["test"]["speakers"] == ["ann", "bob"]
    assert [told[side]["n_clips"] for side in ("train", "valid", "test")] == [21, 7, 14]
    for changed in ({"fold": 2}, {"fold": None}, {"fold": 1, "allow_shared_speakers": True}):
        with pytest.raises(OutputError, match=r"another split or corpus \('fold 1 of 5, by speaker', now "):
            train(corpus, "audio", run, options("audio", cache, resume=True, **changed))
    other = write_corpus(tmp_path / "other")
    with pytest.raises(OutputError, match="now 'other'"):
        train(other, "audio", run, options("audio", cache, fold=1, resume=True))
    fewer = shutil.copytree(corpus, tmp_path / "fewer" / corpus.name)
    (fewer / "sad" / "ann_sad.mp4").unlink()
    with pytest.raises(OutputError, match="other test clips"):
        train(fewer, "audio", run, options("audio", cache, fold=1, resume=True))
    assert (run / "scores.json").read_text() == scored
    (run / "split.json").unlink()
    with pytest.raises(OutputError, match="does not say which clips"):
        train(corpus, "audio", run, options("audio", cache, fold=1, resume=True))


def test_a_network_does_not_go_on_when_other_clips_can_be_read(corpus, cache, tmp_path):
    """What is fitted beforehand, LDA and scales, would no longer fit the network's weights."""
    folder = shutil.copytree(corpus, tmp_path / "corpus")
    train(folder, "audio", tmp_path / "run", options("audio", cache))
    (folder / "angry" / "fay_angry.mp4").write_bytes(b"not a video")
    with pytest.raises(OutputError, match="learned from other clips"):
        train(folder, "audio", tmp_path / "run", options("audio", cache, resume=True))


def test_a_split_that_is_blank_for_some_clips_is_refused(corpus, cache, tmp_path):
    """Passing it over would train on the clips that the corpus sets aside to test on."""
    folder = shutil.copytree(corpus, tmp_path / "corpus")
    given = replace(options("audio", cache), speaker_regex=None)
    blank = write_manifest(folder, {"ann": "test", "cem": ""})
    with pytest.raises(
        CorpusError, match=r"7 of 42 clips have no split \(angry/cem_angry.mp4, .* and 5 more\).*--fold"
    ):
        train(blank, "audio", tmp_path / "run", given)
    assert train(blank, "audio", tmp_path / "run", replace(given, fold=1))["split"] == "fold 1 of 5, by speaker"
    scores = train(write_manifest(folder, {"ann": "test"}), "audio", tmp_path / "whole", given)
    assert scores["n_clips"] == {"train": 35, "valid": 0, "test": 7} and scores["split"] == "the corpus's own split"


def write_manifest(folder, sides):
    """List a corpus's clips with the speakers' sides, `train` unless told."""
    rows = ["path,label,speaker,split"]
    for path in sorted(folder.rglob("*.mp4")):
        speaker = path.stem.partition("_")[0]
        rows.append(f"{path.relative_to(folder)},{path.parent.name},{speaker},{sides.get(speaker, 'train')}")
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder / "clips.csv"


def test_a_command_that_was_refused_can_be_corrected(corpus, cache, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(RecipeError, match="expected 1 to 5"):
        train(corpus, "audio", run, options("audio", cache, fold=9))
    with pytest.raises(CorpusError, match="unknown"):
        train(corpus, "audio", run, replace(options("audio", cache), speaker_regex=None))
    with pytest.raises(CorpusError, match="no such folder"):
        train(tmp_path / "nowhere", "audio", run, options("audio", cache))
    assert not run.exists(), "a run that was refused leaves a folder"
    train(corpus, "audio", run, options("audio", cache, fold=1))


def test_nan_in_the_functionals_names_the_clip(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", lambda _: np.full(1582, np.nan, np.float32))
    with pytest.raises(CorpusError, match=r"\.mp4: NaN"):
        train(corpus, "audio", tmp_path / "run", options("audio", tmp_path / "cache"))


def test_lightning_advertises_nothing_and_names_no_device(corpus, cache, tmp_path):
    """What it says on stderr in a process of its own, for it speaks at import and in processes it starts."""
    train(corpus, "audio", tmp_path / "fill", options("audio", cache))  # the stand-in is not known there
    changes = [part for change in changes_for("audio") for part in ("--set", change)]
    command = ["train", corpus, "--recipe", "audio", "--speakers", SPEAKER, "--cache", cache, "--out", tmp_path / "run"]
    said = subprocess.run(
        [sys.executable, "-m", "moodreel", *command, "--max-epochs", "1", "--devices", "2", "--workers", "1", *changes],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    phases = (
        "reading clips: 42 of 42",
        "encoding clips",
        "fitting network 1 of 1",
        "scoring the valid",
        "writing the b",
    )
    for phase in phases:
        assert phase in said, "no phase is silent"
    assert not re.search("litlogger|[GT]PU|LeafSpec|Seed set|Trainer|Warning|nan", said), said
    strange = [line for line in said.splitlines() if not re.match(r"\d\d:\d\d:\d\d [a-z]", line)]
    assert strange == []


def test_a_loss_that_diverges_names_step_and_clips(corpus, cache, tmp_path):
    wild = ("fit.optimizer=sgd", "fit.rate_low=1e30", "fit.rate_high=1e30", "fit.clip_norm=0")
    with pytest.raises(MoodreelError, match=r"step \d+: the loss is NaN or infinite on .*; lower the learning rate"):
        train(corpus, "audio", tmp_path / "run", options("audio", cache, *wild, max_epochs=8))


def test_half_a_checkpoint_is_refused_with_the_way_out(corpus, cache, tmp_path):
    run = tmp_path / "run"
    train(corpus, "audio", run, options("audio", cache, max_epochs=1))
    (path,) = run.rglob("last.ckpt")
    path.write_bytes(path.read_bytes()[:1000])
    (run / "scores.json").unlink()
    with pytest.raises(OutputError, match=r"last\.ckpt: not a whole checkpoint .*delete it to train that part anew"):
        train(corpus, "audio", run, options("audio", cache, max_epochs=1, resume=True))


def test_unreadable_clips_are_left_out_and_counted_or_stop_the_run(tmp_path, cache):
    folder = write_corpus(tmp_path / "corpus")
    (folder / "angry" / "ann_angry.mp4").write_bytes(b"not a video")
    scores = train(folder, "audio", tmp_path / "run", options("audio", cache))
    assert scores["n_unreadable"] == 1
    (left_out,) = scores["unreadable"]
    assert left_out["clip"] == "angry/ann_angry" and left_out["side"] in {"train", "valid"}
    assert "ann_angry.mp4: is not media" in left_out["reason"]
    for path in list(folder.glob("sad/*.mp4"))[:4]:
        path.write_bytes(b"not a video")
    with pytest.raises(CorpusError, match=r"5 of 42 clips cannot be read.*--allow-unreadable"):
        train(folder, "audio", tmp_path / "other", options("audio", cache))


@pytest.mark.parametrize("recipe", ["audio", "repaired"])
def test_with_nothing_set_aside_all_other_speakers_are_learned_from(recipe, corpus, cache, tmp_path):
    scores = train(corpus, recipe, tmp_path / "run", options(recipe, cache, "valid_share=0", fold=1))
    assert "test" in scores
    assert scores["n_clips"]["valid"] == 0 and "valid" not in scores
    assert scores["n_clips"]["train"] + scores["n_clips"]["test"] == len(list(corpus.rglob("*.mp4")))


def test_a_fold_that_is_not_there_is_refused(corpus, cache, tmp_path):
    with pytest.raises(RecipeError, match="expected 1 to 5"):
        train(corpus, "audio", tmp_path / "run", options("audio", cache, fold=6))


def test_scores_hold_strict_json(corpus, cache, tmp_path):
    train(corpus, "audio", tmp_path / "run", options("audio", cache, fold=2))
    assert "uar" in json.loads((tmp_path / "run" / "scores.json").read_text())["test"]


def test_the_postmortem_has_a_row_a_cause(corpus, cache, tmp_path):
    causes = [cause for cause in CAUSES if cause.name in {"sound alone, for comparison", "LDA without shrinkage"}]
    given = TrainOptions(changes=changes_for("repaired"), speaker_regex=SPEAKER, cache=cache)
    findings, costs = postmortem(corpus, tmp_path / "out", given, causes)
    assert [finding.base for finding in findings] == ["repaired", "audio"]
    assert all(0 <= finding.uar <= 1 for finding in findings)
    assert "| audio | sound alone, for comparison |" in format_postmortem(findings, costs)
    assert (tmp_path / "out" / "postmortem.png").stat().st_size > 0
    assert count_cost("paper", 256, 25.0, 0, 64).first_layer_parameters == 4 * 64 * (64**3 + 64 + 2)
    two = count_cost("two stages", 64, 7.5, 8, 64, stages=2)
    assert two.first_layer_parameters == 4 * 64 * (32 * 8 * 8 + 64 + 2)
    assert two.resnet_gmacs == pytest.approx(count_macs(2, 64) * 30 / 1e9)
    assert count_cost("all", 32, 1.0, 0, 64, seconds=1.0).resnet_gmacs == pytest.approx(count_macs(3, 32) / 1e9)


def count_macs(n_stages, side_px):
    """Count ResNet-20's multiplications up to the end of a stage, layer by layer."""
    counts = []
    network = ResNet20()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda layer, _, out: counts.append(layer.weight.numel() * out[0, 0].numel()))
    network.maps(torch.zeros(1, 3, side_px, side_px), n_stages)
    return sum(counts)


def test_the_postmortem_reads_clips_once_for_rows_that_read_the_same_of_them(corpus, cache, tmp_path, monkeypatch):
    named = {"sound alone, for comparison", "sound: LDA without shrinkage", "sound: no copies at other speeds"}
    read = []
    monkeypatch.setattr(
        "moodreel.training.search.postmortem.prepare_material",
        lambda *a: read.append(a[1].audio.speeds) or prepare_material(*a),
    )
    given = TrainOptions(changes=changes_for("audio"), speaker_regex=SPEAKER, cache=cache)
    postmortem(corpus, tmp_path / "out", given, [cause for cause in CAUSES if cause.name in named])
    assert read == [(0.88, 0.94, 1.06, 1.13), ()]
    alone = train_and_score(
        corpus, load_recipe("audio", (*given.changes, *shrink(CAUSES[-1]), "audio.shrinkage=none")), tmp_path / "alone",
        replace(given, fold=1),
    )  # fmt: skip
    assert json.loads((tmp_path / "out" / "run-01" / "scores.json").read_text())["test"] == alone["test"]


def test_a_stopped_postmortem_goes_on_and_fits_no_row_twice(corpus, cache, tmp_path, monkeypatch):
    causes = [cause for cause in CAUSES if cause.base == "audio"][:2]
    given = TrainOptions(changes=changes_for("audio"), speaker_regex=SPEAKER, cache=cache)
    fitted = []
    monkeypatch.setattr("moodreel.training.joint.train.fit_network", lambda *a, **k: stop_at(2, fitted, *a, **k))
    with pytest.raises(SystemExit):
        postmortem(corpus, tmp_path / "out", given, causes)
    findings, _ = postmortem(corpus, tmp_path / "out", given, causes)
    assert [out.parent.name for out in fitted] == ["run-00", "run-01", "run-01"]
    assert all(0 <= finding.uar <= 1 for finding in findings)
    with pytest.raises(OutputError, match="another split"):
        postmortem(corpus, tmp_path / "out", replace(given, fold=2), causes)


def stop_at(number, fitted, network, material, sides, recipe, out, **rest):
    """Fit, but for one call, which is killed."""
    fitted.append(out)
    if len(fitted) == number:
        raise SystemExit("killed")
    return fit_network(network, material, sides, recipe, out, **rest)


@pytest.mark.parametrize(
    ("base", "taken"),
    [
        ("repaired", ["video.width=4", "frames.rate_hz=5", "audio.dropout=0.1", "fit.epochs=1"]),
        ("video", ["video.width=4", "frames.rate_hz=5", "fit.epochs=1"]),
        ("audio", ["audio.dropout=0.1", "fit.epochs=1"]),
    ],
)
def test_changes_of_a_postmortem_reach_the_branches_that_a_row_has(base, taken):
    """Rows of pictures alone once grew a sound branch by `--set audio.x`, and lost `--set video.x`."""
    changes = ("video.width=4", "frames.rate_hz=5", "audio.dropout=0.1", "fit.epochs=1")
    assert list(applicable(changes, base)) == taken
    recipe = load_recipe(base, applicable(changes, base))
    assert (recipe.audio is None, recipe.video is None) == (base == "video", base == "audio")


def test_every_cause_of_the_postmortem_makes_a_sound_recipe():
    for cause in CAUSES:
        recipe = load_recipe(cause.base, (*shrink(cause), *cause.all_changes))
        assert recipe.fit.ensemble == 1 and recipe.fit.epochs == 12


def test_early_stopping_keeps_the_best_epoch(corpus, cache, tmp_path):
    run = tmp_path / "run"
    train(corpus, "audio", run, options("audio", cache, "fit.patience=1", fold=1, max_epochs=30))
    last, best = (torch.load(run / "network-0" / f"{n}.ckpt", weights_only=True) for n in ("last", "best"))
    uars = [row[3] for row in last["curve"]]
    assert len(uars) < 30  # it stopped by itself
    assert uars[best["epoch"]] == max(uars)


def test_an_encoder_that_is_trained_moves_and_one_that_is_frozen_does_not(corpus, cache, tmp_path):
    small = (
        "fit.rate_low=1e-2",
        "fit.rate_high=1e-2",
        "video.reduced=0",
        "video.scale=false",
        "video.scores=false",
    )
    moved = {}
    for frozen in ("true", "false"):
        changes = (*small, "video.mirrored=false", f"video.frozen={frozen}", "video.cells=1")
        train(corpus, "video", tmp_path / frozen, options("video", cache, *changes))
        moved[frozen] = [name for name in weights(tmp_path / frozen) if name.startswith("network.encoder")]
    assert not moved["true"] and moved["false"]  # a frozen encoder's maps were made once, outside the network


def test_maps_that_are_too_large_to_hold_are_made_in_every_step(corpus, cache, tmp_path, monkeypatch):
    train(corpus, "paper", tmp_path / "held", options("paper", cache, fold=1))
    monkeypatch.setattr(material, "LARGEST_HELD_BYTES", 0)
    train(corpus, "paper", tmp_path / "made", options("paper", cache, fold=1))
    held, made = weights(tmp_path / "held"), weights(tmp_path / "made")
    for name, value in held.items():
        torch.testing.assert_close(made[name], value, rtol=1e-2, atol=1e-3)  # held maps are float16
    assert any(name.startswith("network.encoder") for name in made)


def test_copies_of_clips_are_learned_from_and_never_scored(corpus, cache, tmp_path):
    speeds = "audio.speeds=[0.9, 1.1]"
    train(corpus, "repaired", tmp_path / "run", options("repaired", cache, speeds, "audio.cross_fit=2", fold=1))
    bundle = load_bundle(str(tmp_path / "run" / "bundle"))
    assert "speeds" not in bundle.manifest["inputs"], "predicting needs no copies"


def _modality_features(copies, n=12):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    settings = {"n_directions": 2, "shrinkage": "fixed", "share": 0.5}
    return maps.ModalityFeatures("audio", vectors, copies, np.ones(n, bool), settings, cross_fit=2, is_scored=True)


class _ThreeSpeakers:
    """As much of a material as the scoring of strangers asks for."""

    def __init__(self, n=12):
        self.remembered = {}
        self.speakers = [f"s{row % 3}" for row in range(n)]
        self.extraction = SimpleNamespace(samples=[SimpleNamespace(speaker=one) for one in self.speakers])

    def labels(self, rows):
        return rows // 3 % 3


def test_copies_of_a_speaker_do_not_reach_the_fit_that_scores_this_speaker():
    material, rows = _ThreeSpeakers(), np.arange(12)
    plain = _modality_features(np.zeros((12, 1, 3), np.float32))
    wild = plain.copies.copy()
    wild[::3] += 100 * np.random.default_rng(1).normal(size=wild[::3].shape)  # of speaker s0
    scores = maps._score_strangers(material, plain, rows)
    wild_scores = maps._score_strangers(_ThreeSpeakers(), replace(plain, copies=wild), rows)
    assert maps._score_strangers(material, plain, rows) is scores, "a search's trials fit it once"
    own = np.array(material.speakers) == "s0"
    beside = np.array(material.speakers) == "s2"  # scored in one part with s0
    np.testing.assert_allclose(scores[own | beside], wild_scores[own | beside])
    assert np.abs(scores[~(own | beside)] - wild_scores[~(own | beside)]).max() > 0.1, "the other fit sees them"


def test_a_fit_with_copies_is_the_fit_of_more_clips():
    rows, copies = np.arange(12), np.random.default_rng(2).normal(size=(12, 2, 3)).astype(np.float32)
    modality = _modality_features(copies)
    found = maps._fit_modality(_ThreeSpeakers(), modality, rows, "have sound")
    vectors = np.concatenate([modality.vectors, copies.reshape(24, 3)]).astype(np.float64)
    labels = np.concatenate([rows // 3 % 3, np.repeat(rows // 3 % 3, 2)])
    expected = class_scores(fit_lda(vectors, labels, **modality.settings), vectors, labels, 7)
    np.testing.assert_allclose(found.apply(modality.vectors), expected.apply(modality.vectors))


def test_mirrored_frames_are_summarised_beside_the_frames(cache, tmp_path):
    lit = np.zeros((16, 16, 3), np.uint8)
    lit[:, :8] = 255  # the left half is bright
    for speaker in ("ann", "bob"):
        (tmp_path / "happy").mkdir(exist_ok=True)
        write_clip(tmp_path / "happy" / f"{speaker}.mp4", 0.6, size=(16, 16), rate=5, frames=lambda _: lit)
    recipe = load_recipe("video", (*changes_for("video"), "video.mirrored=true"))
    samples = read_corpus(tmp_path, speaker_regex="(?P<speaker>[a-z]+).mp4").samples
    extraction = extract_corpus(samples, recipe.inputs, Cache(cache))
    encoder = ResNetEncoder(ResNet20(), cells=4, grey=True)
    summaries = material.Material(extraction, recipe, encoder).summaries
    cells = summaries.reshape(2, 2, 5, 64, 4, 4)[:, :, 0]  # clips, views, of the means: channels, rows, columns
    assert summaries.shape == (2, 2, 5 * 1024) and np.abs(cells[:, 0] - cells[:, 1]).max() > 1e-2
    flipped = torch.from_numpy(np.ascontiguousarray(extraction.load(0).frames[:, :, ::-1]))
    with torch.inference_mode():
        expected = encoder.eval()(flipped).mean(0)
    np.testing.assert_allclose(summaries[0, 1, :1024], expected, atol=2e-2)  # held as float16


@pytest.mark.parametrize(
    ("recipe", "change", "told"),
    [
        ("audio", "audio.source=corpus", "audio.source: opensmile or speech"),
        ("audio", "audio.speeds=[0.1]", "0.5-2"),
        ("paper", "video.mirrored=true", "video.scores"),
        ("best", "video.mirrored=true", "ResNet-20"),
    ],
)
def test_copies_that_cannot_be_made_are_refused(recipe, change, told):
    with pytest.raises(RecipeError, match=told):
        load_recipe(recipe, [change])


def test_clips_of_unknown_speakers_are_learned_from_where_that_is_asked_for(corpus, cache, tmp_path):
    asked = options("audio", cache, "audio.cross_fit=2", fold=1, allow_shared_speakers=True)
    scores = train(corpus, "audio", tmp_path / "run", replace(asked, speaker_regex=None))
    assert not scores["speaker_independent"] and scores["test"]["uar"]["value"] >= 0


class _Scaled(torch.nn.Module):
    """As much of a clip's network as exporting asks for, with logits of any size."""

    def __init__(self, size):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(1582, 64), torch.nn.ReLU(), torch.nn.Linear(64, 7))
        self.size = size

    def forward(self, functionals, has_voice):
        return self.size * self.layers(functionals) * has_voice


FACTS = TrainingFacts(training_data="made up", licence="none", command="none", scores={})


def test_logits_in_the_thousands_are_compared_by_their_size(tmp_path):
    recipe = load_recipe("audio")
    export_bundle(_Scaled(1e4), recipe, tmp_path / "bundle", FACTS)
    assert load_bundle(tmp_path / "bundle").networks["joint"]["largest_difference_from_torch"] < 1e-4


def test_a_graph_that_answers_otherwise_leaves_no_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "measure_difference", lambda *_: 0.5)
    with pytest.raises(MoodreelError, match="differ from torch"):
        export_bundle(_Scaled(1.0), load_recipe("audio"), tmp_path / "bundle", FACTS)
    assert list((tmp_path / "bundle").iterdir()) == []


def test_a_wrong_fold_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(RecipeError, match="fold 9: expected 1 to 5; more folds are made by --set folds=9"):
        train(tmp_path / "nowhere", "audio", tmp_path / "run", TrainOptions(fold=9))
    assert not list(tmp_path.rglob("*.yaml"))


def test_the_map_of_classes_stands_in_recipe_and_bundle(corpus, cache, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(corpus, mine)
    (mine / "happy").rename(mine / "joyful")
    (mine / "fear").rename(mine / "contempt")
    given = options("audio", cache, *change_labels(["joyful=happy"], ["contempt"]))
    with pytest.raises(CorpusError, match=r"--ignore contempt --map joyful=happy"):
        train(mine, "audio", tmp_path / "run", options("audio", cache))
    scores = train(mine, "audio", tmp_path / "run", given)
    assert sum(scores["n_clips"].values()) == 36 and "no clip of fear" in scores["warnings"][-1]
    labels = {"joyful": "happy", "contempt": "ignore"}
    assert load_bundle(tmp_path / "run" / "bundle").manifest["recipe"]["labels"] == labels
    with pytest.raises(RecipeError, match="another recipe"):
        train(mine, "audio", tmp_path / "run", options("audio", cache, resume=True))


def test_an_epoch_without_clips_set_aside_says_nothing_of_them():
    said = format_epoch(Epoch(0, 1.5, math.nan, math.nan), 3)
    assert said == "epoch 1 of 3: loss 1.5000"
    assert format_epoch(Epoch(1, 1.5, 0.5, 0.25), 3) == "epoch 2 of 3: loss 1.5000, set aside: loss 0.5000, UAR 0.250"
