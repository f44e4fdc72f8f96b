"""Reading ahead: same items, same errors, bounded, and the thread ends however the block is left."""

import threading
from itertools import count

import numpy as np
import pytest

from moodreel.errors import MediaError
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead, report_progress
from moodreel.media.sounds import Sound


def running():
    return [thread for thread in threading.enumerate() if thread.name == "moodreel-read-ahead"]


def test_same_items_in_the_same_order():
    with read_ahead(range(1000), ahead=3) as items:
        assert list(items) == list(range(1000))
    assert not running()


def test_nothing_to_read():
    with read_ahead([]) as items:
        assert list(items) == []


def test_error_comes_in_its_place():
    def failing():
        yield from (1, 2)
        raise MediaError("broken from here on")

    got = []
    with pytest.raises(MediaError), read_ahead(failing()) as items:
        for item in items:
            got.append(item)
    assert got == [1, 2], "what came before the error was lost"
    assert not running()


def test_reads_no_further_ahead_than_allowed():
    made, enough = [], threading.Event()

    def numbers():
        for number in count():
            made.append(number)
            if number == 9:
                enough.set()
            yield number

    with read_ahead(numbers(), ahead=4) as items:
        for taken in items:
            assert len(made) <= taken + 1 + 4 + 1, "more waits in memory than the queue may hold"
            if taken == 5:
                assert enough.wait(10), "the producer does not read ahead"
                break
    assert not running() and len(made) < 20


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, GeneratorExit])
def test_thread_ends_when_the_consumer_fails(kind):
    with pytest.raises(kind), read_ahead(count()) as items:
        next(items)
        raise kind
    assert not running(), "an abandoned stream goes on being read"


def test_thread_ends_when_nothing_was_taken():
    with read_ahead(count()):
        pass
    assert not running()


def test_progress_never_falls_and_ends_at_one():
    frames = [Frame(time_s, np.zeros((1, 1, 3), np.uint8), 1.0) for time_s in (0.0, 1.0, 6.0)]
    stream = [frames[0], frames[1], Sound(0.0, np.zeros(1, np.float32)), frames[2]]
    shares = []
    assert list(report_progress(stream, 4.0, shares.append)) == stream
    assert shares == [0.0, 0.25, 0.25, 1.0]
    assert list(report_progress(stream, 0.0, shares.append)) == stream and shares[4:] == [0.0] * 4
