"""Each speaker's own voice: the sound of a clip heard once more for each, with what others say silenced.

So a person's voice is read as it would be in a clip of that person alone. Voices from off screen are told apart by how
they sound: the statistics that the voice network pools over a turn, grouped one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.media.sounds import Sound
from moodreel.recognition.prediction_parts import Turn
from moodreel.recognition.speakers import STEP_S, Flags, Turns
from moodreel.voice.listener import Voice, VoiceListener, VoiceWindow
from moodreel.voice.speech import RATE_HZ

SAME_VOICE = 0.55
"""Least cosine of the statistics of two turns, less their mean, that are one voice."""
_STEP_SAMPLES = round(STEP_S * RATE_HZ)
_RAMP_SAMPLES = RATE_HZ // 100
_LEAST_TURN_S = 0.4
_PAUSE_STEPS = 2

Float32 = npt.NDArray[np.float32]


def hear_apart(sounds: Iterable[Sound], turns: Turns, listen: Callable[[], VoiceListener]) -> dict[int | None, Voice]:
    """Hear each person, and what comes from off screen, without the others.

    Args:
        sounds: the clip's sound at 16 kHz, block by block.
        turns: who speaks when.
        listen: makes a new listener.

    Returns:
        The voice of each person who speaks, by number; under `None` what comes from off screen, if anything does.
    """
    masks = {number: turns.mask(number) for number in (*turns.ids, None)}
    heard = {number: mask for number, mask in masks.items() if mask.any()}
    listeners = {number: listen() for number in heard}
    for sound in sounds:
        for number, mask in heard.items():
            gain = _gain(_widen(mask, heard), round(sound.start_s * RATE_HZ) - turns.lag_samples, len(sound.samples))
            listeners[number].listen(Sound(sound.start_s, sound.samples * gain))
    return {number: listener.finish() for number, listener in listeners.items()}


def _widen(mask: Flags, others: dict[int | None, Flags]) -> Flags:
    """Let in a step before and behind each turn where nobody else speaks: words begin and end softly."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    taken = np.any([other for other in others.values() if other is not mask], axis=0) if len(others) > 1 else False
    return np.asarray(mask | (wide & ~np.asarray(taken)))


def _gain(mask: Flags, first: int, length: int) -> Float32:
    """Return 1 where a mask lets sound through and 0 elsewhere, with short ramps, for a stretch of samples."""
    places = np.arange(first - _RAMP_SAMPLES, first + length + _RAMP_SAMPLES) // _STEP_SAMPLES
    steps = mask[np.clip(places, 0, len(mask) - 1)]
    total = np.concatenate([[0.0], np.cumsum(steps)])
    smooth = (total[2 * _RAMP_SAMPLES :] - total[: -2 * _RAMP_SAMPLES]) / (2 * _RAMP_SAMPLES)
    return np.asarray(smooth[:length], np.float32)


@dataclass(frozen=True)
class _Run:
    """Steps in which one speaks without a long pause."""

    first: int
    last: int

    @property
    def length_s(self) -> float:
        """How long it is, in seconds."""
        return (self.last - self.first) * STEP_S


def list_turns(turns: Turns, off_screen: Voice | None) -> tuple[Turn, ...]:
    """Tell who speaks when, with a number for each voice from off screen.

    Args:
        turns: who speaks how likely.
        off_screen: what was heard from off screen; its windows hold statistics.
    """
    lag_s = turns.lag_s
    found = [
        Turn(max(0.0, run.first * STEP_S + lag_s), run.last * STEP_S + lag_s, number)
        for number in turns.ids
        for run in _find_runs(turns.mask(number))
    ]
    strange = [run for run in _find_runs(turns.mask(None)) if run.length_s >= _LEAST_TURN_S]
    numbers = group_voices(strange, off_screen.windows if off_screen else (), lag_s)
    found += [
        Turn(max(0.0, run.first * STEP_S + lag_s), run.last * STEP_S + lag_s, None, number)
        for run, number in zip(strange, numbers, strict=True)
    ]
    return tuple(sorted(found, key=lambda turn: (turn.start_s, turn.end_s)))


def _find_runs(mask: Flags) -> list[_Run]:
    steps = np.flatnonzero(mask)
    if not len(steps):
        return []
    parts = np.split(steps, np.flatnonzero(np.diff(steps) > _PAUSE_STEPS + 1) + 1)
    return [_Run(int(part[0]), int(part[-1]) + 1) for part in parts]


def group_voices(runs: Sequence[_Run], windows: Sequence[VoiceWindow], lag_s: float = 0.0) -> list[int]:
    """Number the voices of some turns, from 1 on: those that sound alike are one voice.

    Online: each turn joins the voice that it is most like, if it is like enough, and begins a new one else. A turn of
    which nothing is known is the voice before.
    """
    described = [_describe(run, windows, lag_s) for run in runs]
    known = [one for one in described if one is not None]
    if not known:
        return [1] * len(runs)
    numbers: list[int] = []
    sums: list[Float32] = []
    for one in described:
        if one is None:
            numbers.append(numbers[-1] if numbers else 1)
            continue
        alike = [float(one @ total) / max(float(np.linalg.norm(total)), 1e-9) for total in sums]
        best = int(np.argmax(alike)) if alike else -1
        if best < 0 or alike[best] < SAME_VOICE:
            sums.append(np.zeros_like(one))
            best = len(sums) - 1
        sums[best] = sums[best] + one
        numbers.append(best + 1)
    return numbers


def _describe(run: _Run, windows: Sequence[VoiceWindow], lag_s: float) -> Float32 | None:
    """Return what a turn sounds like, of length one."""
    start_s, end_s = run.first * STEP_S + lag_s, run.last * STEP_S + lag_s
    within = [
        (min(one.end_s, end_s) - max(one.start_s, start_s), one.statistics)
        for one in windows
        if len(one.statistics) and min(one.end_s, end_s) - max(one.start_s, start_s) > 0
    ]
    if not within:
        return None
    mean = np.average([one for _, one in within], axis=0, weights=[length for length, _ in within])
    centred = mean - mean.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float32)
