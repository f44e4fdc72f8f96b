"""The recordings that the sound network learns from: speech of several corpora, and sounds that are no speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moodreel.corpora import Sample, read_corpus
from moodreel.corpora.manifest import read_manifest
from moodreel.corpora.sound_clips import TABLE, SoundClip, read_sound_clips
from moodreel.errors import CorpusError
from moodreel.voice.sounds import SPEECH

SOUNDS = (SPEECH, "laughter", "crying", "scream", "breath", "babble", "music", "noise")
"""The classes, speech first. `breath` is what else people's mouths and noses do; `babble`, many who talk at once;
`noise`, everything else: animals, machines, weather, sirens, applause."""

_MEMBERS: Mapping[str, str] = {
    "crying": "baby_cry",
    "breath": "cough sneeze sigh pant moan yawn throat_clearing nose_blowing lip_popping lip_smacking teeth_chattering "
    "teeth_grinding tongue_clicking",
    "noise": "chainsaw clock_tick dog_bark fire_crackling helicopter rain rooster sea_waves silence siren applause",
}
OWN_NAMES: Mapping[str, str] = {name: kind for kind, names in _MEMBERS.items() for name in names.split()}
"""The class of each name that collections use, beside the names of the classes themselves."""


@dataclass(frozen=True)
class SoundRecording:
    """One recording.

    Attributes:
        path: its file.
        kind: which of `SOUNDS` it is.
        name: what sounds in the collection's own word; of speech the emotion, empty where the corpus names none.
        source: the corpus or collection.
        person: who sounds, unique over all sources; the file where nobody is known to.
    """

    path: Path
    kind: str
    name: str
    source: str
    person: str


def read_speech(folder: Path, most: int, seed: int = 0) -> list[SoundRecording]:
    """List clips of a corpus of speech, spread over its emotions and people.

    Args:
        folder: with `labels.tsv` (columns as a manifest), or in any layout that corpora are read in.
        most: so many clips at most.
        seed: decides which.

    Raises:
        CorpusError: the corpus cannot be read.
    """
    is_listed = (folder / TABLE).is_file()
    corpus = read_manifest(folder / TABLE) if is_listed else read_corpus(folder, allow_outside=True)
    samples, name = corpus.samples, corpus.name
    if not samples:
        raise CorpusError(f"{folder}: no clip that {TABLE} names is there; unpack the corpus first")
    recordings = [SoundRecording(one.path, SPEECH, one.label, name, _person(one, name)) for one in samples]
    return _spread(recordings, most, seed)


def read_others(folder: Path) -> list[SoundRecording]:
    """List a collection of sounds, see `read_sound_clips`.

    Raises:
        CorpusError: it cannot be read, or names a sound of no known class.
    """
    return [
        SoundRecording(
            one.path, _kind(one, folder), one.sound, one.source, f"{one.source}-{one.speaker or one.path.stem}"
        )
        for one in read_sound_clips(folder)
    ]


def _person(sample: Sample, corpus: str) -> str:
    return f"{corpus}-{sample.speaker or sample.clip_id}"


def _kind(clip: SoundClip, folder: Path) -> str:
    kind = clip.sound if clip.sound in SOUNDS else OWN_NAMES.get(clip.sound)
    if kind is None:
        known = ", ".join(sorted({*SOUNDS, *OWN_NAMES}))
        raise CorpusError(f"{folder / TABLE}: unknown sound {clip.sound!r}, expected one of {known}")
    return kind


def _spread(recordings: Sequence[SoundRecording], most: int, seed: int) -> list[SoundRecording]:
    """Take recordings of each emotion and person in turn."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[SoundRecording]] = {}
    for index in rng.permutation(len(recordings)):
        one = recordings[int(index)]
        groups.setdefault((one.name, one.person), []).append(one)
    turns = sorted((place, key, one.path) for key, group in groups.items() for place, one in enumerate(group))
    order = {path: number for number, (_, _, path) in enumerate(turns)}
    chosen = sorted(recordings, key=lambda one: order[one.path])[:most]
    return sorted(chosen, key=lambda one: one.path)
