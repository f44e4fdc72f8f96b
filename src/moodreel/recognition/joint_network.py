"""Predicting with a joint network: a clip is read in stretches, each of which the network answers as a whole.

A joint network sees face and voice together. What each of them said is what it answers with the other hidden; the
shares of both are even, for it states none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.errors import BundleError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead, report_progress, start_of
from moodreel.media.sounds import Sound
from moodreel.recognition.encoders import Encoders
from moodreel.recognition.fusion import FloatArray, log_softmax
from moodreel.recognition.inputs import (
    ANALYSIS_SIDE_PX,
    DESCRIPTORS,
    EXPRESSIONS,
    FRAMES,
    FUNCTIONALS,
    SPEECH,
    Features,
    InputSpec,
    input_names,
    spec_from_dict,
)
from moodreel.recognition.prediction import UNIFORM, Modality, Prediction, Window
from moodreel.recognition.reading import build_features
from moodreel.voice.descriptors import N_DESCRIPTORS
from moodreel.voice.speech import RATE_HZ

LEAST_STRETCH_S = 0.5
"""A rest shorter than this at the end of a clip is left out, unless it is all there is."""


@dataclass
class _Stretch:
    """A part of a clip while it is being read."""

    start_s: float
    frames: list[Frame] = field(default_factory=list)
    sound: list[npt.NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True)
class _Answered:
    """What the network said of a stretch: log-probabilities, shape (7,) each, `None` with nothing to go by.

    `face` is what it said with the sound hidden, `voice` with the picture hidden.
    """

    start_s: float
    end_s: float
    log_probabilities: FloatArray | None
    face: FloatArray | None
    voice: FloatArray | None
    features: Features


class JointReader:
    """Tells the emotion of clips with a joint network."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Open the network of a joint bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that the network may use.

        Raises:
            BundleError: the bundle lacks the network, or what it reads is not stated soundly.
        """
        self._bundle = bundle
        self._spec: InputSpec = spec_from_dict(bundle.section("inputs"))
        self._session = bundle.session("joint", threads)
        spec = self._spec
        self._encoders = Encoders.open(bundle, face=spec.expressions, voice=spec.speech, threads=threads)
        self._inputs = input_names(spec)

    def read(self, clip: Clip, name: str, progress: Callable[[float], None] | None) -> Prediction:
        """Tell the emotion of an opened clip.

        Args:
            clip: the clip.
            name: the clip as the user named it.
            progress: called now and then with the share done, 0-1.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        rate_hz = self._spec.frames.rate_hz if self._spec.frames else 0.0
        stream = clip.stream(
            longest_side_px=ANALYSIS_SIDE_PX, frames_rate_hz=rate_hz, sound_rate_hz=RATE_HZ if self._spec.hears else 0
        )
        with read_ahead(stream) as items:
            cut = self._cut(report_progress(items, clip.duration_s, progress), clip)
            answers = [self._answer(stretch, end_s, clip) for stretch, end_s in cut]
        uses = ("has_face" in self._inputs, "has_voice" in self._inputs)
        return _write(name, clip, self._bundle.title, answers, uses)

    def _cut(self, items: Iterable[Frame | Sound], clip: Clip) -> Iterator[tuple[_Stretch, float]]:
        """Yield the clip's stretches and their ends, each as long as the network reads at once but the last."""
        spec, stretch = self._spec, _Stretch(0.0)
        for item in items:
            # Sound and picture are interleaved within a second or so: the stretch is closed once both are past its end.
            if start_of(item) >= stretch.start_s + spec.longest_s + _INTERLEAVED_S:
                end_s = stretch.start_s + spec.longest_s
                done, stretch = _divide(stretch, end_s)
                yield done, end_s
            _add(stretch, item)
        while clip.decoded_s > stretch.start_s + spec.longest_s + LEAST_STRETCH_S:
            end_s = stretch.start_s + spec.longest_s
            done, stretch = _divide(stretch, end_s)
            yield done, end_s
        yield stretch, clip.decoded_s

    def _answer(self, stretch: _Stretch, end_s: float, clip: Clip) -> _Answered:
        sound = np.concatenate([np.zeros(0, np.float32), *stretch.sound])
        has_video, has_sound = clip.has_picture, clip.has_sound
        features = build_features(
            stretch.frames, sound, self._spec, self._encoders, has_video=has_video, has_sound=has_sound
        )
        sees, hears = self._uses(features)
        together = log_softmax(self._run(features)) if sees or hears else None
        face = voice = None
        if sees:
            face = log_softmax(self._run(replace(features, voice_state="unused"))) if hears else together
        if hears:
            voice = log_softmax(self._run(replace(features, face_state="unused"))) if sees else together
        return _Answered(stretch.start_s, end_s, together, face, voice, features)

    def _uses(self, features: Features) -> tuple[bool, bool]:
        return features.has_face and "has_face" in self._inputs, features.has_voice and "has_voice" in self._inputs

    def _run(self, features: Features) -> FloatArray:
        side_px = self._spec.frames.side_px if self._spec.frames else 1
        black = np.zeros((1, side_px, side_px, 3), np.uint8)
        nobody = np.zeros((1, self._encoders.face_width), np.float32)
        given = {
            FRAMES: features.frames if features.has_face else black,
            EXPRESSIONS: features.expressions if features.has_face else nobody,
            "has_face": np.array([features.has_face], np.float32),
            FUNCTIONALS: features.functionals,
            SPEECH: features.speech,
            DESCRIPTORS: features.descriptors if features.has_voice else np.zeros((1, N_DESCRIPTORS), np.float32),
            "has_voice": np.array([features.has_voice], np.float32),
        }
        try:
            (logits,) = self._session.run(["logits"], {name: given[name] for name in self._inputs})
        except Exception as error:  # ONNX Runtime raises a family of its own without a common base
            raise BundleError(
                f"{self._bundle.path}: the joint network cannot read this clip's inputs ({error})"
            ) from None
        if logits.shape != (N_EMOTIONS,) or not np.isfinite(logits).all():
            raise BundleError(
                f"{self._bundle.path}: the joint network gave {logits.shape} values, expected 7 finite ones"
            )
        return np.asarray(logits, dtype=np.float64)


