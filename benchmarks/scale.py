"""Simulate `moodreel index` over a million files: the real scheduler, sharding and Parquet writing, with no media.

    python benchmarks/scale.py [--files 1000000] [--shard 1/16] [--cores 1000] [--median-s 60] [--spread 1.2]
    python benchmarks/scale.py --shard 1/1 --unwritten

What a file costs is drawn from what this machine needed just before for a few made clips (processor time, one thread,
the default bundle); lengths are drawn from a log-normal distribution, or with `--lengths` from a file of seconds, one a
line. Workers are made up: time passes in a heap of what they will have done when. All else is what a real run does: it
is found, shared out, looked up in the library, handed out, taken back, written and merged. `--deaths` of the workers
die over a file. `--unwritten` makes and writes no rows, so that all files pass the
scheduler within minutes. Prints Markdown; docs/scale.md holds what it printed.
"""

from __future__ import annotations

import argparse
import heapq
import os
import resource
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_library import make_rows
from media_files import syllables, write_clip, write_wav
from moodreel.batch.shards import Shard, read_shard
from moodreel.batch.worker import SLOTS, WorkerDiedError
from moodreel.cli.demo_clip import pan_portrait
from moodreel.library import index
from moodreel.library.reading import Outcome, Task
from moodreel.library.rows import Rows
from moodreel.library.sources import Source, Spool
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer

BYTES_A_SECOND = 250_000
LONGEST_S = 36_000.0
REPORT_EVERY = 1_000


@dataclass(frozen=True)
class Cost:
    """Processor seconds that a file needs: to be opened, and for each of its seconds."""

    file_s: float
    second_s: float


@dataclass
class Clock:
    """Made-up time, and what happens next in it."""

    now_s: float = 0.0
    events: list[tuple[float, int, Any]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=count)

    def add(self, after_s: float, what: Any) -> None:
        """Note that something will have happened."""
        heapq.heappush(self.events, (after_s, next(self.order), what))


class Worker:
    """A worker that reads nothing and says what came of it."""

    def __init__(self, world: World) -> None:
        self.tasks: deque[Any] = deque()
        self._world = world
        self._free_s = world.clock.now_s
        self._clips: deque[Any] = deque()
        self.is_dead = False

    @property
    def has_room(self) -> bool:
        """Whether it takes another file."""
        return len(self.tasks) < SLOTS

    @property
    def is_awaited(self) -> bool:
        """Whether it has something to say soon."""
        return bool(self.tasks)

    def hand(self, task: Any, clip: Task) -> None:
        """Take a file on."""
        self.tasks.append(task)
        self._clips.append(clip)
        cost_s = self._world.cost_s(clip)
        self._free_s = max(self._free_s, self._world.clock.now_s) + cost_s
        self._world.core_s += cost_s
        self._world.clock.add(self._free_s, self)

    def take(self) -> tuple[Any, Outcome]:
        """Say what came of the first of its files."""
        self.is_dead = self._world.dies()
        if self.is_dead:
            raise WorkerDiedError
        return self.tasks.popleft(), self._world.answer(self._clips.popleft())

    def interrupt(self) -> None:
        """Do nothing: it does not exist."""

    end = interrupt


@dataclass
class World:
    """Made-up workers on a made-up cluster."""

    cores: int
    costs: Sequence[Cost]
    deaths: float
    is_written: bool
    random: np.random.Generator
    clock: Clock = field(default_factory=Clock)
    core_s: float = 0.0
    n_deaths: int = 0
    n_windows: int = 0
    media_s: float = 0.0

    def __post_init__(self) -> None:
        self._stock = make_rows(0, 3, int(LONGEST_S), seed=1)

    def count(self) -> int:
        """Return how many workers there are."""
        return self.cores

    def start(self, read: Callable[[Any], Any]) -> Worker:
        """Start one."""
        del read
        return Worker(self)

    def wait(self, workers: Sequence[Worker]) -> list[Worker]:
        """Let time pass until somebody has something to say."""
        del workers
        while True:
            self.clock.now_s, _, worker = heapq.heappop(self.clock.events)
            if not worker.is_dead:
                return [worker]

    def dies(self) -> bool:
        """Say whether a worker dies over the file that it is at."""
        has_died = bool(self.random.random() < self.deaths)
        self.n_deaths += has_died
        return has_died

    def cost_s(self, task: Task) -> float:
        """Draw what a file costs from what files cost here."""
        cost = self.costs[int(self.random.integers(len(self.costs)))]
        return cost.file_s + cost.second_s * length_s(task.source)

    def answer(self, task: Task) -> Outcome:
        """Make the rows of a file: a window a second and one of a person each second, as of a clip with one face."""
        origin = task.origin(f"{hash(task.source.file) & (1 << 128) - 1:032x}")
        self.media_s += length_s(task.source)
        n = max(1, int(length_s(task.source)) - 1)
        if not self.is_written:
            self.n_windows += 2 * n
            return Outcome(origin)
        first = int(self.random.integers(0, 2 * LONGEST_S - n))
        windows = self._stock.windows.slice(first, n)
        windows = pa.concat_tables([windows, windows])
        self.n_windows += windows.num_rows
        ids = pa.array([origin.file_id]).take(pa.array(np.zeros(windows.num_rows, np.int32)))
        windows = windows.set_column(0, windows.schema.field("file_id"), ids)
        person = pa.array(np.repeat(np.array([0, 1], np.int32), n))
        windows = windows.set_column(1, windows.schema.field("person"), person)
        people = self._stock.people.slice(0, 1)
        people = people.set_column(0, people.schema.field("file_id"), pa.array([origin.file_id]))
        row = self._stock.files.slice(0, 1).to_pylist()[0] | origin.columns() | {"duration_s": float(n + 1)}
        return Outcome(origin, rows=Rows(Rows.make([row]).files, windows, people))


