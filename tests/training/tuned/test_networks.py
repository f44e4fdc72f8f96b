"""Networks tuned below their last layers: what helps is kept, nobody who judges is learned from, memory is bounded."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from media_files import write_clip
from moodreel import Recognizer
from moodreel.bundle import load_bundle, read_network
from moodreel.cli import main as cli
from moodreel.corpora import read_corpus
from moodreel.errors import OutputError
from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import read_fusion
from moodreel.storage.cache import Cache
from moodreel.training.tuned import face_bench, voice_bench, watched_fit
from moodreel.training.tuned.clips import load_given, read_described
from moodreel.training.tuned.networks import Workshop
from moodreel.training.tuned.train import say_epochs
from moodreel.training.tuned.tune import judge, tune
from tiny_bundle import write_tiny_bundle
from tiny_corpus import write_voices
from tiny_networks import write_trained_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(write_trained_bundle(tmp_path_factory.mktemp("trained")))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_voices(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def clips(bundle, cache, corpus):
    samples = read_corpus(corpus, speaker_regex="(?P<speaker>[a-z]+)_").samples
    return [one for _, one in read_described(samples, str(bundle.path), cache, keeps_given=True).kept]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Networks this small learn nothing at the rates of large ones."""
    monkeypatch.setattr(
        voice_bench, "SCHEDULE", voice_bench.replace(voice_bench.SCHEDULE, encoder_rate=3e-3, head_rate=3e-3)
    )
    monkeypatch.setattr(face_bench, "_RATE", 1e-2)


def fusion_of(bundle):
    return read_fusion(bundle.section("fusion"))


def speakers_of(clips):
    return [clip.sample.speaker for clip in clips]


def test_what_the_networks_were_given_is_kept_as_it_was(clips, bundle, cache):
    """The half that shipped answers to what was kept what the bundle answered to the clip."""
    bench = Workshop(bundle, cache, "last-block", 0).bench("voice")
    session = bundle.session("voice", 1)
    for clip in clips[:3]:
        (stretch,) = load_given(clip, cache).speech
        logits, *_ = session.run(None, {"mel": stretch.mel[None], "pooling": stretch.pooling[None]})
        np.testing.assert_allclose(logits[0], clip.description.logits.voice, atol=0.1)
        assert bench.move(bench._shipped, clip).description.logits.voice == pytest.approx(clip.description.logits.voice)


def test_a_network_that_learns_tells_strangers_better(clips, bundle, cache):
    shop = Workshop(bundle, cache, "last-block", 0)
    tuned = shop.tune(clips[:], speakers_of(clips), fusion_of(bundle))
    assert tuned.refitted["voice"].n_epochs > 0 and "face" not in tuned.refitted, "no clip shows a face"


def test_it_is_fitted_without_those_who_judge(clips, bundle, cache, monkeypatch):
    """Early stopping too looks at speakers learned from alone."""
    shop = Workshop(bundle, cache, "last-block", 0)
    asked: list[set] = []

    def noting(some, groups, present, level):
        asked.append(set(groups))
        real = shop.bench("voice").fit

        def fit(learned, correction, fusion, seed, watch=None, n_epochs=None):
            assert {clip.sample.speaker for clip in learned} <= set(groups)
            return real(learned, correction, fusion, seed, watch, n_epochs)

        with monkeypatch.context() as patch:
            patch.setattr(shop.bench("voice"), "fit", fit)
            patch.setattr(shop.bench("voice"), "load", guard(shop.bench("voice").load, some))
            return shop.tune(some, groups, present)

    judged = judge(clips, speakers_of(clips), fusion_of(bundle), "last-block", noting)
    assert judged.folds == "3 folds" and len(asked) == 3
    assert all(len(groups) < 4 for groups in asked)


def guard(load, allowed):
    def loading(clip):
        assert clip in allowed, f"{clip.sample.clip_id} is set aside"
        return load(clip)

    return loading


def test_where_no_epoch_helps_the_last_layers_are_what_is_tuned(clips, bundle, cache, monkeypatch):
    monkeypatch.setattr("moodreel.training.tuned.networks.cost_of", lambda *_: 1.0)
    tuned = Workshop(bundle, cache, "all", 0).tune(clips, speakers_of(clips), fusion_of(bundle))
    expected = tune(clips, speakers_of(clips), fusion_of(bundle), "heads")
    assert not tuned.refitted and say_epochs(tuned) == "no epoch of a network helped: last layers alone"
    np.testing.assert_allclose(tuned.answer(clips[0]), expected.answer(clips[0]))


