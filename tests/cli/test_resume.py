"""`predict` onto answers that are there already: it goes on with them, or leaves them and asks for --overwrite."""

import csv
import json
import sys

import pytest

from conftest import chirp
from media_files import write_clip, write_sound
from moodreel.cli import main as cli


@pytest.fixture
def run(tiny_bundle, capsys, monkeypatch):
    """Run `predict` in this process; returns status, stdout and stderr."""

    def call(*arguments, model=tiny_bundle):
        monkeypatch.setattr(sys, "argv", ["moodreel", "predict", "-m", str(model), *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        return exit.value.code or 0, out, err

    return call


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    return [write_sound(folder / f"{name}.wav", 2.0, sound=chirp) for name in "abc"]


def names(path):
    """The clips of a file of answers, as often as they stand in it."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line)["clip"] for line in text.splitlines()]
    return list(dict.fromkeys(row["clip"] for row in csv.DictReader(text.splitlines())))


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_second_run_goes_on(run, clips, tmp_path, form):
    output = tmp_path / f"answers.{form}"
    assert run(*clips[:2], "-f", form, "-o", output)[0] == 0
    before = output.read_text()
    status, _, err = run(*clips, "-f", form, "-o", output)
    assert status == 0 and names(output) == [str(clip) for clip in clips]
    assert output.read_text().startswith(before) and output.read_text().count("clip_label") <= 1
    assert err == (f"moodreel: goes on with {output}: 2 of 3 clips are answered already; --overwrite begins anew\n"), (
        err
    )
    all_there = output.read_text()
    assert "3 of 3 clips" in run(*clips, "-f", form, "-o", output, "--resume")[2]
    assert output.read_text() == all_there


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_answers_of_a_killed_run_are_found_and_kept(run, clips, tmp_path, form):
    output = tmp_path / f"answers.{form}"
    assert run(*clips[:2], "-f", form, "-o", output)[0] == 0
    left = tmp_path / f".moodreel-answers-abcd_123.{form}"
    whole = output.read_text()
    left.write_text(whole + whole.splitlines()[-1][:20])  # killed while it wrote
    output.unlink()
    other = tmp_path / f".moodreel-others-abcd_123.{form}"
    other.write_text(whole)
    status, _, err = run(*clips, "-f", form, "-o", output)
    assert status == 0 and sorted(names(output)) == [str(clip) for clip in clips]
    n_kept = 2 if form == "jsonl" else 1  # rows of a table's last clip may be missing
    assert f"{n_kept} of 3 clips are answered already, {n_kept} of a run that was killed" in err
    assert not left.exists() and other.exists(), "another file's answers are another's"


def test_a_run_that_still_writes_is_left_alone(run, clips, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    output = tmp_path / "answers.jsonl"
    left = tmp_path / ".moodreel-answers-abcd_123.jsonl"
    left.write_text("{}\n")
    with left.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(*clips, "-f", "jsonl", "-o", output, "--overwrite")[0] == 0
    assert left.exists() and len(names(output)) == 3


@pytest.mark.parametrize("form", ["json", "table"])
def test_what_cannot_go_on_asks_for_overwrite(run, clips, tmp_path, form):
    output = tmp_path / "answers.txt"
    output.write_text("older")
    status, _, err = run(clips[0], "-f", form, "-o", output)
    assert status == 2 and output.read_text() == "older"
    assert len(err.splitlines()) == 1 and "is there already" in err and "--overwrite" in err
    assert run(clips[0], "-f", form, "-o", output, "--overwrite")[0] == 0 and output.read_text() != "older"
    assert "cannot go on" in run(clips[0], "-f", form, "-o", output, "--resume")[2]


def test_overwrite_begins_anew(run, clips, tmp_path):
    output = tmp_path / "answers.jsonl"
    run(*clips[:2], "-f", "jsonl", "-o", output)
    assert run(clips[2], "-f", "jsonl", "-o", output, "--overwrite")[0] == 0
    assert names(output) == [str(clips[2])]


@pytest.mark.parametrize("text", ["notes of mine\n", '{"model": "tiny 1"}\n', '["a"]\n'])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_file_of_something_else_is_not_touched(run, clips, tmp_path, form, text):
    output = tmp_path / f"answers.{form}"
    output.write_text(text)
    status, _, err = run(*clips, "-f", form, "-o", output)
    assert status == 2 and "is no file of answers" in err and "--overwrite" in err and output.read_text() == text


def test_answers_of_another_model_are_not_mixed_in(run, clips, tmp_path):
    output = tmp_path / "answers.jsonl"
    run(clips[0], "-f", "jsonl", "-o", output)
    text = output.read_text().replace('"model": "tiny 1"', '"model": "huge 2"')
    assert "huge 2" in text
    output.write_text(text)
    status, _, err = run(*clips, "-f", "jsonl", "-o", output)
    assert status == 2 and "'huge 2', not of 'tiny 1'" in err and output.read_text() == text


def test_a_table_of_other_columns_is_not_added_to(run, clips, tmp_path):
    output = tmp_path / "answers.csv"
    output.write_text('"clip","start_s"\n"x.mp4",0\n')
    status, _, err = run(*clips, "-f", "csv", "-o", output)
    assert status == 2 and err.count("error:") == 1 and "other columns" in err
    assert output.read_text() == '"clip","start_s"\n"x.mp4",0\n'


def test_clips_that_failed_are_tried_again(run, clips, tmp_path):
    output = tmp_path / "answers.jsonl"
    bad = tmp_path / "clips" / "bad.wav"
    bad.write_text("no sound")
    assert run(*clips, bad, "-f", "jsonl", "-o", output)[0] == 1
    write_sound(bad, 2.0, sound=chirp)
    assert run(*clips, bad, "-f", "jsonl", "-o", output)[0] == 0 and len(names(output)) == 4


def test_a_folder_of_answers_goes_on(run, clips, tmp_path):
    run(*clips[:2], "-f", "vtt", "-o", tmp_path / "cues")
    first = (tmp_path / "cues" / "a.vtt").stat().st_mtime_ns
    status, _, err = run(*clips, "-f", "vtt", "-o", tmp_path / "cues")
    assert status == 0 and "2 of 3 clips are answered already" in err
    assert (tmp_path / "cues" / "a.vtt").stat().st_mtime_ns == first and (tmp_path / "cues" / "c.vtt").exists()


def test_pictures_that_are_missing_are_drawn_though_the_answer_is_there(run, clips, tmp_path):
    output, plots = tmp_path / "answers.jsonl", tmp_path / "plots"
    run(*clips, "-f", "jsonl", "-o", output)
    assert run(*clips, "-f", "jsonl", "-o", output, "--plot", plots)[0] == 0
    assert sorted(path.name for path in plots.iterdir()) == ["a.png", "b.png", "c.png"]
    assert names(output) == [str(clip) for clip in clips]


def test_odd_names_are_recognised(run, tmp_path):
    import os

    path = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff\n'x\".wav")
    write_sound(tmp_path / "a.wav", 2.0, sound=chirp).rename(path)
    for form in ("jsonl", "csv"):
        output = tmp_path / "out" / f"answers.{form}"
        run(path, "-f", form, "-o", output)
        assert "1 of 1 clips are answered already" in run(path, "-f", form, "-o", output)[2]


def test_a_call_is_split_into_its_speakers(run, tmp_path):
    call = write_sound(tmp_path / "call.wav", 3.0, layout="stereo", sound=chirp)
    mono = write_sound(tmp_path / "mono.wav", 2.0, sound=chirp)
    output = tmp_path / "out"
    arguments = (call, mono, "--channels", "split", "--plot", output, "--from", "0.5")
    status, out, err = run(*arguments, "-f", "jsonl")
    expected = [f"{call}#t=0.5&channel=left", f"{call}#t=0.5&channel=right", f"{mono}#t=0.5"]
    assert status == 0 and [json.loads(line)["clip"] for line in out.splitlines()] == expected
    assert err == f"moodreel: {mono}#t=0.5: has 1 channel, not two to split; it is read as mix\n"
    assert sorted(path.name for path in output.iterdir()) == ["call-left.png", "call-right.png", "mono.png"]
    status, out, _ = run(call, "-f", "json", "--channels", "split")
    assert [one["clip"][-5:] for one in json.loads(out)] == ["=left", "right"]
    assert run(call, "-f", "vtt", "-o", output, "--channels", "split")[0] == 0 and (output / "call-left.vtt").exists()
    assert run(call, "--channels", "both")[::2] == (
        2,
        "moodreel: error: --channels 'both': expected one of mix, split, left, right\n",
    )


@pytest.mark.parametrize(
    ("option", "name"), [("--plot", "t.gif"), ("--plot", "t.pdf"), ("--overlay", "o.avi"), ("--overlay", "o.webm")]
)
def test_pictures_of_another_kind_are_refused_before_anything_is_read(run, tmp_path, option, name):
    status, out, err = run(tmp_path / "missing.mp4", option, tmp_path / name, model="no-such")
    assert (status, out) == (2, "") and len(err.splitlines()) == 1
    assert f"{option} {tmp_path / name}: cannot be written as" in err and "expected ." in err


@pytest.mark.parametrize("name", ["-dash.flv", "=sum.flv", "@at.flv"])
def test_a_name_stays_what_it_is_where_no_formula_runs(run, tmp_path, monkeypatch, name):
    write_clip(tmp_path / "a.flv", 2, sound=chirp, audio_rate=44_100).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for form in ("json", "jsonl"):
        answers = run("-f", form, "--", name)[1]
        assert json.loads(answers)["clip"] == name
    assert run("-f", "table", "--", name)[1].startswith(name)
    assert f": {name}\n" in run("-f", "vtt", "--", name)[1]
    run("--plot", "plots", "--overlay", "plots", "--", name)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [f"{name[:-4]}.mp4", f"{name[:-4]}.png"]


def test_names_of_pictures_keep_the_folder(run, tmp_path):
    for folder in ("a", "b/deep"):
        (tmp_path / "lib" / folder).mkdir(parents=True)
        write_sound(tmp_path / "lib" / folder / "c.wav", sound=chirp)
    assert run(tmp_path / "lib", "--plot", tmp_path / "out")[0] == 0
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["a/c.png", "b/deep/c.png"]
    assert run(tmp_path / "lib" / "a", tmp_path / "lib" / "b" / "deep" / "c.wav", "--plot", tmp_path / "two")[0] == 0
    assert (tmp_path / "two" / "a" / "c.png").exists() and (tmp_path / "two" / "b" / "deep" / "c.png").exists()


def test_all_reads_covers_and_verbose_lists_what_was_skipped(run, tmp_path):
    import numpy as np

    from media_files import write_image

    write_sound(tmp_path / "a.wav", sound=chirp)
    write_image(tmp_path / "cover.png", np.zeros((32, 32, 3), np.uint8), codec="png", pix_fmt="rgb24")
    _, out, err = run(tmp_path, "-f", "jsonl", "--verbose")
    assert len(out.splitlines()) == 1 and f"skipped {tmp_path / 'cover.png'}: covers or thumbnails" in err
    assert len(run(tmp_path, "-f", "jsonl", "--all")[1].splitlines()) == 2
    assert run(tmp_path, "-f", "jsonl", "--quiet")[2] == ""


def test_a_row_of_a_clip_that_failed_gives_way_when_it_is_tried_again(run, clips, tmp_path):
    output, bad = tmp_path / "answers.csv", tmp_path / "clips" / "bad.wav"
    bad.write_text("no sound")
    assert run(bad, clips[0], "-f", "csv-clips", "-o", output)[0] == 1
    write_sound(bad, 2.0, sound=chirp)
    assert run(bad, *clips, "-f", "csv-clips", "-o", output)[0] == 0
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert len(rows) == 4 and {row["status"] for row in rows} == {"ok"}


def test_a_clip_that_fails_first_in_a_second_run_brings_no_second_header(run, clips, tmp_path):
    output, bad = tmp_path / "answers.csv", tmp_path / "clips" / "bad.wav"
    bad.write_text("no sound")
    run(clips[0], "-f", "csv-clips", "-o", output)
    assert run(bad, *clips, "-f", "csv-clips", "-o", output)[0] == 1
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok"]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table", "vtt"])
def test_a_folder_takes_a_file_for_each_clip_in_any_format(run, clips, tmp_path, form):
    folder = tmp_path / "answers"
    status, out, _ = run(*clips[:2], "-f", form, "-o", f"{folder}/")
    assert status == 0 and out == ""
    files = sorted(folder.iterdir())
    assert [path.stem for path in files] == ["a", "b"]
    if form in ("json", "jsonl"):
        assert [json.loads(path.read_text())["clip"] for path in files] == [str(clip) for clip in clips[:2]]
    if form == "csv":
        assert [names(path) for path in files] == [[str(clip)] for clip in clips[:2]]
    before = [path.stat().st_mtime_ns for path in files]
    status, _, err = run(*clips, "-f", form, "-o", folder, "--resume")
    assert status == 0 and "2 of 3 clips are answered already" in err
    assert [path.stat().st_mtime_ns for path in files] == before and len(list(folder.iterdir())) == 3


def test_a_clip_that_fails_leaves_no_file_in_a_folder(run, clips, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    status, _, err = run(tmp_path / "bad.wav", clips[0], "-f", "csv", "-o", f"{tmp_path}/answers/")
    assert status == 1 and "bad.wav: is not media" in err
    assert [path.name for path in (tmp_path / "answers").rglob("*.csv")] == ["a.csv"]


def test_a_folder_that_cannot_be_made_is_one_line(run, clips, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = run(*clips, "-f", "csv", "-o", f"{tmp_path}/file/answers/")
    assert status == 2 and "the folder cannot be made" in err and len(err.splitlines()) == 1
