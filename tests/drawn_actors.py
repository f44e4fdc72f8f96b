"""Drawn talking heads: the same scene for every take of an actor, moved anew by each seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIZE_PX = (96, 72)
_COLUMNS, _ROWS = np.meshgrid(np.arange(SIZE_PX[0]), np.arange(SIZE_PX[1]))

Pixels = NDArray[np.uint8]


def drawn_take(actor: int, seed: int) -> Callable[[float], Pixels]:
    """Draw an actor's take as pictures by time in seconds.

    Takes of one actor share wall, head, brows, mouth and where they stand; nods, blinks and syllables differ with the
    seed, at rates that a person's have.

    Args:
        actor: which head before which wall.
        seed: which motion.
    """
    looks, moves = np.random.default_rng(actor), np.random.default_rng((actor, seed))
    wall, skin, hair = looks.uniform(60, 120), looks.uniform(150, 220), looks.uniform(20, 70)
    centre = 48 + looks.uniform(-6, 6), 36 + looks.uniform(-3, 3)
    radii = looks.uniform(15, 20), looks.uniform(20, 26)
    nods_hz, nod_phases = moves.uniform(0.2, 2.5, (2, 5)), moves.uniform(0, 2 * np.pi, (2, 5))
    reach_px, syllable_hz, phases = moves.uniform(0.5, 1.5, (2, 1)), moves.uniform(3.0, 5.5), moves.uniform(0, 6, 2)
    opening = moves.uniform(0.2, 1.0, 40)

    def draw(time_s: float) -> Pixels:
        x, y = centre + (reach_px * np.sin(2 * np.pi * nods_hz * time_s + nod_phases)).sum(axis=1)
        grey = np.full((SIZE_PX[1], SIZE_PX[0]), wall)
        _fill(grey, x, y - 4, radii[0] + 2, radii[1] + 2, hair)
        _fill(grey, x, y, *radii, skin)
        blinks = np.sin(2 * np.pi * 0.35 * time_s + phases[0]) > 0.95
        for side in (-1, 1):
            _fill(grey, x + side * 7, y - 5, 3, 0.6 if blinks else 1.8, 30)
        loud = opening[int(time_s * syllable_hz) % 40] * abs(np.sin(np.pi * syllable_hz * time_s + phases[1]))
        _fill(grey, x, y + 10, 6, 0.8 + 5 * loud, 60)
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    return draw


def _fill(grey: NDArray[np.float64], x: float, y: float, width: float, height: float, level: float) -> None:
    """Draw an ellipse with a soft edge."""
    distance = np.hypot((_COLUMNS - x) / width, (_ROWS - y) / height)
    cover = np.clip((1.08 - distance) / 0.16, 0, 1)
    grey += cover * (level - grey)
