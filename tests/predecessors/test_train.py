"""The predecessors end to end on tiny clips of a face: train, score, export, predict; and what users get wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from media_files import silence, syllables, write_clip
from tiny_corpus import SPEAKERS, stand_in_functionals

torch = pytest.importorskip("torch")

from moodreel.bundle import load_bundle
from moodreel.cli import main as cli
from moodreel.errors import OutputError, RecipeError
from moodreel.labels import EMOTIONS
from moodreel.predecessors.parts import make_parts
from moodreel.predecessors.recipe import load_predecessor
from moodreel.predecessors.train import load_cnn, train_predecessor
from moodreel.recognition.recognizer import Recognizer
from moodreel.storage.cache import Cache
from moodreel.training.joint.recipe import recipe_names
from moodreel.training.options import TrainOptions
from moodreel.training.strict_yaml import format_recipe

SPEAKER = "(?P<speaker>[a-z]+)_"
SEARCH = ("search.uniform=50", "search.local=50")
TINY = {
    "emonets": (
        *SEARCH,
        "frames.face_threshold=0.3",
        "parts.face_cnn.epochs=1",
        "parts.audio_dbn.n_hidden=8",
        "parts.audio_dbn.rbm_epochs=1",
        "parts.audio_dbn.epochs=3",
        "parts.bag_of_mouths.words=5",
        "parts.relational_autoencoder.hidden=8",
        "parts.relational_autoencoder.factors=8",
        "parts.relational_autoencoder.words=5",
        "parts.relational_autoencoder.blocks=100",
        "parts.relational_autoencoder.epochs=1",
    ),
    "yao2015": (
        *SEARCH,
        "frames.face_threshold=0.3",
        "parts.face_cnn.epochs=1",
        "parts.au_relations.kept=[2]",
        "parts.au_relations.components=4",
    ),
}
PARTS = {
    "emonets": ["face_cnn", "audio_dbn", "bag_of_mouths", "relational_autoencoder", "convnet_audio"],
    "yao2015": ["face_cnn", "functionals", "au_gradients", "au_binary_patterns", "au_grey"],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, portrait_frames):
    """One clip a speaker and emotion: brightness and pitch tell the emotion; one clip is silent."""
    folder = tmp_path_factory.mktemp("corpus")
    for row, emotion in enumerate(EMOTIONS):
        (folder / emotion).mkdir()
        for column, speaker in enumerate(SPEAKERS):
            frames = [np.asarray(frame) for frame in portrait_frames[column : column + 6]]
            for frame in frames:
                frame[130 + row : 140 + row, :, 0] = 255
            sound = silence if (row, column) == (0, 0) else syllables(200 + 150 * row + 9 * column)
            path = folder / emotion / f"{speaker}_{emotion}.mp4"
            write_clip(path, 0.6, size=(320, 240), rate=10, frames=lambda n, f=frames: f[n % 6], sound=sound)
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Static faces in the files of FER2013 with FER+ votes."""
    folder, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for side, n in (("train", 70), ("valid", 28)):
        labels = np.arange(n) % 7
        votes = np.zeros((n, 10), np.uint8)
        votes[np.arange(n), np.array([4, 5, 6, 1, 0, 3, 2])[labels]] = 10
        images = rng.integers(0, 256, (n, 48, 48)).astype(np.uint8)
        np.savez(folder / f"{side}.npz", images=images, votes=votes, fer2013=labels.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def functionals(monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in_functionals)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line in this process; returns status, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["moodreel", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        return exit.value.code or 0, *capsys.readouterr()

    return call


def train(run, corpus, cache, recipe, out, *arguments, fold=1):
    changes = [part for change in TINY[recipe] for part in ("--set", change)]
    where = ["--out", out, "--cache", cache, "--fold", fold, "--speakers", SPEAKER, "--workers", 1, "--threads", 1]
    return run("train", corpus, "--recipe", recipe, *where, *changes, *arguments)


@pytest.mark.parametrize("recipe", ["emonets", "yao2015"])
def test_a_predecessor_trains_scores_exports_and_predicts_from_the_command_line(
    recipe, run, corpus, cache, faces, tmp_path
):
    out = tmp_path / "run"
    status, shown, _ = train(run, corpus, cache, recipe, out, "--faces", faces)
    assert status == 0 and "test: UAR" in shown
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["parts"]) == PARTS[recipe] and list(scores["fusions"]) == ["mean", "class_weights"]
    assert scores["answers_by"] == "class_weights" and scores["speaker_independent"]
    assert scores["static_faces"]["n_faces"] > 0
    for name, part in {**scores["parts"], **scores["fusions"]}.items():
        assert 0 <= part["valid"]["uar"]["value"] <= 1 and 0 <= part["test"]["war"]["value"] <= 1
        assert len((out / "parts" / name / "test-predictions.csv").read_text().splitlines()) == 15
    assert (out / "test-predictions.csv").read_text() == (
        out / "parts" / "class_weights" / "test-predictions.csv"
    ).read_text()
    assert len(list((out / "pictures").glob("*.png"))) >= 4
    bundle = load_bundle(out / "bundle")
    assert bundle.networks["joint"]["largest_difference_from_torch"] < 1e-4
    status, shown, _ = run("predict", "--model", out / "bundle", "--format", "json", corpus / "sad" / "ann_sad.mp4")
    assert status == 0 and sum(json.loads(shown)["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert_bundle_agrees_with_the_scores(out, corpus)
    status, shown, _ = run("parts", out)
    assert status == 0 and all(f"| `{name}` |" in shown for name in (*PARTS[recipe], "class_weights"))


def assert_bundle_agrees_with_the_scores(out, corpus):
    """What was scored and what the bundle answers must not drift apart."""
    recognizer = Recognizer.load(out / "bundle")
    for line in (out / "test-predictions.csv").read_text().splitlines()[1:4]:
        name, _, _, *probabilities = line.split(",")
        (path,) = corpus.rglob(f"{name.rpartition('/')[2].removesuffix('.mp4')}.mp4")
        expected = np.array(probabilities, float)
        assert np.abs(np.array(recognizer.predict(path).probabilities) - expected).max() < 1e-3


@pytest.fixture(scope="module")
def audio_run(corpus, cache, tmp_path_factory):
    """A run of one part alone."""
    out = tmp_path_factory.mktemp("audio") / "run"
    options = TrainOptions(fold=1, changes=TINY["emonets"], speaker_regex=SPEAKER, cache=cache)
    train_predecessor(corpus, "emonets", out, options, only="audio_dbn")
    return out


def test_one_part_alone_answers_alone(audio_run):
    scores = json.loads((audio_run / "scores.json").read_text())
    assert list(scores["parts"]) == ["audio_dbn"] and not scores["fusions"] and scores["answers_by"] == "audio_dbn"


def test_a_run_does_not_go_on_with_another_fold(audio_run, corpus, cache):
    """Its folder would hold parts of both; a folder is one run."""
    options = TrainOptions(fold=2, changes=TINY["emonets"], speaker_regex=SPEAKER, cache=cache, resume=True)
    with pytest.raises(OutputError, match="another split"):
        train_predecessor(corpus, "emonets", audio_run, options, only="audio_dbn")


def test_a_command_that_was_refused_can_be_corrected(corpus, cache, tmp_path):
    options = TrainOptions(fold=9, changes=TINY["emonets"], speaker_regex=SPEAKER, cache=cache)
    with pytest.raises(RecipeError, match="fold 9"):
        train_predecessor(corpus, "emonets", tmp_path / "run", options, only="audio_dbn")
    assert not (tmp_path / "run").exists(), "what is left refuses the corrected command"


def test_predicting_needs_no_torch(audio_run, corpus):
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'scipy', 'lightning', 'yaml']))"
    command = f"{blocked}; from moodreel.recognition.recognizer import Recognizer as R"
    clip = corpus / "sad" / "ann_sad.mp4"
    code = f"{command}; print(R.load({str(audio_run / 'bundle')!r}).predict({str(clip)!r}).voice.state)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr


