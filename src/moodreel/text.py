"""Texts of strangers, made fit for one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(name: str) -> str:
    """Return a name on one line: line breaks, control characters and undecodable bytes are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 200 characters; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def suggest(name: str, names: Iterable[str]) -> str:
    """Return the end of a message on an unknown name, `; did you mean 'csv'?`; empty where nothing is like it."""
    near = difflib.get_close_matches(name.strip().lower(), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
