"""What the speaker network learns from: clips of one face each that is heard to speak, drawn or photographed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.corpora import Sample, read_corpus
from moodreel.corpora.sound_clips import TABLE
from moodreel.errors import CorpusError, MediaError
from moodreel.face.detector import FaceDetector
from moodreel.face.lips import LIPS_RATE_HZ, FacePath, Lips, LipsCutter
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX
from moodreel.media.clip import Clip, open_clip
from moodreel.media.frames import Frame
from moodreel.voice.speech import RATE_HZ

logger = logging.getLogger(__name__)

SLOT_SAMPLES = round(RATE_HZ / LIPS_RATE_HZ)
LEAST_SLOTS = 25
_DETECT_EVERY = 8
_FACE_THRESHOLD = 0.15  # drawn faces convince the detector less
_LOUD_DB, _QUIET_DB, _ABOVE_FLOOR_DB = 22.0, 35.0, 3.0
_PAUSE_SLOTS = 8
_SILENT = 1e-3
_MOST_FRAMES = 1500

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Footage:
    """One clip of a person who is seen and heard.

    Attributes:
        person: who it is, unique over all corpora.
        is_drawn: whether the face is drawn.
        lips: grey uint8, shape (n_slots, side, side).
        sound: mono float32 at 16 kHz, shape (n_slots * SLOT_SAMPLES,).
    """

    person: str
    is_drawn: bool
    lips: Lips
    sound: Float32

    @cached_property
    def active(self) -> Float32:
        """Whether the person speaks: 1, 0, or NaN where that is not sure; shape (n_slots,)."""
        power = (self.sound.reshape(-1, SLOT_SAMPLES) ** 2).mean(axis=1)
        level_db = 10 * np.log10(power + 1e-10)
        loud_db, floor_db = np.percentile(level_db, (97, 5))
        quiet_db = max(loud_db - _QUIET_DB, floor_db + _ABOVE_FLOOR_DB)
        active = np.where(level_db > loud_db - _LOUD_DB, 1.0, np.where(level_db < quiet_db, 0.0, np.nan))
        speaks = active == 1
        for slot in np.flatnonzero(~speaks):
            before, after = speaks[max(0, slot - _PAUSE_SLOTS) : slot], speaks[slot + 1 : slot + 1 + _PAUSE_SLOTS]
            if before.any() and after.any():
                active[slot] = np.nan
        return active.astype(np.float32)


def read_footage(folder: Path, *, is_drawn: bool, most: int | None = None) -> list[Footage]:
    """Read the clips of a corpus that show a face and hold sound.

    Args:
        folder: a corpus of clips in any layout, or with `labels.tsv` (columns as a manifest).
        is_drawn: whether the faces are drawn.
        most: so many clips at most, of all people alike.

    Raises:
        CorpusError: the corpus cannot be read, or none of its clips will do.
    """
    table = folder / TABLE
    corpus = read_corpus(table if table.is_file() else folder)
    samples = list(corpus.samples)
    if most is not None and len(samples) > most:
        samples = [samples[int(place)] for place in np.linspace(0, len(samples) - 1, most).round()]
    detector = FaceDetector(threshold=_FACE_THRESHOLD)
    found = [one for one in (_read(sample, folder, detector, is_drawn) for sample in samples) if one is not None]
    if not found:
        raise CorpusError(f"{folder}: no clip shows a face and holds sound; expected clips of people who speak")
    logger.info("%s: %d of %d clips", folder, len(found), len(samples))
    return found


def _read(sample: Sample, folder: Path, detector: FaceDetector, is_drawn: bool) -> Footage | None:
    try:
        with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
            lips, sound = cut_one_face(clip, detector)
    except MediaError as error:
        logger.warning("moodreel: warning: %s: left out", error)
        return None
    if len(lips) < LEAST_SLOTS or np.abs(sound).max(initial=0.0) < _SILENT:
        return None
    return Footage(f"{folder.absolute().name}-{sample.speaker}", is_drawn, lips, sound)


def cut_one_face(clip: Clip, detector: FaceDetector) -> tuple[Lips, Float32]:
    """Cut the lips out of a clip that shows one face, and its sound, of one length.

    The face is looked for in some frames; its box is interpolated in between, for a drawn face is often missed.

    Raises:
        MediaError: nothing can be decoded.
    """
    frames: list[Frame] = []
    sound = np.zeros(0, np.float32)
    for item in clip.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=LIPS_RATE_HZ):
        if not isinstance(item, Frame):
            gap = np.zeros(max(0, round(item.start_s * RATE_HZ) - len(sound)), np.float32)
            sound = np.concatenate([sound, gap, item.samples])
        elif len(frames) < _MOST_FRAMES:
            frames.append(item)
    seen = list(_find_faces(frames, detector))
    if not seen:
        return np.zeros((0, 1, 1), np.uint8), sound
    times_s = np.array([frame.time_s for frame in frames])
    boxes_px = np.stack(
        [np.interp(times_s, [one for one, _ in seen], edges) for edges in np.array([box for _, box in seen]).T], axis=1
    )
    cuts = {slot: lips for slot, _, lips in LipsCutter([FacePath(times_s, boxes_px)]).cut(frames)}
    slots = sorted(cuts)
    lips = np.stack([cuts[slot] for slot in slots])
    samples = np.zeros(len(lips) * SLOT_SAMPLES, np.float32)
    heard = sound[slots[0] * SLOT_SAMPLES :][: len(samples)]
    samples[: len(heard)] = heard
    return lips, samples


def _find_faces(frames: list[Frame], detector: FaceDetector) -> Iterator[tuple[float, tuple[float, ...]]]:
    """Yield time and box of the largest face, in pixels of the source, of every eighth frame that shows one."""
    for frame in frames[::_DETECT_EVERY]:
        for face in detector.detect(frame.pixels)[:1]:
            yield frame.time_s, tuple(edge / frame.scale for edge in face.box_px)
