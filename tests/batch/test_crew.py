"""Whatever a crew is made of and however often its workers die, each clip comes out once and nothing runs ahead."""

import random
from collections import deque

import pytest

from moodreel.batch.clips import MOST_DEATHS, Parts, map_clips
from moodreel.batch.worker import SLOTS, WorkerDiedError


class Hand:
    """Reads at once what it was handed, unless it dies over it."""

    def __init__(self, crew, read):
        self.tasks, self.crew, self.read, self.clips = deque(), crew, read, deque()
        self.starts_in = crew.chance.randrange(3)

    @property
    def has_room(self):
        return self.starts_in == 0 and len(self.tasks) < SLOTS

    @property
    def is_awaited(self):
        return bool(self.tasks) or self.starts_in > 0

    def hand(self, task, clip):
        assert self.has_room
        self.tasks.append(task)
        self.clips.append(clip)

    def take(self):
        if self.starts_in:
            self.starts_in -= 1
            return None
        clip = self.clips[0]
        if self.crew.chance.random() < 0.1 or clip in self.crew.deadly:
            self.crew.deaths.setdefault(str(clip), []).append(self)
            raise WorkerDiedError
        return self.tasks.popleft(), self.read(self.clips.popleft())

    def interrupt(self):
        pass

    end = interrupt


class Crew:
    """Workers that come and go."""

    def __init__(self, seed, deadly=()):
        self.chance, self.deadly, self.deaths, self.most = random.Random(seed), set(deadly), {}, 0

    def count(self):
        return self.chance.randrange(1, 40)

    def start(self, read):
        return Hand(self, read)

    def wait(self, workers):
        self.most = max(self.most, len(workers))
        return self.chance.sample(workers, self.chance.randrange(len(workers) + 1))


def read(clip):
    """Read a number; one in ten piece by piece."""
    if isinstance(clip, tuple):
        return sum(clip[1:])
    return Parts([("piece", clip), ("piece", 0)], lambda read: ("joined", *read)) if clip % 10 == 0 else clip


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("in_order", [True, False])
def test_each_clip_comes_out_once(seed, in_order):
    crew, lost = Crew(seed, deadly={7, ("piece", 50)}), []

    def give_up(clip):
        lost.append(clip)
        return clip

    outcomes = list(map_clips(read, range(300), 0, give_up, in_order=in_order, crew=crew))
    assert (outcomes if in_order else sorted(outcomes)) == list(range(300))
    assert 7 in lost and 50 in lost, "a clip that ends its readers is given up, whole or in pieces"
    assert len(lost) == len(set(lost)) and len(crew.deaths["7"]) == MOST_DEATHS
    assert crew.most > 1
