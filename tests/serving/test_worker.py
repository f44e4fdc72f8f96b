"""The worker: what nobody expected of a clip is told of that clip, by its name."""

from moodreel.errors import MediaError
from moodreel.serving.protocol.messages import Message
from moodreel.serving.worker.main import _answer


def answer(head, error):
    """What the worker says when reading raises this error."""
    told = []

    def handle(message, send):
        raise error

    _answer(handle, Message(head), told.append)
    (message,) = told
    return message.head


def test_an_unexpected_error_names_the_clip_and_blames_it():
    head = answer({"job": 1, "name": "holiday.mp4"}, ZeroDivisionError("division by zero"))
    assert head["problem"] == "bad-media"
    assert head["detail"].startswith("holiday.mp4: cannot be read: ZeroDivisionError: division by zero")


def test_an_error_of_the_clip_stays_as_it_is():
    head = answer({"job": 1, "name": "a.mp4"}, MediaError("a.mp4: no media"))
    assert head == {"problem": "bad-media", "detail": "a.mp4: no media"}


def test_an_unexpected_error_in_a_stream_is_the_servers():
    head = answer({"end_s": 2.0, "parts": []}, ZeroDivisionError("division by zero"))
    assert head["problem"] == "internal" and "please report it" in head["detail"]
