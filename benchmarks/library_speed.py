"""Measure `predict --jobs` and `index` against `predict` in one process, and the opening of a large library.

    python benchmarks/library_speed.py [--clips 60] [--runs 3] [--seconds 4] [--files 100000]

The commands take turns within one run, so that their ratios hold on a machine that is not quiet; processor time is
of all processes of a command. Prints Markdown; docs/benchmarks.md holds what it printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_library import make_library
from media_files import syllables, write_clip
from moodreel.cli.demo_clip import pan_portrait
from moodreel.library.reading import Task, read_file
from moodreel.library.sources import Source
from moodreel.library.store import FAN, Store
from moodreel.recognition.recognizer import Recognizer

SIZE = (640, 360)


@dataclass(frozen=True)
class Took:
    """What a command took: by the clock, and of all processors together, in seconds."""

    wall_s: float
    processor_s: float


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--files", type=int, default=100_000, help="files of the library that is opened")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        films = make_films(Path(folder, "films"), options.clips, options.seconds)
        print(
            f"{options.clips} made clips of {options.seconds:g} s, {SIZE[0]}x{SIZE[1]}, load {os.getloadavg()[0]:.1f}\n"
        )
        measure_own_work(films, Path(folder, "own"), min(options.clips, 12))
        compare(films, Path(folder, "out"), options.runs)
        measure_opening(Path(folder, "large"), options.files)


def make_films(folder: Path, n: int, seconds: float) -> Path:
    """Write clips of one face and a voice, each with a content of its own."""
    folder.mkdir()
    frames = [np.asarray(frame) for frame in pan_portrait(int(25 * seconds), SIZE)]
    for number in range(n):
        write_clip(
            folder / f"{number:03d}.mp4",
            seconds,
            size=SIZE,
            rate=25,
            frames=lambda index, shift=number: np.roll(frames[index], shift, axis=1),
            sound=syllables(100 + number),
        )
    return folder


def measure_own_work(films: Path, library: Path, n: int) -> None:
    """Print the processor time that a library takes for a clip, beside predicting it."""
    recognizer, store = Recognizer.load(threads=1), Store.open(library, create=True)
    read = partial(read_file, recognizer=recognizer, adapts=True)
    predicted_s, indexed_s, written_s = [], [], []
    for path in sorted(films.iterdir())[:n]:
        predicted_s.append(take(lambda path=path: recognizer.predict(path))[0])
        task = Task(Source(str(path)), recognizer.fingerprint, "")
        took_s, outcome = take(lambda task=task: read(task))
        indexed_s.append(took_s)
    for number in range(2 * FAN):  # two merges
        columns = outcome.origin.columns() | {"path": str(number), "file_id": f"{number:016x}"}
        rows = outcome.rows.renamed(columns)
        written_s.append(take(lambda rows=rows: store.write("1of1", rows))[0])
    whole_s, more_s = statistics.median(predicted_s), statistics.median(indexed_s) - statistics.median(predicted_s)
    write_s = statistics.mean(written_s)
    print(f"Processor time of a clip, medians of {n}: predict {1000 * whole_s:.0f} ms;")
    print(f"hashed and described besides {1000 * more_s:.1f} ms ({more_s / whole_s:.1%});")
    print(f"written and merged {1000 * write_s:.1f} ms ({write_s / whole_s:.1%})\n", flush=True)


def take(function: Callable[[], Any]) -> tuple[float, Any]:
    """Call a function; return the processor time that it took, in seconds, and what it returned."""
    began_s = time.process_time()
    outcome = function()
    return time.process_time() - began_s, outcome


def compare(films: Path, out: Path, runs: int) -> None:
    """Run each command some times, in turns, and print what they took."""
    one = ["--jobs", "1"]
    two = ["--jobs", "2"]
    predict = ["predict", films, "-f", "jsonl", "-q", "-o"]
    index = ["index", films, "-q", "--library"]
    commands = {
        "predict, one process": [*predict, out / "a.jsonl", *one, "--threads", "1"],
        "predict --jobs 2": [*predict, out / "b.jsonl", *two, "--threads", "2"],
        "index --jobs 1": [*index, out / "lib1", *one],
        "index --jobs 2": [*index, out / "lib2", *two],
        "index again, nothing new": [*index, out / "lib2", *two],
    }
    took: dict[str, list[Took]] = {name: [] for name in commands}
    for _ in range(runs):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, command in commands.items():
            took[name].append(run(command))
    first = took["predict, one process"]
    print("| command | s | processor s | times faster than one process | processor time over one process |")
    print("|---|---|---|---|---|")
    for name, values in took.items():
        faster = [one.wall_s / value.wall_s for one, value in zip(first, values, strict=True)]
        more = [value.processor_s / one.processor_s for one, value in zip(first, values, strict=True)]
        wall_s = statistics.median(value.wall_s for value in values)
        processor_s = statistics.median(value.processor_s for value in values)
        print(f"| {name} | {wall_s:.1f} | {processor_s:.1f} | {spread(faster)} | {spread(more)} |")
    print()


def spread(values: list[float]) -> str:
    """Write a median with the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def run(arguments: list[object]) -> Took:
    """Run a command to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "moodreel", *map(str, arguments)], check=True, env=environment)
    wall_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure_opening(folder: Path, n_files: int) -> None:
    """Make a library of many files and open it."""
    make_library(folder, n_files, 10, n_parts=150)
    times = []
    for _ in range(5):
        began_s = time.perf_counter()
        Store.open(folder).connect().execute("SELECT count(*) FROM files").fetchall()
        times.append(time.perf_counter() - began_s)
    n_parts = len(list((folder / "files").iterdir()))
    print(f"Opening a library of {n_files} files in {n_parts} parts: {spread(times)} s")


if __name__ == "__main__":
    main()
