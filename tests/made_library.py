"""Made-up libraries: as many files and windows as a test wants, alike on every machine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from moodreel.labels import EMOTIONS
from moodreel.library.rows import Rows
from moodreel.library.schema import ALIKE_WIDTH, arrow_schema
from moodreel.library.store import Store

FOLDERS = ("weddings", "interviews", "talks", "calls")
DAY_S = 86_400.0
FIRST_S = 1_600_000_000.0


def make_library(folder, n_files=20, n_windows=30, *, seed=0, n_parts=1):
    """Write a library of `n_files` with `n_windows` windows each; return its store.

    Each window is 1 s long and belongs to person 0; files with a face have two people in
    `people`. The same arguments give the same rows.
    """
    store = Store.open(folder, create=True)
    edges = np.linspace(0, n_files, n_parts + 1).astype(int)
    for part, (first, last) in enumerate(pairwise(edges)):
        store.write("1of1", make_rows(first, last, n_windows, seed=seed * 1_000_003 + part))
    return store


def make_rows(first, last, n_windows, *, seed=0):
    """Make rows of the files number `first` up to `last`, drawn from `seed`."""
    random = np.random.default_rng(seed)
    numbers = np.arange(first, last)
    return Rows(_files(numbers, n_windows, random), _windows(numbers, n_windows, random), _people(numbers, random))


def file_id(number):
    return f"{int(number) * 0x9E3779B97F4A7C15 % 2**64:016x}"


def _probabilities(n, random):
    values = random.dirichlet(np.full(7, 0.6), n).astype(np.float32)
    return values, {f"{name}": values[:, index] for index, name in enumerate(EMOTIONS)}


def _named(prefix, probabilities):
    return {f"{prefix}_{name}": values for name, values in probabilities.items()}


def _labels(values):
    return pa.array(np.array(EMOTIONS)[values.argmax(axis=1)])


def _files(numbers, n_windows, random):
    n = len(numbers)
    values, probabilities = _probabilities(n, random)
    folders = [f"/films/{FOLDERS[number % len(FOLDERS)]}" for number in numbers]
    names = [f"clip {number:07d}.mp4" for number in numbers]
    has_face = numbers % 5 != 4
    failed = numbers % 97 == 96
    columns = {
        "file_id": list(map(file_id, numbers)),
        "key": [f"{number:032x}" for number in numbers],
        "path": [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)],
        "folder": folders,
        "name": names,
        "size_bytes": random.integers(10_000, 10_000_000, n),
        "modified_s": FIRST_S + numbers * DAY_S / 10,
        "content_hash": [f"{number:032x}" for number in numbers],
        "bundle": ["made"] * n,
        "settings": ["{}"] * n,
        "status": np.where(failed, "failed", "ok"),
        "reason": [f"clip {number}: no media" if bad else None for number, bad in zip(numbers, failed, strict=True)],
        "duration_s": np.full(n, float(n_windows)),
        "width_px": pa.array(np.full(n, 640), mask=~has_face),
        "height_px": pa.array(np.full(n, 480), mask=~has_face),
        "has_face": has_face,
        "has_voice": numbers % 3 != 2,
        "n_people": np.where(has_face, 2, 0),
        "label": _labels(values),
        "abstained": values.max(axis=1) < 0.35,
        "confidence": values.max(axis=1),
        **_named("p", probabilities),
        "date_s": FIRST_S + numbers * DAY_S / 10,
        "indexed_s": FIRST_S + 1e8 + numbers,
    }
    return _table("files", columns)


def _windows(numbers, n_windows, random):
    files = np.repeat(numbers, n_windows)
    n = len(files)
    start_s = np.tile(np.arange(n_windows, dtype=float), len(numbers))
    has_face, has_voice = files % 5 != 4, files % 3 != 2
    fused, p = _probabilities(n, random)
    _, face = _probabilities(n, random)
    _, voice = _probabilities(n, random)
    n_people = np.where(has_face, random.integers(1, 5, n), 0)
    alike = np.zeros((n, ALIKE_WIDTH), np.float32)
    alike[:, :21] = random.normal(size=(n, 21))
    ids = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(numbers), dtype=np.int32), n_windows), list(map(file_id, numbers))
    )
    columns = {
        "file_id": ids.cast(pa.string()),
        "person": np.zeros(n, np.int32),
        "start_s": start_s,
        "end_s": start_s + 1,
        **_named("p", p),
        **{name: pa.array(values, mask=~has_face) for name, values in _named("face", face).items()},
        **{name: pa.array(values, mask=~has_voice) for name, values in _named("voice", voice).items()},
        "face_state": np.where(has_face, "ok", "no_face"),
        "voice_state": np.where(has_voice, "ok", "silent"),
        "label": _labels(fused),
        "confidence": fused.max(axis=1),
        "abstained": fused.max(axis=1) < 0.35,
        "face_weight": np.where(has_face, np.where(has_voice, 0.6, 1.0), 0.0),
        "voice_weight": np.where(has_voice, np.where(has_face, 0.4, 1.0), 0.0),
        "n_people": n_people,
        "sound": pa.array(np.where(random.random(n) < 0.5, "laughter", "music"), mask=has_voice),
        "alike": pa.FixedSizeListArray.from_arrays(alike.ravel(), ALIKE_WIDTH),
    }
    return _table("windows", columns)


def _people(numbers, random):
    files = np.repeat(numbers[numbers % 5 != 4], 2)
    n = len(files)
    values, probabilities = _probabilities(n, random)
    appearance = random.normal(size=(n, 16)).astype(np.float32)
    appearance /= np.linalg.norm(appearance, axis=1, keepdims=True)
    share = random.uniform(0.1, 1.0, n)
    columns = {
        "file_id": list(map(file_id, files)),
        "person": np.tile([1, 2], n // 2),
        "first_s": np.zeros(n),
        "last_s": 10 * share,
        "on_screen_s": 10 * share,
        "share": share,
        "label": _labels(values),
        "confidence": values.max(axis=1),
        "abstained": values.max(axis=1) < 0.35,
        **_named("p", probabilities),
        "appearance": pa.FixedSizeListArray.from_arrays(appearance.ravel(), 16),
    }
    return _table("people", columns)


def _table(name, columns):
    schema = arrow_schema(name)
    assert list(columns) == schema.names
    arrays = [
        (value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value)).cast(schema.field(key).type)
        for key, value in columns.items()
    ]
    return pa.table(arrays, schema=schema)
