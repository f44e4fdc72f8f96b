"""What a query is once it is read: a tree of conditions, and how that is written as a text again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Name:
    """The value of a field.

    Attributes:
        name: a word of `FIELDS`.
    """

    name: str


@dataclass(frozen=True)
class Number:
    """A probability, a count, or a time in seconds."""

    value: float


@dataclass(frozen=True)
class Text:
    """A text."""

    value: str


@dataclass(frozen=True)
class Date:
    """A year, a month or a day, such as `2024`, `2024-05` or `2024-05-31`."""

    value: str


Value = Number | Text | Date
Operand = Name | Value


@dataclass(frozen=True)
class Flag:
    """A field that is yes or no."""

    name: str


@dataclass(frozen=True)
class Comparison:
    """Two values compared; the left one is a field.

    Attributes:
        left: the field.
        operator: one of `= != < <= > >=`.
        right: a field of the same kind, or a value.
    """

    left: Name
    operator: str
    right: Operand


@dataclass(frozen=True)
class Like:
    """A text compared with a pattern, in any case: `%` stands for any characters, `_` for one."""

    name: str
    pattern: str


@dataclass(frozen=True)
class Among:
    """A value that is one of several."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Not:
    """What does not hold."""

    inner: Query


@dataclass(frozen=True)
class And:
    """Several conditions that all hold; at least two, none of them an `And`."""

    parts: tuple[Query, ...]


@dataclass(frozen=True)
class Or:
    """Several conditions of which one holds; at least two, none of them an `Or`."""

    parts: tuple[Query, ...]


Condition = Flag | Comparison | Like | Among
Query = Condition | Not | And | Or


def join_queries(kind: type[And] | type[Or], parts: Iterable[Query]) -> Query:
    """Put conditions into one, without one of the same kind inside it."""
    flat: list[Query] = []
    for part in parts:
        flat += part.parts if isinstance(part, kind) else [part]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def write_query(query: Query) -> str:
    """Write a tree as a text that gives this tree again."""
    if isinstance(query, And):
        return " and ".join(_enclose(part, (Or,)) for part in query.parts)
    if isinstance(query, Or):
        return " or ".join(map(write_query, query.parts))
    if isinstance(query, Not):
        return f"not {_enclose(query.inner, (And, Or))}"
    return _write_condition(query)


def _write_condition(query: Condition) -> str:
    if isinstance(query, Like):
        return f"{query.name} like {_write_value(Text(query.pattern))}"
    if isinstance(query, Among):
        return f"{query.name} in ({', '.join(map(_write_value, query.values))})"
    if isinstance(query, Comparison):
        return f"{query.left.name} {query.operator} {_write_value(query.right)}"
    return query.name


def names_in(query: Query) -> frozenset[str]:
    """Return the fields that a query asks about."""
    if isinstance(query, And | Or):
        return frozenset().union(*map(names_in, query.parts))
    if isinstance(query, Not):
        return names_in(query.inner)
    if isinstance(query, Comparison):
        right = [query.right.name] if isinstance(query.right, Name) else []
        return frozenset([query.left.name, *right])
    return frozenset([query.name])


def _enclose(part: Query, kinds: tuple[type, ...]) -> str:
    return f"({write_query(part)})" if isinstance(part, kinds) else write_query(part)


def _write_value(value: Operand) -> str:
    if isinstance(value, Number):
        return format(Decimal(repr(value.value)), "f").removesuffix(".0")
    if isinstance(value, Text):
        return "'" + value.value.replace("'", "''") + "'"
    return value.name if isinstance(value, Name) else value.value
