"""The predict command as a user types it: outputs, exit statuses, and one clear line for every bad input."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import count

import av
import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from conftest import chirp
from media_files import damage, truncate, write_clip, write_sound
from moodreel.cli import main as cli
from moodreel.errors import MoodreelError
from moodreel.extras import advise
from moodreel.media.container import Source
from moodreel.output.formats import list_formats


@pytest.fixture
def run(tiny_bundle, capsys, monkeypatch):
    """Run a command line in this process; returns status, stdout and stderr."""

    def call(*arguments, model=tiny_bundle):
        command, *rest = map(str, arguments)
        extra = ["--model", str(model)] if command in ("predict", "demo") else []
        monkeypatch.setattr(sys, "argv", ["moodreel", command, *extra, *rest])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        return exit.value.code or 0, out, err

    return call


def one_error(err, *words):
    """There is one error line, without a traceback, and it holds the words."""
    lines = [line for line in err.splitlines() if "error:" in line]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


def test_table(run, face_clip):
    status, out, err = run("predict", face_clip)
    assert status == 0 and err == ""
    assert "face and voice.mp4" in out and "->" in out and "weight" in out


def test_tables_of_several_clips_stand_apart(run, tmp_path):
    sounds = [write_sound(tmp_path / name, sound=chirp) for name in ("a.wav", "b.wav")]
    first, second = run("predict", *sounds)[1].split(f"\n\n{sounds[1]}")
    assert first.startswith(str(sounds[0])) and "surprise" in second


def test_a_clip_that_sets_off_anything_does_not_stop_the_others(run, face_clip, tmp_path, monkeypatch):
    from moodreel.media.clip import Clip

    bad = write_sound(tmp_path / "bad.wav")
    stream = Clip.stream

    def stumble(self, **settings):
        if self.name.endswith("bad.wav"):
            raise IndexError("list index out of range")
        return stream(self, **settings)

    monkeypatch.setattr(Clip, "stream", stumble)
    status, out, err = run("predict", bad, face_clip, "--format", "jsonl")
    assert status == 1
    assert [json.loads(line)["clip"] for line in out.splitlines()] == [str(face_clip)]
    one_error(err, "bad.wav: cannot be read: IndexError: list index out of range; please report it")


def test_parts_of_a_film(run, face_clip, tmp_path):
    film = write_clip(tmp_path / "film.mp4", 8, size=(160, 120), rate=10)
    out = tmp_path / "drawn"
    status, text, _ = run(
        "predict", f"{film}#t=2,5", f"{film}#t=4", "--format", "jsonl", "--plot", out / "p", "--overlay", out / "o"
    )
    first, second = map(json.loads, text.splitlines())
    assert status == 0 and (first["clip"], second["clip"]) == (f"{film}#t=2,5", f"{film}#t=4")
    assert (first["timeline"][0]["start_s"], first["timeline"][-1]["end_s"]) == (2.0, 5.0)
    assert (first["duration_s"], second["duration_s"]) == pytest.approx((3.0, 4.0), abs=0.1)
    assert sorted(path.name for path in out.rglob("*.*")) == ["film-2.mp4", "film-2.png", "film.mp4", "film.png"]
    with av.open(str(out / "o" / "film.mp4")) as overlay:
        assert overlay.duration / 1e6 == pytest.approx(3.0, abs=0.2)


def test_the_same_part_of_each_file(run, tmp_path):
    clips = [write_sound(tmp_path / f"{name}.wav", 5.0) for name in "ab"]
    status, text, _ = run("predict", *clips, "--from", "0:01", "--to", "3.5", "--format", "jsonl")
    assert status == 0
    assert [json.loads(line)["clip"] for line in text.splitlines()] == [f"{clip}#t=1,3.5" for clip in clips]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--from", "soon"), 2, "is no time"),
        (("--from", "3", "--to", "2"), 2, "0 <= start < end"),
        (("--from", "60"), 1, "the file ends at 5.0 s"),
    ],
)
def test_parts_that_are_none(run, tmp_path, options, status, said):
    clip = write_sound(tmp_path / "a.wav", 5.0)
    found, _, err = run("predict", clip, *options)
    assert found == status
    one_error(err, said)


def test_a_part_cannot_be_drawn_over_its_film(run, tmp_path):
    film = write_clip(tmp_path / "film.mp4", 3)
    before = film.read_bytes()
    status, _, err = run("predict", f"{film}#t=1,2", "--overlay", film)
    assert status == 2 and film.read_bytes() == before
    one_error(err, "is a clip to read")


def test_jsonl_writes_one_object_a_clip(run, face_clip, tmp_path):
    sound = write_sound(tmp_path / "a.wav", sound=chirp)
    status, out, _ = run("predict", face_clip, sound, "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [row["clip"] for row in rows] == [str(face_clip), str(sound)]


def test_json_is_an_object_for_one_clip_and_a_list_for_several(run, tmp_path):
    sounds = [write_sound(tmp_path / name, sound=chirp) for name in ("a.wav", "b.wav")]
    assert isinstance(json.loads(run("predict", sounds[0], "-f", "json")[1]), dict)
    assert [one["clip"] for one in json.loads(run("predict", *sounds, "-f", "json")[1])] == [str(s) for s in sounds]


def test_csv_has_one_header(run, tmp_path):
    sounds = [write_sound(tmp_path / name, 3, sound=chirp) for name in ("a.wav", "b.wav")]
    rows = list(csv.DictReader(io.StringIO(run("predict", *sounds, "-f", "csv")[1])))
    assert len(rows) == 4 and {row["label"] for row in rows} == {"surprise"}
    assert [(row["start_s"], row["end_s"]) for row in rows[:2]] == [("0.0", "1.5"), ("1.5", "3.0")], "no instant twice"


def test_csv_of_clips_has_a_row_for_a_clip_that_failed(run, tmp_path):
    sound = write_sound(tmp_path / "a.wav", 2, sound=chirp)
    (tmp_path / "broken.mp4").write_text("no clip at all")
    status, out, _ = run("predict", tmp_path / "broken.mp4", sound, "-f", "csv-clips", "--bom")
    failed, answered = csv.DictReader(io.StringIO(out.removeprefix("\ufeff")))
    assert status == 1 and out.count("\ufeff") == 1
    assert (failed["clip"], failed["status"], answered["status"]) == (str(tmp_path / "broken.mp4"), "failed", "ok")
    assert "is not media" in failed["error"] and answered["label"] == "surprise"


def test_formats_lists_every_format_and_every_column(run):
    status, out, _ = run("formats")
    names = [line.split()[0] for line in out.splitlines() if line]
    assert status == 0 and {*list_formats(), "face_sad", "on_screen", "share_happy"} <= set(names)


def test_vtt_to_stdout_and_to_a_folder(run, tmp_path):
    sounds = [write_sound(tmp_path / name, 2, sound=chirp) for name in ("a.wav", "b.wav")]
    assert run("predict", sounds[0], "-f", "vtt")[1].startswith("WEBVTT")
    status, _, err = run("predict", *sounds, "-f", "vtt")
    assert status == 2
    one_error(err, "--output")
    assert run("predict", *sounds, "-f", "vtt", "-o", tmp_path / "cues")[0] == 0
    assert sorted(path.name for path in (tmp_path / "cues").iterdir()) == ["a.vtt", "b.vtt"]


def test_folder_is_searched(run, tmp_path):
    (tmp_path / "sub").mkdir()
    write_sound(tmp_path / "sub" / "a.wav", sound=chirp)
    (tmp_path / "notes.txt").write_text("not media")
    status, out, err = run("predict", tmp_path, "-f", "jsonl")
    assert status == 0 and len(out.splitlines()) == 1
    assert err == "moodreel: skipped 1 file: 1 .txt; --verbose lists them\n"


def test_plot_and_overlay(run, face_clip, tmp_path):
    plot, overlay = tmp_path / "t.png", tmp_path / "o.mp4"
    assert run("predict", face_clip, "--plot", plot, "--overlay", overlay)[0] == 0
    assert Image.open(plot).size == (1200, 620)
    import av

    with av.open(str(overlay)) as made:
        assert made.streams.video[0].width == 320 and len(made.streams.audio) == 1
        assert float(made.duration / 1e6) == pytest.approx(3.0, abs=0.3)
        pixels = next(made.decode(video=0)).to_ndarray(format="rgb24")
    assert pixels[-10:, :30].mean() < 128, "the emotions stand on black in the lower left corner"


def test_several_plots_need_a_folder(run, tmp_path):
    sounds = [write_sound(tmp_path / name, sound=chirp) for name in ("a.wav", "b.wav")]
    status, _, err = run("predict", *sounds, "--plot", tmp_path / "one.png")
    assert status == 2
    one_error(err, "--plot", "folder")
    assert run("predict", *sounds, "--plot", tmp_path / "plots")[0] == 0
    assert len(list((tmp_path / "plots").iterdir())) == 2


def test_overlay_of_a_sound_is_an_error_of_that_clip_alone(run, tmp_path):
    sound = write_sound(tmp_path / "a.wav", sound=chirp)
    status, out, err = run("predict", sound, "--overlay", tmp_path / "o.mp4")
    assert status == 1 and "surprise" in out, "the answer itself is there"
    one_error(err, "no picture")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"], "nothing half-written stays"


def bad_files(folder):
    """Name and write every file that cannot be predicted."""
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("#EXTM3U\nhttp://example.com/x\n")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "archive.mp4").write_bytes(b"PK\x03\x04" + bytes(200))
    return ["empty.mp4", "text.mp4", "noise.mp4", "archive.mp4", "missing.mp4"]


def test_bad_clips_cost_themselves_alone(run, tmp_path):
    names = bad_files(tmp_path)
    good = write_sound(tmp_path / "good.wav", sound=chirp)
    status, out, err = run("predict", *(tmp_path / name for name in names), good, "-f", "jsonl")
    assert status == 1
    assert [json.loads(line)["clip"] for line in out.splitlines()] == [str(good)]
    for name in names:
        assert sum(name in line for line in err.splitlines()) == 1, f"{name} is not named once in {err}"
    assert "Traceback" not in err


def test_folder_without_media(run, tmp_path):
    status, out, err = run("predict", tmp_path)
    assert status == 1 and out == ""
    one_error(err, str(tmp_path))


@pytest.mark.parametrize("name", ["with space.wav", "quote'\".wav", "new\nline.wav", "ünï-çødé-情.wav", "-dash.wav"])
def test_odd_names(run, tmp_path, monkeypatch, name):
    write_sound(tmp_path / "a.wav", sound=chirp).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    status, out, err = run("predict", "--format", "jsonl", "--", name)
    assert (status, err) == (0, "")
    assert json.loads(out)["clip"] == name


def test_missing_file_with_a_newline_in_its_name_stays_on_one_line(run):
    status, _, err = run("predict", "no\nsuch.mp4")
    assert status == 1 and len(err.splitlines()) == 1


def test_name_longer_than_any_file_has(run):
    status, _, err = run("predict", "a" * 300 + ".mp4")
    assert status == 1
    one_error(err, "cannot be opened")


def test_truncated_clip_is_predicted_with_a_warning(run, tmp_path):
    path = tmp_path / "cut.mkv"
    write_clip(path, 4, sound=chirp)
    truncate(path, 0.5)
    status, out, err = run("predict", path, "-f", "json")
    assert status == 0 and "warning" in err
    assert json.loads(out)["warnings"]


def test_damaged_clip_is_predicted_with_a_warning(run, tmp_path):
    path = tmp_path / "damaged.ts"
    write_clip(path, 4, sound=chirp)
    damage(path, 0.45, 0.55)
    status, out, _ = run("predict", path, "-f", "json")
    assert status == 0 and json.loads(out)["probabilities"]


def test_nothing_usable_is_no_failure(run, tmp_path):
    path = tmp_path / "dull.mp4"
    write_clip(path, 1, audio_codec=None)
    status, out, err = run("predict", path, "-f", "json")
    answer = json.loads(out)
    assert status == 0 and answer["abstained"] and answer["label"] is None
    assert "warning" in err


def test_quiet_says_nothing_but_errors(run, tmp_path):
    path = tmp_path / "dull.mp4"
    write_clip(path, 1, audio_codec=None)
    assert run("predict", path, "--quiet")[2] == ""
    one_error(run("predict", tmp_path / "missing.mp4", "--quiet")[2], "missing.mp4")


def test_verbose_says_what_is_read_and_drawn(run, face_clip, tmp_path):
    err = run("predict", face_clip, "--verbose", "--plot", tmp_path / "t.png")[2]
    assert "reading" in err and "drawing" in err and "t.png" in err


def test_quiet_goes_before_verbose(run, face_clip):
    assert run("predict", face_clip, "--quiet", "--verbose")[2] == ""


def test_output_file_is_written_whole(run, tmp_path):
    sound = write_sound(tmp_path / "a.wav", sound=chirp)
    status, out, _ = run("predict", sound, "-f", "json", "-o", tmp_path / "new" / "answer.json")
    assert status == 0 and out == ""
    assert json.loads((tmp_path / "new" / "answer.json").read_text())["label"] == "surprise"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["answer.json"]


@pytest.mark.parametrize("option", ["--output", "--plot", "--overlay"])
def test_a_clip_is_never_overwritten(run, face_clip, tmp_path, option):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(face_clip.read_bytes())
    status, out, err = run("predict", clip, option, tmp_path / "." / "clip.mp4")
    assert (status, out) == (2, "")
    one_error(err, "clip.mp4")
    assert clip.read_bytes() == face_clip.read_bytes()


def test_overlays_do_not_go_among_their_clips(run, face_clip, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(face_clip.read_bytes())
    status, _, err = run("predict", tmp_path, "--overlay", tmp_path)
    assert status == 2
    one_error(err, "a.mp4")


def test_clips_of_one_name_get_pictures_and_cues_of_their_own(run, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_sound(tmp_path / folder / "a.wav", sound=chirp)
    assert run("predict", tmp_path, "-f", "vtt", "-o", tmp_path / "cues", "--plot", tmp_path / "cues")[0] == 0
    assert sorted(path.name for path in (tmp_path / "cues").iterdir()) == ["x", "y"]
    assert sorted(path.name for path in (tmp_path / "cues" / "y").iterdir()) == ["a.png", "a.vtt"]


def test_output_to_a_device_is_refused_and_the_device_stays(run, face_clip, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    status, _, err = run("predict", face_clip, "-o", tmp_path / "pipe")
    assert status == 2
    one_error(err, "pipe or device")
    assert (tmp_path / "pipe").is_fifo()


def test_output_through_a_link_leaves_the_link(run, tmp_path):
    sound = write_sound(tmp_path / "a.wav", sound=chirp)
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    assert run("predict", sound, "-o", tmp_path / "link.txt")[0] == 0
    assert (tmp_path / "link.txt").is_symlink() and "surprise" in (tmp_path / "real.txt").read_text()


def start_on_copies(tiny_bundle, face_clip, folder, n_clips):
    """Start predicting copies of a clip in a process of its own; returns it once the first answer is written."""
    (folder / "clips").mkdir()
    for number in range(n_clips):
        (folder / "clips" / f"{number:02}.mp4").write_bytes(face_clip.read_bytes())
    # A test run in the background may have SIGINT ignored, which children inherit.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from moodreel.cli.main import main; main()"
    )
    arguments = ["predict", "-m", tiny_bundle, folder / "clips", "-f", "jsonl", "-o", folder / "answers.jsonl"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(path.stat().st_size for path in folder.glob(".moodreel-*.jsonl")):
        time.sleep(0.01)
    return process


def test_interrupted_run_keeps_what_was_finished(tiny_bundle, face_clip, tmp_path):
    with start_on_copies(tiny_bundle, face_clip, tmp_path, 40) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert process.returncode == 130 and out == "", err
    assert err == f"moodreel: interrupted: {len(answers)} of 40 clips done\n"
    assert 1 <= len(answers) < 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "clips"], "a half-written file stays"


def test_interruption_inside_the_decoder_is_not_lost(run, face_clip, tmp_path, monkeypatch):
    """PyAV swallows what is raised while it seeks: Ctrl-C went by there once, and the run went on to its end."""
    seek, calls = Source.seek, count(1)

    def seek_while_the_user_presses(self, offset, whence=0):
        if next(calls) == 3:  # the first two look at the file's start, before PyAV opens it
            signal.raise_signal(signal.SIGINT)
        return seek(self, offset, whence)

    monkeypatch.setattr(Source, "seek", seek_while_the_user_presses)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status, out, err = run("predict", face_clip, write_sound(tmp_path / "a.wav", sound=chirp))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, out, err) == (130, "", "moodreel: interrupted: 0 of 2 clips done\n")


def test_killed_run_leaves_its_finished_answers_beside_the_output(tiny_bundle, face_clip, tmp_path):
    with start_on_copies(tiny_bundle, face_clip, tmp_path, 40) as process:
        process.kill()
        process.communicate(timeout=120)
    (left,) = tmp_path.glob(".moodreel-*.jsonl")
    assert json.loads(left.read_text().splitlines()[0])["clip"].endswith("00.mp4")
    assert not (tmp_path / "answers.jsonl").exists(), "a file that looks whole is not"


def test_killed_run_is_gone_on_with(run, tiny_bundle, face_clip, tmp_path):
    with start_on_copies(tiny_bundle, face_clip, tmp_path, 6) as process:
        process.kill()
        process.communicate(timeout=120)
    (left,) = tmp_path.glob(".moodreel-*.jsonl")
    n_left = left.read_text().count("\n")
    status, _, err = run("predict", tmp_path / "clips", "-f", "jsonl", "-o", tmp_path / "answers.jsonl")
    clips = [json.loads(line)["clip"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert status == 0 and len(clips) == len(set(clips)) == 6
    assert f"{n_left} of 6 clips are answered already, {n_left} of a run that was killed" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "clips"]


def test_nothing_predicted_leaves_an_older_answer_alone(run, tmp_path):
    (tmp_path / "answer.json").write_text("older")
    output = tmp_path / "answer.json"
    assert run("predict", tmp_path / "missing.mp4", "-f", "json", "-o", output, "--overwrite")[0] == 1
    assert (tmp_path / "answer.json").read_text() == "older"


def test_name_that_is_not_utf8(run, tmp_path):
    path = os.fsencode(tmp_path) + b"/b\xff.wav"
    write_sound(tmp_path / "a.wav", sound=chirp).rename(os.fsdecode(path))
    status, out, err = run("predict", os.fsdecode(path), "-f", "json")
    assert (status, err) == (0, "") and os.fsencode(json.loads(out)["clip"]) == path
    assert run("predict", os.fsdecode(path), "-f", "json", "-o", tmp_path / "x.json")[0] == 0


def test_reader_that_goes_away_is_no_error(tiny_bundle, face_clip):
    code = "import sys; sys.argv[0] = 'moodreel'; from moodreel.cli.main import main; main()"
    command = [sys.executable, "-c", code, "predict", "-m", str(tiny_bundle), str(face_clip), "-f", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.parametrize("option", ["--output", "--plot", "--overlay"])
def test_output_that_cannot_be_written(run, face_clip, tmp_path, option):
    (tmp_path / "file").write_text("in the way")
    status, _, err = run("predict", face_clip, option, tmp_path / "file" / "x.png")
    assert status in (1, 2)
    one_error(err, "cannot be written")


def test_damaged_bundle(run, face_clip, tmp_path):
    (tmp_path / "bundle.json").write_text("{")
    status, _, err = run("predict", face_clip, model=tmp_path)
    assert status == 2
    one_error(err, "bundle.json")
    status, _, err = run("predict", face_clip, model="no-such")
    assert status == 2
    one_error(err, "no-such")


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "x", "--format", "xml"], ["frobnicate"]])
def test_wrong_usage(run, arguments):
    assert run(*arguments)[0] == 2


USAGE = {
    "predit": "no such command 'predit'; did you mean 'predict'? See moodreel --help",
    "frobnicate": "no such command 'frobnicate'. See moodreel --help",
    "predict x --formt json": "no such option '--formt'; did you mean '--format'? See moodreel predict --help",
    "predict x -Z": "no such option '-Z'. See moodreel predict --help",
    "pretrain faes": "no such command 'faes'; did you mean 'faces'? See moodreel pretrain --help",
    "predict": "missing argument 'clips'. See moodreel predict --help",
    "train x --out": "option '--out' requires an argument. See moodreel --help",
    "predict x --format xml": "unknown format 'xml', expected one of table, json, jsonl, csv, vtt, csv-clips, rttm",
}


@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage_is_told_in_one_line_that_reads_well(monkeypatch, capsys, line):
    monkeypatch.setattr(sys, "argv", ["moodreel", *line.split()])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2 and capsys.readouterr().err == f"moodreel: error: {USAGE[line]}\n"


EXTRAS = {
    "train clips --out o": ("torch", "train"),
    "tune clips --out o": ("torch", "train"),
    "tune clips -o o": ("optuna", "train"),
    "pretrain cifar10 data --out o": ("torch", "train"),
    "pretrain faces --data d --out o": ("torch", "train"),
    "postmortem clips --out o": ("torch", "train"),
    "evaluate tiny clips": ("matplotlib", "evaluate"),
    "serve": ("fastapi", "serve"),
    "serve --port 0": ("uvicorn", "serve"),
}


@pytest.mark.parametrize("line", EXTRAS)
def test_a_missing_extra_is_named_for_the_command_that_was_run(line, tiny_bundle, tmp_path):
    """`evaluate` once advised `train`, some gigabytes, where it lacks matplotlib alone."""
    module, extra = EXTRAS[line]
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from moodreel.cli.main import main; main()"
    )
    (tmp_path / "clips" / "happy").mkdir(parents=True)
    write_sound(tmp_path / "clips" / "happy" / "a.wav", 0.3)
    (tmp_path / "tiny").symlink_to(tiny_bundle)
    command = [sys.executable, "-c", code, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    expected = f"moodreel: error: {line.split()[0]} needs {module}: {advise(extra)}\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_no_permission(run, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = write_sound(tmp_path / "a.wav")
    path.chmod(0)
    status, _, err = run("predict", path)
    assert status == 1
    one_error(err, "a.wav", "permission")


def test_demo_makes_a_clip_and_its_pictures(run, tmp_path):
    status, out, err = run("demo", "--output", tmp_path / "demo")
    assert status == 0 and "demo.mp4" in out and "demo-overlay.mp4" in err
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["demo-overlay.mp4", "demo.mp4", "demo.png"]


def test_doctor_names_versions_bundles_and_size(run):
    status, out, _ = run("doctor")
    assert status == 0
    for word in ("onnxruntime", "h264", "bundle", "default", "CPUExecutionProvider", "base install", "MB"):
        assert word in out


def test_corpus_shows_clips_classes_and_speakers(run, tmp_path):
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        for speaker in ("eva", "jan"):
            write_sound(tmp_path / label / f"{speaker}_1.wav", 0.3, sound=chirp)
    status, out, _ = run("corpus", tmp_path, "--speakers", r"(?P<speaker>[a-z]+)_", "--json", "--check-media")
    found = json.loads(out)
    assert status == 0 and found["clips"] == 4 and sorted(found["speakers"]) == ["eva", "jan"]
    assert "happy" in run("corpus", tmp_path)[1]
    status, _, err = run("corpus", tmp_path / "missing")
    assert status == 2
    one_error(err, "missing")


CORPUS_OPTIONS = {"layout", "speakers", "speakers_csv", "mapped", "ignored", "allow_outside"}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("corpus", CORPUS_OPTIONS),
        ("evaluate", CORPUS_OPTIONS),
        *((name, CORPUS_OPTIONS | {"allow_shared_speakers", "allow_unreadable"})
          for name in ("train", "tune", "postmortem")),
    ],
)  # fmt: skip
def test_the_ways_out_that_messages_name_are_options(command, options):
    assert options <= {parameter.name for parameter in get_command(cli.app).commands[command].params}


@pytest.mark.parametrize("command", ["train", "tune", "postmortem"])
def test_options_of_the_corpus_reach_training(run, tmp_path, monkeypatch, command):
    pytest.importorskip("torch")
    pytest.importorskip("optuna")
    taken = []

    def take(*arguments):
        taken.extend(arguments)
        raise MoodreelError("taken")

    room = "joint" if command == "train" else "search"
    monkeypatch.setattr(f"moodreel.training.{room}.{command}.{command}", take)
    monkeypatch.setattr("moodreel.training.machine.start", lambda *_: None)
    flags = ["--allow-outside", "--allow-shared-speakers", "--allow-unreadable"]
    texts = ["--layout", "manifest", "--speakers", "p", "--speakers-csv", "t.csv"]
    run(command, "clips", "--out", tmp_path, *flags, *texts)
    options = getattr(taken[-1], "train", taken[-1]) if command != "postmortem" else taken[2]
    assert options.allow_outside and options.allow_shared_speakers and options.allow_unreadable
    assert (options.layout, options.speaker_regex, str(options.speakers_csv)) == ("manifest", "p", "t.csv")


def test_a_manifest_may_name_files_elsewhere_when_asked_for(run, tmp_path):
    for name in ("away", "list"):
        (tmp_path / name).mkdir()
    write_sound(tmp_path / "away" / "a.wav")
    table, speakers = tmp_path / "list" / "m.csv", tmp_path / "list" / "s.csv"
    table.write_text("path,label,clip_id\n../away/a.wav,sad,a\n")
    speakers.write_text("clip,speaker\na,eva\n")
    status, _, err = run("corpus", table)
    assert status == 2
    one_error(err, "--allow-outside")
    status, out, _ = run("corpus", table, "--allow-outside", "--speakers-csv", speakers, "--json")
    assert status == 0 and set(json.loads(out)["speakers"]) == {"eva"}


def test_version_and_help_need_no_heavy_import():
    code = (
        "import sys; sys.argv = ['moodreel', '--help']\n"
        "from moodreel.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'av', 'numpy', 'onnxruntime', 'PIL', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("options", "shown"), [([], True), (["--quiet"], False)])
def test_progress_bar_on_a_terminal_alone(tiny_bundle, face_clip, tmp_path, options, shown):
    """The bar goes to stderr where that is a terminal; stdout, a pipe here, holds the answer and nothing else."""
    import pty

    leader, follower = pty.openpty()
    clips = [str(face_clip), str(write_sound(tmp_path / "a.wav", sound=chirp))]
    command = [sys.executable, "-m", "moodreel", "predict", *clips, "-m", str(tiny_bundle), "-f", "jsonl"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, stderr=follower, check=True, timeout=120)
    os.set_blocking(leader, False)
    try:
        seen = os.read(leader, 65536).decode(errors="replace")  # what is read may end within a sign
    except BlockingIOError:
        seen = ""
    finally:
        os.close(leader)
        os.close(follower)
    assert ("1 of 2: face and voice.mp4" in seen) == shown
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["surprise"] * 2


def test_no_progress_bar_in_a_pipe(run, face_clip):
    assert run("predict", face_clip)[2] == ""
