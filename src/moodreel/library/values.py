"""Whether a value fits the field that it is compared with, and which word was meant where it does not."""

from __future__ import annotations

import calendar
from collections.abc import Iterable

from moodreel.labels import read_emotion
from moodreel.library.fields import FIELDS, KIND_WORDS, Field, Kind
from moodreel.library.tokens import Token
from moodreel.library.tree import Date, Number, Text, Value
from moodreel.text import suggest

KEYWORDS = frozenset({"and", "or", "not", "like", "in", "true", "false"})

_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_YEARS = range(1000, 9999)
_LARGEST = 1e12
_SHOWN = 40
"""Characters of a word that a message repeats."""


def read_number(token: Token) -> Number:
    """Read a number, a share in percent, or a time with its unit.

    Raises:
        ValueError: it is too large.
    """
    digits = token.value.rstrip("%sminh")
    value = float(digits) * _UNITS_S.get(token.value[len(digits) :], 1.0)
    return _limit(value / 100 if token.value.endswith("%") else value)


def read_clock(token: Token) -> Number:
    """Read a time such as `1:30`, in seconds.

    Raises:
        ValueError: it is too large.
    """
    return _limit(sum(float(part) * 60**place for place, part in enumerate(token.value.split(":")[::-1])))


def _limit(value: float) -> Number:
    if value > _LARGEST:
        raise ValueError(f"this number is too large, expected at most {_LARGEST:.0f}")
    return Number(value)


def read_date(text: str) -> Date:
    """Read a year, a month or a day.

    Raises:
        ValueError: it is none.
    """
    parts = text.split("-")
    if 1 <= len(parts) <= 3 and all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        year, *rest = map(int, parts)
        month, day = (*rest, 1, 1)[:2]
        if year in _YEARS and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]:
            return Date("-".join([str(year), *(f"{part:02d}" for part in rest)]))
    raise ValueError(f"{text[:_SHOWN]!r} is no date; expected one such as 2024-05-31, 2024-05 or 2024")


def fit_value(field: Field, value: Value, token: Token) -> Value:
    """Return a value as one of the kind of a field.

    Args:
        field: what it is compared with.
        value: as read alone.
        token: what it was read from.

    Raises:
        ValueError: the field can never have it; the message says what was expected.
    """
    if field.kind == "date" and token.kind in ("number", "text"):
        return read_date(token.value)
    kinds: dict[Kind, type] = {"text": Text, "date": Date}
    if not isinstance(value, kinds.get(field.kind, Number)):
        raise ValueError(f"{field.name!r} is {KIND_WORDS[field.kind]}")
    if isinstance(value, Number):
        _check_number(field, value, token)
    if isinstance(value, Text) and field.values:
        check_text(field, value.value)
    return value


def _check_number(field: Field, number: Number, token: Token) -> None:
    is_plain = token.kind == "number" and token.value[-1] in "0123456789."
    is_share = token.value.endswith("%")
    if field.kind == "probability" and not (number.value <= 1 and (is_plain or is_share)):
        hint = f"; did you mean {token.value.rstrip('.')}%?" if is_plain and number.value <= 100 else ""
        raise ValueError(f"{field.name!r} is a probability from 0 to 1{hint}")
    is_wrong_count = field.kind == "count" and not (is_plain and number.value.is_integer())
    if is_wrong_count or (field.kind == "time" and is_share):
        raise ValueError(f"{field.name!r} is {KIND_WORDS[field.kind]}")


def check_text(field: Field, text: str) -> None:
    """Refuse a text that a field can never be.

    Raises:
        ValueError: names all that it can be, and the one that may be meant.
    """
    if text not in field.values:
        hint = suggest(text, field.values) or _suggest_emotion(text, field.values)
        expected = ", ".join(field.values)
        raise ValueError(f"{field.name!r} is never {text[:_SHOWN]!r}; expected one of {expected}{hint}")


def explain_word(word: str) -> str:
    """Say that a word is none of the language, and which is nearest."""
    prefix, dot, last = word.rpartition(".")
    hint = suggest(word, [*FIELDS, *KEYWORDS]) or "; see docs/search.md for the words of a query"
    emotion = _suggest_emotion(last, FIELDS)
    if emotion and prefix in ("", "face", "voice"):
        hint = emotion.replace("'", f"'{prefix}{dot}", 1)
    return f"unknown word {word[:_SHOWN]!r}{hint}"


def _suggest_emotion(word: str, known: Iterable[str]) -> str:
    """Return the end of a message where a word is another name of an emotion, such as `joy`."""
    try:
        emotion = read_emotion(word)
    except ValueError:
        return ""
    return f"; did you mean {emotion!r}?" if emotion in known and emotion != word else ""
