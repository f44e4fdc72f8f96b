"""Measure `moodreel index --ray` against `--jobs` on this machine.

    python benchmarks/ray_speed.py [--clips 24] [--runs 3] [--seconds 4]

Both read the same made clips with as many workers, and take turns within one run; the cluster is started before, which
is not part of the time. Ray's workers give way to others (nice 15) unless told not to, as they are
here. Prints Markdown; docs/scale.md holds what it printed.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from library_speed import make_films, spread
from moodreel.batch.cores import count_cores
from moodreel.batch.on_ray import joined_cluster
from moodreel.library.index import Wish, index_media
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer


def main() -> None:
    """Run both in turns and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.setdefault("RAY_worker_niceness", "0")
    with tempfile.TemporaryDirectory() as folder, joined_cluster("local"):
        films = make_films(Path(folder, "films"), options.clips, options.seconds)
        took: dict[str, list[float]] = {"--jobs": [], "--ray": []}
        wishes = {"--jobs": Wish(jobs=count_cores()), "--ray": Wish(ray="local")}
        for _ in range(options.runs):
            for name, wish in wishes.items():
                took[name].append(index_anew(films, Path(folder, "library"), wish))
    ratios = [ray / jobs for ray, jobs in zip(took["--ray"], took["--jobs"], strict=True)]
    print(f"{options.clips} clips of {options.seconds:g} s, {count_cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| | s, median (least-most) |\n|---|---|")
    for name, values in took.items():
        print(f"| {name} | {spread(values)} |")
    print(f"| --ray over --jobs, of each turn | {spread(ratios)} |")


def index_anew(films: Path, library: Path, wish: Wish) -> float:
    """Return the seconds that a library takes that was not there before."""
    shutil.rmtree(library, ignore_errors=True)
    began_s = time.perf_counter()
    counts = index_media([str(films)], Store.open(library, create=True), Recognizer.promise(threads=1), wish)
    assert not counts.failed, "a clip could not be read"
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
