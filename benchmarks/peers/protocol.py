"""How a runner talks to `benchmarks/peers.py`: one line of JSON for each line that it is given.

It runs in the peer's own environment, so it needs Python and NumPy and nothing of moodreel.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
ROUNDED = 0.005
"""What stands for a probability that a peer rounded down to .00, half of the last digit that it gives."""

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Takes a clip as it was asked about and returns what the reply says beside the time."""


def serve(open_peer: Callable[[Mapping[str, Any]], tuple[str, Answer]]) -> None:
    """Open a peer and answer clips until the input ends; what goes wrong is told in the reply.

    Args:
        open_peer: takes the options of the first line; returns the peer's name with its version, and what answers.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints must not stand among the replies
    begun_s = time.perf_counter()
    try:
        name, answer = open_peer(json.loads(sys.stdin.readline()))
    except BaseException as error:  # a peer may end the process where a download fails
        say(out, {"error": describe(error)})
        return
    say(out, {"name": name, "load_s": time.perf_counter() - begun_s})
    for line in sys.stdin:
        say(out, attempt(answer, json.loads(line)))


def attempt(answer: Answer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one clip."""
    try:
        return answer(request)
    except BaseException as error:
        return {"error": describe(error)}


def say(out: Any, reply: Mapping[str, Any]) -> None:
    """Write one reply."""
    out.write(json.dumps(reply) + "\n")
    out.flush()


def describe(error: BaseException) -> str:
    """Put an error on one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def look_at_frames(look: Callable[[Any, bool], Sequence[float] | None]) -> Answer:
    """Make what answers clips of what answers pictures; reading them is not timed.

    Processor time is told, of all threads together, for the machine may not be free.

    Args:
        look: takes RGB uint8, shape (height, width, 3), and whether that is a cut-out face; returns seven
            probabilities of the largest face, `None` without one.
    """

    def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        pictures = [read_picture(Path(path)) for path in request["frames"]]
        begun_s = time.process_time()
        rows = [look(picture, request["cut"]) for picture in pictures]
        return {"frames": rows, "seconds": time.process_time() - begun_s}

    return answer


def read_picture(path: Path) -> Any:
    """Read a binary PPM: RGB uint8, shape (height, width, 3)."""
    raw = path.read_bytes()
    _, width, height, _ = raw[:40].split(maxsplit=4)[:4]
    return np.frombuffer(raw[-int(width) * int(height) * 3 :], np.uint8).reshape(int(height), int(width), 3)


def in_our_order(named: Mapping[str, float], least: float = 0.0) -> list[float]:
    """Put named scores into our order, those below `least` raised to it, so that they add up to 1."""
    values = np.maximum(np.array([named[name] for name in EMOTIONS], np.float64), least)
    return [float(value) for value in values / values.sum()]
