"""Runs killed at random moments and gone on with end in the library that one run makes.

`MOODREEL_KILLS=20` kills more often than a usual test run does.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import moodreel
from moodreel.library.store import Store
from small_films import read_rows, write_films
from tiny_bundle import write_tiny_bundle

N_KILLS = int(os.environ.get("MOODREEL_KILLS", "3"))


def start(films, library, bundle):
    command = [sys.executable, "-m", "moodreel", "index", films, "--library", library, "--model", bundle]
    environment = {**os.environ, "PYTHONPATH": str(Path(moodreel.__file__).parents[1])}
    return subprocess.Popen(
        [*map(str, command), "--jobs", "2"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_killed_runs_end_in_the_same_library(tmp_path):
    chance = random.Random(5)
    bundle, films = write_tiny_bundle(tmp_path / "tiny"), write_films(tmp_path / "films", 8 + 4 * N_KILLS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(films, whole, bundle).wait(300) == 1, "one clip of four is no media"
    expected = read_rows(Store.open(whole))
    assert len(expected["files"]) == 8 + 4 * N_KILLS
    for _ in range(N_KILLS):
        process, before = start(films, killed, bundle), count_parts(killed)
        n_more = chance.randrange(3)  # 0: while it starts, which a fast machine has done sooner
        until_s = time.monotonic() + (chance.uniform(0, 2.0) if not n_more else 300)
        while process.poll() is None and count_parts(killed) < before + max(n_more, 1) and time.monotonic() < until_s:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        assert process.poll() is None, "it ended before it could be killed: more films are needed"
        # Half of the time the workers die too, as when a machine is switched off.
        (os.killpg if chance.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        if (killed / "library.json").exists():
            held = read_rows(Store.open(killed))["files"]
            assert set(held) <= set(expected["files"]), "a killed run left rows that no whole run has"
    process = start(films, killed, bundle)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told
    assert read_rows(Store.open(killed)) == expected


def count_parts(library):
    try:
        return sum(1 for _ in os.scandir(library / "files"))
    except FileNotFoundError:
        return 0


def test_ctrl_c_says_how_far_it_came_and_leaves_nothing_half_written(tmp_path):
    bundle, films = write_tiny_bundle(tmp_path / "tiny"), write_films(tmp_path / "films", 12)
    process = start(films, tmp_path / "lib", bundle)
    while process.poll() is None and not count_parts(tmp_path / "lib"):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in told
    assert "files done; the same command goes on" in told.splitlines()[-1]
    assert list((tmp_path / "lib").rglob(".moodreel-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    bundle, films = write_tiny_bundle(tmp_path / "tiny"), write_films(tmp_path / "films", 4)
    library = tmp_path / "lib"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from moodreel.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "index", films, "--library", library, "--model", bundle, "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(moodreel.__file__).parents[1])}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    assert done.returncode == 2 and len([line for line in done.stderr.splitlines() if "error: " in line]) <= 2
    assert "cannot be written (File too large); choose another place" in done.stderr.splitlines()[-1]
    assert list(library.rglob(".moodreel-*")) == [] and read_rows(Store.open(library))["windows"] == []
    assert start(films, library, bundle).wait(300) == 1
    assert len(read_rows(Store.open(library))["files"]) == 4
