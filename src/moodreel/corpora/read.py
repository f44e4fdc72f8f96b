"""Reading a corpus: find out how a folder is laid out, read it, and say which layout it was."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from moodreel.corpora.files import find_clips, group_problems, list_folders
from moodreel.corpora.folders import AFEW, CLASS_FOLDERS
from moodreel.corpora.layout import Layout
from moodreel.corpora.manifest import MANIFEST, find_manifest, read_manifest
from moodreel.corpora.named import CREMAD, NEMO, RAVDESS
from moodreel.corpora.rows import TABLE_SUFFIXES
from moodreel.corpora.sample import Corpus
from moodreel.corpora.speakers import set_speakers_by_pattern, set_speakers_by_table
from moodreel.errors import CorpusError, MoodreelError
from moodreel.labels import IGNORE, explain_unknown, read_emotion
from moodreel.plugins import find_entries, load_entry
from moodreel.text import suggest

logger = logging.getLogger(__name__)

PLUGINS = "moodreel.corpora"
"""Group of entry points that name a `Layout` each."""

_OWN = {layout.name: layout for layout in (AFEW, RAVDESS, CREMAD, NEMO, CLASS_FOLDERS, MANIFEST)}


@cache
def find_layouts() -> Mapping[str, Layout]:
    """Return every layout by name: moodreel's own, then those of plug-ins; a broken one is warned of and left out."""
    layouts = dict(_OWN)
    for name, entry in find_entries(PLUGINS).items():
        try:
            layouts.setdefault(name, load_entry(entry, Layout))
        except MoodreelError as error:
            logger.warning("moodreel: warning: %s", error)
    return layouts


def read_corpus(
    path: Path | str,
    layout: str | None = None,
    speaker_regex: str | None = None,
    speakers_csv: Path | str | None = None,
    *,
    allow_outside: bool = False,
    class_map: Mapping[str, str] | None = None,
) -> Corpus:
    """Read a corpus, finding out its layout unless told.

    Args:
        path: a folder, or a manifest (`.csv`, `.tsv`, `.parquet`).
        layout: a name out of `find_layouts`; by default the one that fits what is found.
        speaker_regex: pattern with a group named `speaker`, searched in each clip's path below the folder.
        speakers_csv: table with the columns `clip` and `speaker` (or `film`); not together with `speaker_regex`.
        allow_outside: whether a manifest may name files outside its folder.
        class_map: what the corpus's own classes are, see `moodreel.labels.read_class_map`.

    Returns:
        At least one clip; `Corpus.layout` says how the folder was understood.

    Raises:
        CorpusError: nothing or more than one layout fits, there is no clip, a class is not known, or the layout's own
            reader complains.
    """
    root = Path(path)
    if speaker_regex is not None and speakers_csv is not None:
        raise CorpusError("speakers come from a pattern (--speakers) or from a table (--speakers-csv), not from both")
    corpus = _read_classes(_read(root, layout or detect_layout(root), allow_outside), class_map or {})
    if not corpus.samples:
        left_out = "; ".join(map(str, corpus.problems))
        raise CorpusError(f"{root}: no clips (read as {corpus.layout}){': ' + left_out if left_out else ''}")
    if speaker_regex is not None:
        return set_speakers_by_pattern(corpus, speaker_regex)
    return set_speakers_by_table(corpus, Path(speakers_csv)) if speakers_csv is not None else corpus


def _read(root: Path, name: str, allow_outside: bool) -> Corpus:
    layout = find_layouts().get(name)
    if layout is None:
        names = ", ".join(find_layouts())
        raise CorpusError(f"unknown layout {name!r}, expected one of {names}{suggest(name, find_layouts())}")
    if layout is MANIFEST:
        return read_manifest(find_manifest(root), allow_outside=allow_outside)
    if not root.is_dir():
        raise CorpusError(f"{root}: {'no folder' if root.exists() else 'no such folder'}; {name} is read from a folder")
    return layout.read(root)


def _read_classes(corpus: Corpus, class_map: Mapping[str, str]) -> Corpus:
    """Read the corpus's own names of classes: the one place where they become emotions."""
    labels = {sample.label: _read_class(sample.label, class_map) for sample in corpus.samples}
    unknown = [name for name, label in labels.items() if label is None]
    if unknown:
        first = next(sample for sample in corpus.samples if sample.label == unknown[0])
        raise CorpusError(f"{first.label_place or first.path}: {explain_unknown(unknown)}")
    _warn_of_unused(corpus, class_map, labels)
    kept = [replace(one, label=label) for one in corpus.samples if (label := labels[one.label] or "") != IGNORE]
    left_out = [(f"class {one.label!r} ignored", one.path) for one in corpus.samples if labels[one.label] == IGNORE]
    problems = (*corpus.problems, *group_problems(left_out))
    return replace(corpus, samples=tuple(kept), problems=problems, class_map=dict(class_map))


def _read_class(name: str, class_map: Mapping[str, str]) -> str | None:
    try:
        return class_map.get(name.strip().lower()) or read_emotion(name)
    except ValueError:
        return None


def _warn_of_unused(corpus: Corpus, class_map: Mapping[str, str], found: Mapping[str, str | None]) -> None:
    names = {name.strip().lower() for name in found}
    for name in class_map:
        if name not in names:
            logger.warning("moodreel: warning: %s: no clip of class %r%s", corpus.root, name, suggest(name, names))


def detect_layout(root: Path) -> str:
    """Find the one layout that fits a folder or file.

    Args:
        root: a folder, or a manifest.

    Returns:
        A name out of `find_layouts`; `folders` where there are folders of clips and nothing else fits.

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
    return "it reads " + "; ".join(f"{name}: {layout.shape}" for name, layout in find_layouts().items())


def _candidates(root: Path) -> dict[str, str]:
    """Name every layout that fits, with what speaks for it."""
    clips = find_clips(root)
    found = {name: _recognise(layout, root, clips) for name, layout in find_layouts().items()}
    return {name: what for name, what in found.items() if what}


def _recognise(layout: Layout, root: Path, clips: Sequence[Path]) -> str:
    try:
        return layout.recognise(root, clips)
    except MoodreelError:
        raise
    except Exception as error:  # of a plug-in, which must not keep other corpora from being read
        logger.warning("moodreel: warning: layout %r cannot look at %s (%s)", layout.name, root, type(error).__name__)
        return ""
