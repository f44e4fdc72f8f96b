"""One map over many clips: in order, bounded, and a clip that takes its process with it costs itself alone."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import readers_in_processes as readers
from moodreel.batch.clips import map_clips
from moodreel.corpora import Sample
from moodreel.errors import OutputError


def start_run(command):
    path = os.pathsep.join([str(Path(readers.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def clips(n, folder="."):
    return [Sample(Path(folder), "happy", "eva", str(number), None, "made") for number in range(n)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_of_clips_comes_in_their_order(workers):
    assert list(map_clips(readers.name_of, clips(20), workers, repr)) == [str(number) for number in range(20)]


def test_a_clip_that_ends_its_process_costs_itself_alone():
    """One crash once took every clip that was not read yet: `BrokenProcessPool`."""
    outcomes = list(map_clips(readers.crash_at_three, clips(12), 2, lambda sample: f"lost {sample.clip_id}"))
    assert outcomes == ["0", "1", "2", "lost 3", *map(str, range(4, 12))]


def test_a_worker_that_dies_costs_its_clip_one_retry(tmp_path):
    outcomes = list(map_clips(readers.crash_once_at_three, clips(12, tmp_path), 2, lambda sample: "lost"))
    assert outcomes == list(map(str, range(12)))


def test_a_clip_kills_two_workers_and_no_more(tmp_path):
    outcomes = list(map_clips(readers.note_deaths, clips(3, tmp_path), 2, lambda sample: f"lost {sample.clip_id}"))
    assert outcomes == ["lost 0", "lost 1", "lost 2"]
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["0", "0", "1", "1", "2", "2"]


def test_one_worker_may_have_a_process_of_its_own():
    outcomes = map_clips(readers.crash_at_three, clips(5), 1, lambda sample: "lost", isolated=True)
    assert list(outcomes) == ["0", "1", "2", "lost", "4"]


def test_out_of_order_a_long_clip_holds_up_nobody():
    outcomes = list(map_clips(readers.slow_at_zero, range(30), 2, repr, in_order=False))
    assert sorted(outcomes) == list(range(30))
    assert outcomes[0] != 0


@pytest.mark.parametrize("in_order", [True, False])
def test_clips_are_taken_only_as_workers_come_to_them(in_order):
    """A million of files once stood in memory before the first was read."""
    outcomes = map_clips(readers.slow_at_zero, itertools.count(1), 2, repr, in_order=in_order)
    assert len(list(itertools.islice(outcomes, 50))) == 50
    outcomes.close()


def test_an_error_that_cannot_be_handed_over_is_told():
    with pytest.raises(RuntimeError, match="no pickle holds this"):
        list(map_clips(readers.raise_odd, range(3), 2, repr))


def test_workers_end_with_the_process_that_hands_out(tmp_path):
    """Killed runs once left processes that read on for nobody."""
    run = "import readers_in_processes as r\nfrom moodreel.batch.clips import map_clips\n"
    (tmp_path / "run.py").write_text(
        run + "if __name__ == '__main__':\n    list(map_clips(r.say_who, range(9), 2, repr))"
    )
    process = start_run([tmp_path / "run.py"])
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    deadline_s = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    process.communicate()


def is_alive(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_that_is_no_clips_doing_ends_the_map(tmp_path, workers):
    with pytest.raises(OutputError, match="disk is full"):
        list(map_clips(readers.fail_at_three, clips(1000, tmp_path), workers, repr))
    assert len(list(tmp_path.iterdir())) < 100, "the clips that waited were read all the same"


def test_a_slow_taker_is_not_run_away_from(tmp_path):
    outcomes = map_clips(readers.fail_at_three, [one for one in clips(1000, tmp_path) if one.clip_id != "3"], 2, repr)
    next(outcomes)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 12
    outcomes.close()


RUN = """
import signal
import sys
from pathlib import Path

import readers_in_processes as readers
from moodreel.corpora import Sample
from moodreel.batch.clips import map_clips

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    samples = [Sample(Path(sys.argv[1]), "happy", "eva", str(number), None, "made") for number in range(100)]
    try:
        list(map_clips(readers.note_slowly, samples, 2, repr))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_ends_workers_without_a_word(tmp_path):
    (tmp_path / "run.py").write_text(RUN)
    (tmp_path / "notes").mkdir()
    process = start_run([tmp_path / "run.py", tmp_path / "notes"])
    while process.poll() is None and not any((tmp_path / "notes").iterdir()):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=30) == ("interrupted\n", "")
