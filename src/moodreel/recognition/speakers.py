"""Whose the voice is: from what lips and sound say moment by moment to turns of speech.

At each moment one person speaks, or two at once, or nobody on screen does. Each of these is a state of a hidden Markov
model (Rabiner 1989, "A tutorial on hidden Markov models"): what the network says of everybody's lips is its
observation, and turns last a while. What remains unsure afterwards is nobody's: the answer then falls back on who is
most present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from moodreel.face.lips import LIPS_RATE_HZ
from moodreel.recognition.lip_reading import LipScores
from moodreel.recognition.prediction_parts import OFF_SCREEN
from moodreel.voice.speech import RATE_HZ

STEP_S = 0.2
"""A step of the turns; five slots of the lips."""
SURE = 0.6
"""Less likely than this, a voice is nobody's in particular."""

_SLOTS = round(STEP_S * LIPS_RATE_HZ)
_MOST_PAIRS_OF = 4

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TurnModel:
    """How turns of speech go.

    Attributes:
        scale: what a step's mean log-odds are multiplied by: neighbouring slots say much the same.
        off_screen: log-odds, in these units, up to which everybody on screen is rather silent.
        together: how much more it takes for two to speak at once.
        switch: log-probability of another state after a step, below 0.
        most: most that one step may say, for or against.
    """

    scale: float = 2.0
    off_screen: float = 0.0
    together: float = 3.0
    switch: float = -5.0
    most: float = 4.0


@dataclass(frozen=True, eq=False)
class Turns:
    """Who speaks when, in steps of `STEP_S` from the clip's start.

    Attributes:
        ids: the people's numbers.
        speaking: how likely each person speaks, shape (n_people, n_steps), 0-1; 0 where nobody is heard.
        off_screen: how likely it is nobody on screen, shape (n_steps,).
        voiced: whether somebody is heard, shape (n_steps,).
        lips_seen: whether each person's lips were seen, shape (n_people, n_steps).
        lag_s: how much later than the lips the sound was taken to be, in seconds.
    """

    ids: tuple[int, ...]
    speaking: Floats
    off_screen: Floats
    voiced: Flags
    lips_seen: Flags
    lag_s: float = 0.0

    @property
    def lag_samples(self) -> int:
        """The same in samples at 16 kHz."""
        return round(self.lag_s * RATE_HZ)

    def within(self, start_s: float, end_s: float) -> slice:
        """Return the steps whose middles lie between two instants."""
        first = max(0, int(np.ceil((start_s - self.lag_s) / STEP_S - 0.5)))
        if np.isinf(end_s):
            return slice(first, None)
        return slice(first, max(first, int(np.ceil((end_s - self.lag_s) / STEP_S - 0.5))))

    def share(self, start_s: float, end_s: float) -> Share:
        """Tell whose the voice is between two instants."""
        steps = self.within(start_s, end_s)
        heard = self.voiced[steps]
        if not heard.any():
            return Share(dict.fromkeys(self.ids, 0.0), 0.0, 0.0, heard_s=0.0, sure=0.0)
        speaking = self.speaking[:, steps][:, heard]
        together = float((np.sort(speaking, axis=0)[-2:].sum(axis=0) - 1).clip(0).mean()) if len(self.ids) > 1 else 0.0
        people = {number: float(one.mean()) for number, one in zip(self.ids, speaking, strict=True)}
        off_screen = float(self.off_screen[steps][heard].mean())
        likeliest = np.maximum(speaking.max(axis=0, initial=0.0), self.off_screen[steps][heard])
        sure = float((likeliest >= SURE).mean())
        return Share(people, off_screen, together, heard_s=float(heard.sum()) * STEP_S, sure=sure)

    def mask(self, number: int | None) -> Flags:
        """Tell in which steps a person speaks; of `None`, in which nobody on screen does."""
        likely = self.off_screen if number is None else self.speaking[self.ids.index(number)]
        return np.asarray(self.voiced & (likely >= SURE))

    def speaking_s(self, number: int) -> float:
        """Return for how long a person speaks, in seconds."""
        return float(self.mask(number).sum()) * STEP_S