def test_a_part_that_fails_on_a_clip_says_that_all_are_alike(audio_run):
    """The silent clip is ann's; she is on the first fold's test side."""
    rows = [line.split(",") for line in (audio_run / "test-predictions.csv").read_text().splitlines()[1:]]
    silent = next(row for row in rows if "ann_angry" in row[0])
    assert set(map(float, silent[3:])) == {0.142857}
    assert all(len(set(row[3:])) > 1 for row in rows if row is not silent)


def test_without_static_faces_the_face_network_is_left_out_by_name(cache, caplog):
    recipe = load_predecessor("emonets")
    assert load_cnn(recipe, Cache(cache)) is None
    assert "left out face_cnn and convnet_audio" in caplog.text and "--faces" in caplog.text
    assert [part.name for part in make_parts(recipe, None)] == PARTS["emonets"][1:4]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "bag_of_ears"), "has no part 'bag_of_ears'; expected one of face_cnn"),
        (("--only", "face_cnn"), "give their folder with --faces"),
        (("--only", "face_cnn", "--faces", "nowhere"), "train.npz"),
        (("--set", "parts.audio_dbn.epoch=3"), "did you mean 'epochs'?"),
        (("--set", "frames.side_px=64"), "frames.side_px must be 96"),
        (("--max-epochs", 3), "--max-epochs and --devices mean nothing; change a part"),
        (("--devices", 2), "--max-epochs and --devices mean nothing"),
        (("--set", "parts.audio_dbn=null"), "convnet_audio needs parts face_cnn and audio_dbn"),
    ],
)
def test_mistakes_are_one_line(arguments, words, run, corpus, cache, tmp_path):
    status, _, err = train(run, corpus, cache, "emonets", tmp_path / "run", *arguments)
    lines = [line for line in err.splitlines() if "error:" in line]
    assert status == 2 and len(lines) == 1 and words in lines[0]


def test_parts_are_no_option_of_other_recipes(run, corpus, tmp_path):
    status, _, err = run("train", corpus, "--recipe", "repaired", "--out", tmp_path / "run", "--only", "audio_dbn")
    assert status == 2 and "repaired: has no parts" in err
    status, _, err = run("parts", corpus)
    assert status == 2 and "holds no scores.json" in err


@pytest.mark.parametrize("name", ["emonets", "yao2015"])
def test_recipes_are_read_and_written_back(name, tmp_path):
    recipe = load_predecessor(name)
    (tmp_path / "again.yaml").write_text(format_recipe(recipe))
    assert load_predecessor(str(tmp_path / "again.yaml")) == recipe and recipe.about
    assert name not in recipe_names()


def test_a_recipe_of_another_kind_is_refused():
    with pytest.raises(RecipeError, match="is unknown"):
        load_predecessor("repaired")
