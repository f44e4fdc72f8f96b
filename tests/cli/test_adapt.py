"""`moodreel predict --adapt`: a person's clips together, one clip, or none."""

import json
import sys

import pytest

from conftest import chirp
from media_files import write_clip
from moodreel.cli import main as cli
from tiny_bundle import NARROW_OFFSETS, write_tiny_bundle


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
