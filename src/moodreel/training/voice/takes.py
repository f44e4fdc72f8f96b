"""Takes: what is slow, done once per clip: decoding, trimming and degraded copies, whose mel power is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moodreel.errors import CorpusError
from moodreel.storage.whole_files import write_arrays
from moodreel.training.voice import augment
from moodreel.training.voice.recordings import Recording, read_recording
from moodreel.voice.speech import (
    CHUNK_S,
    FRAMES_PER_TOKEN,
    HOP_SAMPLES,
    RATE_HZ,
    TOKEN_S,
    Float32,
    measure_power,
    prepare_speech,
)

MARGIN_S = 0.4
LONGEST_S = 4.0


@dataclass(frozen=True)
class Take:
    """A recording ready to train on.

    Attributes:
        recording: where it comes from.
        copies: log10 mel power, float16, shape (80, n_frames) each; the first is the clip as recorded.
    """

    recording: Recording
    copies: tuple[NDArray[np.float16], ...]


def make_take(recording: Recording, n_copies: int, seed: int) -> Take:
    """Decode a clip, keep its speech and a little around, and add degraded copies.

    Args:
        recording: the clip.
        n_copies: how many degraded copies.
        seed: together with the clip's name decides the copies.

    Raises:
        CorpusError: it cannot be decoded.
    """
    sound = _limit_length(read_recording(recording.path))
    power = measure_power(sound)
    first, last = find_speech(power)
    rng = np.random.default_rng([seed, *recording.path.stem.encode()])
    voice = sound[first * HOP_SAMPLES : last * HOP_SAMPLES]
    copies = [measure_power(_limit_length(augment.degrade(voice, rng))) for _ in range(n_copies)]
    return Take(recording, tuple(store_power(copy) for copy in (power[:, first:last], *copies)))


def find_speech(power: Float32) -> tuple[int, int]:
    """Find the frames from the first to the last speech, with `MARGIN_S` around; all when there is none."""
    active = np.flatnonzero(prepare_speech(power).active)
    if not len(active):
        return 0, power.shape[1]
    margin = int(MARGIN_S / TOKEN_S)
    first, last = (FRAMES_PER_TOKEN * int(token) for token in (active[0] - margin, active[-1] + 1 + margin))
    return max(first, 0), min(last, power.shape[1])


def save_takes(takes: Sequence[Take], path: Path) -> None:
    """Keep the takes' mel power, which takes minutes to make, in one `.npz`."""
    arrays = {f"{index}/{copy}": power for index, take in enumerate(takes) for copy, power in enumerate(take.copies)}
    write_arrays(path, {"names": np.array([take.recording.path.stem for take in takes]), **arrays})


def load_takes(recordings: Sequence[Recording], path: Path) -> list[Take]:
    """Read what `save_takes` kept for the same recordings.

    Raises:
        CorpusError: the file was made of other recordings.
    """
    with np.load(path, allow_pickle=False) as stored:
        if stored["names"].tolist() != [recording.path.stem for recording in recordings]:
            raise CorpusError(f"{path}: made of other recordings; delete it to make it again")
        copies: dict[int, list[NDArray[np.float16]]] = {}
        for key in stored.files:
            if "/" in key:
                copies.setdefault(int(key.split("/")[0]), []).append(stored[key])
    return [Take(recording, tuple(copies[index])) for index, recording in enumerate(recordings)]


def _limit_length(sound: Float32) -> Float32:
    return sound[: int(CHUNK_S * RATE_HZ)]


def store_power(power: Float32) -> NDArray[np.float16]:
    """Return mel power as it is kept: its decimal logarithm in half precision."""
    return np.log10(np.maximum(power, 1e-10)).astype(np.float16)


def restore_power(stored: NDArray[np.float16]) -> Float32:
    """Return mel power from what `store_power` made of it."""
    return np.asarray(np.float32(10) ** stored.astype(np.float32), dtype=np.float32)
