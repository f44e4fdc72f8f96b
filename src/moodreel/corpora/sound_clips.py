"""Reader of collections of sounds that show no emotion: laughter, sneezes, music, rain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moodreel.corpora.manifest import locate_clip
from moodreel.corpora.rows import read_rows
from moodreel.corpora.sample import natural_key
from moodreel.errors import CorpusError

TABLE = "labels.tsv"
COLUMNS = ("path", "sound", "source")


@dataclass(frozen=True)
class SoundClip:
    """One recorded sound.

    Attributes:
        path: the sound file.
        sound: what sounds, in the collection's own word, such as `laughter`.
        source: the collection it comes from.
        licence: of that collection; empty where the table does not tell.
        speaker: who sounds; empty where nobody does, or it is not known.
    """

    path: Path
    sound: str
    source: str
    licence: str
    speaker: str


def read_sound_clips(folder: Path) -> tuple[SoundClip, ...]:
    """Read a folder of sounds by its `labels.tsv`.

    Args:
        folder: one with `labels.tsv`: columns `path` (relative to the folder), `sound` and `source`; `licence` and
            `speaker` may be there, others are ignored.

    Returns:
        Every clip, in the order of paths.

    Raises:
        CorpusError: the table cannot be read or lacks a column, or a row names no file of the folder.
    """
    table = folder / TABLE
    clips = [
        SoundClip(
            path=locate_clip(row["path"], table, f"{table}, row {number}", allow_outside=False),
            sound=row["sound"],
            source=row["source"],
            licence=row.get("licence", ""),
            speaker=row.get("speaker", ""),
        )
        for number, row in enumerate(read_rows(table, COLUMNS), start=2)
    ]
    for clip in clips:
        if not clip.path.is_file():
            raise CorpusError(f"{table}: no such file: {clip.path}")
    return tuple(sorted(clips, key=lambda clip: natural_key(clip.path.as_posix())))
