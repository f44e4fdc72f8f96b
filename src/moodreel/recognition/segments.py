"""The answer over time, counted once: overlapping windows cut to segments, and segments of equal label to stretches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from moodreel.labels import EMOTIONS
from moodreel.recognition.abstention import is_weak
from moodreel.voice.sounds import SPEECH

_SAME_S = 1e-6
"""Instants no further apart than this are one."""


@dataclass(frozen=True, slots=True)  # a long clip has thousands
class Window:
    """A stretch of the timeline; in `timeline` windows overlap, in `segments` they are cut so that they do not.

    Attributes:
        start_s: start in seconds from the file's beginning, also where the clip is a part of it.
        end_s: end in seconds.
        label: the likeliest emotion, also when abstained; `None` where nothing was seen or heard.
        probabilities: seven values in the order of `EMOTIONS`, summing to 1; uniform where `label` is `None`.
        face: the face's own probabilities in this window, `None` without a face.
        voice: the voice's own probabilities in this window, `None` without speech.
        person: whose face `face` is; `None` without a face.
        weights: shares of the face and of the voice in the answer, 0-1; they sum to 1 where there is one.
        abstained: whether the evidence is too weak to rely on the label.
        sounds: probability by name of what sounds, such as `speech` or `laughter`, summing to 1; `None` in silence, in
            windows of people, and where the bundle does not tell sounds apart.
        voice_of: whose the voice is: a person's id or `off_screen`; `None` where nobody is heard or it is not sure.
        overlap: in which part of the speech two speak at once, 0-1.
        speaking: of a person's window, which part of the speech is the person's, 0-1; `None` elsewhere, and where
            nothing tells.
        fused: of a person's window, by the person's own face and voice; `None` where that voice is not heard.
    """

    start_s: float
    end_s: float
    label: str | None
    probabilities: tuple[float, ...]
    face: tuple[float, ...] | None = None
    voice: tuple[float, ...] | None = None
    person: int | None = None
    weights: tuple[float, float] = (0.0, 0.0)
    abstained: bool = False
    sounds: Mapping[str, float] | None = field(default=None, hash=False)
    voice_of: int | str | None = None
    overlap: float = 0.0
    speaking: float | None = None
    fused: tuple[float, ...] | None = None

    def rounded(self) -> Window:
        """Return it as JSON states it: times to milliseconds, shares to four places."""
        return replace(
            self,
            start_s=round(self.start_s, 3),
            end_s=round(self.end_s, 3),
            probabilities=round_shares(self.probabilities),
            face=round_known(self.face),
            voice=round_known(self.voice),
            weights=(round(self.weights[0], 4), round(self.weights[1], 4)),
            sounds=round_sounds(self.sounds),
            overlap=round(self.overlap, 4),
            speaking=None if self.speaking is None else round(self.speaking, 4),
            fused=round_known(self.fused),
        )

    @property
    def other_sound(self) -> str | None:
        """What sounds where nobody is heard to speak; `None` where nothing is known to."""
        if self.voice is not None or not self.sounds:
            return None
        likeliest = max(self.sounds, key=self.sounds.__getitem__)
        return None if likeliest == SPEECH else likeliest

    @property
    def middle_s(self) -> float:
        """The middle, in seconds."""
        return (self.start_s + self.end_s) / 2

    @property
    def length_s(self) -> float:
        """The length, in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Stretch:
    """Neighbouring segments of equal label.

    Attributes:
        start_s: start in seconds from the file's beginning.
        end_s: end in seconds.
        label: their label.
        probability: mean probability of the label over them, each weighted by its length, 0-1.
        abstained: whether that is too little to rely on.
    """

    start_s: float
    end_s: float
    label: str
    probability: float
    abstained: bool = False


def round_shares(values: Sequence[float]) -> tuple[float, ...]:
    """Round values of 0-1 as JSON states them: to four places."""
    return tuple(round(float(value), 4) for value in values)


