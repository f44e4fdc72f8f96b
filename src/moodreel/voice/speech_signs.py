"""What tells speech from other loud sound: its spectrum keeps taking new shapes, and does not stand still.

`moodreel.voice.speech` marks loud tokens, whatever sounds there. Two figures of those tokens say what it cannot be:

- Variety. An articulating mouth goes through many spectral shapes, so that the mel-cepstrum moves in many directions
  at once (Furui 1986, "Speaker-independent isolated word recognition using dynamic features of speech spectrum"; the
  syllabic modulation of Houtgast & Steeneken 1985). Hums, chords, fans, hiss and steps have one shape, or two.
- Standing still. Notes and beeps change abruptly and then keep their spectrum while they decay; a mouth and a voice's
  pitch never rest for long.

Both only ever refuse: what is too short to tell, or like neither, remains speech. `benchmarks/speech_detection.py`
measures what is lost and what is refused, and is how the bounds were chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from moodreel.voice.speech import FRAMES_PER_TOKEN, TOKEN_S, Float32, Speech, in_speech_band

LEAST_S = 0.6
"""Sound shorter than this is not refused: a syllable alone may stand still."""
LEAST_VARIETY_DB = 1.0
"""Speech under a background 10 dB weaker has 1.4 dB and more, steady sound 0.9 dB at most."""
MOST_HELD = 0.6
"""Speech under a background 10 dB weaker has .48 at most, notes mostly .7 and more; quick beeps fall between."""

HELD_LIKENESS = 0.95
HELD_LAG_TOKENS = 3
DEPTH_DB = 45.0
"""What lies this far below the loud bands is faint noise; its spectrum says nothing about what sounds."""
CEPSTRA = (3, 8)
"""First and last cepstral coefficient of the variety; the lowest two are tilt and bulge, which steps change too."""


@dataclass(frozen=True)
class Signs:
    """How like speech the loud tokens of a stretch of sound are.

    Attributes:
        active_s: seconds of loud sound.
        variety_db: spread of the spectral shape over time in dB, root mean square over the bands; steady sound has 0-1.
        held_share: share of the tokens, 0-1, whose spectrum is what it was 60 ms before but for the level.
    """

    active_s: float
    variety_db: float
    held_share: float

    @property
    def suffice(self) -> bool:
        """Whether there is enough sound to tell."""
        return self.active_s >= LEAST_S

    @property
    def refuse(self) -> bool:
        """Whether it is plainly not speech."""
        return self.suffice and (self.variety_db < LEAST_VARIETY_DB or self.held_share > MOST_HELD)


def measure_signs(speech: Speech, windows_s: Sequence[tuple[float, float]]) -> tuple[Signs, ...]:
    """Measure some windows of a chunk.

    Args:
        speech: from `moodreel.voice.speech.extract_speech`.
        windows_s: start and end of each, in seconds from the chunk's start.

    Returns:
        One for each window; loudness changes none of them.
    """
    level_db = _token_levels(speech)
    spans = (slice(round(start_s / TOKEN_S), round(end_s / TOKEN_S)) for start_s, end_s in windows_s)
    return tuple(_measure(level_db[:, span], speech.active[span]) for span in spans)


def holds_speech(whole: Signs, windows: Sequence[Signs]) -> bool:
    """Tell whether there is speech in a chunk.

    Args:
        whole: the signs of all of it.
        windows: those of its windows.

    Returns:
        False where the whole is refused and so is every window that is long enough to tell: one sentence after a long
        ringing tone is speech.
    """
    return not whole.refuse or any(window.suffice and not window.refuse for window in windows)


def _token_levels(speech: Speech) -> Float32:
    """Levels in dB of the bands that speech fills, shape (n_bands, n_tokens)."""
    mel = speech.mel[in_speech_band()]
    return np.asarray(40 * mel.reshape(len(mel), -1, FRAMES_PER_TOKEN).mean(axis=2), dtype=np.float32)


def _measure(level_db: Float32, active: NDArray[np.bool_]) -> Signs:
    active_s = float(active.sum()) * TOKEN_S
    if active_s < LEAST_S:
        return Signs(active_s, 0.0, 0.0)
    loud_db = np.percentile(level_db[:, active].max(axis=0), 90)
    level_db = np.maximum(level_db, np.float32(loud_db - DEPTH_DB)) - np.float32(loud_db)
    return Signs(active_s, _measure_variety(level_db, active), _measure_held(level_db, active))


def _measure_variety(level_db: Float32, active: NDArray[np.bool_]) -> float:
    """Spread of the smoothed cepstrum over the active tokens; smoothing takes away what noise does by chance."""
    cepstrum = np.pad(_cosines(len(level_db)) @ level_db, ((0, 0), (1, 1)), mode="edge")
    smooth = (cepstrum[:, :-2] + cepstrum[:, 1:-1] + cepstrum[:, 2:]) / 3
    return float(np.sqrt(smooth[:, active].var(axis=1).sum() / len(level_db)))


def _measure_held(level_db: Float32, active: NDArray[np.bool_]) -> float:
    """Share of active tokens whose amplitudes point where they did before: strong bands count, faint ones hardly."""
    amplitude = 10 ** (level_db / 20)
    amplitude /= np.linalg.norm(amplitude, axis=0)
    later, earlier = slice(HELD_LAG_TOKENS, None), slice(None, -HELD_LAG_TOKENS)
    both = active[later] & active[earlier]
    likeness = (amplitude[:, later] * amplitude[:, earlier]).sum(axis=0)[both]
    return float((likeness > HELD_LIKENESS).mean()) if len(likeness) else 0.0


@cache
def _cosines(n_bands: int) -> Float32:
    """Rows of the orthonormal cosine transform that make the coefficients of `CEPSTRA`, shape (6, n_bands)."""
    orders = np.arange(CEPSTRA[0], CEPSTRA[1] + 1)
    waves = np.cos(np.pi * np.outer(orders, np.arange(n_bands) + 0.5) / n_bands)
    return np.asarray(waves * np.sqrt(2 / n_bands), dtype=np.float32)
