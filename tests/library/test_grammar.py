"""Queries: what is read, what is refused and how, and that a tree written as a text is that tree again."""

import pytest
from hypothesis import given, settings, strategies as st

from made_queries import QUERIES
from moodreel.errors import QueryError
from moodreel.library.fields import FIELDS
from moodreel.library.grammar import DEEPEST, MOST_COMPARISONS, parse_query
from moodreel.library.tokens import MOST_CHARACTERS
from moodreel.library.tree import (
    Among,
    And,
    Comparison,
    Date,
    Flag,
    Like,
    Name,
    Not,
    Number,
    Or,
    Text,
    names_in,
    write_query,
)

ANGRY = Comparison(Name("angry"), ">", Number(0.6))


def test_a_query_with_everything():
    query = parse_query("happy > .7 and face and people >= 2 and file like '%wedding%'")
    happy, people = Comparison(Name("happy"), ">", Number(0.7)), Comparison(Name("people"), ">=", Number(2))
    assert query == And((happy, Flag("face"), people, Like("file", "%wedding%")))
    assert names_in(query) == {"happy", "face", "people", "file"}


def test_not_binds_tighter_than_and_and_and_tighter_than_or():
    assert parse_query("not face and voice or abstained") == Or(
        (And((Not(Flag("face")), Flag("voice"))), Flag("abstained"))
    )
    assert parse_query("not (face and voice)") == Not(And((Flag("face"), Flag("voice"))))


def test_words_are_read_in_any_case():
    assert parse_query("ANGRY > 0.6 AND Not FACE") == And((ANGRY, Not(Flag("face"))))


@pytest.mark.parametrize(
    "written",
    ["0.6 < angry", "angry > 60%", "angry > .60", "(angry > 0.6)", "((angry>0.6))", "angry\n>\t0.6"],
)
def test_other_ways_to_write_the_same(written):
    assert parse_query(written) == ANGRY


def test_a_chain_of_comparisons_is_two():
    assert parse_query("0.3 < happy <= 0.6") == parse_query("happy > 0.3 and happy <= 0.6")
    assert parse_query("happy > sad > 0.1") == parse_query("happy > sad and sad > 0.1")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("1.5min", 90), ("2h", 7200), ("1:30", 90), ("1:02:03.5", 3723.5)],
)
def test_times(written, seconds):
    assert parse_query(f"duration > {written}") == Comparison(Name("duration"), ">", Number(seconds))


@pytest.mark.parametrize("written", ["2024-05-01", "'2024-05-01'", "2024-5-1"])
def test_dates(written):
    assert parse_query(f"date >= {written}") == Comparison(Name("date"), ">=", Date("2024-05-01"))


def test_a_year_and_a_month_are_dates():
    assert parse_query("2023 <= date < 2024-06").parts[1].right == Date("2024-06")
    assert parse_query("date in (2023, 2024-02-29)") == Among("date", (Date("2023"), Date("2024-02-29")))


def test_known_texts_need_no_quotes():
    assert (
        parse_query("label = happy") == parse_query("label = 'happy'") == Comparison(Name("label"), "=", Text("happy"))
    )
    assert parse_query("sound in (laughter, crying)") == Among("sound", (Text("laughter"), Text("crying")))


def test_flags_may_be_compared_with_true_and_false():
    assert parse_query("abstained = false") == parse_query("abstained != true") == Not(Flag("abstained"))
    assert parse_query("face = true") == Flag("face")


def test_quotes_in_texts_are_doubled():
    assert parse_query("name = 'it''s'") == parse_query('name = "it\'s"') == Comparison(Name("name"), "=", Text("it's"))


def test_not_may_stand_before_like_and_in():
    assert parse_query("name not like '%a%'") == parse_query("not name like '%a%'")
    assert parse_query("label not in (happy)") == parse_query("not label in (happy)")


