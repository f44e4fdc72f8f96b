"""`moodreel evaluate` as a user types it: figures, reports, resuming, and one clear line for every bad input."""

import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import jsonschema
import numpy as np
import pytest

from made_answers import make_answers
from media_files import write_clip, write_sound
from moodreel.cli import main as cli
from moodreel.corpora import UNKNOWN_SPEAKER, Sample
from moodreel.errors import EvaluationError
from moodreel.evaluation.answers import ClipAnswer, gather_outcomes, open_answers, read_answers
from moodreel.evaluation.conditions import find_worst, score_conditions, score_contributions
from moodreel.evaluation.html import render_html
from moodreel.evaluation.mistakes import link_clip
from moodreel.evaluation.report import Subject, evaluate_answers, format_summary, to_json
from moodreel.labels import EMOTIONS
from moodreel.leaks.guard import Leak, LeakReport
from moodreel.metrics import Resampling, compare, score
from moodreel.recognition.recognizer import Recognizer
from tiny_bundle import write_tiny_bundle

FAST = Resampling(n_draws=200)
SPEAKER = r"(?P<speaker>[a-z]+)_"
SCHEMA = json.loads((resources.files("moodreel") / "evaluation.schema.json").read_text())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three speakers, three emotions; what there is to see and hear differs: the tiny bundle hears surprise."""
    folder = tmp_path_factory.mktemp("corpus")
    for emotion in ("happy", "sad", "surprise"):
        (folder / emotion).mkdir()
        for speaker in ("ann", "bob", "cem"):
            write_sound(folder / emotion / f"{speaker}_{emotion}.wav", 1.0, sound=_voice)
    return folder


def _voice(time_s):
    from conftest import chirp

    return chirp(time_s)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line in this process, plots left out; returns status, stdout and stderr."""
    monkeypatch.setattr("moodreel.evaluation.html._figures", lambda *_: "")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["moodreel", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        return exit.value.code or 0, out, err

    return call


def one_error(err, *words):
    lines = [line for line in err.splitlines() if "error:" in line]
    assert len(lines) == 1 and "Traceback" not in err, err
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


NO_LEAKS = LeakReport("", (), (), (), ())
SUBJECT = Subject("tiny 1", "cremad", "/data/cremad", "cremad", "all clips")


class TestCommand:
    def test_table_json_and_page(self, run, tiny_bundle, corpus, tmp_path):
        status, out, err = run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", tmp_path)
        assert status == 0 and err == ""
        assert "9 clips of 3 known speakers, 0 failed" in out
        report = json.loads((tmp_path / "report.json").read_text())
        jsonschema.validate(report, SCHEMA)
        assert report["scores"]["uar"]["value"] == pytest.approx(1 / 3), "the tiny bundle hears surprise everywhere"
        assert report["scores"]["classes"][6]["recall"]["value"] == 1
        assert report["scores"]["absent"] == ["angry", "disgust", "fear", "neutral"]
        assert "over happy, sad, surprise only" in out, "UAR says over which classes"
        assert [one["group"] for one in report["conditions"] if one["dimension"] == "modalities"] == ["voice only"]
        assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")

    def test_an_interrupted_evaluation_goes_on(self, run, tiny_bundle, corpus, tmp_path, monkeypatch):
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", whole)
        asked = count_predictions(monkeypatch, stop_at=4)
        status, _, _ = run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", parts)
        assert status == 130 and len(asked) == 4
        with (parts / "predictions.jsonl").open("a") as file:
            file.write('{"clip": "cut off in mid')  # a kill while writing
        asked = count_predictions(monkeypatch)
        assert run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", parts)[0] == 0
        assert len(asked) == 6, "three answers were on disk before the stop"
        for name in ("predictions.jsonl", "report.json"):
            assert (parts / name).read_text() == (whole / name).read_text()

    def test_failed_clips_are_counted_listed_and_tried_again(self, run, tiny_bundle, corpus, tmp_path):
        folder, out = tmp_path / "corpus", tmp_path / "out"
        shutil.copytree(corpus, folder)
        broken = folder / "sad" / "bob_sad.wav"
        good = broken.read_bytes()
        broken.write_text("not media")
        status, printed, _ = run("evaluate", tiny_bundle, folder, "--speakers", SPEAKER, "--out", out)
        report = json.loads((out / "report.json").read_text())
        assert status == 1 and "1 failed" in printed and "failed: sad/bob_sad:" in printed
        assert [one["clip"] for one in report["failures"]] == ["sad/bob_sad"]
        assert (report["n_clips"], report["scores"]["n_clips"]) == (9, 8)
        assert "bob_sad" in (out / "report.html").read_text()
        broken.write_bytes(good)
        assert run("evaluate", tiny_bundle, folder, "--speakers", SPEAKER, "--out", out)[0] == 0

    def test_a_clip_that_sets_off_anything_is_a_failed_clip(self, run, tiny_bundle, corpus, tmp_path, monkeypatch):
        observe = Recognizer.observe

        def stumble(self, media, **settings):
            return 1 // 0 if "bob_sad" in str(media) else observe(self, media, **settings)

        monkeypatch.setattr(Recognizer, "observe", stumble)
        status, _, _ = run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", tmp_path)
        (failure,) = json.loads((tmp_path / "report.json").read_text())["failures"]
        assert status == 1 and "ZeroDivisionError" in failure["error"]

    def test_each_part_of_a_file_is_a_clip(self, run, tiny_bundle, tmp_path):
        folder, out = tmp_path / "corpus", tmp_path / "out"
        folder.mkdir()
        write_sound(folder / "film.wav", 6.0)
        rows = ["film.wav,sad,ann,0,2", "film.wav,happy,bob,2,3.5", "film.wav,happy,ann,50,60"]
        (folder / "list.csv").write_text("\n".join(["path,label,speaker,start_s,end_s", *rows]))
        status, _, _ = run("evaluate", tiny_bundle, folder / "list.csv", "--out", out)
        answers = {one.clip: one for one in read_answers(out / "predictions.jsonl")[1]}
        assert status == 1 and set(answers) == {"film.wav#0-2", "film.wav#2-3.5", "film.wav#50-60"}
        assert answers["film.wav#0-2"].duration_s == pytest.approx(2.0, abs=0.01)
        assert answers["film.wav#2-3.5"].duration_s == pytest.approx(1.5, abs=0.01)
        assert "from 50 s on" in answers["film.wav#50-60"].error

    def test_folds_are_asked_about_what_they_left_out(self, run, corpus, tmp_path):
        for speaker in ("ann", "bob", "cem"):
            write_tiny_bundle(tmp_path / "runs" / speaker / "bundle")
            rows = [f"{label}/{speaker}_{label},{speaker},{label}" + ",0" * 7 for label in ("happy", "sad", "surprise")]
            table = "\n".join([",".join(("clip", "speaker", "label", *EMOTIONS)), *rows])
            (tmp_path / "runs" / speaker / "test-predictions.csv").write_text(table)
        arguments = ("evaluate", tmp_path / "runs", corpus, "--folds", "--speakers", SPEAKER, "--out", tmp_path / "out")
        status, out, _ = run(*arguments)
        assert status == 0 and "3 folds, each scored on the clips it left out" in out
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["scores"]["n_clips"] == 9 and report["not_covered"] == []

    def test_clips_that_no_fold_covers_are_counted_and_named(self, run, corpus, tmp_path):
        """A fold that is missing, or a clip that training could not read, must not vanish from the figures unseen."""
        rows = ["happy/ann_happy,ann,happy" + ",0" * 7, "sad/ann_sad,ann,sad" + ",0" * 7]
        table = "\n".join([",".join(("clip", "speaker", "label", *EMOTIONS)), *rows])
        write_tiny_bundle(tmp_path / "runs" / "1" / "bundle")
        (tmp_path / "runs" / "1" / "test-predictions.csv").write_text(table)
        arguments = ("evaluate", tmp_path / "runs", corpus, "--folds", "--speakers", SPEAKER, "--out", tmp_path / "out")
        status, out, _ = run(*arguments)
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        jsonschema.validate(report, SCHEMA)
        assert status == 1 and "2 clips of 1 known speakers, 0 failed, 7 covered by no fold" in out
        assert "not covered: happy/bob_happy" in out and "surprise/ann_surprise" in report["not_covered"]
        assert len(report["not_covered"]) == 7 and report["n_clips"] == 2
        assert "7 clips stand in no fold's test clips" in " ".join(report["warnings"])
        assert "surprise/cem_surprise" in (tmp_path / "out" / "report.html").read_text()

    def test_only_the_split_asked_for_is_read(self, run, tiny_bundle, corpus, tmp_path):
        lines = ["path,label,speaker,split"]
        lines += [f"{p.relative_to(corpus)},{p.parent.name},{p.stem},{'train' if 'ann' in p.stem else 'test'}"
                  for p in sorted(corpus.rglob("*.wav"))]  # fmt: skip
        folder = tmp_path / "corpus"
        shutil.copytree(corpus, folder)
        (folder / "list.csv").write_text("\n".join(lines))
        assert "6 clips" in run("evaluate", tiny_bundle, folder / "list.csv", "--out", tmp_path / "test")[1]
        out = run("evaluate", tiny_bundle, folder / "list.csv", "--split", "train", "--out", tmp_path / "train")[1]
        assert "3 clips" in out and "own train split" in out


def count_predictions(monkeypatch, stop_at=None):
    asked, observe = [], getattr(Recognizer.observe, "whole", Recognizer.observe)

    def counting(self, media, **rest):
        asked.append(media)
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return observe(self, media, **rest)

    counting.whole = observe
    monkeypatch.setattr(Recognizer, "observe", counting)
    return asked


class TestBadInput:
    def test_one_clip(self, run, tiny_bundle, tmp_path):
        (tmp_path / "c" / "sad").mkdir(parents=True)
        write_sound(tmp_path / "c" / "sad" / "a.wav", sound=_voice)
        status, out, _ = run("evaluate", tiny_bundle, tmp_path / "c", "--out", tmp_path / "out")
        assert status == 0 and "UAR       0.000 [no interval]" in out and "over sad only" in out
        jsonschema.validate(json.loads((tmp_path / "out" / "report.json").read_text()), SCHEMA)

    def test_another_evaluation_in_the_folder(self, run, tiny_bundle, corpus, tmp_path):
        run("evaluate", tiny_bundle, corpus, "--out", tmp_path / "out")
        other = write_tiny_bundle(tmp_path / "other", version="2")
        status, _, err = run("evaluate", other, corpus, "--out", tmp_path / "out")
        assert status == 2
        one_error(err, "holds another evaluation (model differs)", "--out")

    def test_labels_that_changed_since(self, run, tiny_bundle, corpus, tmp_path):
        folder, out = tmp_path / "corpus", tmp_path / "out"
        shutil.copytree(corpus, folder)
        run("evaluate", tiny_bundle, folder, "--speakers", SPEAKER, "--out", out)
        status, _, err = run("evaluate", tiny_bundle, folder, "--out", out)
        assert status == 2
        one_error(err, "not in the corpus as it was")

    def test_a_class_that_moodreel_does_not_know(self, run, tiny_bundle, tmp_path):
        (tmp_path / "c" / "bored").mkdir(parents=True)
        write_sound(tmp_path / "c" / "bored" / "a.wav")
        status, _, err = run("evaluate", tiny_bundle, tmp_path / "c", "--out", tmp_path / "out")
        assert status == 2 and not (tmp_path / "out").exists()
        one_error(err, "unknown class 'bored'", "angry, disgust")

    def test_a_map_of_classes_stands_in_the_report(self, run, tiny_bundle, corpus, tmp_path):
        folder, out = tmp_path / "corpus", tmp_path / "out"
        shutil.copytree(corpus, folder)
        renamed = sorted(path for path in folder.iterdir() if path.is_dir())[0]
        renamed.rename(folder / "joyful")
        said = run("evaluate", tiny_bundle, folder, "--map", f"joyful={renamed.name}", "--out", out)
        report = json.loads((out / "report.json").read_text())
        jsonschema.validate(report, SCHEMA)
        assert said[0] == 0 and report["subject"]["class_map"] == {"joyful": renamed.name}

    def test_a_bundle_of_other_labels(self, run, corpus, tmp_path):
        bundle = write_tiny_bundle(tmp_path / "b", labels=["calm", "excited"])
        status, _, err = run("evaluate", bundle, corpus, "--out", tmp_path / "out")
        assert status == 2
        one_error(err, "label order differs")

    def test_every_clip_fails(self, run, tiny_bundle, tmp_path):
        (tmp_path / "c" / "sad").mkdir(parents=True)
        (tmp_path / "c" / "sad" / "a.wav").write_text("not media")
        status, _, err = run("evaluate", tiny_bundle, tmp_path / "c", "--out", tmp_path / "out")
        assert status == 2
        one_error(err, "none of 1 clips could be predicted")

    def test_missing_split_folds_and_both(self, run, tiny_bundle, corpus, tmp_path):
        for arguments, words in (
            ((tiny_bundle, corpus, "--split", "valid"), ("no clip of the split 'valid'", "no split")),
            ((tmp_path, corpus, "--folds"), ("no run of `moodreel train --fold K`",)),
            ((tmp_path, corpus, "--folds", "--split", "test"), ("exclude each other",)),
        ):
            status, _, err = run("evaluate", *arguments, "--out", tmp_path / "out")
            assert status == 2
            one_error(err, *words)

    @pytest.mark.parametrize("damage", ["probabilities", "no json", "label", "header"])
    def test_damaged_answers_name_the_line(self, tmp_path, damage):
        path = tmp_path / "predictions.jsonl"
        with open_answers(path, {"model": "m"}) as file:
            file.add(make_answers(1)[0])
            file.add(make_answers(2)[1])
        lines = path.read_text().splitlines()
        entry = json.loads(lines[1])
        changed = {
            "probabilities": json.dumps({**entry, "probabilities": [float("nan")] * 7}),
            "no json": lines[1][:40],
            "label": json.dumps({**entry, "label": "bored"}),
            "header": lines[1],
        }[damage]
        rest = [lines[0], changed] if damage != "header" else [changed]
        path.write_text("\n".join([*rest, lines[2], ""]))
        with pytest.raises(EvaluationError, match=r"predictions\.jsonl(:2: damaged line|: no answers of)"):
            read_answers(path)


class TestConditions:
    def test_groups_hold_the_scores_of_their_clips(self):
        answers = make_answers()
        conditions = {(one.dimension, one.group): one for one in score_conditions(answers, {}, FAST)}
        women = gather_outcomes([a for a in answers if a.gender == "female"])
        assert conditions["gender", "female"].uar == score(women, FAST).uar
        short = [a for a in answers if a.duration_s < 2]
        assert conditions["length", "below 2 s"].n_clips == len(short)
        assert [group for name, group in conditions if name == "length"] == [
            "below 2 s", "2-4 s", "4-8 s", "8 s or more",
        ]  # fmt: skip
        assert [group for name, group in conditions if name == "age"] == [
            "below 30 years", "30-45 years", "45-60 years", "60 years or more",
        ]  # fmt: skip
        assert sum(one.n_clips for (name, _), one in conditions.items() if name == "speaker") == len(answers)

    def test_what_is_not_told_makes_no_group(self):
        answers = [ClipAnswer(**{**vars(a), "gender": None, "age": None, "speaker": UNKNOWN_SPEAKER})
                   for a in make_answers(20)]  # fmt: skip
        assert {one.dimension for one in score_conditions(answers, {}, FAST)} == {"modalities", "length"}
        levels = score_conditions(answers, {"clip0": 3.0, "clip1": 99.0, "clip2": None}, FAST)
        groups = [(one.group, one.n_clips) for one in levels if one.dimension == "level over background"]
        assert groups == [("below 15 dB", 1), ("30 dB or more", 1)]

    def test_the_worst_group_is_not_one_of_three_clips(self):
        conditions = score_conditions(make_answers(), {"clip0": 3.0}, FAST)
        worst = find_worst(conditions)
        assert worst.n_clips >= 20
        assert worst.uar.value == min(one.uar.value for one in conditions if one.n_clips >= 20)
        assert find_worst(score_conditions(make_answers(5), {}, FAST)) is None

    def test_contributions_are_the_gain_over_the_other_alone(self):
        answers = make_answers()
        face, voice = score_contributions(answers, FAST)
        alone = gather_outcomes([ClipAnswer(**{**vars(a), "probabilities": a.voice.probabilities}) for a in answers])
        assert face.uar == compare(alone, gather_outcomes(answers), FAST).uar
        assert voice.alone == score(alone, FAST).uar
        assert voice.uar.value > face.uar.value, "the voice is the better one here"
        assert score_contributions(make_answers(both=False), FAST) == ()


class TestReport:
    def test_json_follows_its_schema_and_failures_stay(self):
        answers = [*make_answers(), ClipAnswer("broken", "s0", "sad", error="cannot be read")]
        evaluation = evaluate_answers(SUBJECT, answers, NO_LEAKS, {"clip1": 20.0}, FAST)
        report = to_json(evaluation)
        jsonschema.validate(json.loads(json.dumps(report, allow_nan=False)), SCHEMA)
        assert report["failures"] == [{"clip": "broken", "error": "cannot be read"}]
        assert report["n_clips"] == 211 and report["scores"]["n_clips"] == 210

    def test_figures_are_those_of_the_answers(self):
        answers = make_answers()
        evaluation = evaluate_answers(SUBJECT, answers, NO_LEAKS, resampling=FAST)
        assert evaluation.scores.uar == score(gather_outcomes(answers), FAST).uar
        right = [EMOTIONS[int(np.argmax(a.probabilities))] == a.label for a in answers]
        kept = [not a.abstained for a in answers]
        assert evaluation.abstention.risk_of_all == pytest.approx(1 - np.mean(right))
        assert evaluation.abstention.coverage == pytest.approx(np.mean(kept))
        assert evaluation.abstention.risk == pytest.approx(
            1 - np.mean([r for r, k in zip(right, kept, strict=True) if k])
        )

    def test_people_stand_beside_where_published(self):
        summary = format_summary(evaluate_answers(SUBJECT, make_answers(), NO_LEAKS, resampling=FAST))
        assert "0.636 of answers right, face and voice (Cao et al. 2014)" in summary
        other = Subject("tiny 1", "mine", "/data", "folders", "all clips")
        assert "people" not in format_summary(evaluate_answers(other, make_answers(), NO_LEAKS, resampling=FAST))

    def test_a_long_curve_is_thinned_and_keeps_its_ends(self):
        curve = evaluate_answers(SUBJECT, make_answers(900), NO_LEAKS, resampling=FAST).risk_coverage
        assert len(curve.coverage) <= 200 and curve.coverage[-1] == 1

    def test_a_clip_with_nothing_to_go_by_does_not_count_for_angry(self):
        even = [ClipAnswer(f"c{i}", "s", "angry", probabilities=(1 / 7,) * 7) for i in range(700)]
        right = (gather_outcomes(even).predicted == 0).mean()
        assert right == pytest.approx(1 / 7, abs=0.04)

    def test_page_asks_for_nothing_and_escapes_names(self):
        answers = [ClipAnswer(**{**vars(a), "speaker": f"<script>alert({a.speaker})</script>$x$"})
                   for a in make_answers(70)]  # fmt: skip
        page = render_html(
            evaluate_answers(Subject("<b>", "&c", "/x", "folders", "all"), answers, NO_LEAKS, resampling=FAST)
        )
        checker = Checker()
        checker.feed(page)
        assert checker.faults == [] and checker.n_plots >= 6
        assert "<script" not in page and "&lt;script&gt;" in page
        assert not re.search(r"url\((?!#)", page) and "@import" not in page

    def test_page_without_a_modality_each_or_an_interval(self):
        answers = make_answers(6, n_speakers=1, both=False)
        page = render_html(evaluate_answers(SUBJECT, answers, NO_LEAKS, resampling=FAST))
        assert "What each modality adds" not in page and "one speaker only" in page


class Checker(HTMLParser):
    """Collects what would make a browser ask for something, and counts plots."""

    def __init__(self):
        super().__init__()
        self.faults, self.n_plots = [], 0

    def handle_starttag(self, tag, attributes):
        self.n_plots += tag == "svg"
        if tag in ("script", "link", "iframe", "img", "object", "embed", "audio", "video"):
            self.faults.append(tag)
        for name, value in attributes:
            leads_out = name in ("href", "src", "xlink:href", "action") and not (value or "").startswith(("#", "data:"))
            if leads_out or name.startswith("on"):
                self.faults.append(f"{tag} {name}={value}")


class TestMistakes:
    def test_the_worst_stands_first_and_leads_to_its_file(self):
        answers = make_answers(70)
        links = {answer.clip: f"file:///corpus/{answer.clip}.mp4#t=1,2" for answer in answers}
        evaluation = evaluate_answers(SUBJECT, answers, NO_LEAKS, resampling=FAST, links=links)
        jsonschema.validate(json.loads(json.dumps(to_json(evaluation))), SCHEMA)
        by_name = {answer.clip: answer for answer in answers}
        given = [by_name[one.clip].probabilities[EMOTIONS.index(one.label)] for one in evaluation.mistakes]
        assert given == sorted(given) and len(given) == 70 - sum(np.diag(evaluation.scores.confusion))
        page = render_html(evaluation)
        worst = evaluation.mistakes[0]
        assert f'<a href="{worst.link}">{worst.clip}</a>' in page
        places = [page.index(f">{one.clip}</a>") for one in evaluation.mistakes]
        assert places == sorted(places)

    def test_a_page_lists_a_hundred_and_says_so(self, monkeypatch):
        monkeypatch.setattr("moodreel.evaluation.html._figures", lambda *_: "")
        evaluation = evaluate_answers(SUBJECT, make_answers(700), NO_LEAKS, resampling=FAST)
        page = render_html(evaluation)
        table = page[page.index("Clips got wrong") :]
        assert len(evaluation.mistakes) > 100 and "the worst 100 of them" in table and table.count("<tr>") == 101

    def test_a_part_of_a_file_is_linked_as_such(self, tmp_path):
        whole = Sample(tmp_path / "a b.mp4", "sad", "x", "a", None, "c")
        assert link_clip(whole) == (tmp_path / "a b.mp4").as_uri() and "a%20b" in link_clip(whole)
        assert link_clip(replace(whole, start_s=10.0, end_s=14.5)).endswith("#t=10,14.5")
        assert link_clip(replace(whole, start_s=10.0)).endswith("#t=10")

    def test_the_command_links_the_files(self, run, tiny_bundle, corpus, tmp_path):
        run("evaluate", tiny_bundle, corpus, "--speakers", SPEAKER, "--out", tmp_path)
        report = json.loads((tmp_path / "report.json").read_text())
        assert {one["link"] for one in report["mistakes"]} == {
            path.as_uri() for path in corpus.rglob("*.wav") if path.parent.name != "surprise"
        }

    def test_the_page_shows_them_and_asks_for_nothing(self, run, tiny_bundle, tmp_path):
        for emotion in ("sad", "fear"):
            (tmp_path / "corpus" / emotion).mkdir(parents=True)
            for speaker in ("ann", "bob"):
                write_clip(tmp_path / "corpus" / emotion / f"{speaker}_1.mp4")
        asked = ("evaluate", tiny_bundle, tmp_path / "corpus", "--speakers", SPEAKER, "--out", tmp_path / "out")
        run(*asked)
        page = (tmp_path / "out" / "report.html").read_text()
        sources = re.findall(r'<img src="([^"]*)"', page)
        assert sources and all(source.startswith("data:image/jpeg;base64,") for source in sources)
        assert page.index("Clips got wrong") < page.index("<img")
        run(*asked, "--no-pictures")
        assert "<img" not in (tmp_path / "out" / "report.html").read_text()


class TestReading:
    def test_uar_is_explained_where_it_stands(self):
        evaluation = evaluate_answers(SUBJECT, make_answers(70), NO_LEAKS, resampling=FAST)
        page, summary = render_html(evaluation), format_summary(evaluation)
        head = page[page.index('class="headline"') : page.index("<table")]
        assert "unweighted average recall: the part of each emotion" in head and "Guessing gives 0.143" in head
        assert "(UAR: the part of each emotion's clips" in summary

    def test_no_interval_is_said_in_plain_words(self):
        evaluation = evaluate_answers(SUBJECT, make_answers(6, n_speakers=1), NO_LEAKS, resampling=FAST)
        assert "Only one speaker: no interval." in render_html(evaluation)
        assert "intervals: only one speaker: no interval" in format_summary(evaluation)

    def test_the_page_follows_the_reader_into_the_dark(self):
        page = render_html(evaluate_answers(SUBJECT, make_answers(70), NO_LEAKS, resampling=FAST))
        assert "prefers-color-scheme: dark" in page and "width=device-width" in page
        assert "#000000" not in page, "what is black cannot be seen"
        assert not re.search(r'id="[^"]*patch_[0-9]+">\s*<path[^>]*fill: #ffffff', page), "a plot has a white ground"

    def test_plots_share_no_id_and_all_is_reached_without_a_mouse(self):
        """Each plot's marks had the names of the first plot's, and wide tables could not be scrolled by keyboard."""
        page = render_html(evaluate_answers(SUBJECT, make_answers(70), NO_LEAKS, resampling=FAST))
        ids = re.findall(r' id="([^"]*)"', page)
        assert ids and len(set(ids)) == len(ids) and not any(" " in one for one in ids)
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids), "a mark is drawn of nothing"
        assert page.count("<main>") == 1 and page.count('class="wide"') == page.count('class="wide" tabindex="0"')

    def test_suspicions_are_listed_and_left_in(self):
        alike = Leak("clip0", "tested", "clip9", "trained", "picture", 0.1, 2.0)
        leaks = replace(NO_LEAKS, against="9 clips", suspected=(alike,))
        evaluation = evaluate_answers(SUBJECT, make_answers(70), leaks, resampling=FAST)
        jsonschema.validate(json.loads(json.dumps(to_json(evaluation))), SCHEMA)
        page = render_html(evaluation)
        assert evaluation.scores.n_clips == 70 and evaluation.scores_with_leaks is None
        assert "Suspicions" in page and "No clip stands on both sides." in page
