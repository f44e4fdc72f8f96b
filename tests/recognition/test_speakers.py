"""Whose the voice is: turns out of what is said of everybody's lips, and what stays nobody's."""

import numpy as np
import pytest

from moodreel.media.sounds import Sound
from moodreel.recognition.lip_reading import LipScores, SoundBuffer
from moodreel.recognition.own_voices import group_voices, hear_apart, list_turns
from moodreel.recognition.prediction_parts import OFF_SCREEN
from moodreel.recognition.speakers import STEP_S, Turns, find_turns
from moodreel.voice.listener import Voice, VoiceWindow

RATE_HZ = 16_000


def scores(*people, voiced=None):
    """Return scores of people, each a list of (seconds, log-odds)."""
    rows = [np.concatenate([np.full(round(s * 25), value, np.float32) for s, value in one]) for one in people]
    heard = np.ones(len(rows[0]), np.bool_) if voiced is None else voiced
    rows = [np.where(heard, row, np.nan) for row in rows]
    return LipScores(np.stack(rows).astype(np.float32), heard)


def test_each_turn_goes_to_the_one_whose_lips_speak():
    turns = find_turns(scores([(4, 3), (4, -3)], [(4, -3), (4, 3)]), [1, 2])
    assert turns.share(0, 4).voice_of == 1 and turns.share(4, 8).voice_of == 2
    assert turns.speaking_s(1) == pytest.approx(4, abs=0.3) and turns.speaking_s(2) == pytest.approx(4, abs=0.3)
    assert turns.share(0, 4).people[1] > 0.9 and turns.share(0, 8).voice_of is None


def test_a_moment_of_doubt_does_not_break_a_turn():
    turns = find_turns(scores([(2, 3), (0.2, -1), (2, 3)], [(2, -3), (0.2, 1), (2, -3)]), [1, 2])
    assert [turn.person for turn in list_turns(turns, None)] == [1]


def test_nobody_on_screen_speaks_where_all_lips_rest():
    turns = find_turns(scores([(3, -3)], [(3, -4)]), [1, 2])
    assert turns.share(0, 3).voice_of == OFF_SCREEN and turns.share(0, 3).people == {
        1: pytest.approx(0, abs=0.05),
        2: pytest.approx(0, abs=0.05),
    }


def test_two_who_speak_at_once_are_told():
    turns = find_turns(scores([(3, 4)], [(3, 4)], [(3, -4)]), [1, 2, 3])
    share = turns.share(0, 3)
    assert share.together > 0.8 and share.people[1] > 0.8 and share.people[2] > 0.8 and share.people[3] < 0.2


def test_what_is_unsure_is_nobodys():
    turns = find_turns(scores([(3, 0.0)], [(3, 0.0)]), [1, 2])
    share = turns.share(0, 3)
    assert share.voice_of is None and not share.is_sure


def test_lips_that_are_not_seen_do_not_speak():
    away = scores([(2, np.nan), (2, 3)], [(2, 1), (2, -3)])
    turns = find_turns(away, [1, 2])
    assert turns.speaking[0, :8].max() < 0.01 and turns.share(2.2, 4).voice_of == 1


def test_nobody_speaks_in_silence():
    voiced = np.zeros(100, np.bool_)
    turns = find_turns(scores([(4, 5)], voiced=voiced), [1])
    assert turns.share(0, 4).voice_of is None and turns.speaking_s(1) == 0 and list_turns(turns, None) == ()


def test_the_time_of_twelve_people_stays_bounded():
    """Pairs are looked for among the busiest alone."""
    many = [[(20, 3 if number == 5 else -3)] for number in range(12)]
    assert find_turns(scores(*many), list(range(1, 13))).share(0, 20).voice_of == 6


def made_turns(*masks, off=None, ids=None):
    speaking = np.array(masks, np.float64)
    off_screen = np.zeros(speaking.shape[1]) if off is None else np.array(off, np.float64)
    voiced = (speaking.sum(axis=0) + off_screen) > 0
    return Turns(tuple(ids or range(1, len(masks) + 1)), speaking, off_screen, voiced, np.ones_like(speaking, np.bool_))


class Ear:
    """Keeps what it hears."""

    def __init__(self):
        self.samples = np.zeros(0, np.float32)

    def listen(self, sound):
        self.samples = np.concatenate([self.samples, sound.samples])

    def finish(self):
        return self.samples


def test_each_voice_is_heard_without_the_others():
    turns = made_turns([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    blocks = [Sound(start, np.ones(8000, np.float32)) for start in (0.0, 0.5, 1.0, 1.5)]
    heard = hear_apart(blocks, turns, Ear)
    assert set(heard) == {1, 2} and len(heard[1]) == 32_000
    assert heard[1][:15_500].min() > 0.99 and heard[1][16_500:].max() == 0
    assert heard[2][:15_500].max() == 0 and heard[2][16_500:].min() > 0.99


def test_turns_part_at_pauses_and_name_voices_off_screen():
    turns = made_turns([1] * 5 + [0] * 15, off=[0] * 10 + [1] * 5 + [0] * 5)
    found = list_turns(turns, None)
    assert [(turn.who, turn.start_s) for turn in found] == [("person 1", 0.0), ("off screen 1", 10 * STEP_S)]


def window(start_s, statistics):
    return VoiceWindow(start_s, start_s + 2, 2.0, np.zeros(7, np.float32), 20.0, np.asarray(statistics, np.float32))


def test_voices_from_off_screen_that_sound_alike_are_one():
    runs = made_turns([0] * 60, off=([1] * 10 + [0] * 10) * 3)
    one, other = [1, 0, 0, 3], [0, 3, 1, 0]
    voice = Voice(12.0, False, (), (window(0, one), window(4, other), window(8, one)))
    assert [turn.voice for turn in list_turns(runs, voice)] == [1, 2, 1]
    assert group_voices([], ()) == []


def test_the_sound_buffer_fills_holes_and_forgets():
    buffer = SoundBuffer()
    buffer.add(Sound(0.0, np.ones(100, np.float32)))
    buffer.add(Sound(300 / RATE_HZ, np.ones(100, np.float32)))
    assert buffer.cut(0, 400).sum() == 200 and buffer.cut(-50, 100).sum() == 50 and buffer.cut(350, 100).sum() == 50
    buffer.forget(350)
    assert buffer.begins == 350 and buffer.cut(340, 60).sum() == 50
    buffer.add(Sound(3600.0, np.ones(100, np.float32)))
    assert buffer.cut(3600 * RATE_HZ, 100).sum() == 100 and len(buffer._samples) < 21 * RATE_HZ
