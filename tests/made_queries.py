"""Made-up queries: trees of every kind that the language has."""

from datetime import date

from hypothesis import strategies as st

from moodreel.library.fields import FIELDS
from moodreel.library.tree import Among, And, Comparison, Date, Flag, Like, Name, Not, Number, Or, Text


def _of_kind(*kinds):
    return st.sampled_from([field.name for field in FIELDS.values() if field.kind in kinds])


def _texts():
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def _comparison(kind, values, operators=("=", "!=", "<", "<=", ">", ">=")):
    names = _of_kind(kind).filter(lambda name: not FIELDS[name].values)
    fields = names.map(Name)
    return st.builds(Comparison, fields, st.sampled_from(operators), st.one_of(values, fields))


SHARES = st.floats(0, 1).map(Number)
COUNTS = st.integers(0, 10**9).map(lambda value: Number(float(value)))
DATES = st.dates(date(1000, 1, 1), date(9998, 12, 31)).map(lambda day: Date(str(day))) | st.just(Date("2024-02"))
LEAVES = st.one_of(
    _of_kind("flag").map(Flag),
    _comparison("probability", SHARES),
    _comparison("count", COUNTS),
    _comparison("time", st.floats(0, 1e9).map(Number)),
    _comparison("date", DATES),
    _comparison("text", _texts().map(Text), ("=", "!=")),
    st.builds(Like, _of_kind("text"), _texts()),
    st.builds(Among, st.just("label"), st.lists(st.sampled_from(["happy", "sad"]).map(Text), min_size=1).map(tuple)),
    st.builds(Among, _of_kind("probability"), st.lists(SHARES, min_size=1, max_size=3).map(tuple)),
)


def _several(kind, parts):
    flat = st.lists(parts.filter(lambda part: not isinstance(part, kind)), min_size=2, max_size=4)
    return flat.map(tuple).map(kind)


QUERIES = st.recursive(
    LEAVES, lambda parts: st.one_of(parts.map(Not), _several(And, parts), _several(Or, parts)), max_leaves=12
)
