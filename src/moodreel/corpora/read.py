"""Reading a corpus: find out how a folder is laid out, read it, and say which layout it was."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from moodreel.corpora.files import find_clips, list_folders
from moodreel.corpora.folders import read_afew, read_class_folders, split_folders
from moodreel.corpora.manifest import REQUIRED_COLUMNS, read_manifest
from moodreel.corpora.named import (
    CREMAD_NAME,
    NEMO_COLUMNS,
    RAVDESS_NAME,
    read_cremad,
    read_nemo,
    read_ravdess,
)
from moodreel.corpora.rows import TABLE_SUFFIXES, read_header
from moodreel.corpora.sample import Corpus
from moodreel.corpora.speakers import set_speakers_by_pattern, set_speakers_by_table
from moodreel.errors import CorpusError
from moodreel.labels import read_emotion

_FOLDER_READERS: Mapping[str, Callable[[Path], Corpus]] = {
    "afew": read_afew,
    "ravdess": read_ravdess,
    "cremad": read_cremad,
    "nemo": read_nemo,
    "folders": read_class_folders,
}

LAYOUTS: Mapping[str, str] = {
    "afew": "Train|Val|Test/<Emotion>/*.avi",
    "ravdess": "files named like 01-01-03-01-01-01-01.mp4",
    "cremad": "files named like 1001_DFA_ANG_XX.flv",
    "nemo": "data.tsv with file_id, emotion and speaker_id",
    "folders": "<emotion>/*.mp4",
    "manifest": "manifest.csv, .tsv or .parquet with path, label and speaker",
}
"""Name and shape of every layout that `read_corpus` knows."""


def read_corpus(
    path: Path | str,
    layout: str | None = None,
    speaker_regex: str | None = None,
    speakers_csv: Path | str | None = None,
    *,
    allow_outside: bool = False,
) -> Corpus:
    """Read a corpus, finding out its layout unless told.

    Args:
        path: a folder, or a manifest (`.csv`, `.tsv`, `.parquet`).
        layout: one of `LAYOUTS`; by default the one that fits what is found.
        speaker_regex: pattern with a group named `speaker`, searched in each clip's path below the folder.
        speakers_csv: table with the columns `clip` and `speaker` (or `film`); not together with `speaker_regex`.
        allow_outside: whether a manifest may name files outside its folder.

    Returns:
        At least one clip; `Corpus.layout` says how the folder was understood.

    Raises:
        CorpusError: nothing or more than one layout fits, there is no clip, or the layout's own reader complains.
    """
    root = Path(path)
    if speaker_regex is not None and speakers_csv is not None:
        raise CorpusError("speakers come from a pattern (--speakers) or from a table (--speakers-csv), not from both")
    corpus = _read(root, layout or detect_layout(root), allow_outside)
    if not corpus.samples:
        left_out = "; ".join(map(str, corpus.problems))
        raise CorpusError(f"{root}: no clips (read as {corpus.layout}){': ' + left_out if left_out else ''}")
    if speaker_regex is not None:
        return set_speakers_by_pattern(corpus, speaker_regex)
    return set_speakers_by_table(corpus, Path(speakers_csv)) if speakers_csv is not None else corpus


def _read(root: Path, layout: str, allow_outside: bool) -> Corpus:
    if layout == "manifest":
        return read_manifest(_find_manifest(root), allow_outside=allow_outside)
    if layout not in _FOLDER_READERS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CorpusError(f"unknown layout {layout!r}, expected one of {', '.join(LAYOUTS)}{hint}")
    if not root.is_dir():
        raise CorpusError(
            f"{root}: {'no folder' if root.exists() else 'no such folder'}; {layout} is read from a folder"
        )
    return _FOLDER_READERS[layout](root)


def detect_layout(root: Path) -> str:
    """Find the one layout that fits a folder or file.

    Args:
        root: a folder, or a manifest.

    Returns:
        A name out of `LAYOUTS`; `folders` where there are folders of clips and nothing else fits.

    Raises:
        CorpusError: there is no such path, no layout fits (the message lists all), or several do (it lists them).
    """
    if root.is_file() and root.suffix.lower() in TABLE_SUFFIXES:
        return "manifest"
    if not root.is_dir():
        raise CorpusError(
            f"{root}: {'neither a folder nor a manifest' if root.exists() else 'no such folder or manifest'}"
        )
    found = _candidates(root)
    if not found and any(find_clips(folder) for folder in list_folders(root)):
        return "folders"  # whose reader says which folder has the name of no emotion
    if not found:
        raise CorpusError(f"{root}: no clips in a layout moodreel knows; {_shapes()}")
    if len(found) > 1:
        listed = "; ".join(f"{name} ({what})" for name, what in found.items())
        raise CorpusError(f"{root}: fits several layouts: {listed}; name one with --layout")
    return next(iter(found))


def _shapes() -> str:
    return "it reads " + "; ".join(f"{name}: {shape}" for name, shape in LAYOUTS.items())


def _candidates(root: Path) -> dict[str, str]:
    """Name every layout that fits, with what speaks for it."""
    media = find_clips(root)
    stems = [path.stem for path in media]
    found = {
        "ravdess": _count(sum(RAVDESS_NAME.fullmatch(stem) is not None for stem in stems)),
        "cremad": _count(sum(CREMAD_NAME.fullmatch(stem) is not None for stem in stems)),
        "nemo": "data.tsv" if set(NEMO_COLUMNS) <= set(read_header(root / "data.tsv")) else "",
        "manifest": ", ".join(path.name for path in _manifests(root)),
        "afew": ", ".join(folder.name for folder in split_folders(root).values() if find_clips(folder)),
        "folders": ", ".join(folder.name for folder in list_folders(root) if _is_class(folder, media)),
    }
    return {name: what for name, what in found.items() if what}


def _count(n_files: int) -> str:
    return f"{n_files} file names" if n_files else ""


def _is_class(folder: Path, media: tuple[Path, ...]) -> bool:
    try:
        read_emotion(folder.name)
    except ValueError:
        return False
    return any(path.is_relative_to(folder) for path in media)


def _manifests(root: Path) -> list[Path]:
    named = [root / f"manifest{suffix}" for suffix in sorted(TABLE_SUFFIXES)]
    return [
        p for p in named if p.is_file() and (p.suffix == ".parquet" or set(REQUIRED_COLUMNS) <= set(read_header(p)))
    ]


def _find_manifest(root: Path) -> Path:
    if not root.is_dir():
        return root
    found = _manifests(root)
    if len(found) == 1:
        return found[0]
    state = f"several manifests: {', '.join(p.name for p in found)}" if found else "no manifest.csv, .tsv or .parquet"
    raise CorpusError(f"{root}: {state}; point at the file itself")
