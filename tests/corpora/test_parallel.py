"""One map over many clips: in order, bounded, and a clip that takes its process with it costs itself alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import readers_in_processes as readers
from moodreel.corpora import Sample
from moodreel.corpora.parallel import map_clips
from moodreel.errors import OutputError


def clips(n, folder="."):
    return [Sample(Path(folder), "happy", "eva", str(number), None, "made") for number in range(n)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_of_clips_comes_in_their_order(workers):
    assert list(map_clips(readers.name_of, clips(20), workers, repr)) == [str(number) for number in range(20)]


def test_a_clip_that_ends_its_process_costs_itself_alone():
    """One crash once took every clip that was not read yet: `BrokenProcessPool`."""
    outcomes = list(map_clips(readers.crash_at_three, clips(12), 2, lambda sample: f"lost {sample.clip_id}"))
    assert outcomes == ["0", "1", "2", "lost 3", *map(str, range(4, 12))]


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
from moodreel.corpora.parallel import map_clips

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
    path = os.pathsep.join([str(Path(readers.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, tmp_path / "run.py", tmp_path / "notes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    while process.poll() is None and not any((tmp_path / "notes").iterdir()):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=30) == ("interrupted\n", "")