def round_known(values: Sequence[float] | None) -> tuple[float, ...] | None:
    """Round values of 0-1 where there are any."""
    return None if values is None else round_shares(values)


def round_sounds(sounds: Mapping[str, float] | None) -> dict[str, float] | None:
    """Round probabilities by name, where there are any, as JSON states them."""
    return None if sounds is None else {name: round(float(value), 4) for name, value in sounds.items()}


def mix_sounds(segments: Sequence[Window]) -> dict[str, float] | None:
    """Return what sounds over segments: the mean of those in which anything does, each weighted by its length."""
    heard = [(one.length_s or 1.0, one.sounds) for one in segments if one.sounds is not None]
    if not heard:
        return None
    total_s = sum(length_s for length_s, _ in heard)
    return {name: sum(length_s * sounds[name] for length_s, sounds in heard) / total_s for name in heard[0][1]}


def cut_segments(timeline: Sequence[Window]) -> tuple[Window, ...]:
    """Cut overlapping windows at the middle between the middles of neighbours, so that each instant counts once.

    Args:
        timeline: windows in order; the first begins and the last ends with the clip.
    """
    if not timeline:
        return ()
    cuts = [(one.middle_s + other.middle_s) / 2 for one, other in pairwise(timeline)]
    edges = [timeline[0].start_s, *cuts, timeline[-1].end_s]
    return tuple(
        replace(window, start_s=start_s, end_s=end_s)
        for window, (start_s, end_s) in zip(timeline, pairwise(edges), strict=True)
    )


def join_segments(segments: Sequence[Window], abstain_below: float = 0.0) -> tuple[Stretch, ...]:
    """Join neighbouring segments of equal label; those without one are left out.

    Args:
        segments: in order, not overlapping.
        abstain_below: least probability of a stretch to rely on, 0-1.
    """
    runs: list[list[Window]] = []
    for segment in segments:
        if segment.label is None:
            continue
        last = runs[-1][-1] if runs else None
        if last is not None and last.label == segment.label and segment.start_s - last.end_s <= _SAME_S:
            runs[-1].append(segment)
        else:
            runs.append([segment])
    return tuple(_join(run, abstain_below) for run in runs)


def _join(run: Sequence[Window], abstain_below: float) -> Stretch:
    label = str(run[0].label)
    lengths_s = [segment.length_s for segment in run]
    if not any(lengths_s):  # a still picture
        lengths_s = [1.0] * len(run)
    values = (segment.probabilities[EMOTIONS.index(label)] for segment in run)
    probability = sum(s * value for s, value in zip(lengths_s, values, strict=True)) / sum(lengths_s)
    return Stretch(run[0].start_s, run[-1].end_s, label, probability, is_weak(probability, abstain_below))


def view_modalities(segments: Sequence[Window]) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """Return segments as the face alone answers them, and as the voice does; where it is absent they have no label.

    Args:
        segments: in order.
    """
    face = tuple(_view(segment, segment.face) for segment in segments)
    return face, tuple(_view(segment, segment.voice) for segment in segments)


def _view(segment: Window, alone: tuple[float, ...] | None) -> Window:
    if alone is None:
        return replace(segment, label=None)
    return replace(segment, label=EMOTIONS[alone.index(max(alone))], probabilities=alone)


def share_time(segments: Sequence[Window]) -> tuple[float, ...]:
    """Return for how much of the time each emotion is the answer, seven values of 0-1 in the order of `EMOTIONS`.

    Segments without an answer, or with one too weak to rely on, count for none.

    Args:
        segments: in order, not overlapping.
    """
    total_s = sum(segment.length_s for segment in segments)
    if not total_s:  # a still picture
        return tuple(float(any(_shows(one, emotion) for one in segments)) for emotion in EMOTIONS)
    return tuple(sum(one.length_s for one in segments if _shows(one, emotion)) / total_s for emotion in EMOTIONS)


def _shows(segment: Window, emotion: str) -> bool:
    return segment.label == emotion and not segment.abstained
