"""Files of sound features that came with a corpus: openSMILE's ARFF and CSV, and plain text."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.errors import CorpusError


def read_feature_file(path: Path, n_features: int | None = None) -> npt.NDArray[np.float32]:
    """Read the one vector of features that a file holds.

    Args:
        path: ARFF as openSMILE writes it (the numbers of the one row after `@data`), CSV with or without a header
            (comma or semicolon), or numbers parted by white space. A leading name or time stamps and a trailing class,
            told from features by their names or by not being numbers, are left out.
        n_features: how many there must be; 1582 in the INTERSPEECH 2010 set. `None` for any number.

    Returns:
        float32, shape (n_features,), finite.

    Raises:
        CorpusError: the file cannot be read, holds no or several rows, another number of features, or one that is NaN
            or infinite; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="strict")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a readable text file of features ({error})") from error
    names, rows = _parse_arff(text) if path.suffix.lower() == ".arff" else _parse_delimited(text)
    if len(rows) != 1:
        raise CorpusError(f"{path}: expected the features of one clip in one row, found {len(rows)} rows")
    vector = _to_vector(names, rows[0])
    if n_features is not None and len(vector) != n_features:
        raise CorpusError(f"{path}: holds {len(vector)} features, expected {n_features}")
    if not len(vector) or not np.isfinite(vector).all():
        raise CorpusError(f"{path}: {'a feature is NaN or infinite' if len(vector) else 'holds no number'}")
    return vector


def _parse_arff(text: str) -> tuple[list[str], list[list[str]]]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("%")]
    names = [line.split()[1].strip("'\"") for line in lines if line.lower().startswith("@attribute ")]
    data = next((i for i, line in enumerate(lines) if line.lower() == "@data"), len(lines))
    return names, list(csv.reader(lines[data + 1 :], quotechar="'"))


def _parse_delimited(text: str) -> tuple[list[str], list[list[str]]]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((mark for mark in ";," if lines and mark in lines[0]), None)
    rows = [line.split() for line in lines] if delimiter is None else list(csv.reader(lines, delimiter=delimiter))
    if rows and len(rows) > 1 and not any(_is_number(cell) for cell in rows[0]):
        return rows[0], rows[1:]
    if delimiter is None and all(len(row) == 1 for row in rows):
        return [], [[row[0] for row in rows]] if rows else []
    return [], rows


_NOT_FEATURES = frozenset({"name", "frameindex", "frametime", "class", "emotion", "label", "file", "start", "end"})


def _to_vector(names: list[str], row: list[str]) -> npt.NDArray[np.float32]:
    labelled = names if len(names) == len(row) else [""] * len(row)
    kept = [cell for name, cell in zip(labelled, row, strict=True) if name.strip().lower() not in _NOT_FEATURES]
    return np.array([float(cell) for cell in kept if _is_number(cell)], dtype=np.float32)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
