"""`moodreel compare`: says what differs, by how much and how surely, and refuses what cannot be compared."""

import csv
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from made_answers import make_answers
from moodreel.cli import main as cli
from moodreel.evaluation.answers import ClipAnswer, gather_outcomes, open_answers
from moodreel.evaluation.ranking import NO_EVIDENCE, rank_runs
from moodreel.evaluation.run_folders import read_failed, read_run
from moodreel.labels import EMOTIONS
from moodreel.metrics import Resampling, compare, holm, score

FAST = Resampling(n_draws=300)


def write_table(folder, answers, probabilities=None):
    folder.mkdir()
    with (folder / "test-predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "speaker", "label", *EMOTIONS])
        for row, answer in enumerate(answers):
            values = answer.probabilities if probabilities is None else probabilities[row]
            writer.writerow([answer.clip, answer.speaker, answer.label, *(f"{value:.6f}" for value in values)])
    return folder


def certain(answers):
    return np.eye(7)[[EMOTIONS.index(answer.label) for answer in answers]]


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["moodreel", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    return exit.value.code or 0, *capsys.readouterr()


def test_runs_of_either_kind_are_compared(tmp_path, monkeypatch, capsys):
    answers = make_answers(140)
    write_table(tmp_path / "trained", answers, certain(answers))
    with open_answers(tmp_path / "evaluated" / "predictions.jsonl", {"model": "m"}) as file:
        for answer in answers:
            file.add(answer)
    status, out, _ = run(monkeypatch, capsys, tmp_path / "evaluated", tmp_path / "trained")
    assert status == 0
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert [len(row) for row in cells] == [7] * 4 and cells[3][-1] == "better"
    assert cells[3][1].startswith("1.000 [1.000, 1.000]")
    assert "paired" in out and "140 clips of 6 known speakers" in out


def test_equal_runs_give_no_evidence(tmp_path, monkeypatch, capsys):
    answers = make_answers(70)
    folders = [write_table(tmp_path / name, answers) for name in "ab"]
    out = run(monkeypatch, capsys, *folders)[1]
    assert "no evidence of a difference" in out and "+0.000 [+0.000, +0.000] | +0.000 [+0.000, +0.000] | 1 |" in out


def test_clips_that_failed_are_named_and_counted(tmp_path, monkeypatch, capsys):
    """Two runs that both could not read the hard clips look better than they are."""
    answers = make_answers(70)
    broken = [ClipAnswer(f"broken{n}", "s0", "sad", error="cannot be read") for n in range(5)]
    with open_answers(tmp_path / "evaluated" / "predictions.jsonl", {"model": "m"}) as file:
        for answer in (*answers, *broken):
            file.add(answer)
    trained = write_table(tmp_path / "trained", answers)
    unreadable = [{"clip": "broken0", "side": "test", "reason": "r"}, {"clip": "x", "side": "train", "reason": "r"}]
    (trained / "scores.json").write_text(json.dumps({"unreadable": unreadable}))
    assert read_failed(trained) == ("broken0",) and len(read_run(tmp_path / "evaluated")) == 70
    status, out, err = run(monkeypatch, capsys, tmp_path / "evaluated", trained)
    assert status == 0 and f"left out: 5 of {tmp_path / 'evaluated'}, 1 of {trained}." in out
    assert "left out: broken0, broken1, broken2 and 2 more" in err and "trained: clips that failed" in err


def test_runs_of_which_one_clip_failed_in_one_only_are_not_compared(tmp_path, monkeypatch, capsys):
    answers = make_answers(21)
    with open_answers(tmp_path / "evaluated" / "predictions.jsonl", {"model": "m"}) as file:
        for answer in (*answers[1:], ClipAnswer("clip0", "s0", answers[0].label, error="cannot be read")):
            file.add(answer)
    status, _, err = run(monkeypatch, capsys, tmp_path / "evaluated", write_table(tmp_path / "trained", answers))
    assert status == 2 and "left out: clip0" in err and "1 only in the second" in err


def write_evaluation(folder, answers, leaked, against="9 clips"):
    """What `moodreel evaluate` leaves of these answers, as far as `compare` reads it."""
    with open_answers(folder / "predictions.jsonl", {"model": "m"}) as file:
        for answer in answers:
            file.add(answer)
    (folder / "report.json").write_text(json.dumps({"leaks": {"against": against, "leaked": leaked}}))
    return folder


def test_clean_clips_stand_first_and_leak_for_neither_run(tmp_path, monkeypatch, capsys):
    """A bundle that was trained on half of the clips must not win by them."""
    answers = make_answers(140)
    learned = [replace(a, probabilities=tuple(certain([a])[0])) if i < 70 else a for i, a in enumerate(answers)]
    honest = write_evaluation(tmp_path / "honest", answers, [answers[139].clip])
    leaky = write_evaluation(tmp_path / "leaky", learned, [a.clip for a in answers[:70]])
    status, out, _ = run(monkeypatch, capsys, honest, leaky)
    clean, whole = out.split("All clips, 71 that leak counted in:")
    assert status == 0 and clean.startswith("Clean clips: the 69 that leak for no run:")
    assert "69 clips of" in clean and NO_EVIDENCE in clean and "better" not in clean
    assert "140 clips of" in whole and "| better |" in whole
    alone = score(gather_outcomes(answers[70:139]))
    assert clean.count(f"| {alone.uar} |") == 2, "both runs answer alike to clean clips"


def test_runs_of_which_every_clip_leaks_have_no_honest_figure(tmp_path, monkeypatch, capsys):
    answers = make_answers(30)
    runs = [write_evaluation(tmp_path / name, answers, [a.clip for a in answers]) for name in "ab"]
    out = run(monkeypatch, capsys, *runs)[1]
    assert out.startswith("NO HONEST FIGURE: every clip leaks") and "All clips, 30 that leak" in out


def test_runs_of_which_leaks_are_unknown_are_named(tmp_path, monkeypatch, capsys):
    answers = make_answers(30)
    checked = write_evaluation(tmp_path / "checked", answers, [])
    nothing = write_evaluation(tmp_path / "nothing", answers, [], against="")
    out = run(monkeypatch, capsys, checked, write_table(tmp_path / "trained", answers), nothing)[1]
    assert f"keeps no report of them: {tmp_path / 'trained'}, {nothing}." in out and "Clean clips" not in out
    (checked / "report.json").write_text("{}")
    status, _, err = run(monkeypatch, capsys, checked, nothing)
    assert status == 2 and "report.json: damaged; evaluate again" in err


def test_one_speaker_is_said_in_plain_words(tmp_path, monkeypatch, capsys):
    answers = make_answers(30, n_speakers=1)
    out = run(monkeypatch, capsys, *(write_table(tmp_path / name, answers) for name in "ab"))[1]
    assert f"{NO_EVIDENCE} (only one speaker: no interval)" in out


def test_several_are_corrected_together():
    answers = make_answers(210)
    base = gather_outcomes(answers)
    others = {name: gather_outcomes(make_like(answers, seed)) for seed, name in enumerate("bcd", 1)}
    ranking = rank_runs({"a": base, **others}, FAST)
    p_values = [compare(base, outcomes, FAST).mcnemar_p for outcomes in others.values()]
    assert tuple(rival.holm_p for rival in ranking.rivals) == holm(p_values)
    strict = Resampling(n_draws=300, level=1 - 0.05 / 3)
    for rival in ranking.rivals:
        gain = compare(base, others[rival.name], strict).uar
        assert (rival.verdict == NO_EVIDENCE) == (gain.low <= 0 <= gain.high)
        assert rival.comparison.uar.low >= gain.low, "shown at 95 %, judged by the wider one"


def make_like(answers, seed):
    """Other probabilities for the same clips."""
    rng = np.random.default_rng(seed)
    return [replace(a, probabilities=tuple(rng.dirichlet(np.ones(7)))) for a in answers]


def test_equal_networks_are_seldom_told_apart():
    verdicts = []
    for seed in range(40):
        answers = make_answers(140, n_speakers=10, seed=seed)
        pair = [gather_outcomes(make_like(answers, 1000 * side + seed)) for side in (1, 2)]
        verdicts.append(rank_runs({"a": pair[0], "b": pair[1]}, Resampling(n_draws=200)).rivals[0].verdict)
    assert sum(verdict != NO_EVIDENCE for verdict in verdicts) <= 6, "5 % are expected, of 40 some 2"


@pytest.mark.parametrize(
    "damage, words",
    [
        ("clips", "not the same clips: 1 only in the first"),
        ("label", "another label or speaker"),
        ("nan", "a probability is NaN"),
        ("text", "a probability is no number"),
        ("twice", "two clips of one name"),
        ("column", "lacks the column 'sad'"),
        ("empty", "holds neither predictions.jsonl nor test-predictions.csv"),
        ("same", "named twice"),
        ("alone", "name two runs or more"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, damage, words):
    answers = make_answers(21)
    first, second = (write_table(tmp_path / name, answers) for name in "ab")
    path = second / "test-predictions.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    other = "sad" if cells[2] != "sad" else "fear"
    changed = {
        "clips": lines[:-1],
        "label": [lines[0], ",".join([*cells[:2], other, *cells[3:]]), *lines[2:]],
        "nan": [lines[0], ",".join([*cells[:3], "nan", *cells[4:]]), *lines[2:]],
        "text": [lines[0], ",".join([*cells[:3], "much", *cells[4:]]), *lines[2:]],
        "twice": [*lines, lines[1]],
        "column": [lines[0].replace("sad", "gloomy"), *lines[1:]],
    }.get(damage, lines)
    path.write_text("\n".join(changed) + "\n")
    if damage == "empty":
        path.unlink()
    arguments = {"same": (first, first), "alone": (first,)}.get(damage, (first, second))
    status, _, err = run(monkeypatch, capsys, *arguments)
    errors = [line for line in err.splitlines() if "error:" in line]
    assert status == 2 and len(errors) == 1 and words in errors[0], err


def test_a_run_reads_back_as_written(tmp_path):
    answers = make_answers(30)
    outcomes = read_run(write_table(tmp_path / "a", answers))
    np.testing.assert_allclose(outcomes.probabilities, gather_outcomes(answers).probabilities, atol=1e-5)
