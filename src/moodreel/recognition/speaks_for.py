"""Whom an answer speaks for, as a user asks for it."""

from __future__ import annotations

from moodreel.errors import MoodreelError
from moodreel.recognition.prediction_parts import SPEAKS_FOR
from moodreel.text import printable, suggest


def read_speaks_for(text: str) -> str:
    """Read `most-present`, `most-speaking`, `everyone`, or a person such as `2` or `person 2`.

    Returns:
        One of `SPEAKS_FOR`, or a person's number.

    Raises:
        MoodreelError: it is none of these.
    """
    word = text.strip().lower()
    if word in SPEAKS_FOR:
        return word
    number = read_number(word)
    if number is None:
        names = ", ".join(SPEAKS_FOR)
        raise MoodreelError(
            f"--speaks-for {printable(text)!r}: expected one of {names}, or a person's number such as 2"
            f"{suggest(word, SPEAKS_FOR)}"
        )
    return str(number)


def read_number(word: str) -> int | None:
    """Return a person's number out of `2` or `person 2`; `None` where there is none."""
    digits = word.removeprefix("person").lstrip(" -_") if word.startswith("person") else word
    return int(digits) if digits.isascii() and digits.isdecimal() and 0 < len(digits) < 6 and int(digits) else None
