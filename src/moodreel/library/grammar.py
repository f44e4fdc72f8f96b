"""The language of queries: a text becomes a tree, whose values are checked, and a tree a text again.

    query       = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = { "not" } primary
    primary     = "(" query ")" | comparison
    comparison  = flag [ ( "=" | "!=" ) ( "true" | "false" ) ]
                | operand operator operand [ operator operand ]
                | field [ "not" ] "like" text
                | field [ "not" ] "in" "(" value { "," value } ")"
    operand     = field | value
    value       = number | number "%" | time | date | text | label | sound
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">="

A time is `90`, `90s`, `2min`, `1h` or `1:30`; a date is `2024`, `2024-05` or `2024-05-31`. Words are read in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moodreel.errors import QueryError
from moodreel.library.fields import FIELDS, KIND_WORDS, Field
from moodreel.library.tokens import Token, TokenKind, fail, read_tokens
from moodreel.library.tree import (
    Among,
    And,
    Comparison,
    Flag,
    Like,
    Name,
    Not,
    Operand,
    Or,
    Query,
    Text,
    Value,
    join_queries,
)
from moodreel.library.values import (
    KEYWORDS,
    check_text,
    explain_word,
    fit_value,
    read_clock,
    read_date,
    read_number,
)

DEEPEST = 50
"""How deep parentheses may be nested, and how many `not` may follow each other."""
MOST_COMPARISONS = 200
"""Comparisons that a query may have."""

_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def parse_query(text: str) -> Query:
    """Read a query.

    Args:
        text: such as `happy > .7 and face and people >= 2`.

    Raises:
        QueryError: it cannot be understood; the message says where, and what may be meant.
    """
    return _Parser(text).parse()


class _Parser:
    """Reads a query from left to right, one function for each rule of the grammar."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = read_tokens(query)
        self._place = 0
        self._depth = 0
        self._n_comparisons = 0

    def parse(self) -> Query:
        """Read all of the query."""
        if self._is_next("end"):
            raise self._fail(self._next, "the query is empty; expected a condition such as angry > 0.6")
        found = self._read_query()
        if self._is_next("close"):
            raise self._fail(self._next, "this ')' closes nothing; leave it out")
        if not self._is_next("end"):
            raise self._fail(self._next, f"expected 'and' or 'or' before {self._show()}")
        return found

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _is_next(self, kind: TokenKind, *values: str) -> bool:
        return self._next.kind == kind and (not values or self._next.value in values)

    def _take(self) -> Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _take_word(self, *words: str) -> bool:
        is_there = self._is_next("word", *words)
        self._place += is_there
        return is_there

    def _take_kind(self, kind: TokenKind) -> bool:
        is_there = self._is_next(kind)
        self._place += is_there
        return is_there

    def _fail(self, token: Token, problem: str, until: Token | None = None) -> QueryError:
        return fail(self._query, token.start, (until or token).end, problem)

    def _show(self) -> str:
        token = self._next
        return "the end" if token.kind == "end" else repr(self._query[token.start : token.end][:40])

    def _read_query(self) -> Query:
        parts = [self._read_conjunction()]
        while self._take_word("or"):
            parts.append(self._read_conjunction())
        return join_queries(Or, parts)

    def _read_conjunction(self) -> Query:
        parts = [self._read_negation()]
        while self._take_word("and"):
            parts.append(self._read_negation())
        return join_queries(And, parts)

    def _read_negation(self) -> Query:
        if not self._is_next("word", "not"):
            return self._read_primary()
        self._go_deeper()
        self._take()
        inner = self._read_negation()
        self._depth -= 1
        return Not(inner)

    def _read_primary(self) -> Query:
        if not self._is_next("open"):
            return self._read_comparison()
        opened = self._next
        self._go_deeper()
        self._take()
        found = self._read_query()
        self._depth -= 1
        if not self._take_kind("close"):
            what = "has no ')'" if self._is_next("end") else f"is not closed before {self._show()}"
            raise self._fail(opened, f"this '(' {what}")
        return found

    def _go_deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._fail(self._next, f"nested too deep, expected at most {DEEPEST} levels; write it flatter")

    def _read_comparison(self) -> Query:
        first = self._next
        self._n_comparisons += 1
        if self._n_comparisons > MOST_COMPARISONS:
            problem = (
                f"too many comparisons, expected at most {MOST_COMPARISONS}; use in (…), or ask for less at a time"
            )
            raise self._fail(first, problem)
        left = self._read_operand(None)
        if isinstance(left, Name):
            field = FIELDS[left.name]
            if field.kind == "flag":
                return self._read_flag(field)
            is_negated = self._take_word("not")
            if self._is_next("word", "like", "in"):
                sign = self._take()
                found = self._read_like(field, sign) if sign.value == "like" else self._read_among(field)
                return Not(found) if is_negated else found
            if is_negated:
                raise self._fail(self._next, f"expected 'like' or 'in' after 'not', not {self._show()}")
        return self._read_chain(first, left)

    def _read_flag(self, field: Field) -> Query:
        if not self._is_next("operator"):
            return Flag(field.name)
        sign = self._take()
        is_right = sign.value in ("=", "!=") and self._is_next("word", "true", "false")
        if not is_right:
            problem = f"{field.name!r} is yes or no: write {field.name!r} or 'not {field.name}' alone"
            raise self._fail(sign, problem + self._mean_probability(field))
        return Flag(field.name) if (self._take().value == "true") == (sign.value == "=") else Not(Flag(field.name))

    def _mean_probability(self, field: Field) -> str:
        return f", or a probability such as {field.name}.happy > 0.6" if field.name in ("face", "voice") else ""

    def _read_like(self, field: Field, sign: Token) -> Like:
        token = self._take()
        if field.kind != "text":
            raise self._fail(sign, f"'like' is for texts such as file, and {field.name!r} is {KIND_WORDS[field.kind]}")
        if token.kind != "text":
            raise self._fail(token, "expected a pattern in quotes after 'like', such as '%wedding%'")
        return Like(field.name, token.value)

    def _read_among(self, field: Field) -> Among:
        if not self._take_kind("open"):
            raise self._fail(self._next, "expected '(' after 'in', such as label in (happy, surprise)")
        values = [self._read_value(field)]
        while self._take_kind("comma"):
            values.append(self._read_value(field))
        if not self._take_kind("close"):
            raise self._fail(self._next, f"expected ',' or ')' before {self._show()}")
        return Among(field.name, tuple(values))

    def _read_value(self, field: Field) -> Value:
        token = self._next
        value = self._read_operand(field)
        if isinstance(value, Name):
            raise self._fail(token, f"expected {KIND_WORDS[field.kind]}, not the field {value.name!r}")
        return self._fit(field, value, token)

    def _read_chain(self, first: Token, left: Operand) -> Query:
        """Read what follows the first operand: an operator and another, and perhaps a second operator and a third."""
        sign = self._read_operator(first, left)
        middle_token = self._next
        middle = self._read_operand(FIELDS[left.name] if isinstance(left, Name) else None)
        found = self._compare((first, left), sign, (middle_token, middle))
        if not self._is_next("operator"):
            return found
        second, last_token = self._take(), self._next
        if {sign.value[0], second.value[0]} not in ({"<"}, {">"}):
            raise self._fail(
                second, "only < and <=, or > and >=, can follow each other, as in 0.3 < happy < 0.6; use 'and'"
            )
        last = self._read_operand(FIELDS[middle.name] if isinstance(middle, Name) else None)
        other = self._compare((middle_token, middle), second, (last_token, last))
        if self._is_next("operator"):
            raise self._fail(self._next, "more than three values in a row; use 'and'")
        return join_queries(And, [found, other])

    def _read_operator(self, first: Token, left: Operand) -> Token:
        if self._is_next("operator"):
            return self._take()
        if not isinstance(left, Name):
            raise self._fail(self._next, f"expected a comparison such as angry > 0.6, not {self._show()}")
        kind = FIELDS[left.name].kind
        example = {"text": "= 'a text'", "date": ">= 2024-05-31", "time": "> 1:30", "count": ">= 2"}.get(kind, "> 0.6")
        if self._next.kind in ("number", "clock", "date", "text"):
            raise self._fail(self._next, f"expected a comparison such as {left.name} {example}")
        problem = f"{left.name!r} is {KIND_WORDS[kind]}; expected a comparison such as {left.name} {example}"
        raise self._fail(first, problem)

    def _compare(self, left: tuple[Token, Operand], sign: Token, right: tuple[Token, Operand]) -> Query:
        """Check that two operands can be compared; a value stands on the right afterwards."""
        if not isinstance(left[1], Name):
            if not isinstance(right[1], Name):
                raise self._fail(left[0], "compares two values; name a field such as angry", right[0])
            return self._check(right[0], right[1], _MIRRORED[sign.value], sign, left)
        return self._check(left[0], left[1], sign.value, sign, right)

    def _check(
        self, left_token: Token, left: Name, operator: str, sign: Token, right: tuple[Token, Operand]
    ) -> Comparison:
        field, (token, operand) = FIELDS[left.name], right
        if field.kind == "flag":
            raise self._fail(left_token, f"{field.name!r} is yes or no and cannot be compared; use it alone")
        if field.kind == "text" and operator not in ("=", "!="):
            raise self._fail(sign, f"{field.name!r} is a text: expected =, != or like")
        if not isinstance(operand, Name):
            return Comparison(left, operator, self._fit(field, operand, token))
        if FIELDS[operand.name].kind != field.kind:
            kinds = " and ".join(f"{one.name!r} is {KIND_WORDS[one.kind]}" for one in (field, FIELDS[operand.name]))
            raise self._fail(token, f"{kinds}: they cannot be compared")
        return Comparison(left, operator, operand)

    def _fit(self, field: Field, value: Value, token: Token) -> Value:
        with self._at(token):
            return fit_value(field, value, token)

    @contextmanager
    def _at(self, token: Token) -> Iterator[None]:
        """Say of a value that is wrong where it stands."""
        try:
            yield
        except ValueError as error:
            raise self._fail(token, str(error)) from None

    def _read_operand(self, beside: Field | None) -> Operand:
        """Read a field or a value.

        Args:
            beside: the field that it is compared with; where that has a few known texts, a word is one of them.
        """
        token = self._take()
        readers: dict[TokenKind, Callable[[Token], Operand]] = {
            "word": lambda token: self._read_word(token, beside),
            "number": read_number,
            "clock": read_clock,
            "date": lambda token: read_date(token.value),
            "text": lambda token: Text(token.value),
        }
        if token.kind in readers:
            with self._at(token):
                return readers[token.kind](token)
        expected = "a field such as angry, or a value" if beside is None else KIND_WORDS[beside.kind]
        found = "the query ends" if token.kind == "end" else f"{self._query[token.start : token.end]!r} cannot stand"
        raise self._fail(token, f"{found} here; expected {expected}")

    def _read_word(self, token: Token, beside: Field | None) -> Operand:
        if beside is not None and beside.values and (token.value in beside.values or token.value not in FIELDS):
            check_text(beside, token.value)
            return Text(token.value)
        if token.value in KEYWORDS:
            raise ValueError(f"{token.value!r} cannot stand here; expected a field such as angry, or a value")
        if token.value not in FIELDS:
            raise ValueError(explain_word(token.value))
        return Name(token.value)
