"""A tree becomes SQL: its text is made of fixed pieces alone, and every value of a user is a bound parameter."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moodreel.library.fields import FIELDS
from moodreel.library.tree import (
    Among,
    And,
    Comparison,
    Condition,
    Date,
    Like,
    Name,
    Not,
    Number,
    Or,
    Query,
    Text,
    Value,
)

_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


@dataclass
class Statement:
    """The pieces of SQL that a query becomes.

    Attributes:
        files: columns of a subquery over `found_files`, for what is true of a whole file, if that is asked.
        parameters: the bound values by name.
    """

    files: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """Bind a value; returns what stands for it."""
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def condition(self, query: Query, slack: float = 0.0) -> str:
        """Return a query as a condition over `found_windows`, joined with `source()`.

        Where a value is missing, no comparison with it holds, and the `not` of that comparison does.

        Args:
            query: the tree.
            slack: how much less of a probability is asked for.
        """
        return self._write(query, slack, is_negated=None)

    def source(self, *, has_people: bool = False) -> str:
        """Return what to select from, once all conditions are written.

        Args:
            has_people: whether to look at people alone, with who they are in the library.
        """
        people = " JOIN found_people USING (file_id, person)" if has_people else ""
        if not self.files:
            return f"found_windows{people}"
        files = f"(SELECT file_id, {', '.join(self.files)} FROM found_files)"
        return f"found_windows JOIN {files} USING (file_id){people}"

    def _write(self, query: Query, slack: float, is_negated: bool | None) -> str:
        """Write a part of a query.

        Args:
            query: the part.
            slack: as for `condition`.
            is_negated: whether an odd number of `not` stands around it; `None` for none at all.
        """
        if isinstance(query, Not):
            return f"(NOT {self._write(query.inner, slack, not is_negated)})"
        if isinstance(query, And | Or):
            word = " AND " if isinstance(query, And) else " OR "
            return f"({word.join(self._write(part, slack, is_negated) for part in query.parts)})"
        written = self._write_condition(query, -slack if is_negated else slack)
        return written if is_negated is None else f"coalesce({written}, false)"

    def _write_condition(self, query: Condition, slack: float) -> str:
        names = [query.left, query.right] if isinstance(query, Comparison) else [Name(query.name)]
        tables = {FIELDS[one.name].table for one in names if isinstance(one, Name)}
        written = self._write_alone(query, slack, is_apart=tables == {"files"})
        return self._of_file(written) if tables == {"files"} else written

    def _write_alone(self, query: Condition, slack: float, *, is_apart: bool) -> str:
        if isinstance(query, Comparison):
            return self._compare(query, slack, is_apart=is_apart)
        column = self._column(query.name, is_apart=is_apart)
        if isinstance(query, Like):
            return f"regexp_full_match({column}, {self.bind(write_pattern(query.pattern))})"
        if isinstance(query, Among):
            return f"({' OR '.join(self._compare_value(column, query.name, '=', one) for one in query.values)})"
        return column

    def _compare(self, query: Comparison, slack: float, *, is_apart: bool) -> str:
        column = self._column(query.left.name, is_apart=is_apart)
        is_share = FIELDS[query.left.name].kind == "probability"
        more = {"<": slack, "<=": slack, ">": -slack, ">=": -slack}.get(query.operator, 0.0) if is_share else 0.0
        if isinstance(query.right, Name):
            other = self._column(query.right.name, is_apart=is_apart)
            shifted = f"{other} + {self.bind(more)}::FLOAT" if more else other
            return f"({column} {_OPERATORS[query.operator]} {shifted})"
        value = Number(query.right.value + more) if isinstance(query.right, Number) else query.right
        return self._compare_value(column, query.left.name, query.operator, value)

    def _compare_value(self, column: str, name: str, operator: str, value: Value) -> str:
        if isinstance(value, Date):
            return self._compare_date(column, operator, value)
        sign = _OPERATORS[operator]
        if isinstance(value, Text):
            return f"({column} {sign} {self.bind(value.value)})"
        if FIELDS[name].kind == "count":
            return f"({column} {sign} {self.bind(int(value.value))})"
        # Probabilities are stored in four bytes: .7 of a user is the .7 of the file only when it is as coarse.
        cast = "::FLOAT" if FIELDS[name].kind == "probability" else "::DOUBLE"
        return f"({column} {sign} {self.bind(value.value)}{cast})"

    def _compare_date(self, column: str, operator: str, date: Date) -> str:
        """Compare an instant with a whole day, month or year: `=` is within it, `>` after all of it."""
        begin_s, end_s = bounds_s(date)
        if operator == "=":
            return f"({self._since(column, begin_s)} AND NOT {self._since(column, end_s)})"
        if operator == "!=":
            return f"(NOT {self._since(column, begin_s)} OR {self._since(column, end_s)})"
        is_after = self._since(column, end_s if operator in (">", "<=") else begin_s)
        return is_after if operator.startswith(">") else f"(NOT {is_after})"

    def _since(self, column: str, time_s: int) -> str:
        return f"({column} >= {self.bind(float(time_s))}::DOUBLE)"

    def _column(self, name: str, *, is_apart: bool) -> str:
        """Return a field in SQL; of a file's one beside a window's, the subquery's column for it."""
        found = FIELDS[name]
        return found.column if is_apart or found.table != "files" else self._of_file(found.column)

    def _of_file(self, written: str) -> str:
        """Let something be worked out once for each file, not for each of its windows."""
        self.files.append(f"{written} AS f{len(self.files)}")
        return f"f{len(self.files) - 1}"


