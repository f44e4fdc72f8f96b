"""A researcher has labelled clips of a few speakers, under names of classes that moodreel does not know.

She trains two bundles that never saw the speakers they are scored on, measures them on clips of hers, and asks whether
one is better where neither knows the clip.
"""

import json
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("yaml")
pytest.importorskip("selenium")

from browser import Page, chromium, emulate
from commands import moodreel, moodreel_here
from moodreel.bundle import load_bundle
from moodreel.leaks.training_clips import write_training_clips
from tiny_bundle import write_tiny_bundle
from tiny_corpus import CALLERS, write_voices

SPEAKERS = ("--speakers", "(?P<speaker>[a-z]+)_")
CLASSES = ("--map", "furious=angry", "--ignore", "contempt")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def corpus(study):
    """Four speakers, four classes, of which one has another name and one is no emotion that moodreel tells."""
    folder = write_voices(study / "clips")
    (folder / "angry").rename(folder / "furious")
    (folder / "contempt").mkdir()
    for speaker in CALLERS:
        (folder / "contempt" / f"{speaker}_0.wav").write_bytes((folder / "fear" / f"{speaker}_0.wav").read_bytes())
    return folder


@pytest.fixture(scope="module")
def base(study):
    """The bundle that is tuned; it says that it was trained on no clip."""
    return write_tiny_bundle(study / "base", training_clips=write_training_clips((), study / "base"))


@pytest.fixture(scope="module")
def tune(study, corpus, base):
    """What trains the recipe `tuned` on the corpus."""

    def call(*options, out):
        recipe = ("--recipe", "tuned", "--set", f"model={base}", "--set", "folds=4", "--set", "level=heads")
        places = ("--out", study / out, "--cache", study / "cache", "--workers", 1)
        return moodreel_here("train", corpus, *recipe, *places, *SPEAKERS, *options)

    return call


@pytest.fixture(scope="module")
def run(tune, study):
    """A run that left the first of four groups of speakers out."""
    done = tune(*CLASSES, "--fold", 1, out="run")
    assert done.status == 0, done.err
    return study / "run", done.out


@pytest.fixture(scope="module")
def evaluations(run, corpus, base, study):
    """What the bundle as it was and the tuned one are worth on all clips; folders and what was printed."""
    bundles = {"before": base, "after": run[0] / "bundle"}
    found = {}
    for name, bundle in bundles.items():
        place = ("--out", study / name, "--cache", study / "cache")
        done = moodreel_here("evaluate", bundle, corpus, *SPEAKERS, *CLASSES, *place)
        assert done.status == 0, done.err
        found[name] = study / name, done.out
    return found


def test_classes_of_other_names_are_told_in_one_line_with_the_way_out(tune, study):
    done = tune("--fold", 1, out="unmapped")
    assert done.status == 2 and len(done.errors) == 1
    for word in ("furious", "contempt", "--map", "--ignore"):
        assert word in done.errors[0], done.errors
    assert not list((study / "unmapped").glob("*")), "something of a run that was never begun stays"


def test_a_wrong_fold_is_refused_before_anything_is_read(tune, study, monkeypatch):
    monkeypatch.setattr("moodreel.training.tuned.clips.open_clip", None)
    done = tune(*CLASSES, "--fold", 9, "--cache", study / "other-cache", out="ninth")
    assert done.status == 2 and "fold" in done.errors[0] and "9" in done.errors[0], done.err
    assert not list((study / "ninth").glob("*")) and not (study / "other-cache").exists()


def test_the_tuned_bundle_is_scored_on_strangers_and_holds_the_map(run):
    folder, told = run
    assert "tuning: last layers and fusion, as asked" in told and "on speakers set aside" in told
    assert not re.search(r"\bnan\b", told)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["speaker_independent"] and scores["n_clips"] == {"train": 18, "test": 6}
    split = json.loads((folder / "split.json").read_text())
    assert not {*split["train"]["speakers"]} & {*split["test"]["speakers"]}
    bundle = load_bundle(folder / "bundle")
    assert bundle.manifest["recipe"]["labels"] == {"furious": "angry", "contempt": "ignore"}
    assert bundle.kind == "late" and bundle.manifest["tuned_from"] == "tiny 1"


