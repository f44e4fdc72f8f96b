"""Measure `search`: time of queries and of `like` over made-up windows, memory over many, time to open many files.

    python benchmarks/search_speed.py [--windows 1000000] [--many 10000000] [--files 100000] [--runs 9] [--folder DIR]

Libraries are written to a temporary folder, or into DIR where they are kept for another run. Prints Markdown;
docs/benchmarks.md holds what it printed. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_library import make_library
from moodreel import __version__

QUERIES = (
    "angry > 0.6",
    "angry >= 0",
    "happy > .7 and face and people >= 2 and file like '%wedding%'",
    "angry > .2 or file like '%cl_p%7%'",
    "not (face.happy > .5 or voice.sad < .2)",
    "label != happy and sound = laughter",
    "date > 2020 and duration < 1h and start > 10",
    "person >= 0",
)
"""From few windows that fit to all of them, and every kind of field."""

CHILD = """
import json, resource, sys, time

folder, runs, warm, queries = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "warm", json.loads(sys.argv[4])


def clock(function):
    wall, cpu = [], []
    for _ in range(runs):
        start, used = time.perf_counter(), time.process_time()
        function()
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - used))
    middle = len(wall) // 2
    return [min(wall), sorted(wall)[middle], max(wall), sorted(cpu)[middle]]


from moodreel import Library
start = time.perf_counter()
library = Library.open(folder)
library.read(lambda connection: connection.execute("SELECT count(*) FROM files").fetchall())
told = {"open_ms": 1000 * (time.perf_counter() - start), "searches": {}}
told["warm"] = library.warm() if warm else False
for query in queries:
    found = library.search(query, limit=50)
    told["searches"][query] = [len(found), *clock(lambda: library.search(query, limit=50))]
if len(queries) > 1:
    best = library.search("angry > 0.6", limit=1)[0]
    example = f"{best.file}#t={best.start_s},{best.end_s}"
    told["like"] = [len(library.like(example)), *clock(lambda: library.like(example))]
told["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(told))
"""
WINDOWS_A_FILE = 50
FILES_A_PART = 10_000


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--many", type=int, default=10_000_000, help="windows of the part on memory; 0 leaves it out")
    parser.add_argument("--files", type=int, default=100_000, help="files of the part on opening; 0 leaves it out")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where libraries are kept")
    options = parser.parse_args()
    load = f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores busy before"
    print(f"{platform.machine()}, {load}, {date.today()}, moodreel {__version__}\n")
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        print_searches(make(root, options.windows // WINDOWS_A_FILE, WINDOWS_A_FILE), options.windows, options.runs)
        if options.many:
            print_memory(make(root, options.many // WINDOWS_A_FILE, WINDOWS_A_FILE), options.many)
        if options.files:
            print_opening(make(root, options.files, 2), options.files, options.runs)


def make(root: Path, n_files: int, n_windows: int) -> Path:
    """Write a library, unless it is there from an earlier run."""
    folder = root / f"{n_files} files of {n_windows} windows"
    if not (folder / "made").exists():
        make_library(folder, n_files, n_windows, n_parts=max(1, n_files // FILES_A_PART))
        (folder / "made").touch()
    return folder


def measure(folder: Path, runs: int, *, is_warm: bool, queries: tuple[str, ...]) -> dict[str, object]:
    """Search a library in a process of its own."""
    how = "warm" if is_warm else "cold"
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(folder), str(runs), how, json.dumps(queries)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def print_searches(folder: Path, n_windows: int, runs: int) -> None:
    """Print the time of each query, over files and over what is held in memory."""
    print(f"{n_windows:,} windows, the 50 best moments: milliseconds, median [least, most] of {runs}; processor time\n")
    print("| query | found | in memory | processor | from files | processor |\n|---|--:|--:|--:|--:|--:|")
    warm, cold = (measure(folder, runs, is_warm=is_warm, queries=QUERIES) for is_warm in (True, False))
    for query in QUERIES:
        print(_row(f"`{query}`", warm["searches"][query], cold["searches"][query]))
    print(_row("`--like`", warm["like"], cold["like"]))
    print(f"\nPeak memory {warm['mib']:.0f} MiB with a copy in memory, {cold['mib']:.0f} MiB from files.\n")


def _row(name: str, warm: list[float], cold: list[float]) -> str:
    cells = [f"{middle:.0f} [{least:.0f}, {most:.0f}] | {cpu:.0f}" for _, least, middle, most, cpu in (warm, cold)]
    return f"| {name} | {warm[0]} | {' | '.join(cells)} |"


def print_memory(folder: Path, n_windows: int) -> None:
    """Print how much memory searches over many windows take."""
    print(f"{n_windows:,} windows, from files\n")
    print("| query | found | seconds | peak MiB |\n|---|--:|--:|--:|")
    for query in QUERIES:
        told = measure(folder, 1, is_warm=False, queries=(query,))
        count, least, *_ = told["searches"][query]
        print(f"| `{query}` | {count} | {least / 1000:.1f} | {told['mib']:.0f} |")
    print()


def print_opening(folder: Path, n_files: int, runs: int) -> None:
    """Print how long it takes to open a library of many files and count them."""
    times = sorted(measure(folder, 1, is_warm=False, queries=())["open_ms"] for _ in range(runs))
    middle = times[len(times) // 2]
    spread = f"{middle:.0f} ms [{times[0]:.0f}, {times[-1]:.0f}], median [least, most] of {runs}"
    print(f"Opening {n_files:,} files: {spread}.")


if __name__ == "__main__":
    main()
