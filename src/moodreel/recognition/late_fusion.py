"""Predicting with a late bundle: one network for the face, one for the voice, fused afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moodreel.bundle import Bundle
from moodreel.errors import BundleError
from moodreel.face.detector import FaceDetector
from moodreel.face.expression import ExpressionReader, Expressions, join_expressions, read_faces
from moodreel.face.people import group_people
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX, ANALYSIS_RATE_HZ, FaceTracker, TrackingOptions
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead, report_progress
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import Evidence, SeenPerson, answer
from moodreel.recognition.fusion import Fusion, read_fusion
from moodreel.recognition.prediction import Prediction
from moodreel.voice.listener import VoiceListener, read_voice

if TYPE_CHECKING:
    import onnxruntime

DETECT_EVERY_S = 0.4
"""Seconds between detections: in every second analysed frame. Oftener, a 720p clip runs below 5 times real time."""


@dataclass(frozen=True)
class LateNetworks:
    """The opened networks of a late bundle, and what adds their answers.

    Attributes:
        title: name and version of the bundle.
        fusion: how the answers are calibrated and added.
        face: the face network.
        voice: the voice network.
        detector: what finds the faces.
        tracking: how faces are followed and cut out.
        no_speech_below_db: below this estimated speech-to-background ratio nobody is taken to speak.
    """

    title: str
    fusion: Fusion
    face: onnxruntime.InferenceSession
    voice: onnxruntime.InferenceSession
    detector: FaceDetector
    tracking: TrackingOptions
    no_speech_below_db: float

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int) -> LateNetworks:
        """Open the networks of a late bundle, and try them.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        side_px = int(bundle.number("face", "side_px", 96, 16, 512))
        networks = cls(
            title=bundle.title,
            fusion=read_fusion(bundle.section("fusion")),
            face=bundle.session("face", threads),
            voice=bundle.session("voice", threads),
            detector=FaceDetector(),
            tracking=TrackingOptions(detect_every_s=DETECT_EVERY_S, side_px=side_px),
            no_speech_below_db=bundle.number("voice", "no_speech_below_db", -200, -200, 200),
        )
        networks._try(bundle.path)
        return networks

    def _try(self, path: Path) -> None:
        """Run both networks once on next to nothing, so that a foreign one is refused before any clip is read."""
        side_px = self.tracking.side_px
        try:
            read_faces(self.face, np.zeros((1, 3, side_px, side_px), np.float32))
            read_voice(self.voice, np.zeros((80, 50), np.float32), np.full((1, 25), 1 / 25, np.float32))
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None


class LateReader:
    """Reads a clip once: listens to its voice, watches its faces, and adds both."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Open the networks of a late bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        self._networks = LateNetworks.open(bundle, threads=threads)

    def read(self, clip: Clip, name: str, progress: Callable[[float], None] | None) -> Prediction:
        """Tell the emotion of an opened clip.

        Args:
            clip: the clip.
            name: the clip as the user named it.
            progress: called now and then with the share done, 0-1.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        networks = self._networks
        tracker = FaceTracker(networks.detector, networks.tracking)
        reader, listener = ExpressionReader(networks.face), VoiceListener(networks.voice)
        stream = clip.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=ANALYSIS_RATE_HZ)
        with read_ahead(stream) as items:
            reported = report_progress(items, clip.duration_s, progress)
            for face in tracker.track(_listen_in_passing(reported, listener)):
                reader.read(face)
        evidence = Evidence(
            clip=name,
            duration_s=clip.decoded_s,
            model=networks.title,
            has_video=clip.has_picture,
            has_sound=clip.has_sound,
            frame_count=tracker.frame_count,
            people=_group(tracker, reader.finish()),
            voice=listener.finish(),
            no_speech_below_db=networks.no_speech_below_db,
            warnings=clip.warnings,
        )
        return answer(evidence, networks.fusion)


def _listen_in_passing(items: Iterable[Frame | Sound], listener: VoiceListener) -> Iterator[Frame]:
    """Hand the sound of a stream to the listener and yield its frames, so that the clip is decoded once."""
    for item in items:
        if isinstance(item, Frame):
            yield item
        else:
            listener.listen(item)


def _group(tracker: FaceTracker, expressions: dict[int, Expressions]) -> tuple[SeenPerson, ...]:
    people = group_people(tracker.tracks(), tracker.frame_count, tracker.detection_count)
    return tuple(SeenPerson(one, join_expressions(expressions[track] for track in one.track_ids)) for one in people)