def test_the_tuned_bundle_answers_as_any_other(run, corpus, base):
    clip = corpus / "furious" / "ann_0.wav"
    after, before = (
        json.loads(moodreel("predict", clip, "-m", one, "-f", "json").out) for one in (run[0] / "bundle", base)
    )
    assert after["label"] == "angry" and before["label"] == "surprise", "what it learned is not in the bundle"
    assert after.keys() == before.keys() and after["model"].startswith("tuned ")
    edges = [[(one["start_s"], one["end_s"]) for one in answer["segments"]] for answer in (after, before)]
    assert edges[0] == edges[1]


def test_a_recipe_of_ones_own_builds_on_best(corpus, base, study):
    changes = {
        "frames": "null", "video": "null", "encoders": base, "head": "{dense: [8, 8, 8]}",
        "fit": "{ensemble: 1, epochs: 1}", "folds": "4",
    }  # fmt: skip
    mine = study / "mine.yaml"
    mine.write_text("base: best\n" + "".join(f"{key}: {value}\n" for key, value in changes.items()))
    assert "ensemble: 1" in moodreel_here("recipes", mine, "--full").out
    places = ("--out", study / "joint", "--cache", study / "cache", "--workers", 1)
    done = moodreel_here("train", corpus, "--recipe", mine, *places, *SPEAKERS, *CLASSES, "--fold", 1)
    assert done.status == 0, done.err
    assert not re.search(r"\bnan\b|Warning", done.out + done.err), "noise of libraries"
    clip = corpus / "fear" / "ann_0.wav"
    answer = json.loads(moodreel("predict", clip, "-m", study / "joint" / "bundle", "-f", "json").out)
    assert answer["modalities"]["voice"]["state"] == "ok" and answer["segments"]


def test_clips_of_speakers_that_the_bundle_knows_do_not_count_first(evaluations, run):
    folder, told = evaluations["after"]
    report = json.loads((folder / "report.json").read_text())
    learned = json.loads((run[0] / "split.json").read_text())["train"]["speakers"]
    assert {one.split("/")[-1].split("_")[0] for one in report["leaks"]["leaked"]} == set(learned)
    assert (report["scores"]["n_clips"], report["scores_with_leaks"]["n_clips"]) == (6, 24)
    assert report["subject"]["class_map"] == {"furious": "angry", "contempt": "ignore"}
    assert "over angry, disgust, fear only" in told
    assert json.loads((evaluations["before"][0] / "report.json").read_text())["leaks"]["leaked"] == []


def test_two_runs_are_compared_on_clips_that_are_clean_for_both(evaluations):
    done = moodreel("compare", evaluations["before"][0], evaluations["after"][0])
    clean, whole = done.out.split("All clips, 18 that leak counted in:")
    assert done.status == 0 and clean.startswith("Clean clips: the 6 that leak for no run:")
    assert "6 clips of" in clean and "24 clips of" in whole
    assert "no evidence of a difference (only one speaker: no interval)" in clean
    assert "| better |" in whole, "learned clips are told apart from the others, or both tables are alike"


@pytest.fixture(scope="module")
def page():
    with chromium() as driver:
        yield Page(driver)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_readable_on_a_phone_and_asks_for_nothing(page, evaluations, scheme):
    emulate(page.driver, scheme=scheme, width_px=360)
    page.driver.get((evaluations["after"][0] / "report.html").as_uri())
    assert "unweighted average recall" in page.run("document.body.textContent").lower(), "UAR is not explained"
    assert page.run("document.documentElement.scrollWidth") <= 360, "the page scrolls sideways"
    colours = page.run("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", colours)[:3])) < 384 if scheme == "dark" else True
    assert (
        page.run("performance.getEntriesByType('resource').filter((one) => !/^(data|file):/.test(one.name)).length")
        == 0
    )
    assert page.violations() == []
