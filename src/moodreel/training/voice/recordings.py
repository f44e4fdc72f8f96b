"""The recordings that the voice is trained on: RAVDESS and nEMO, their labels, speakers and sound."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS, read_emotion
from moodreel.voice.speech import RATE_HZ, Float32

SUBJECTS_PER_FOLD = 4

_RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


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


def find_ravdess(folder: Path) -> list[Recording]:
    """List RAVDESS's speech clips, sorted by name (`03-01-EE-II-SS-RR-AA`, in any audio format).

    Raises:
        CorpusError: there is none.
    """
    paths = sorted(path for path in folder.rglob("03-01-*-*-*-*-*.*") if path.is_file())
    if not paths:
        raise CorpusError(
            f"{folder}: expected RAVDESS speech named 03-01-EE-II-SS-RR-AA in Actor_XX folders, found none"
        )
    return [_read_ravdess_name(path) for path in paths]


def _read_ravdess_name(path: Path) -> Recording:
    fields = path.stem.split("-")
    emotion = read_emotion(_RAVDESS_EMOTIONS[int(fields[2]) - 1])
    return Recording(path, "ravdess", f"ravdess-{fields[6]}", EMOTIONS.index(emotion))


def find_nemo(folder: Path) -> list[Recording]:
    """List nEMO's clips in the order of its `data.tsv`; the sound may be in any format under `audio`.

    Raises:
        CorpusError: the table or a clip is missing.
    """
    table = folder / "data.tsv"
    if not table.is_file():
        raise CorpusError(f"{folder}: expected nEMO's data.tsv, found none")
    paths = {path.stem: path for path in (folder / "audio").iterdir()}
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    missing = [row["file_id"] for row in rows if Path(row["file_id"]).stem not in paths]
    if missing:
        raise CorpusError(f"{folder / 'audio'}: {len(missing)} clips of data.tsv are missing, such as {missing[0]}")
    return [
        Recording(
            paths[Path(row["file_id"]).stem],
            "nemo",
            f"nemo-{row['speaker_id'].strip()}",
            EMOTIONS.index(read_emotion(row["emotion"])),
        )
        for row in rows
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
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("fltp", "mono", RATE_HZ)
            frames = [*container.decode(audio=0), None]
            return np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])
    except (av.FFmpegError, IndexError) as error:
        raise CorpusError(f"{path}: cannot decode its sound ({error})") from error
