"""`moodreel predict --adapt`: a person's clips together, one clip, or none."""

import json
import sys

import numpy as np
import pytest

from conftest import chirp
from media_files import write_clip, write_sound
from moodreel.cli import main as cli
from tiny_bundle import NARROW_OFFSETS, add_tiny_appearance, write_tiny_bundle


@pytest.fixture
def run(tmp_path, portrait_frames, capsys, monkeypatch):
    """Three clips of ann and one of bob, no two alike; returns status, answers by clip and stderr."""
    bundle = write_tiny_bundle(tmp_path / "bundle", adaptation={"face": NARROW_OFFSETS, "voice": NARROW_OFFSETS})
    folder = tmp_path / "clips"
    folder.mkdir()
    for place, name in enumerate(("ann_1", "ann_2", "ann_3", "bob_1")):
        frames = [frame // (1 + place % 3) for frame in portrait_frames]
        write_clip(
            folder / f"{name}.mp4",
            3,
            size=(320, 240),
            frames=lambda index, shown=frames: shown[index % len(shown)],
            sound=lambda time_s, share=1 + place % 3: chirp(time_s) / share,
        )
    (folder / "ann_4.mp4").write_bytes(b"no film")

    def call(*arguments):
        command = ["moodreel", "predict", str(folder), "-m", str(bundle), "-f", "jsonl", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        answers = [json.loads(line) for line in out.splitlines()]
        return exit.value.code or 0, {one["clip"][-9:-4]: one for one in answers}, err

    return call


def test_all_clips_of_a_folder_are_one_person_unless_a_pattern_says_more(run):
    status, answers, err = run("--adapt", "folder")
    assert status == 1 and len(answers) == 4 and "ann_4" in err, "a damaged clip costs itself alone"
    assert all(one["adaptation"]["to"] == "folder" for one in answers.values())
    assert answers["bob_1"]["adaptation"]["face_stretches"] == 4
    assert "each person" in err and "(4 clips)" in err
    _, apart, err = run("--adapt", "folder", "--speakers", "(?P<speaker>[a-z]+)_[0-9]")
    assert "ann (3 clips), bob (1 clips)" in err
    assert apart["ann_1"]["adaptation"]["face_stretches"] == 3
    assert apart["bob_1"]["adaptation"]["moved"] == 0, "one clip alone changes nothing"
    assert apart["ann_1"]["adaptation"]["moved"] > 0


def test_nothing_is_adapted_to_when_asked(run):
    _, answers, _ = run("--adapt", "none")
    assert all(one["adaptation"] is None for one in answers.values())


def test_a_baseline_is_all_that_is_adapted_to(run, face_clip):
    _, answers, _ = run("--baseline", face_clip)
    assert all(one["adaptation"]["to"] == "baseline" for one in answers.values())
    _, plain, _ = run("--adapt", "none")
    assert answers["ann_1"]["probabilities"]["neutral"] > plain["ann_1"]["probabilities"]["neutral"]


def test_a_pattern_without_the_group_is_one_line(run):
    status, answers, err = run("--adapt", "folder", "--speakers", "[a-z]+")
    assert status == 2 and not answers
    assert "(?P<speaker>" in err and err.count("\n") == 1


@pytest.fixture
def told_apart(tmp_path, portrait_frames, capsys, monkeypatch):
    """Clips of two people in folders named by emotion, and two of a voice alone; returns answers and stderr."""
    bundle = add_tiny_appearance(
        write_tiny_bundle(tmp_path / "bundle", adaptation={"face": NARROW_OFFSETS, "voice": NARROW_OFFSETS})
    )
    for emotion in ("happy", "sad"):
        (tmp_path / emotion).mkdir()
        for name, channels in (("ann", [0, 1, 2]), ("bob", [2, 0, 1])):
            frames = [np.asarray(frame)[..., channels] for frame in portrait_frames]
            path = tmp_path / emotion / f"{name}.mp4"
            write_clip(path, 2, size=(320, 240), frames=lambda i, f=frames: f[i % 40], audio_codec=None)
    (tmp_path / "calls").mkdir()
    for name in ("one", "two"):
        write_sound(tmp_path / "calls" / f"{name}.wav", 1.0, sound=chirp)

    def call(*arguments, model=bundle):
        folders = [str(tmp_path / name) for name in ("happy", "sad", "calls")]
        command = ["moodreel", "predict", *folders, "-m", str(model), "-f", "jsonl", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        assert not exit.value.code, err
        return [json.loads(line) for line in out.splitlines()], err

    return call


def test_people_are_told_apart_by_their_faces_and_voices_by_their_folder(told_apart, tmp_path):
    answers, err = told_apart("--adapt", "folder")
    assert len(answers) == 6
    (line,) = [line for line in err.splitlines() if "each person" in line]
    assert "3 people" in line
    for name in ("ann", "bob"):
        assert f"the face in {tmp_path / 'happy' / name}.mp4 (2 clips)" in line
    assert f"folder {tmp_path / 'calls'} (2 clips)" in line
    assert {one["adaptation"]["face_stretches"] for one in answers if one["clip"].endswith("mp4")} == {2}
    assert {one["adaptation"]["voice_stretches"] for one in answers if one["clip"].endswith("wav")} == {2}


def test_a_pattern_overrules_faces(told_apart):
    _, err = told_apart("--adapt", "folder", "--speakers", "(?P<speaker>happy|sad|calls)/")
    assert "happy (2 clips), sad (2 clips), calls (2 clips)" in err


def test_a_bundle_that_cannot_adapt_says_so_in_one_line(told_apart, tiny_bundle):
    answers, err = told_apart("--adapt", "folder", model=tiny_bundle)
    assert len(answers) == 6 and all(one["adaptation"] is None for one in answers)
    assert err.count("nothing is adapted to") == 1
    assert "nothing is adapted" not in told_apart(model=tiny_bundle)[1]
