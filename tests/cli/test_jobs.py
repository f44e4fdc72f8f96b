"""`predict --jobs`: the same answers in the same order, whatever a clip does to its process."""

import json

import pytest

from commands import moodreel
from media_files import write_wav
from moodreel import Recognizer, predict_many
from small_films import write_films


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return write_films(tmp_path_factory.mktemp("films"), 7)


def test_answers_are_those_of_one_process(films, tiny_bundle, tmp_path):
    found = []
    for jobs in (1, 2):
        output = tmp_path / f"{jobs}.csv"
        command = ["predict", films, "-m", tiny_bundle, "-f", "csv", "-o", output, "--jobs", jobs, "--threads", jobs]
        done = moodreel(*command)
        assert done.status == 1 and len(done.errors) == 1 and "clip 003.mp4: is not media" in done.errors[0]
        found.append(output.read_text())
    assert found[0] == found[1]


def test_a_run_of_several_processes_goes_on(films, tiny_bundle, tmp_path):
    output = tmp_path / "answers.jsonl"
    moodreel("predict", films / "reel 0", "-m", tiny_bundle, "-f", "jsonl", "-o", output, "-j", 2)
    done = moodreel("predict", films, "-m", tiny_bundle, "-f", "jsonl", "-o", output, "-j", 2)
    assert "2 of 7 clips are answered already" in done.err
    assert len({json.loads(line)["clip"] for line in output.read_text().splitlines()}) == 6


def test_many_clips_in_a_program(films, tiny_bundle):
    recognizer = Recognizer.load(tiny_bundle, threads=1)
    clips = sorted(films.rglob("clip*"))
    outcomes = list(predict_many(recognizer, [*clips, f"{clips[0]}#t=0.2,0.8", "none.mp4"]))
    assert [one.clip for one in outcomes[:-2]] == list(map(str, clips))
    assert [one.clip for one in outcomes if one.error] == [str(films / "reel 0" / "clip 003.mp4"), "none.mp4"]
    assert outcomes[0].prediction == recognizer.predict(clips[0])
    assert outcomes[-2].prediction.clip.endswith("#t=0.2,0.8")


def test_a_clip_that_ends_its_process_costs_itself_alone(films, tiny_bundle, monkeypatch):
    from readers_in_processes import CrashingRecognizer

    monkeypatch.setenv("MOODREEL_TEST_CRASH", "clip 001")
    clips = sorted(films.rglob("clip*"))
    outcomes = list(predict_many(CrashingRecognizer.load(tiny_bundle, threads=1), clips))
    failed = [one for one in outcomes if one.error]
    assert [one.clip[-12:] for one in failed] == ["clip 003.mp4", "clip 001.mp4"]
    assert "ended the process" in str(failed[1].error)


def test_two_jobs_of_one_clip_need_no_process(tiny_bundle, tmp_path):
    import numpy as np

    path = write_wav(tmp_path / "a.wav", np.zeros((16_000, 1), np.float32))
    assert moodreel("predict", path, "-m", tiny_bundle, "-j", 0).status == 0
