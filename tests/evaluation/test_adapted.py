"""`moodreel evaluate --adapt`: answers as they are and adapted, side by side, each clip read once."""

import json
import sys
from dataclasses import replace
from importlib import resources

import jsonschema
import numpy as np
import pytest

from conftest import chirp
from made_answers import make_answers
from media_files import write_sound
from moodreel.cli import main as cli
from moodreel.corpora import UNKNOWN_SPEAKER
from moodreel.evaluation.adapted import adapt_answers, restore_unadapted, score_adapted
from moodreel.evaluation.answers import Unadapted, open_answers, read_answers
from moodreel.evaluation.html import render_html
from moodreel.evaluation.report import Subject, evaluate_answers, format_summary, to_json
from moodreel.labels import EMOTIONS
from moodreel.leaks.guard import LeakReport
from moodreel.metrics import Resampling
from moodreel.recognition.adaptation import Adapter, OffsetModel
from moodreel.recognition.recognizer import Recognizer
from tiny_bundle import write_tiny_bundle

FAST = Resampling(n_draws=200)
MOVES = 1.5 * (np.eye(7) - 1 / 7)
SECTION = {"expressions": MOVES.tolist(), "person": (0.8 * np.eye(7)).tolist(), "within": (0.3 * np.eye(7)).tolist()}
MODEL = OffsetModel(MOVES, 0.8 * np.eye(7), 0.3 * np.eye(7))
ADAPTER = Adapter(MODEL, MODEL)
SCHEMA = json.loads((resources.files("moodreel") / "evaluation.schema.json").read_text())
SPEAKER = "(?P<speaker>[a-z]+)_"
NO_LEAKS = LeakReport("", (), (), (), ())
SUBJECT = Subject("tiny 1", "made", "/made", "folders", "all clips")


def biased_answers(n=210, n_speakers=6, seed=0):
    """Answers by the face, each shifted by whose face it is: speaker 0 always looks angry."""
    rng = np.random.default_rng(seed)
    offsets = 1.6 * rng.normal(size=(n_speakers, 7))
    offsets[0, 0] += 3
    answers = []
    for number, answer in enumerate(make_answers(n, n_speakers, seed)):
        truth = EMOTIONS.index(answer.label)
        logits = MOVES[truth] + offsets[number % n_speakers] + 0.5 * rng.normal(size=7)
        row = np.exp(logits) / np.exp(logits).sum()
        kept = Unadapted(tuple(row), tuple(row), None, (1.0, 0.0), (tuple(np.log(row)),), (), 0.3)
        face = replace(answer.face, probabilities=tuple(row))
        voice = replace(answer.voice, state="silent", probabilities=None)
        known = {"probabilities": tuple(row), "face": face, "voice": voice, "abstained": bool(row.max() < 0.3)}
        answers.append(replace(answer, **known, unadapted=kept))
    return answers


def test_clips_of_a_speaker_are_adapted_together_and_scored_beside_the_same_as_they_were():
    answers = biased_answers()
    adapted = adapt_answers(answers, ADAPTER, "folder")
    scores = score_adapted(adapted, "folder", FAST)
    assert (scores.n_people, scores.n_clips) == (6, 210)
    assert scores.adapted.uar.value > scores.unadapted.uar.value + 0.1
    assert scores.uar_gain.low > 0
    assert scores.adapted.nll.value < scores.unadapted.nll.value
    assert [restore_unadapted(one) for one in adapted] == answers
    assert adapt_answers(adapted, ADAPTER, "folder") == adapted, "adapted once, however often it is asked"


def test_the_emotions_of_the_clips_decide_nothing():
    answers = biased_answers()
    others = [replace(one, label=EMOTIONS[(EMOTIONS.index(one.label) + 3) % 7]) for one in answers]
    rows = [one.probabilities for one in adapt_answers(answers, ADAPTER, "folder")]
    assert [one.probabilities for one in adapt_answers(others, ADAPTER, "folder")] == rows


def test_clips_of_unknown_speakers_are_nobodys_together():
    answers = [replace(one, speaker=UNKNOWN_SPEAKER) for one in biased_answers(20)]
    assert adapt_answers(answers, ADAPTER, "folder") == adapt_answers(answers, ADAPTER, "clip")
    evaluation = evaluate_answers(SUBJECT, adapt_answers(answers, ADAPTER, "folder"), NO_LEAKS, adapt="folder")
    assert "each clip was adapted to itself alone" in " ".join(evaluation.warnings)


def test_a_failed_clip_and_one_with_nothing_to_go_by_stay_as_they_are():
    answers = biased_answers(14, 2)
    nothing = Unadapted(None, None, None, (0.0, 0.0), (), (), 0.3)
    answers[0] = replace(answers[0], probabilities=(1 / 7,) * 7, abstained=True, unadapted=nothing)
    answers[1] = replace(answers[1], probabilities=None, face=None, voice=None, unadapted=None, error="broken")
    adapted = adapt_answers(answers, ADAPTER, "folder")
    assert adapted[0].probabilities == (1 / 7,) * 7 and adapted[0].abstained
    assert adapted[1] == answers[1]


