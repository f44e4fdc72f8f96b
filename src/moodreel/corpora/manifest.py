"""Reader of manifests: a table that lists clips, their labels and speakers."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from moodreel.corpora.files import group_problems
from moodreel.corpora.folders import SPLIT_NAMES, read_split_name
from moodreel.corpora.layout import Layout
from moodreel.corpora.named import read_age, read_gender
from moodreel.corpora.rows import TABLE_SUFFIXES, Row, read_header, read_rows
from moodreel.corpora.sample import UNKNOWN_SPEAKER, Corpus, Sample, natural_key
from moodreel.errors import CorpusError

REQUIRED_COLUMNS = ("path", "label")
_COMMON_NAMES = ("labels", "manifest")
"""Names of tables that say nothing of the corpus; the folder's name does."""


def read_manifest(path: Path, *, allow_outside: bool = False) -> Corpus:
    """Read a manifest: a CSV, TSV or Parquet table with one clip a row.

    Args:
        path: the table. Columns `path` (relative to the table's folder) and `label` must be there; `speaker`, `split`,
            `clip_id`, `start_s`, `end_s`, `features`, `gender` and `age` may be; others are ignored.
        allow_outside: whether rows may point outside the table's folder, by an absolute path or by `..`. Off by
            default: a manifest from somebody else must not make moodreel open files that its user did not hand over.

    Returns:
        A corpus named after the file, or after its folder where the file is called `manifest` or `labels`. Clips are
        named by `clip_id`, or else by their path and, where given, their times. Rows without their file are listed as
        problems.

    Raises:
        CorpusError: the table cannot be read, lacks a column, or a row is wrong; the message names the row.
    """
    rows = read_rows(path, REQUIRED_COLUMNS)
    samples: list[Sample] = []
    failures: list[tuple[str, Path]] = []
    for number, row in enumerate(rows, start=2):
        sample = _read_row(row, path, f"{path}, row {number}", allow_outside)
        if sample.path.is_file():
            samples.append(sample)
        else:
            failures.append(("no such file", sample.path))
    _check_names(samples, path)
    samples.sort(key=lambda sample: natural_key(sample.clip_id))
    return Corpus(_name_corpus(path), path, tuple(samples), group_problems(failures), "manifest")


def _name_corpus(manifest: Path) -> str:
    return manifest.absolute().parent.name if manifest.stem in _COMMON_NAMES else manifest.stem


def find_manifest(root: Path) -> Path:
    """Find the one manifest of a folder; a file is taken for one.

    Raises:
        CorpusError: the folder holds none, or several.
    """
    if not root.is_dir():
        return root
    found = _list_manifests(root)
    if len(found) == 1:
        return found[0]
    state = f"several manifests: {', '.join(p.name for p in found)}" if found else "no manifest.csv, .tsv or .parquet"
    raise CorpusError(f"{root}: {state}; point at the file itself")


def _list_manifests(root: Path) -> list[Path]:
    named = [root / f"manifest{suffix}" for suffix in sorted(TABLE_SUFFIXES)]
    return [
        p for p in named if p.is_file() and (p.suffix == ".parquet" or set(REQUIRED_COLUMNS) <= set(read_header(p)))
    ]


def _recognise_manifest(root: Path, _: Sequence[Path]) -> str:
    return ", ".join(path.name for path in _list_manifests(root))


def _read_manifest_of(root: Path) -> Corpus:
    return read_manifest(find_manifest(root))


MANIFEST = Layout(
    "manifest",
    "manifest.csv, .tsv or .parquet with path, label and speaker",
    _recognise_manifest,
    _read_manifest_of,
)


def _read_row(row: Row, manifest: Path, where: str, allow_outside: bool) -> Sample:
    start_s, end_s = (_read_seconds(row.get(name, ""), f"{where}, {name}") for name in ("start_s", "end_s"))
    start_s = start_s or 0.0
    if end_s is not None and end_s <= start_s:
        raise CorpusError(f"{where}: end_s {end_s:g} must be later than start_s {start_s:g}")
    features = row.get("features", "")
    return Sample(
        path=locate_clip(row["path"], manifest, where, allow_outside),
        label=row["label"],
        speaker=row.get("speaker") or UNKNOWN_SPEAKER,
        clip_id=row.get("clip_id") or _name_clip(row["path"], start_s, end_s),
        split=_read_split(row.get("split", ""), where),
        corpus=_name_corpus(manifest),
        start_s=start_s,
        end_s=end_s,
        features_path=locate_clip(features, manifest, where, allow_outside) if features else None,
        gender=read_gender(row.get("gender", "")),
        age=read_age(row.get("age", "")),
        label_place=where,
    )


def locate_clip(text: str, manifest: Path, where: str, allow_outside: bool) -> Path:
    """Return the file that a row of a table names.

    Args:
        text: the row's path, relative to the table's folder.
        manifest: the table.
        where: the row, for messages.
        allow_outside: whether the file may lie outside the table's folder.

    Raises:
        CorpusError: there is no path in the row, or it leaves the folder.
    """
    if not text or "\0" in text:
        raise CorpusError(f"{where}: {'a path with a NUL character' if text else 'the path is empty'}")
    folder = os.path.abspath(manifest.parent)  # noqa: PTH100  # lexical on purpose: links in the folder are its owner's
    path = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118
    if not allow_outside and os.path.commonpath([folder, path]) != folder:
        message = f"{where}: {text!r} lies outside the manifest's folder; move it below, or pass --allow-outside"
        raise CorpusError(message)
    return manifest.parent / os.path.relpath(path, folder) if not allow_outside else Path(path)


def _name_clip(text: str, start_s: float, end_s: float | None) -> str:
    """Name a clip by its path and its exact times: of a long film, six digits would not tell two parts apart."""
    times = f"#{start_s:.12g}-{'' if end_s is None else f'{end_s:.12g}'}" if start_s or end_s is not None else ""
    return Path(text).as_posix() + times


def _read_split(text: str, where: str) -> str | None:
    split = read_split_name(text)
    if text and split is None:
        raise CorpusError(f"{where}: unknown split {text!r}, expected one of {', '.join(SPLIT_NAMES)}")
    return split


def _read_seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise CorpusError(f"{where}: {text!r} is no time in seconds")
    return seconds


def _check_names(samples: list[Sample], manifest: Path) -> None:
    counts = Counter(sample.clip_id for sample in samples)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        more = f" and {len(repeated) - 1} more" if len(repeated) > 1 else ""
        raise CorpusError(
            f"{manifest}: two clips of one name: {repeated[0]!r}{more}; give each row a clip_id of its own"
        )
