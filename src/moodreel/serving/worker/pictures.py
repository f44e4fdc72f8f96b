"""The worker's side of thumbnails: one small picture of a file, away from the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moodreel.labels import N_EMOTIONS
from moodreel.library.cut import draw_thumbnail
from moodreel.library.found import Moment
from moodreel.serving.protocol.messages import Message


def answer_picture(message: Message, send: Callable[[Message], None]) -> None:
    """Draw what a message asks for.

    Args:
        message: its `file`, a path or URL, and `at_s`, an instant in it in seconds.
        send: takes the answer: whether there is a `picture`, whose JPEG follows.

    Raises:
        MediaError: the file cannot be read.
    """
    picture = draw_thumbnail(_point_to(message.head))
    send(Message({"picture": picture is not None}, picture or b""))


def _point_to(head: dict[str, Any]) -> Moment:
    at_s = float(head["at_s"])
    return Moment("", str(head["file"]), at_s, at_s, 0, 0.0, (0.0,) * N_EMOTIONS)