def test_a_fit_keeps_the_epoch_that_cost_least_and_ends_after_two_worse_ones():
    costs = iter([1.0, 0.5, 0.7, 0.8, 0.1])

    class Module(watched_fit.WatchedModule):
        def measure_loss(self, batch):
            return (self.network.weight - 9).square().sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.network.parameters(), lr=0.1)

    network = torch.nn.Linear(1, 1)
    seen = []

    def watch(one):
        seen.append(one.weight.item())
        return next(costs)

    module = Module(network, "made", watch)
    n_epochs = watched_fit.fit_watched(module, watched_fit.Epochs(1, lambda _: iter(["a"])), None)
    assert n_epochs == 1 and len(seen) == 4 and network.weight.item() == seen[1]


def test_tokens_that_are_not_held_are_made_anew(clips, bundle, cache, monkeypatch):
    wanted = Workshop(bundle, cache, "all", 0)
    expected = wanted.tune(clips, speakers_of(clips), fusion_of(bundle)).answer(clips[0])
    monkeypatch.setattr(voice_bench, "MOST_HELD_BYTES", 0)
    bare = Workshop(bundle, cache, "all", 0)
    np.testing.assert_allclose(bare.tune(clips, speakers_of(clips), fusion_of(bundle)).answer(clips[0]), expected)
    assert not bare.bench("voice")._held


def test_an_entry_that_vanished_is_said(clips, bundle, tmp_path):
    with pytest.raises(OutputError, match="start again to make it anew"):
        load_given(clips[0], Cache(tmp_path))


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    def call(model, corpus, *arguments, out="run"):
        command = [
            "moodreel",
            "train",
            corpus,
            "--recipe",
            "tuned",
            "--out",
            tmp_path / out,
            "--workers",
            1,
            "--threads",
            1,
        ]
        known = ["--speakers", "(?P<speaker>[a-z]+)_", "--set", f"model={model}", "--cache", tmp_path / "cache"]
        monkeypatch.setattr(sys, "argv", list(map(str, [*command, *known, *arguments])))
        try:
            cli.main()
            status = 0
        except SystemExit as exit:
            status = exit.code or 0
        return status, *capsys.readouterr()

    return call


def test_the_bundle_answers_as_was_measured(run, bundle, corpus, tmp_path):
    status, out, err = run(bundle.path, corpus, "--fold", 1, "--set", "folds=4", "--set", "level=all")
    assert status == 0, err
    assert "tuning: all blocks of each network, last layers and fusion, as asked" in out
    assert "networks tuned: voice for " in out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["epochs"]["voice"] > 0 and not scores["kept"]
    made = load_bundle(tmp_path / "run" / "bundle")
    assert "tuned for" in made.networks["voice"]["blocks"] and "blocks" not in made.networks["face"]
    recognizer = Recognizer.load(made.path, threads=1)
    rows = (tmp_path / "run" / "test-predictions.csv").read_text().splitlines()[1:]
    for row in rows:
        clip, _, _, *measured = row.split(",")
        told = recognizer.predict(corpus / f"{clip}.wav", adapt=False).probabilities
        np.testing.assert_allclose(told, np.array(measured, float), atol=0.03)


def test_a_network_of_others_is_refused_in_one_line(run, corpus, tmp_path):
    status, _, err = run(write_tiny_bundle(tmp_path / "tiny"), corpus, "--set", "level=all")
    assert status == 2 and "the voice network is not one that moodreel trained" in err
    assert not (tmp_path / "run" / "bundle").exists()


def test_faces_are_learned_below_the_last_layer(run, bundle, tmp_path, portrait_frames):
    """One face, turned upside down or not, which the tiny network does not tell apart yet."""
    frames = [np.asarray(frame) for frame in portrait_frames]
    for emotion, tone in (("sad", 0.5), ("happy", 1.0)):
        (tmp_path / "faces" / emotion).mkdir(parents=True)
        for number, speaker in enumerate(("ann", "bob", "cem", "dag")):
            stripes = np.where((np.arange(240) // 6) % 2, tone, 1.0)[:, None, None]
            shaded = [(frame * stripes * (1 - 0.03 * number)).astype(np.uint8) for frame in frames]
            path = tmp_path / "faces" / emotion / f"{speaker}_1.mp4"
            write_clip(path, 1, size=(320, 240), frames=lambda index, s=shaded: s[index % len(s)])
    status, out, err = run(bundle.path, tmp_path / "faces", "--set", "level=last-block")
    assert status == 0, err
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert not scores["kept"] and scores["epochs"].get("face", 0) > 0, out
    made = load_bundle(tmp_path / "run" / "bundle")
    assert len(read_network(made.path, made.networks["face"])) < 1.1 * len(
        read_network(bundle.path, bundle.networks["face"])
    )
    happy = EMOTIONS.index("happy")
    before, after = (
        Recognizer.load(model, threads=1).predict(tmp_path / "faces" / "happy" / "bob_1.mp4")
        for model in (bundle.path, made.path)
    )
    assert after.face.probabilities[happy] > before.face.probabilities[happy]
