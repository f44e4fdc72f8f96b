"""What a prediction is made of: modalities, people, the boxes around their faces, and what was adapted to."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

from moodreel.labels import N_EMOTIONS
from moodreel.recognition.segments import Window, round_known, round_shares

FACE_STATES = ("ok", "no_video_track", "no_face", "undecodable", "unused")
VOICE_STATES = ("ok", "no_audio_track", "silent", "no_speech", "undecodable", "unused")
SCOPES = ("person", "crowd")
SPEAKER_STATES = ("told", "not_told", "lips_not_seen", "lips_disagree")
OFF_SCREEN = "off_screen"
"""Whose a voice is that nobody on screen speaks with."""
MOST_PRESENT, MOST_SPEAKING, EVERYONE = SPEAKS_FOR = ("most-present", "most-speaking", "everyone")
"""Whom an answer may speak for, beside a person's number."""
WHYS = (MOST_PRESENT, MOST_SPEAKING, "asked")
ADAPTED_TO = ("clip", "folder", "stream", "baseline")

UNIFORM: tuple[float, ...] = (1.0 / N_EMOTIONS,) * N_EMOTIONS


@dataclass(frozen=True)
class Modality:
    """What one modality said of the whole clip.

    Attributes:
        state: `ok`, or the reason why there is nothing: one of `FACE_STATES` or `VOICE_STATES`.
        probabilities: seven calibrated values in the order of `EMOTIONS`; `None` unless `state` is `ok`, and where a
            joint network answers for both modalities at once.
        weight: share of this modality in the clip's answer, 0-1; the two shares sum to 1 unless both are absent.
    """

    state: str
    probabilities: tuple[float, ...] | None
    weight: float

    def rounded(self) -> Modality:
        """Return it as JSON states it."""
        return Modality(self.state, round_known(self.probabilities), round(self.weight, 4))


@dataclass(frozen=True, slots=True)  # a long clip has thousands
class Box:
    """Where a face stood at one instant, for drawing.

    Attributes:
        time_s: seconds from the file's beginning.
        box_px: left, top, right, bottom in pixels of the upright source picture.
    """

    time_s: float
    box_px: tuple[float, float, float, float]

    def rounded(self) -> Box:
        """Return it as JSON states it: to milliseconds and tenths of a pixel."""
        left, top, right, bottom = (round(float(edge), 1) for edge in self.box_px)
        return Box(round(self.time_s, 3), (left, top, right, bottom))


@dataclass(frozen=True)
class Person:
    """One tracked person.

    Attributes:
        id: number of the person in this clip, from 1 in the order of appearance.
        share_on_screen: part of the analysed frames that show the person's face, 0-1.
        label: the likeliest emotion of the person's face.
        probabilities: the face's seven probabilities over the whole clip, in the order of `EMOTIONS`.
        windows: the same over time.
        boxes: where the face stood in each analysed frame, in the order of time.
        abstained: whether the face shows too little to rely on the label.
        speaking_s: for how long the person is heard to speak, in seconds; `None` where nothing tells.
        voice: the person's own voice over the whole clip, seven probabilities; `None` where it is not told apart.
        fused: by the person's own face and voice; `None` where there is no such voice.
    """

    id: int
    share_on_screen: float
    label: str
    probabilities: tuple[float, ...]
    windows: tuple[Window, ...]
    boxes: tuple[Box, ...]
    abstained: bool = False
    speaking_s: float | None = None
    voice: tuple[float, ...] | None = None
    fused: tuple[float, ...] | None = None

    def rounded(self) -> Person:
        """Return the person as JSON states it."""
        return replace(
            self,
            share_on_screen=round(self.share_on_screen, 4),
            probabilities=round_shares(self.probabilities),
            windows=tuple(window.rounded() for window in self.windows),
            boxes=tuple(box.rounded() for box in self.boxes),
            speaking_s=None if self.speaking_s is None else round(self.speaking_s, 3),
            voice=round_known(self.voice),
            fused=round_known(self.fused),
        )

    def is_seen(self, start_s: float, end_s: float) -> bool:
        """Tell whether the face was seen from one instant up to, and not at, another; or at an instant."""
        after = bisect_left(self.boxes, start_s, key=lambda box: box.time_s)
        return after < len(self.boxes) and (self.boxes[after].time_s < end_s or start_s == end_s)


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one speaks without a pause; turns of two may overlap.

    Attributes:
        start_s: start in seconds from the file's beginning.
        end_s: end in seconds.
        person: who speaks; `None` of a voice from off screen.
        voice: number of a voice from off screen, from 1 in the order in which they are heard; `None` of a person.
    """

    start_s: float
    end_s: float
    person: int | None
    voice: int | None = None

    @property
    def who(self) -> str:
        """The speaker in words: `person 2`, `off screen 1`."""
        return f"off screen {self.voice}" if self.person is None else f"person {self.person}"

    def rounded(self) -> Turn:
        """Return it as JSON states it."""
        return replace(self, start_s=round(self.start_s, 3), end_s=round(self.end_s, 3))


@dataclass(frozen=True)
class Adaptation:
    """What was taken out of an answer without labels: how the person looks and sounds at rest.

    Attributes:
        to: one of `ADAPTED_TO`: what it was estimated from.
        face_stretches: stretches of some four seconds that show the face.
        voice_stretches: stretches that hold speech.
        moved: how far the clip's answer moved, 0-1: half the sum of all changes in probability.
    """

    to: str
    face_stretches: int
    voice_stretches: int
    moved: float

    def rounded(self) -> Adaptation:
        """Return it as JSON states it."""
        return replace(self, moved=round(self.moved, 4))
