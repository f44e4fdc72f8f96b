"""How many clips a server reads, how long clients wait, and whether its memory stays flat.

    python benchmarks/serve_load.py [--clip FILE] [--workers 2] [--requests 40] [--steady 500]

Starts `moodreel serve` on a free port, posts the clip from 1, 4 and 16 clients at a time, then from 4 clients until the
steady number of requests is reached, and prints two tables. The clip is the demo's where none is named.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

CLIENTS = (1, 4, 16)
STEADY_CLIENTS = 4


@dataclass(frozen=True)
class Load:
    """What some clients at a time saw.

    Attributes:
        clients: how many.
        rate_hz: clips answered a second, all clients together.
        waits_s: seconds each request took, sorted.
    """

    clients: int
    rate_hz: float
    waits_s: list[float]

    def quantile_s(self, share: float) -> float:
        """Return the wait that this share of requests did not exceed."""
        return self.waits_s[min(len(self.waits_s) - 1, round(share * len(self.waits_s)))]


@contextmanager
def serve(workers: int) -> Iterator[tuple[str, int]]:
    """Start a server and yield its address and process id."""
    command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", "--workers", str(workers), "--queue", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the server did not start"
        try:
            yield found.group(), process.pid
        finally:
            process.terminate()


def post(address: str, clip: tuple[str, bytes]) -> float:
    """Post a clip, following its job where it is not answered at once; returns the seconds to the answer."""
    begun_s = time.perf_counter()
    response = httpx2.post(f"{address}/v1/predictions", files={"file": clip}, timeout=120)
    if response.status_code == 202:
        httpx2.get(f"{address}{response.headers['location']}/events", timeout=300)
    response.raise_for_status()
    return time.perf_counter() - begun_s


def load(address: str, clip: tuple[str, bytes], clients: int, requests: int) -> Load:
    """Post a clip many times from several clients at a time."""
    begun_s = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        waits_s = sorted(pool.map(lambda _: post(address, clip), range(requests)))
    return Load(clients, requests / (time.perf_counter() - begun_s), waits_s)


def measure_mb(pid: int) -> tuple[float, float]:
    """Return the resident memory of the server and of all its workers together, in MB."""
    children = [one for path in Path(f"/proc/{pid}/task").glob("*/children") for one in path.read_text().split()]
    return _resident_mb(str(pid)), sum(_resident_mb(child) for child in children)


def _resident_mb(pid: str) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def print_loads(address: str, clip: tuple[str, bytes], requests: int) -> None:
    """Measure and print throughput and waits."""
    load(address, clip, STEADY_CLIENTS, STEADY_CLIENTS)  # all workers have started
    print("| clients | clips per second | p50, s | p95, s |\n|---|---|---|---|")
    for clients in CLIENTS:
        one = load(address, clip, clients, requests)
        row = f"| {clients} | {one.rate_hz:.2f} | {statistics.median(one.waits_s):.2f} | {one.quantile_s(0.95):.2f} |"
        print(row, flush=True)


def print_memory(address: str, pid: int, clip: tuple[str, bytes], steady: int) -> None:
    """Measure and print memory while requests go on."""
    print("\n| requests | server, MB | workers, MB |\n|---|---|---|")
    step = max(1, steady // 5)
    for done in range(0, steady + 1, step):
        server_mb, workers_mb = measure_mb(pid)
        print(f"| {done} | {server_mb:.0f} | {workers_mb:.0f} |", flush=True)
        if done < steady:
            load(address, clip, STEADY_CLIENTS, step)


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--steady", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.clip
        if path is None:
            from moodreel.cli.demo_clip import write_demo_clip

            path = write_demo_clip(Path(folder) / "demo.mp4")
        clip = (path.name, path.read_bytes())
    with serve(arguments.workers) as (address, pid):
        print(f"{path.name}, {len(clip[1]) / 1024:.0f} KiB, {arguments.workers} workers\n")
        print_loads(address, clip, arguments.requests)
        print_memory(address, pid, clip, arguments.steady)


if __name__ == "__main__":
    main()
