"""One object of a JSON document that comes from anywhere: every field is checked as it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from moodreel.errors import PredictionError
from moodreel.labels import EMOTIONS
from moodreel.text import first_line, printable

READ_VERSIONS = (1, 2, 3)

JsonObject = Mapping[str, Any]
T = TypeVar("T")

_WIDEST_PX = 1e9
_MOST = 10**9
_MOST_SOUNDS = 64
_SUM_TOLERANCE = 0.01
"""Seven values rounded to four places may miss 1 by a thirtieth of this."""


@dataclass(frozen=True)
class Entry:
    """One object of a document that is being read; every field that is asked for is checked.

    Attributes:
        held: the object.
        where: its place in the document, such as `timeline[3]`; empty at the top.
    """

    held: JsonObject
    where: str = ""

    def number(self, key: str, most: float, least: float = 0.0) -> float:
        """Return a number from `least` to `most`."""
        value: Any = self.held.get(key)
        is_fit = _is_number(value) and least <= value <= most
        return float(value) if is_fit else self.fail(key, f"a number from {least:g} to {most:g}")

    def count(self, key: str, least: int = 0) -> int:
        """Return a whole number from `least` on."""
        value: Any = self.held.get(key)
        is_count = isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST
        return int(value) if is_count else self.fail(key, f"a whole number from {least} on")

    def identity(self, key: str) -> int:
        """Return the number of a person, from 1 on."""
        return self.count(key, least=1)

    def text(self, key: str) -> str:
        """Return a text."""
        value: Any = self.held.get(key)
        return value if isinstance(value, str) else self.fail(key, "a text")

    def word(self, key: str, known: Sequence[str]) -> str:
        """Return one of some known words."""
        value: Any = self.held.get(key)
        return value if isinstance(value, str) and value in known else self.fail(key, f"one of {', '.join(known)}")

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value: Any = self.held.get(key)
        return value if isinstance(value, bool) else self.fail(key, "true or false")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._list(key)
        return tuple(values) if all(isinstance(one, str) for one in values) else self.fail(key, "a list of texts")

    def entry(self, key: str) -> Entry:
        """Return an object."""
        value: Any = self.held.get(key)
        return Entry(value, self._place(key)) if isinstance(value, Mapping) else self.fail(key, "an object")

    def entries(self, key: str) -> list[Entry]:
        """Return a list of objects."""
        values = self._list(key)
        if not all(isinstance(one, Mapping) for one in values):
            self.fail(key, "a list of objects")
        return [Entry(one, f"{self._place(key)}[{index}]") for index, one in enumerate(values)]

    def known(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return a field as `read` reads it, `None` where it is null or missing."""
        return None if self.held.get(key) is None else read(key)

    def label(self, key: str = "label") -> str:
        """Return one of `EMOTIONS`."""
        return self.word(key, EMOTIONS)

    def probabilities(self, key: str = "probabilities") -> tuple[float, ...]:
        """Return seven values in the order of `EMOTIONS`, which sum to 1 up to rounding."""
        entry = self.entry(key)
        values = tuple(entry.number(emotion, most=1.0) for emotion in EMOTIONS)
        return values if abs(sum(values) - 1) <= _SUM_TOLERANCE else self.fail(key, "seven values that sum to 1")

    def sounds(self, key: str = "sounds") -> Mapping[str, float]:
        """Return probabilities by the name of a sound, which sum to 1 up to rounding."""
        entry = self.entry(key)
        if not 0 < len(entry.held) <= _MOST_SOUNDS or not all(isinstance(name, str) for name in entry.held):
            self.fail(key, f"1 to {_MOST_SOUNDS} named sounds")
        values = {name: entry.number(name, most=1.0) for name in entry.held}
        return values if abs(sum(values.values()) - 1) <= _SUM_TOLERANCE else self.fail(key, "values that sum to 1")

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of so many numbers."""
        values = self._list(key)
        if len(values) != count or not all(_is_number(one) and abs(one) <= _WIDEST_PX for one in values):
            self.fail(key, f"{count} numbers")
        return tuple(map(float, values))

    def fail(self, key: str, expected: str) -> Any:
        """Say what is wrong with a field.

        Raises:
            PredictionError: always.
        """
        value: Any = self.held.get(key)
        found = f"found {_shorten(value)}" if key in self.held else "it is missing"
        raise PredictionError(f"prediction: {self._place(key)}: expected {expected}, {found}; predict the clip anew")

    def _list(self, key: str) -> Sequence[Any]:
        value: Any = self.held.get(key)
        return value if isinstance(value, list | tuple) else self.fail(key, "a list")

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def parse_json(text: str | bytes) -> JsonObject:
    """Read the JSON of one prediction.

    Raises:
        PredictionError: it is not JSON, or no object.
    """
    try:
        held = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PredictionError(
            f"prediction: cannot be read as JSON ({first_line(error)}); predict the clip anew"
        ) from None
    if isinstance(held, list):
        raise PredictionError("prediction: is a list of predictions, expected one; read each with Prediction.from_dict")
    return check_version(held)


def check_version(held: Any) -> JsonObject:
    """Refuse what is no object, or of a version that is not known.

    Raises:
        PredictionError: it is not a prediction that can be read.
    """
    if not isinstance(held, Mapping):
        raise PredictionError(f"prediction: expected a JSON object, found {_shorten(held)}")
    version = held.get("schema_version")
    if isinstance(version, bool) or version not in READ_VERSIONS:
        found = f"schema_version is {_shorten(version)}"
        raise PredictionError(f"prediction: {found}, expected 1 to 3; update moodreel or predict the clip anew")
    return held


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _shorten(value: Any) -> str:
    """Show a value within a message: what holds others by its kind, a long text by its beginning."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return re.sub(r"(.{60}).+", r"\1…", printable(str(value)))