@dataclass(frozen=True)
class Share:
    """Whose the voice is over some stretch.

    Attributes:
        people: by person, which part of what is heard is that person's, 0-1.
        off_screen: which part is nobody's on screen, 0-1.
        together: in which part two speak at once, 0-1.
        heard_s: seconds in which somebody is heard.
        sure: in which part of them it is sure whose the voice is, 0-1.
    """

    people: dict[int, float]
    off_screen: float
    together: float
    heard_s: float
    sure: float

    @property
    def is_sure(self) -> bool:
        """Whether it is told of most of what is heard whose it is."""
        return self.sure >= SURE

    @property
    def voice_of(self) -> int | str | None:
        """The person whose most of it is, `off_screen`, or `None` where that is not sure or nobody is heard."""
        if not self.heard_s:
            return None
        if self.off_screen >= SURE:
            return OFF_SCREEN
        best = max(self.people, key=self.people.__getitem__, default=None)
        return best if best is not None and self.people[best] >= SURE else None


def find_turns(scores: LipScores, ids: Sequence[int], model: TurnModel = TurnModel(), lag_s: float = 0.0) -> Turns:
    """Find who speaks when.

    Args:
        scores: what was read from the lips.
        ids: the people's numbers, in the order of the scores' rows.
        model: how turns go.
        lag_s: how much later than the lips the sound is, in seconds.
    """
    n_steps = -(-scores.log_odds.shape[1] // _SLOTS)
    padding = n_steps * _SLOTS - scores.log_odds.shape[1]
    slots = np.pad(scores.log_odds.astype(np.float64), ((0, 0), (0, padding)), constant_values=np.nan)
    slots = slots.reshape(len(ids), n_steps, _SLOTS)
    voiced = np.pad(scores.voiced, (0, padding)).reshape(n_steps, _SLOTS).sum(axis=1) * 2 > _SLOTS
    seen: Flags = np.asarray((~np.isnan(slots)).any(axis=2))
    means = np.where(seen, np.nansum(slots, axis=2) / np.maximum((~np.isnan(slots)).sum(axis=2), 1), 0.0)
    says = np.clip(model.scale * means - model.off_screen, -model.most, model.most)
    speaking = np.zeros((len(ids), n_steps))
    off_screen = np.zeros(n_steps)
    for first, last in _runs(voiced):
        part = slice(first, last)
        speaking[:, part], off_screen[part] = _follow(says[:, part], seen[:, part], model)
    return Turns(tuple(ids), speaking, off_screen, voiced, seen, lag_s)


_LONGEST_PAUSE = 5
_UNSEEN = -1e3


def _runs(voiced: Flags) -> list[tuple[int, int]]:
    """Return first and behind-last step of stretches of speech; a pause of a second parts them."""
    steps = np.flatnonzero(voiced)
    if not len(steps):
        return []
    parts = np.split(steps, np.flatnonzero(np.diff(steps) > _LONGEST_PAUSE) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _follow(says: Floats, seen: Flags, model: TurnModel) -> tuple[Floats, Floats]:
    """Return how likely each speaks, shape (n, n_steps), and that nobody on screen does, shape (n_steps,)."""
    n_people, n_steps = says.shape
    each = np.where(seen, says, _UNSEEN)
    busiest = np.argsort(-np.where(seen, says, -model.most).mean(axis=1))[:_MOST_PAIRS_OF]
    pairs = list(combinations(sorted(int(one) for one in busiest), 2))
    both = [each[one] + each[other] - model.together for one, other in pairs]
    states = np.concatenate([each, np.zeros((1, n_steps)), *(one[None] for one in both)])
    likely = _posterior(states, model.switch)
    speaking = likely[:n_people].copy()
    for (one, other), joint in zip(pairs, likely[n_people + 1 :], strict=True):
        speaking[one] += joint
        speaking[other] += joint
    return speaking.clip(0, 1), likely[n_people]


def _posterior(states: Floats, switch: float) -> Floats:
    """Return how likely each state is at each step, by the forward-backward algorithm; shape (n_states, n_steps)."""
    n_states, n_steps = states.shape
    leave = float(np.exp(switch))
    stay = 1.0 - leave
    likelihood = np.exp(np.clip(states - states.max(axis=0), -50, 0))
    forth, back = np.empty_like(likelihood), np.empty_like(likelihood)
    row = np.full(n_states, 1 / n_states)
    for step in range(n_steps):
        row = (stay * row + leave / n_states) * likelihood[:, step] if step else row * likelihood[:, 0]
        row = row / row.sum()
        forth[:, step] = row
    row = np.ones(n_states)
    for step in range(n_steps - 1, -1, -1):
        back[:, step] = row
        pushed = row * likelihood[:, step]
        row = stay * pushed + leave * pushed.mean()
        row = row / row.max()
    joint = forth * back
    return np.asarray(joint / joint.sum(axis=0))
