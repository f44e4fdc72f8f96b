"""Scenes: what the sound network hears in training, built of recordings and made sounds, at most one chunk long.

A recording alone, degraded, and over a background; two that follow each other; many voices at once; and what is made
by rule. Speech under music, laughter or babble stays speech as long as it is the louder one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from moodreel.training.sounds.material import SoundRecording
from moodreel.training.sounds.synthesis import SYNTHETIC
from moodreel.training.voice import augment
from moodreel.voice.functionals import change_speed
from moodreel.voice.sounds import SPEECH
from moodreel.voice.speech import CHUNK_S, RATE_HZ, Float32, extract_speech

MADE = "synthesis"
"""The source of what is made by rule."""
LEAST_BABBLERS = 4
"""So many voices at about one level are babble; fewer may be somebody who speaks."""
_LEAST_S = 0.4
_CHUNK_SAMPLES = int(CHUNK_S * RATE_HZ)


@dataclass(frozen=True)
class Heard:
    """A recording and its sound, mono float32 at 16 kHz."""

    recording: SoundRecording
    sound: Float32


@dataclass(frozen=True)
class Scene:
    """Some sound, and what sounds when.

    Attributes:
        sound: mono float32 at 16 kHz, at most a chunk.
        spans: start and end in seconds and class of its parts, in order.
        how: how it was made: `clean` for a recording as it is.
        recording: the one that it tells of; `None` where it is none.
        sources: every source that stands in it.
        people: every person that stands in it.
        is_coloured: whether another microphone is to be put before it.
    """

    sound: Float32
    spans: tuple[tuple[float, float, str], ...]
    how: str
    recording: SoundRecording | None
    sources: frozenset[str]
    people: frozenset[str] = field(default_factory=frozenset)
    is_coloured: bool = False


def cut_clean(heard: Heard) -> Iterator[Scene]:
    """Yield a recording as it is, in chunks."""
    for start in range(0, len(heard.sound), _CHUNK_SAMPLES):
        piece = heard.sound[start : start + _CHUNK_SAMPLES]
        if len(piece) >= _LEAST_S * RATE_HZ or start == 0:
            yield _alone(piece, heard, "clean")


def vary(heard: Heard, partners: Mapping[str, Sequence[Heard]], rng: Generator) -> Iterator[Scene]:
    """Yield a recording degraded, over backgrounds, and before or behind another.

    Args:
        heard: the recording.
        partners: recordings by class, of people whose recordings may stand beside it.
        rng: decides all that is left to chance.
    """
    piece = _cut(heard.sound, rng)
    yield _alone(_cut(augment.degrade(piece, rng), rng), heard, "degraded", is_coloured=True)
    if heard.recording.kind == SPEECH:
        for background in ("noise", "music", "laughter", "babble"):
            yield _over(heard, background, partners, rng)
    else:
        yield _alone(change_speed(piece, rng.uniform(0.9, 1.0)), heard, "degraded", is_coloured=True)
        yield _over(heard, "noise", partners, rng)
        yield _follow(heard, partners, rng)
    yield _follow(heard, partners, rng)


def make_babble_scene(voices: Sequence[Heard], rng: Generator) -> Scene:
    """Let four to twelve voices speak at once, perhaps in a room."""
    chosen = [voices[int(index)] for index in rng.choice(len(voices), rng.integers(LEAST_BABBLERS, 13))]
    n_samples = _length(rng)
    sound = np.zeros(n_samples, np.float32)
    for one in chosen:
        voice = np.resize(np.roll(one.sound, -rng.integers(len(one.sound))), n_samples)
        sound += np.float32(10 ** (rng.uniform(-3, 3) / 20)) * _unit(voice)
    if rng.random() < 0.5:
        sound = augment.add_room(sound, rng.uniform(*augment.REVERBERATION_S), rng.uniform(0.3, 3.0), rng)
    return Scene(
        _scale(sound, rng),
        ((0.0, n_samples / RATE_HZ, "babble"),),
        "babble",
        None,
        frozenset(one.recording.source for one in chosen),
        frozenset(one.recording.person for one in chosen),
        bool(rng.random() < 0.5),
    )


def make_synthetic(name: str, rng: Generator) -> Scene:
    """Make a sound of `SYNTHETIC`, over hiss."""
    kind, make = SYNTHETIC[name]
    n_samples = _length(rng)
    sound = _unit(np.asarray(make(n_samples, rng), np.float32))
    hiss = augment.make_noise(n_samples, rng)
    sound = augment.mix_sound(sound, hiss, rng.uniform(15, 50))
    if rng.random() < 0.4:
        sound = augment.add_room(sound, rng.uniform(*augment.REVERBERATION_S), rng.uniform(0.5, 4.0), rng)
    spans = ((0.0, n_samples / RATE_HZ, kind),)
    return Scene(_scale(sound, rng), spans, name, None, frozenset([MADE]), is_coloured=bool(rng.random() < 0.5))


def _alone(sound: Float32, heard: Heard, how: str, *, is_coloured: bool = False) -> Scene:
    one = heard.recording
    spans = ((0.0, len(sound) / RATE_HZ, one.kind),)
    return Scene(sound, spans, how, one, frozenset([one.source]), frozenset([one.person]), is_coloured)


def _over(heard: Heard, background: str, partners: Mapping[str, Sequence[Heard]], rng: Generator) -> Scene:
    """Put a recording over a background that is weaker; babble, at least 5 dB."""
    sound = _cut(heard.sound, rng)
    below, others = _background(background, len(sound), partners, rng)
    least_db = 5.0 if background in ("babble", "laughter") or heard.recording.kind != SPEECH else 0.0
    mixed = _cut(augment.mix_sound(sound, below, rng.uniform(least_db, 20.0)), rng)
    one = heard.recording
    return Scene(
        mixed,
        ((0.0, len(mixed) / RATE_HZ, one.kind),),
        f"over {background}",
        one,
        frozenset([one.source, *(other.source for other in others)]),
        frozenset([one.person, *(other.person for other in others)]),
        bool(rng.random() < 0.5),
    )


def _background(
    kind: str, n_samples: int, partners: Mapping[str, Sequence[Heard]], rng: Generator
) -> tuple[Float32, list[SoundRecording]]:
    if kind == "babble":
        voices = [_pick(partners[SPEECH], rng) for _ in range(rng.integers(3, 8))]
        return augment.make_babble([one.sound for one in voices], n_samples, rng), [one.recording for one in voices]
    recorded = partners.get(kind, ())
    if recorded and rng.random() < 0.5:
        one = _pick(recorded, rng)
        return np.roll(one.sound, -rng.integers(len(one.sound))), [one.recording]
    names = [name for name, (made, _) in SYNTHETIC.items() if made == kind]
    make = SYNTHETIC[str(rng.choice(names))][1]
    return np.asarray(make(max(n_samples, RATE_HZ), rng), np.float32)[:n_samples], []


def _follow(heard: Heard, partners: Mapping[str, Sequence[Heard]], rng: Generator) -> Scene:
    """Put a recording before or behind one of another class, with a pause between and another level."""
    kinds = [kind for kind, those in partners.items() if those and kind != heard.recording.kind]
    kind = SPEECH if heard.recording.kind != SPEECH and rng.random() < 0.7 else str(rng.choice(kinds))
    pair = [heard, _pick(partners[kind], rng)]
    if rng.random() < 0.5:
        pair.reverse()
    parts: list[Float32] = []
    spans: list[tuple[float, float, str]] = []
    at = 0
    for one in pair:
        sound = _unit(one.sound[: _CHUNK_SAMPLES // 2]) * np.float32(10 ** (rng.uniform(-6, 6) / 20))
        spans.append((at / RATE_HZ, (at + len(sound)) / RATE_HZ, one.recording.kind))
        pause = np.float32(1e-3) * rng.standard_normal(int(rng.uniform(0, 0.5) * RATE_HZ)).astype(np.float32)
        parts += [sound, pause]
        at += len(sound) + len(pause)
    sound = np.concatenate(parts)[:_CHUNK_SAMPLES]
    return Scene(
        _scale(sound, rng),
        tuple(spans),
        "before or behind another",
        heard.recording,
        frozenset(one.recording.source for one in pair),
        frozenset(one.recording.person for one in pair),
        bool(rng.random() < 0.5),
    )


def _pick(those: Sequence[Heard], rng: Generator) -> Heard:
    return those[int(rng.integers(len(those)))]


def _length(rng: Generator) -> int:
    return int(rng.uniform(1.0, CHUNK_S) * RATE_HZ)


def _cut(sound: Float32, rng: Generator) -> Float32:
    start = int(rng.integers(max(len(sound) - _CHUNK_SAMPLES, 0) + 1))
    return sound[start : start + _CHUNK_SAMPLES]


def _unit(sound: Float32) -> Float32:
    """Bring to one level, pauses left out."""
    level_dbfs = extract_speech(sound[:_CHUNK_SAMPLES]).level_dbfs
    return np.asarray(sound * np.float32(0.1 * 10 ** (-level_dbfs / 20)), np.float32)


def _scale(sound: Float32, rng: Generator) -> Float32:
    """Bring to any level that does not clip."""
    peak = max(float(np.abs(sound).max()), 1e-9)
    return np.asarray(sound * np.float32(10 ** (rng.uniform(-30, -1) / 20) / peak), np.float32)
