"""Telling who speaks in each clip, where the layout of a corpus does not: from a pattern or from a table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from moodreel.corpora.rows import read_rows
from moodreel.corpora.sample import Corpus, Sample
from moodreel.errors import CorpusError


def set_speakers_by_pattern(corpus: Corpus, pattern: str) -> Corpus:
    """Read each clip's speaker out of its path.

    Args:
        corpus: the clips.
        pattern: a regular expression with a group named `speaker`, searched in the path below the corpus folder,
            written with forward slashes.

    Returns:
        The corpus with every speaker set.

    Raises:
        CorpusError: the pattern is no regular expression, lacks the group, or a clip does not match it.
    """
    compiled = read_pattern(pattern)
    matches = {sample.clip_id: compiled.search(_path_text(sample, corpus.root)) for sample in corpus.samples}
    names = {clip_id: match["speaker"] for clip_id, match in matches.items() if match is not None and match["speaker"]}
    return _set_speakers(corpus, names, f"speaker pattern {pattern!r} matches no speaker in")


def read_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that finds the speaker in a path.

    Args:
        pattern: a regular expression with a group named `speaker`.

    Raises:
        CorpusError: it is none, or lacks the group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CorpusError(f"speaker pattern {pattern!r} is no regular expression: {error}") from error
    if "speaker" not in compiled.groupindex:
        message = (
            f"speaker pattern {pattern!r} has no group named speaker; write (?P<speaker>…) around the speaker's part"
        )
        raise CorpusError(message)
    return compiled


def _path_text(sample: Sample, root: Path) -> str:
    folder = root if root.is_dir() else root.parent
    return (sample.path.relative_to(folder) if sample.path.is_relative_to(folder) else sample.path).as_posix()


def set_speakers_by_table(corpus: Corpus, table: Path) -> Corpus:
    """Look each clip's speaker, or film, up in a table.

    Args:
        corpus: the clips.
        table: CSV, TSV or Parquet with the columns `clip` and `speaker` (or `film`). A clip is named by its `clip_id`,
            its file name, or its file name without suffix.

    Returns:
        The corpus with every speaker set.

    Raises:
        CorpusError: the table cannot be read, names one clip with two speakers, or lacks a clip.
    """
    rows = read_rows(table, ["clip"])
    column = "speaker" if "speaker" in rows[0] else "film"
    if column not in rows[0]:
        raise CorpusError(f"{table}: no column 'speaker' or 'film'; it holds {', '.join(rows[0])}")
    speakers_by_clip = _read_pairs(((row["clip"], row[column]) for row in rows), table)
    return _set_speakers(corpus, _look_up(corpus, speakers_by_clip, table), f"{table} gives no speaker for")


def _read_pairs(pairs: Iterable[tuple[str, str]], table: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for clip, speaker in pairs:
        if speaker and found.setdefault(clip, speaker) != speaker:
            raise CorpusError(f"{table}: clip {clip!r} has two speakers, {found[clip]!r} and {speaker!r}")
    return found


def _look_up(corpus: Corpus, speakers_by_clip: Mapping[str, str], table: Path) -> dict[str, str]:
    """Match clips by id, file name or stem; a bare name that two clips bear tells neither of them."""
    found: dict[str, str] = {}
    clips_by_name: dict[str, list[str]] = defaultdict(list)
    for sample in corpus.samples:
        names = (sample.clip_id, sample.path.name, sample.path.stem)
        name = next((name for name in names if name in speakers_by_clip), None)
        if name is not None:
            found[sample.clip_id] = speakers_by_clip[name]
            clips_by_name[name].append(sample.clip_id)
    shared = next((clips for clips in clips_by_name.values() if len(clips) > 1), None)
    if shared:
        raise CorpusError(
            f"{table}: one row fits both {shared[0]} and {shared[1]}; name clips by their path without suffix"
        )
    return found


def _set_speakers(corpus: Corpus, names: Mapping[str, str], complaint: str) -> Corpus:
    missing = [sample.clip_id for sample in corpus.samples if sample.clip_id not in names]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CorpusError(f"{complaint} {missing[0]}{more}")
    return replace(corpus, samples=tuple(replace(s, speaker=names[s.clip_id]) for s in corpus.samples))