def write_score(query: Query) -> str:
    """Return in SQL how well a window fits a query, 0-1: the least of the probabilities that it asks for.

    Of alternatives the highest counts; where it asks for less of one, what is left of it; where it asks for none, the
    confidence.
    """
    return f"coalesce({_score(query, is_negated=False) or 'confidence'}, 0)"


def _score(query: Query, *, is_negated: bool) -> str | None:
    if isinstance(query, Not):
        return _score(query.inner, is_negated=not is_negated)
    if isinstance(query, And | Or):
        found = [one for part in query.parts if (one := _score(part, is_negated=is_negated)) is not None]
        choose = "least" if isinstance(query, And) != is_negated else "greatest"
        return f"{choose}({', '.join(found)})" if found else None
    if isinstance(query, Comparison) and FIELDS[query.left.name].kind == "probability" and query.operator in _MIRRORED:
        return _score_comparison(query, _MIRRORED[query.operator] if is_negated else query.operator)
    return None


def _score_comparison(query: Comparison, operator: str) -> str:
    column = FIELDS[query.left.name].column
    asked = f"(1 + {column} - {FIELDS[query.right.name].column}) / 2" if isinstance(query.right, Name) else column
    return f"({asked})" if operator.startswith(">") else f"(1 - {asked})"


def write_pattern(like: str) -> str:
    """Return the pattern of `like` as a regular expression, which takes time in proportion to a text's length.

    SQL's own `LIKE` tries every way to share a text among several `%`.
    """
    pieces = {"%": ".*", "_": "."}
    return "(?is)" + "".join(pieces.get(piece) or re.escape(piece) for piece in re.sub("%+", "%", like))


def bounds_s(date: Date) -> tuple[int, int]:
    """Return when a day, month or year begins and ends, in seconds since 1970 (UTC)."""
    year, *rest = map(int, date.value.split("-"))
    month = rest[0] if rest else 1
    begin = datetime(year, month, rest[1] if len(rest) > 1 else 1, tzinfo=UTC)
    days = {0: 365 + calendar.isleap(year), 1: calendar.monthrange(year, month)[1], 2: 1}[len(rest)]
    begin_s = calendar.timegm(begin.timetuple())
    return begin_s, begin_s + days * 86_400
