"""The recordings that the voice is trained on: RAVDESS and nEMO, their labels, speakers and sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moodreel.corpora import read_corpus
from moodreel.errors import CorpusError, MediaError
from moodreel.labels import EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.stretches import read_stretch
from moodreel.voice.speech import RATE_HZ, Float32

SUBJECTS_PER_FOLD = 4

_RAVDESS_SPEECH = "03-01-"
"""What the names of spoken takes without a picture begin with."""


@dataclass(frozen=True)
class Recording:
    """One labelled clip.

    Attributes:
        path: its sound file.
        corpus: `ravdess` or `nemo`.
        speaker: unique over the corpora, such as `ravdess-03`.
        label: index into `EMOTIONS`.
    """

    path: Path
    corpus: str
    speaker: str
    label: int


def read_recordings(folder: Path, layout: str) -> list[Recording]:
    """List a corpus's clips in the order of `read_corpus`, which all commands read corpora with.

    Args:
        folder: the corpus's folder.
        layout: its layout, such as `ravdess`; of RAVDESS, the takes of speech without a picture are read.

    Raises:
        CorpusError: the corpus cannot be read, is incomplete, or holds no such clip.
    """
    corpus = read_corpus(folder, layout)
    for problem in corpus.problems:
        raise CorpusError(f"{folder}: incomplete: {problem}")
    samples = [one for one in corpus.samples if layout != "ravdess" or one.clip_id.startswith(_RAVDESS_SPEECH)]
    if not samples:
        raise CorpusError(f"{folder}: expected clips of the layout {layout}, found none; name the corpus's folder")
    return [
        Recording(one.path, layout, f"{layout}-{one.speaker.strip()}", EMOTIONS.index(one.label)) for one in samples
    ]


def split_folds(recordings: Sequence[Recording]) -> list[list[str]]:
    """Group RAVDESS's actors, sorted, by consecutive fours."""
    actors = sorted({recording.speaker for recording in recordings if recording.corpus == "ravdess"})
    return [actors[start : start + SUBJECTS_PER_FOLD] for start in range(0, len(actors), SUBJECTS_PER_FOLD)]


def list_known(corpus: str) -> NDArray[np.bool_]:
    """Mark the emotions a corpus can name: nEMO has no disgust, so it cannot teach what is not disgust."""
    return np.array([not (corpus == "nemo" and emotion == "disgust") for emotion in EMOTIONS])


def read_recording(path: Path) -> Float32:
    """Decode a file's first sound track to mono float32 at 16 kHz.

    Raises:
        CorpusError: it cannot be decoded.
    """
    try:
        with open_clip(path) as clip:
            stretch = read_stretch(
                clip, 0.0, float("inf"), longest_side_px=1, frames_rate_hz=0.0, sound_rate_hz=RATE_HZ
            )
    except MediaError as error:
        raise CorpusError(str(error)) from error
    return stretch.sound
