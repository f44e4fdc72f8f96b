"""Media in, `Prediction` out: reads a clip once, listens to its voice, watches its faces, and adds both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from moodreel.answer import Evidence, SeenPerson, answer
from moodreel.bundle import Bundle, load_bundle
from moodreel.errors import BundleError
from moodreel.expression import ExpressionReader, Expressions, join_expressions, read_faces
from moodreel.faces import FaceDetector
from moodreel.fusion import read_fusion
from moodreel.media import Clip, open_clip
from moodreel.people import group_people
from moodreel.prediction import Prediction
from moodreel.sampling import Frame, Sound
from moodreel.tracking import ANALYSIS_LONG_SIDE_PX, ANALYSIS_RATE_HZ, FaceTracker, TrackingOptions
from moodreel.voice import VoiceListener, read_voice

Media = str | os.PathLike[str] | bytes | IO[bytes]
Progress = Callable[[float], None]


class Recognizer:
    """Tells the emotion of clips with one bundle. Made by `Recognizer.load`; its networks are opened once."""

    def __init__(self, bundle: Bundle, *, threads: int = 2) -> None:
        """Open the networks of a bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        if bundle.kind != "late":
            raise BundleError(f"{bundle.path}: bundle kind {bundle.kind!r} is not one that this version predicts with")
        self.bundle = bundle
        self._fusion = read_fusion(bundle.section("fusion"))
        self._face_session = bundle.session("face", threads)
        self._voice_session = bundle.session("voice", threads)
        self._detector = FaceDetector()
        self._tracking = TrackingOptions(side_px=int(bundle.number("face", "side_px", 96, 16, 512)))
        self._no_speech_below_db = bundle.number("voice", "no_speech_below_db", -200, -200, 200)
        self._try_networks()

    def _try_networks(self) -> None:
        """Run both networks once on next to nothing, so that a foreign one is refused before any clip is read."""
        side_px = self._tracking.side_px
        try:
            read_faces(self._face_session, np.zeros((1, 3, side_px, side_px), np.float32))
            read_voice(self._voice_session, np.zeros((80, 50), np.float32), np.full((1, 25), 1 / 25, np.float32))
        except BundleError as error:
            raise BundleError(f"{self.bundle.path}: {error}") from None

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "default", *, threads: int = 2) -> Recognizer:
        """Open a bundle by name or folder.

        Args:
            model: name of a bundle that ships with the package, or a bundle's folder.
            threads: processor threads that a network may use.

        Raises:
            BundleError: there is no such bundle, or it cannot be used.
        """
        return cls(load_bundle(model), threads=threads)

    def predict(self, media: Media, *, name: str | None = None, progress: Progress | None = None) -> Prediction:
        """Tell the emotion of one clip.

        Args:
            media: a file's path, its bytes, or an open binary file.
            name: how to call the clip in the answer; its path by default.
            progress: called now and then with the share done, 0-1.

        Returns:
            The answer; where nothing usable is in the clip, uniform probabilities, abstained, with a warning.

        Raises:
            MediaError: the file cannot be read as media.
        """
        with open_clip(media, name) as clip:
            tracker = FaceTracker(self._detector, self._tracking)
            reader, listener = ExpressionReader(self._face_session), VoiceListener(self._voice_session)
            stream = clip.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=ANALYSIS_RATE_HZ)
            for face in tracker.track(_listen_in_passing(stream, listener, clip, progress)):
                reader.read(face)
            voice, expressions = listener.finish(), reader.finish()
            evidence = Evidence(
                clip=name or (str(Path(media)) if isinstance(media, str | os.PathLike) else clip.name),
                duration_s=clip.decoded_s,
                model=self.bundle.title,
                has_video=clip.video is not None,
                has_sound=clip.sound is not None,
                frame_count=tracker.frame_count,
                people=_group(tracker, expressions),
                voice=voice,
                no_speech_below_db=self._no_speech_below_db,
                warnings=clip.warnings,
            )
        return answer(evidence, self._fusion)


def _listen_in_passing(
    stream: Iterator[Frame | Sound], listener: VoiceListener, clip: Clip, progress: Progress | None
) -> Iterator[Frame]:
    """Hand the sound of a stream to the listener and yield its frames, so that the clip is decoded once."""
    for item in stream:
        if progress is not None and clip.duration_s > 0:
            progress(min(1.0, clip.decoded_s / clip.duration_s))
        if isinstance(item, Frame):
            yield item
        else:
            listener.listen(item)


def _group(tracker: FaceTracker, expressions: dict[int, Expressions]) -> tuple[SeenPerson, ...]:
    people = group_people(tracker.tracks(), tracker.frame_count, tracker.detection_count)
    return tuple(SeenPerson(one, join_expressions(expressions[track] for track in one.track_ids)) for one in people)
