"""The peers of `benchmarks/peers.py`, each run in a process of its own in its own environment."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel.errors import MoodreelError

RUNNERS = Path(__file__).with_name("peers")
LONGEST_WAIT_S = 600
"""A peer that takes longer for one clip, or to be opened, is ended."""
LONGEST_END_S = 10
"""A peer that wrote nothing, or no JSON, is given so long to end by itself and tell why."""


@dataclass(frozen=True)
class Peer:
    """What is run beside moodreel.

    Attributes:
        script: the runner and its arguments.
        takes_cut: whether it takes faces that are cut out already.
    """

    script: tuple[str, ...]
    takes_cut: bool = True


PEERS = {
    "fer": Peer(("run_fer.py", "haar")),
    "fer-mtcnn": Peer(("run_fer.py", "mtcnn"), takes_cut=False),  # with faces cut out it is `fer`
    "deepface": Peer(("run_deepface.py",)),
    "py-feat": Peer(("run_py_feat.py",), takes_cut=False),
    "face-api": Peer(("run_face_api.cjs",)),
    "human": Peer(("run_human.cjs",), takes_cut=False),
    "moodreel": Peer(("run_moodreel.py",)),
}


class PeerError(MoodreelError):
    """A peer could not be run."""


class Process:
    """A runner that is going."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors

    def exchange(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line and wait for its reply.

        Raises:
            PeerError: the peer tells an error, or ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        watch = threading.Timer(LONGEST_WAIT_S, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline() or "null")
        except (BrokenPipeError, ValueError):
            reply = None
        finally:
            watch.cancel()
        if reply is None or "error" in reply:
            raise PeerError(reply["error"] if reply else self._explain())
        return dict(reply)

    def peak_mb(self) -> float:
        """Most memory that the process had so far; read while it runs, since it is gone with it."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return math.nan
        return float(status.split("VmHWM:")[1].split()[0]) / 1024

    def _explain(self) -> str:
        try:
            code = self._process.wait(timeout=LONGEST_END_S)
        except subprocess.TimeoutExpired:
            return "its reply is no line of JSON"
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"{how}: {lines[-1][:200] if lines else 'without a word'}"


@contextmanager
def open_peer(script: Sequence[str], environment: Path) -> Iterator[Process]:
    """Start a runner in its environment and end it afterwards."""
    interpreter = environment / "bin" / "python" if script[0].endswith(".py") else "node"
    variables = {**os.environ, "NODE_PATH": str(environment / "node_modules")}
    variables.pop("PYTHONPATH", None) if environment != Path(sys.prefix) else None
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "stderr"
        command = [str(interpreter), str(RUNNERS / script[0]), *script[1:]]
        try:
            with errors.open("w") as sink:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True, env=variables
                )
        except OSError as error:
            raise PeerError(f"{interpreter}: {error.strerror}") from None
        try:
            yield Process(process, errors)
        finally:
            process.kill()
            process.communicate()
