"""A query cut into words, numbers, texts and signs, each with its place; and how a mistake is pointed at."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from moodreel.errors import QueryError
from moodreel.text import printable

MOST_CHARACTERS = 4000
"""Longest query."""

_SHOWN_CHARACTERS = 32
"""Characters of a long query that are shown on each side of a mistake."""

TokenKind = Literal["word", "number", "clock", "date", "text", "operator", "open", "close", "comma", "end"]

_PATTERN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<date>\d{4}-\d{1,2}(?:-\d{1,2})?(?![\w.:-]))
    | (?P<clock>\d{1,6}:[0-5]?\d(?::[0-5]?\d)?(?:\.\d+)?(?![\w.:]))
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:%|(?:s|min|h)(?!\w))?(?![\w.]))
    | (?P<word>[^\W\d]\w*(?:\.[^\W\d]\w*)?)
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<operator><=|>=|<>|!=|==|[=<>≤≥≠])
    | (?P<open>\()
    | (?P<close>\))
    | (?P<comma>,)
    """,
    re.VERBOSE | re.ASCII,
)
_OPERATORS = {"==": "=", "<>": "!=", "≠": "!=", "≤": "<=", "≥": ">="}
_MEANT = {"&": "and", "|": "or", "!": "not", "~": "like"}
"""Signs of other languages and the word that stands for them here."""


@dataclass(frozen=True)
class Token:
    """A piece of a query.

    Attributes:
        kind: what it is.
        value: words in lower case, operators in their one spelling, texts without quotes, all else as written.
        start: where it begins in the query, in characters.
        end: where it ends.
    """

    kind: TokenKind
    value: str
    start: int
    end: int


def fail(query: str, start: int, end: int, problem: str) -> QueryError:
    """Return the error of a mistake in a query.

    Args:
        query: the query.
        start: where the mistake begins, in characters.
        end: where it ends.
        problem: what is wrong, and what was expected.
    """
    return QueryError(f"query, column {start + 1}: {printable(problem)}", _point(query, start, end))


def read_tokens(query: str) -> list[Token]:
    """Cut a query into pieces.

    Returns:
        The pieces in order, the last of kind `end`.

    Raises:
        QueryError: it is too long, or holds what is no part of the language.
    """
    if len(query) > MOST_CHARACTERS:
        problem = f"the query has {len(query)} characters, expected at most {MOST_CHARACTERS}; ask for less at a time"
        raise QueryError(problem)
    return [*_cut(query), Token("end", "", len(query), len(query) + 1)]


def _cut(query: str) -> Iterator[Token]:
    place = 0
    while place < len(query):
        match = _PATTERN.match(query, place)
        if match is None:
            raise _refuse(query, place)
        place, kind = match.end(), match.lastgroup
        if kind != "space":
            yield Token(kind, _read(query, match), match.start(), match.end())  # type: ignore[arg-type]


def _read(query: str, match: re.Match[str]) -> str:
    found = match.group()
    if match.lastgroup == "word":
        return found.lower()
    if match.lastgroup == "operator":
        return _OPERATORS.get(found, found)
    if match.lastgroup != "text":
        return found
    text = found[1:-1].replace(found[0] * 2, found[0])
    wrong = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if wrong is not None:
        raise fail(query, match.start(), match.end(), f"a text cannot hold {wrong!r}; put % or _ there, with like")
    return text


def _refuse(query: str, place: int) -> QueryError:
    sign = query[place]
    if sign in "'\"":
        return fail(query, place, len(query), f"this text has no end; close it with {sign}")
    if sign in _MEANT:
        return fail(query, place, place + 1, f"{sign!r} is no part of a query; did you mean '{_MEANT[sign]}'?")
    if number := re.compile(r"[\d.][\w.:-]*").match(query, place):
        problem = f"{number.group()!r} is no number; expected one such as 0.6, 60%, 90s, 1:30 or 2024-05-31"
        return fail(query, place, number.end(), problem)
    return fail(query, place, place + 1, f"{sign!r} is no part of a query; put texts in quotes")


def _point(query: str, start: int, end: int) -> str:
    """Return the query, or what is around a place in it, and a line with carets below that place."""
    first, last = max(0, start - _SHOWN_CHARACTERS), min(len(query), start + _SHOWN_CHARACTERS)
    before, marked = printable(query[first:start]), printable(query[start : min(end, last)])
    lead, tail = "…" * (first > 0), "…" * (last < len(query))
    shown = lead + before + marked + printable(query[max(start, min(end, last)) : last]) + tail
    return f"{shown}\n{' ' * _width(lead + before)}{'^' * max(1, _width(marked))}"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