def test_reports_say_what_was_looked_at():
    evaluation = evaluate_answers(
        SUBJECT, adapt_answers(biased_answers(), ADAPTER, "folder"), NO_LEAKS, resampling=FAST, adapt="folder"
    )
    jsonschema.validate(json.loads(json.dumps(to_json(evaluation), allow_nan=False)), SCHEMA)
    for text in (format_summary(evaluation), render_html(evaluation)):
        assert "transductive" in text and "never their emotions" in text
        assert str(evaluation.adaptation.unadapted.uar) in text and str(evaluation.adaptation.adapted.nll) in text
    plain = evaluate_answers(SUBJECT, make_answers(), NO_LEAKS, resampling=FAST, adapt="folder")
    assert plain.adaptation is None and "not taught" in " ".join(plain.warnings)
    jsonschema.validate(json.loads(json.dumps(to_json(plain), allow_nan=False)), SCHEMA)


def test_answers_come_back_as_they_were_written(tmp_path):
    answers = biased_answers(6)
    path = tmp_path / "predictions.jsonl"
    with open_answers(path, {"model": "m"}) as file:
        for answer in answers:
            file.add(answer)
        file.rewrite({"model": "m"}, adapt_answers(answers, ADAPTER, "folder"))
        file.add(replace(answers[0], clip="later"))
    found = read_answers(path)[1]
    assert found[:-1] == adapt_answers(answers, ADAPTER, "folder") and found[-1].clip == "later"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for emotion in ("happy", "sad"):
        (folder / emotion).mkdir()
        for speaker in ("ann", "bob"):
            write_sound(folder / emotion / f"{speaker}_{emotion}.wav", 1.0, sound=chirp)
    return folder


@pytest.fixture
def run(corpus, capsys, monkeypatch):
    monkeypatch.setattr("moodreel.evaluation.html._figures", lambda *_: "")

    def call(bundle, out, *arguments):
        command = ["moodreel", "evaluate", bundle, corpus, "--speakers", SPEAKER, "--out", out, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        with pytest.raises(SystemExit) as exit:
            cli.main()
        printed, err = capsys.readouterr()
        return exit.value.code or 0, printed, err

    return call


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("b") / "b", adaptation={"face": SECTION, "voice": SECTION})


def test_both_answers_are_those_of_predict(run, bundle, corpus, tmp_path):
    """By `clip`, by `folder` and `none`, evaluating says what predicting says."""
    recognizer = Recognizer.load(bundle)
    paths = {f"{path.parent.name}/{path.stem}": path for path in corpus.rglob("*.wav")}
    seen = {clip: recognizer.observe(path) for clip, path in paths.items()}
    for adapt in ("none", "clip", "folder"):
        assert run(bundle, tmp_path / adapt, "--adapt", adapt)[0] == 0
        for answer in read_answers(tmp_path / adapt / "predictions.jsonl")[1]:
            same = [one for clip, one in seen.items() if answer.speaker in clip]
            person = {"none": [], "clip": [seen[answer.clip]], "folder": same}[adapt]
            expected = recognizer.conclude(seen[answer.clip], person)
            assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-12)
            assert answer.voice.probabilities == pytest.approx(expected.voice.probabilities, abs=1e-12)
            assert answer.abstained == expected.abstained


def test_an_interrupted_evaluation_goes_on_and_reads_each_clip_once(run, bundle, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(bundle, whole, "--adapt", "folder")
    asked, observe = [], Recognizer.observe

    def counting(self, media, **settings):
        asked.append(media)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return observe(self, media, **settings)

    monkeypatch.setattr(Recognizer, "observe", counting)
    assert run(bundle, parts, "--adapt", "folder")[0] == 130
    assert run(bundle, parts, "--adapt", "folder")[0] == 0
    assert len(asked) == 5, "two clips were answered before the stop"
    for name in ("predictions.jsonl", "report.json"):
        assert (parts / name).read_text() == (whole / name).read_text()
    assert run(bundle, parts, "--adapt", "folder")[0] == 0 and len(asked) == 5
    assert (parts / "predictions.jsonl").read_text() == (whole / "predictions.jsonl").read_text()
    status, _, err = run(bundle, parts, "--adapt", "none")
    assert status == 2 and "adapt differs" in err


def test_a_bundle_that_cannot_adapt_says_so_in_one_line(run, tiny_bundle, tmp_path):
    status, printed, _ = run(tiny_bundle, tmp_path, "--adapt", "folder")
    assert status == 0 and printed.count("nothing was adapted") == 1
    assert json.loads((tmp_path / "report.json").read_text())["adaptation"] is None