_INTERLEAVED_S = 1.5


def _add(stretch: _Stretch, item: Frame | Sound) -> None:
    if isinstance(item, Frame):
        stretch.frames.append(item)
        return
    if not stretch.sound and item.start_s > stretch.start_s:
        stretch.sound.append(np.zeros(round((item.start_s - stretch.start_s) * RATE_HZ), np.float32))
    stretch.sound.append(item.samples)


def _divide(stretch: _Stretch, end_s: float) -> tuple[_Stretch, _Stretch]:
    """Cut what was read at an instant."""
    sound = np.concatenate([np.zeros(0, np.float32), *stretch.sound])
    n_before = round((end_s - stretch.start_s) * RATE_HZ)
    before = _Stretch(stretch.start_s, [one for one in stretch.frames if one.time_s < end_s], [sound[:n_before]])
    after = _Stretch(end_s, [one for one in stretch.frames if one.time_s >= end_s])
    if len(sound) > n_before:
        after.sound.append(sound[n_before:])
    return before, after


def _write(name: str, clip: Clip, model: str, answers: list[_Answered], uses: tuple[bool, bool]) -> Prediction:
    pooled = _pool(answers, "log_probabilities")
    face_state = _best_state([one.features.face_state for one in answers]) if uses[0] else "unused"
    voice_state = _best_state([one.features.voice_state for one in answers]) if uses[1] else "unused"
    n_there = (face_state == "ok") + (voice_state == "ok")
    warnings = [*clip.warnings] + (
        [] if pooled is not None else ["no face seen and no voice heard: nothing to tell an emotion from"]
    )
    return Prediction(
        clip=name,
        duration_s=clip.decoded_s,
        model=model,
        label=None if pooled is None else EMOTIONS[int(np.argmax(pooled))],
        probabilities=UNIFORM if pooled is None else pooled,
        abstained=pooled is None,
        person=None,
        face=Modality(face_state, _pool(answers, "face"), (face_state == "ok") / max(n_there, 1)),
        voice=Modality(voice_state, _pool(answers, "voice"), (voice_state == "ok") / max(n_there, 1)),
        people=(),
        timeline=tuple(_window(one) for one in answers),
        warnings=tuple(warnings),
    )


def _pool(answers: list[_Answered], kind: str) -> tuple[float, ...] | None:
    """Average one kind of answer over the stretches, each by its length; `None` where there is none."""
    known = [(getattr(one, kind), one.end_s - one.start_s + 1e-3) for one in answers if getattr(one, kind) is not None]
    if not known:
        return None
    rows, lengths_s = zip(*known, strict=True)
    pooled = np.exp(log_softmax(np.average(np.stack(rows), axis=0, weights=lengths_s)))
    return tuple(float(value) for value in pooled)


def _window(answered: _Answered) -> Window:
    if answered.log_probabilities is None:
        return Window(answered.start_s, answered.end_s, None, UNIFORM)
    probabilities = tuple(float(value) for value in np.exp(answered.log_probabilities))
    return Window(answered.start_s, answered.end_s, EMOTIONS[int(np.argmax(probabilities))], probabilities)


def _best_state(states: list[str]) -> str:
    return "ok" if "ok" in states else states[0]
