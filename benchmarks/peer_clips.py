"""Labelled clips as `benchmarks/peers.py` shows them to each peer: the frames that moodreel analyses, and its crops."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.bundle import load_bundle
from moodreel.corpora import Sample
from moodreel.errors import MoodreelError
from moodreel.face.appearance import AppearanceReader
from moodreel.face.detector import FaceDetector
from moodreel.face.people import find_people
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX, ANALYSIS_RATE_HZ, FaceTracker, TrackingOptions
from moodreel.media.clip import open_clip
from moodreel.media.frames import Frame
from moodreel.recognition.late_fusion import DETECT_EVERY_S

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """A labelled clip as peers are shown it.

    Attributes:
        sample: the clip.
        duration_s: its length; 0 for a picture.
        frames: pictures of the frames that moodreel analyses.
        crops: pictures of the main person's face in them, cut out.
    """

    sample: Sample
    duration_s: float
    frames: tuple[str, ...]
    crops: tuple[str, ...]

    def thin(self, every: int) -> Shown:
        """Keep every so many of the pictures, the first among them."""
        return replace(self, frames=self.frames[::every], crops=self.crops[::every])

    def ask(self, cut: bool) -> dict[str, Any]:
        """Put the clip as a runner is asked about it."""
        frames = self.crops if cut else self.frames
        sample = self.sample
        times = {"start_s": sample.start_s, "end_s": sample.end_s}
        return {"file": str(sample.path), **times, "frames": frames, "cut": cut}


def show_clips(samples: Sequence[Sample], folder: Path, model: str, cut: bool) -> Iterator[Shown]:
    """Write the pictures that peers are shown; what cannot be decoded is left out with a word."""
    bundle = load_bundle(model)
    side_px = int(bundle.number("face", "side_px", 96, 16, 512))
    detector, appearance = FaceDetector(), AppearanceReader.open(bundle, threads=1)
    options = TrackingOptions(detect_every_s=DETECT_EVERY_S, side_px=side_px)
    for number, sample in enumerate(samples):
        place = folder / str(number)
        place.mkdir()
        try:
            if cut:
                yield show_face(sample, place)
            else:
                yield show_frames(sample, place, FaceTracker(detector, options, appearance=appearance))
        except MoodreelError as error:
            print(f"left out: {error}", file=sys.stderr)


def show_face(sample: Sample, folder: Path) -> Shown:
    """Show a picture that is a face."""
    return Shown(sample, 0.0, (), write_pictures([one.pixels for one in read_frames(sample, [])], folder / "face"))


def show_frames(sample: Sample, folder: Path, tracker: FaceTracker) -> Shown:
    """Show the frames of a clip that moodreel analyses, and the face that it goes by in them."""
    lengths_s: list[float] = []
    frames: list[Pixels] = []
    faces = list(tracker.track(keep_pixels(read_frames(sample, lengths_s), frames)))
    people = find_people(tracker)
    tracks = people[0].track_ids if people else ()
    crops = [face.crop for face in faces if face.track_id in tracks]
    return Shown(sample, lengths_s[0], write_pictures(frames, folder / "frame"), write_pictures(crops, folder / "face"))


def read_frames(sample: Sample, lengths_s: list[float]) -> Iterator[Frame]:
    """Decode the frames that moodreel analyses, and note the clip's length at the end."""
    with open_clip(sample.path, None, start_s=sample.start_s, end_s=sample.end_s) as clip:
        stream = clip.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=ANALYSIS_RATE_HZ, sound_rate_hz=0)
        yield from (item for item in stream if isinstance(item, Frame))
        lengths_s.append(clip.decoded_s)


def keep_pixels(frames: Iterator[Frame], kept: list[Pixels]) -> Iterator[Frame]:
    """Keep the pixels of frames that pass by."""
    for frame in frames:
        kept.append(frame.pixels)
        yield frame


def write_pictures(pictures: Sequence[Pixels], stem: Path) -> tuple[str, ...]:
    """Write pictures in the one format that every peer reads to the same pixels."""
    paths = [f"{stem}{number:05d}.ppm" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return tuple(paths)