def length_s(source: Source) -> float:
    """Return how long a made-up file is."""
    return source.size_bytes / BYTES_A_SECOND


def main() -> None:
    """Measure, simulate, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--shard", type=read_shard, default=read_shard("1/16"), help="the share that is run")
    parser.add_argument("--cores", type=int, default=1000, help="of the cluster that works on that share")
    parser.add_argument("--median-s", type=float, default=60.0)
    parser.add_argument("--spread", type=float, default=1.2, help="standard deviation of the logarithm of lengths")
    parser.add_argument("--lengths", type=Path, help="file of lengths in seconds, one a line, to draw from instead")
    parser.add_argument("--deaths", type=float, default=1e-4)
    parser.add_argument("--unwritten", action="store_true", help="make and write no rows")
    parser.add_argument("--out", type=Path, help="folder for the library; a temporary one by default")
    options = parser.parse_args()
    costs = measure_costs()
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        simulate(options, costs, Path(folder, "library"))


def measure_costs() -> list[Cost]:
    """Return what made clips cost here: a 720p film of one face, a 360p one, a voice alone."""
    recognizer = Recognizer.load(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            "720p film": lambda seconds: make_film(Path(folder, "a.mp4"), seconds, (1280, 720)),
            "360p film": lambda seconds: make_film(Path(folder, "b.mp4"), seconds, (640, 360)),
            "voice alone": lambda seconds: make_talk(Path(folder, "c.wav"), seconds),
        }
        costs = {name: measure_cost(recognizer, make) for name, make in kinds.items()}
    print("| made clip | processor s a file | processor s for each of its seconds |")
    print("|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.file_s:.3f} | {cost.second_s:.3f} |")
    print(flush=True)
    return list(costs.values())


def measure_cost(recognizer: Recognizer, make: Callable[[float], Path]) -> Cost:
    """Read a short and a long clip, each three times, and tell apart what files and seconds cost."""
    short_s, long_s = 1.0, 13.0
    took = [min(read_once(recognizer, make(seconds)) for _ in range(3)) for seconds in (short_s, long_s)]
    second_s = (took[1] - took[0]) / (long_s - short_s)
    return Cost(max(0.0, took[0] - short_s * second_s), second_s)


def read_once(recognizer: Recognizer, path: Path) -> float:
    """Return the processor seconds that a clip needs."""
    began_s = time.process_time()
    recognizer.predict(path)
    return time.process_time() - began_s


def make_film(path: Path, seconds: float, size: tuple[int, int]) -> Path:
    """Write a clip of one face and a voice."""
    if not path.with_suffix(f".{seconds}").exists():
        frames = [np.asarray(frame) for frame in pan_portrait(50, size)]
        options = {"rate": 25, "size": size, "frames": lambda index: frames[index % 50], "sound": syllables(120)}
        write_clip(path, seconds, **options)
        path.with_suffix(f".{seconds}").touch()
    return path


def make_talk(path: Path, seconds: float) -> Path:
    """Write a voice alone."""
    return write_wav(path, syllables(120)(np.arange(int(16_000 * seconds)) / 16_000)[:, None])


@dataclass
class Watch:
    """Follows a run: memory now and then, and how far it is."""

    began_s: float = field(default_factory=time.perf_counter)
    n_done: int = 0
    memory: list[tuple[int, float]] = field(default_factory=list)

    def begin(self, spool: Spool) -> None:
        """All files are found."""
        self.memory.append((0, resident_mb()))
        print(f"{spool.count} files of this share found in {time.perf_counter() - self.began_s:.1f} s", file=sys.stderr)

    def known(self, n: int) -> None:
        """So many are there already."""

    def done(self, outcome: Outcome) -> None:
        """One more is written."""
        del outcome
        self.n_done += 1
        if self.n_done % REPORT_EVERY == 0:
            self.memory.append((self.n_done, resident_mb()))
            rate_hz = self.n_done / (time.perf_counter() - self.began_s)
            print(f"{self.n_done} written, {rate_hz:.0f}/s, {self.memory[-1][1]:.0f} MB", file=sys.stderr, flush=True)


def resident_mb() -> float:
    """Return how much memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def simulate(options: argparse.Namespace, costs: Sequence[Cost], folder: Path) -> None:
    """Run one share of the files and print what it came to."""
    world = World(options.cores, costs, options.deaths, not options.unwritten, np.random.default_rng(2))
    store, watch = Store.open(folder, create=True), Watch()

    @contextmanager
    def made_sources(media: Any, shard: Shard, *, takes_covers: bool) -> Iterator[Spool]:
        del media, takes_covers
        with tempfile.TemporaryFile("w+", encoding="ascii") as file:
            spool = Spool(_file=file)
            for source in draw_sources(options):
                if shard.takes(source.path):
                    spool.add(source)
            yield spool

    @contextmanager
    def made_cluster(address: str | None) -> Iterator[World]:
        del address
        yield world

    wish = index.Wish(ray="simulated", shard=options.shard)
    processor_s = time.process_time()
    with patch.object(index, "find_sources", made_sources), patch.object(index, "joined_cluster", made_cluster):
        recognizer: Any = SimpleNamespace(fingerprint="simulated")
        counts = index.index_media([], store, recognizer, wish, watch)
    took_s, processor_s = time.perf_counter() - watch.began_s, time.process_time() - processor_s
    report(options, world, watch, counts, folder, (took_s, processor_s))


