"""A live stream: what the last two seconds show, as often as asked. The same networks and fusion as for a clip."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.face.alignment import align_face
from moodreel.face.expression import Expressions, read_faces
from moodreel.face.people import TrackedPerson
from moodreel.media.frames import Frame
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import Evidence, SeenPerson, answer
from moodreel.recognition.late_fusion import LateNetworks
from moodreel.recognition.prediction import Box, Prediction
from moodreel.timeline import WINDOW_S
from moodreel.voice.listener import Voice, VoiceListener
from moodreel.voice.speech import RATE_HZ


@dataclass(frozen=True)
class LiveWindow:
    """What the last seconds of a live stream show.

    Attributes:
        start_s: start in seconds from the beginning of the stream.
        end_s: end in seconds.
        prediction: the window as if it were a clip of its own.
        box: where the face stood last, in pixels of its frame; `None` without a face.
    """

    start_s: float
    end_s: float
    prediction: Prediction
    box: Box | None


@dataclass(frozen=True)
class _SeenFace:
    """The largest face of one frame: its box and the face network's answer, shape (7,)."""

    box: Box
    logits: npt.NDArray[np.float32]


class LiveReader:
    """Takes frames and sound as they come and keeps no more of them than one window."""

    def __init__(self, networks: LateNetworks) -> None:
        self._networks = networks
        self._frames_s: deque[float] = deque()
        self._faces: deque[_SeenFace] = deque()
        self._sound = np.zeros(0, np.float32)

    def watch(self, frame: Frame) -> None:
        """Look at the largest face of one frame.

        Args:
            frame: the next frame; times rise.
        """
        self._frames_s.append(frame.time_s)
        side_px = self._networks.tracking.side_px
        for face in self._networks.detector.detect(frame.pixels)[:1]:
            crop = align_face(frame.pixels, face.landmarks_px, side_px, box_px=face.box_px)
            faces = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], dtype=np.float32)
            left, top, right, bottom = (edge / frame.scale for edge in face.box_px)
            box = Box(frame.time_s, (left, top, right, bottom))
            self._faces.append(_SeenFace(box, read_faces(self._networks.face, faces)[0]))

    def listen(self, samples: npt.NDArray[np.float32]) -> None:
        """Take the next block of sound.

        Args:
            samples: mono float32 at 16 kHz, following the block before without a gap.
        """
        self._sound = np.concatenate([self._sound, samples])[-round(WINDOW_S * RATE_HZ) :]

    def read(self, end_s: float) -> LiveWindow:
        """Tell what the window that ends now shows.

        Args:
            end_s: now, in seconds from the beginning of the stream.
        """
        start_s = max(0.0, end_s - WINDOW_S)
        self._forget(start_s)
        evidence = Evidence(
            clip="live",
            duration_s=end_s - start_s,
            model=self._networks.title,
            has_video=bool(self._frames_s),
            has_sound=len(self._sound) > 0,
            frame_count=len(self._frames_s),
            people=self._people(start_s),
            voice=self._hear(),
            no_speech_below_db=self._networks.no_speech_below_db,
            warnings=(),
        )
        box = self._faces[-1].box if self._faces else None
        return LiveWindow(start_s, end_s, answer(evidence, self._networks.fusion), box)

    def _forget(self, before_s: float) -> None:
        while self._frames_s and self._frames_s[0] < before_s:
            self._frames_s.popleft()
        while self._faces and self._faces[0].box.time_s < before_s:
            self._faces.popleft()

    def _hear(self) -> Voice:
        listener = VoiceListener(self._networks.voice)
        if len(self._sound):
            listener.listen(Sound(0.0, self._sound))
        return listener.finish()

    def _people(self, start_s: float) -> tuple[SeenPerson, ...]:
        """Return whoever was nearest as one person, with times counted from the window's start."""
        if not self._faces:
            return ()
        times_s = np.array([face.box.time_s - start_s for face in self._faces])
        boxes_px = np.array([face.box.box_px for face in self._faces])
        share = len(self._faces) / max(len(self._frames_s), 1)
        tracked = TrackedPerson(1, (1,), share, times_s, boxes_px, score=1.0)
        return (SeenPerson(tracked, Expressions(times_s, np.stack([face.logits for face in self._faces]))),)