MISTAKES = [
    ("anrgy > 0.6", "anrgy", "column 1: unknown word 'anrgy'; did you mean 'angry'?"),
    ("joy > 0.6", "joy", "did you mean 'happy'?"),
    ("face.joy > 0.6", "face.joy", "did you mean 'face.happy'?"),
    ("fac.happy > 0.6", "fac.happy", "did you mean 'face.happy'?"),
    ("angry > 0.6 nad face", "nad", "column 13: expected 'and' or 'or' before 'nad'"),
    ("face and not", " ", "the query ends here"),
    ("angry", "angry", "expected a comparison such as angry > 0.6"),
    ("duration", "duration", "expected a comparison such as duration > 1:30"),
    ("angry .6", ".6", "expected a comparison"),
    ("angry > 60", "60", "did you mean 60%?"),
    ("angry > 101%", "101%", "from 0 to 1"),
    ("angry > 5min", "5min", "from 0 to 1"),
    ("angry > 'a'", "'a'", "'angry' is a number from 0 to 1"),
    ("angry > duration", "duration", "they cannot be compared"),
    ("angry > face", "face", "they cannot be compared"),
    ("face > 0.6", ">", "face.happy > 0.6"),
    ("0.6 < face", "face", "yes or no"),
    ("people >= 2.5", "2.5", "a whole number"),
    ("duration > 50%", "50%", "a time in seconds"),
    ("date > 2024-13", "2024-13", "is no date"),
    ("date = 2023-02-29", "2023-02-29", "is no date"),
    ("date > 99", "99", "is no date"),
    ("date > 1:30", "1:30", "a date"),
    ("label = hapy", "hapy", "did you mean 'happy'?"),
    ("label = joy", "joy", "did you mean 'happy'?"),
    ("sound = 'laugter'", "'laugter'", "did you mean 'laughter'?"),
    ("label > happy", ">", "expected =, != or like"),
    ("angry like 'a'", "like", "'like' is for texts"),
    ("file like wedding", "wedding", "a pattern in quotes"),
    ("file like", " ", "a pattern in quotes"),
    ("label in happy", "happy", "expected '(' after 'in'"),
    ("label in (happy sad)", "sad", "expected ',' or ')'"),
    ("angry in (sad)", "sad", "not the field 'sad'"),
    ("label in ()", ")", "cannot stand"),
    ("(angry > .6", "(", "this '(' has no ')'"),
    ("angry > .6)", ")", "this ')' closes nothing"),
    ("()", ")", "cannot stand"),
    ("1 < 2", "1 < 2", "compares two values"),
    (".3 < happy > .2", ">", "use 'and'"),
    ("angry < sad < fear < happy", "<", "more than three values"),
    ("angry > .6 && face", "&", "did you mean 'and'?"),
    ("!face", "!", "did you mean 'not'?"),
    ("angry > 1e-3", "1e-3", "is no number"),
    ("angry > 1.2.3", "1.2.3", "is no number"),
    ("angry > -1", "-", "is no part of a query"),
    ("name = 'abc", "'abc", "has no end"),
    ("happy = true", "true", "cannot stand here"),
    ("", " ", "the query is empty"),
    ("angry > " + "9" * 400, "9" * 32, "too large"),
    ("name = '\0'", "'\\x00'", "cannot hold"),
    ("name = '\udcff'", "'\\udcff'", "cannot hold"),
]


@pytest.mark.parametrize(("query", "marked", "told"), MISTAKES, ids=[query[:30] for query, _, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_with_carets_under_it(query, marked, told):
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    shown, carets = caught.value.pointer.split("\n")
    assert set(carets) <= {" ", "^"}
    assert (shown + " ")[carets.index("^") : carets.rindex("^") + 1] == marked


def test_carets_stand_right_under_wide_letters_and_in_long_queries():
    with pytest.raises(QueryError) as caught:
        parse_query("name = '映画' and agnry > .5")
    assert caught.value.pointer.splitlines()[1].index("^") == len("name = '' and ") + 4
    with pytest.raises(QueryError) as caught:
        parse_query("face and " * 100 + "agnry > .5 " + "and face" * 100)
    shown, carets = caught.value.pointer.splitlines()
    assert len(shown) <= 70 and shown[carets.index("^") :].startswith("agnry")


@pytest.mark.parametrize(
    "query",
    [
        "a" * 10_000,
        "face and " * 1200,
        "(" * 10_000,
        "(" * 1900 + "face" + ")" * 1900,
        "not " * 900 + "face",
        "(" * (DEEPEST + 1) + "face" + ")" * (DEEPEST + 1),
        " or ".join(["face"] * (MOST_COMPARISONS + 1)),
        "not (" * 600 + "face" + ")" * 600,
    ],
    ids=lambda query: f"{len(query)} of {query[:6]}",
)
def test_a_query_that_is_too_long_or_too_deep_is_refused_in_one_line(query):
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert len(str(caught.value)) < 200 and len(caught.value.pointer) < 200


def test_the_largest_queries_are_read():
    assert len(parse_query(" or ".join(["face"] * MOST_COMPARISONS)).parts) == MOST_COMPARISONS
    assert parse_query("(" * DEEPEST + "face" + ")" * DEEPEST) == Flag("face")
    assert parse_query("face" + " " * (MOST_CHARACTERS - 4)) == Flag("face")


SIGNS = """and or not like in true ( ) , < >= = != .5 60% 2 1:30 2024-05 'a' "%b_" 90s laughter ' é _ & . \0 \udcff"""
PIECES = st.sampled_from([*FIELDS, *SIGNS.split()])


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        query = parse_query(text)
    except QueryError as error:
        assert "\n" not in str(error) and str(error).isprintable()
        assert error.pointer.count("\n") <= 1
    else:
        assert parse_query(write_query(query)) == query


@settings(max_examples=400, deadline=None)
@given(QUERIES)
def test_a_tree_written_and_read_again_is_the_same(query):
    written = write_query(query)
    if len(written) <= MOST_CHARACTERS:
        assert parse_query(written) == query, written