def draw_sources(options: argparse.Namespace) -> Iterator[Source]:
    """Yield made-up files of drawn lengths."""
    random = np.random.default_rng(1)
    known = None if options.lengths is None else np.loadtxt(options.lengths, ndmin=1)
    for first in range(0, options.files, 10_000):
        n = min(10_000, options.files - first)
        if known is None:
            lengths = options.median_s * np.exp(random.normal(0, options.spread, n))
        else:
            lengths = random.choice(known, n)
        for number, seconds in enumerate(np.clip(lengths, 1.0, LONGEST_S), first):
            url = f"sim://films/{number % 1000:03d}/clip {number:07d}.mp4"
            yield Source(url, size_bytes=int(seconds * BYTES_A_SECOND), modified_s=1e9)


def report(
    options: argparse.Namespace,
    world: World,
    watch: Watch,
    counts: index.Counts,
    folder: Path,
    took: tuple[float, float],
) -> None:
    """Print what a run came to."""
    took_s, processor_s = took
    hours = world.media_s / 3600
    busy = world.core_s / max(1e-9, world.clock.now_s * options.cores)
    memory = ", ".join(f"{mb:.0f} after {n}" for n, mb in thin(watch.memory))
    lines = {
        "files, of which in this share": f"{options.files}, {counts.found}",
        "hours of media in this share": f"{hours:.0f}",
        "workers that died, files given up": f"{world.n_deaths}, {counts.failed}",
        "memory of the driver, MB": memory,
        "most that it ever held, MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f}",
        "rows of windows": f"{world.n_windows}",
        "the driver's time, s; its processor time": f"{took_s:.0f}; {processor_s:.0f}",
        "files a second; rows": f"{counts.found / took_s:.0f}; {world.n_windows / took_s:.0f}",
        "the same of processor time": f"{counts.found / processor_s:.0f}; {world.n_windows / processor_s:.0f}",
        **({} if options.unwritten else describe_library(folder, counts.found, world.n_windows)),
        f"simulated time on {options.cores} cores, s; busy": f"{world.clock.now_s:.0f}; {busy:.1%}",
        "core-hours of this share; an hour of media": f"{world.core_s / 3600:.1f}; {world.core_s / 3600 / hours:.4f}",
    }
    print(f"Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores\n")
    print("| what | |\n|---|---|")
    for name, value in lines.items():
        print(f"| {name} | {value} |")


def describe_library(folder: Path, n_found: int, n_windows: int) -> dict[str, str]:
    """Say what was written, and check that it is all there."""
    ((n_files,),) = Store.open(folder).query("SELECT count(*) FROM files")
    assert n_files == n_found, f"{n_found} files, but {n_files} in the library"
    parts = Counter(path.name.split("-")[2] for path in (folder / "files").iterdir())
    size_mb = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6
    return {
        "parts by level": ", ".join(f"{n} of level {level}" for level, n in sorted(parts.items())),
        "Parquet, MB; bytes a row": f"{size_mb:.0f}; {1e6 * size_mb / n_windows:.0f}",
    }


def thin(values: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Keep five of many."""
    return [values[round(index)] for index in np.linspace(0, len(values) - 1, min(5, len(values)))]


if __name__ == "__main__":
    main()
