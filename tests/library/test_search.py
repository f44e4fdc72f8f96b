"""Searches: what they find is what NumPy finds row by row, whatever the query, from files and from memory."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from made_library import DAY_S, make_library
from made_queries import QUERIES
from made_windows import make_file, make_window, write_library
from moodreel.errors import LibraryError, QueryError
from moodreel.labels import EMOTIONS
from moodreel.library.fields import FIELDS
from moodreel.library.grammar import parse_query
from moodreel.library.query import bounds_s, write_pattern
from moodreel.library.rows import Rows
from moodreel.library.search import Library
from moodreel.library.store import Store
from moodreel.library.tokens import MOST_CHARACTERS
from moodreel.library.tree import Among, And, Comparison, Date, Flag, Like, Name, Not, Or, Text, names_in, write_query

N_FILES, N_WINDOWS = 24, 20


def angry_windows(*values, number=1, person=0, step_s=1.0):
    return [
        make_window(number, place * step_s, (place + 1) * step_s, {"angry": value}, person=person)
        for place, value in enumerate(values)
        if value is not None
    ]


def times(found):
    return [(moment.start_s, moment.end_s) for moment in sorted(found, key=lambda one: one.start_s)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries") / "made"
    make_library(folder, N_FILES, N_WINDOWS, n_parts=3)
    return folder


@pytest.fixture(scope="module", params=["files", "memory"])
def library(folder, request):
    library = Library.open(folder)
    if request.param == "memory":
        assert library.warm()
    return library


@pytest.fixture(scope="module")
def rows(folder):
    """Every window with what is true of its file, in order."""
    connection = Store.open(folder).connect()
    joined = connection.sql(
        "SELECT w.*, f.path, f.folder, f.name, f.duration_s, f.date_s, w.face_state = 'ok' AS is_seen,"
        " w.voice_state = 'ok' AS is_heard FROM windows w JOIN files f USING (file_id)"
        " ORDER BY f.path, person, start_s"
    )
    return joined.to_arrow_table().to_pylist()


def holds(query, row):
    """Say whether a window fits, by the rules in docs/search.md and by nothing of the package's own SQL."""
    if isinstance(query, Not):
        return not holds(query.inner, row)
    if isinstance(query, And):
        return all(holds(part, row) for part in query.parts)
    if isinstance(query, Or):
        return any(holds(part, row) for part in query.parts)
    if isinstance(query, Flag):
        return bool(row[FIELDS[query.name].column])
    if isinstance(query, Among):
        return any(compare(query.name, "=", value, row) for value in query.values)
    if isinstance(query, Like):
        text = row[FIELDS[query.name].column]
        return text is not None and matches(query.pattern.lower(), text.lower())
    return compare(query.left.name, query.operator, query.right, row)


def compare(name, operator, right, row):
    field = FIELDS[name]
    left = row[field.column]
    right = row[FIELDS[right.name].column] if isinstance(right, Name) else right
    if left is None or right is None:
        return False
    if isinstance(right, Date):
        begin, end = bounds_s(right)
        is_in = begin <= left < end
        return {
            "=": is_in,
            "!=": not is_in,
            "<": left < begin,
            "<=": left < end,
            ">": left >= end,
            ">=": left >= begin,
        }[operator]
    right = getattr(right, "value", right)
    if field.kind == "probability":
        left, right = np.float32(left), np.float32(right)
    return bool(
        {
            "=": lambda: left == right,
            "!=": lambda: left != right,
            "<": lambda: left < right,
            "<=": lambda: left <= right,
            ">": lambda: left > right,
            ">=": lambda: left >= right,
        }[operator]()
    )


def matches(pattern, text):
    """Match as SQL's LIKE does, by a table of all beginnings."""
    reached = [True] + [pattern[: place + 1].strip("%") == "" for place in range(len(pattern))]
    for letter in text:
        before, reached = reached, [False] * len(reached)
        for place, sign in enumerate(pattern, 1):
            alike = sign == "_" or sign == letter
            reached[place] = (before[place] or reached[place - 1]) if sign == "%" else (before[place - 1] and alike)
    return reached[-1]


def expected_moments(query, rows):
    """Join windows that fit and follow each other, file by file and person by person."""
    moments = []
    for row in rows:
        if not holds(query, row) or ("person" not in names_in(query) and row["person"] != 0):
            continue
        last = moments[-1] if moments else None
        is_next = last and last[:2] == [row["path"], row["person"]] and row["start_s"] <= last[3] + 1e-6
        if is_next:
            last[3] = row["end_s"]
        else:
            moments.append([row["path"], row["person"], row["start_s"], row["end_s"]])
    return sorted(map(tuple, moments))


def found_moments(found):
    return sorted((one.file, one.person, one.start_s, one.end_s) for one in found)


GOLDEN = [
    "angry > 0.6",
    "0.2 < happy <= 0.5",
    "happy > .3 and face and people >= 2 and file like '%WEDDING%'",
    "face.happy > 0.4 and voice.sad > 0.2",
    "not (face.happy > .3 or voice.happy > .3)",
    "not not voice.angry > .5",
    "not (face and not face.angry <= .5)",
    "label = happy or label in (sad, fear)",
    "label != neutral and sound = laughter",
    "sound not in (laughter)",
    "abstained and confidence < .3",
    "name like 'clip_000000%.MP4'",
    "folder = '/films/talks' or start > duration",
    "start >= 5 and end < 0:12",
    "duration = 20s and start > 18",
    "date = 2020-09-13 or date > 2020-09-15",
    "date <= 2020-09 and angry > sad",
    "date != 2020-09-14 and date < 2021",
    "person = 0 and angry > fear > .1",
    "person > 0",
    "confidence >= 99%",
]


@pytest.mark.parametrize("text", GOLDEN)
def test_moments_are_those_that_rows_give(library, rows, text):
    assert found_moments(library.search(text)) == expected_moments(parse_query(text), rows)


def test_the_golden_queries_find_something(library):
    empty = {text for text in GOLDEN if not len(library.search(text))}
    assert empty <= {"person > 0", "confidence >= 99%", "duration = 20s and start > 18"}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=QUERIES, limit=st.sampled_from([None, 3]))
def test_any_query_finds_what_rows_give(library, rows, query, limit):
    text = write_query(query)
    assume(len(text) <= MOST_CHARACTERS and "who" not in names_in(query))
    expected = expected_moments(query, rows)
    found = found_moments(library.search(text, limit=limit))
    assert len(found) == (len(expected) if limit is None else min(limit, len(expected)))
    assert set(found) <= set(expected)


def test_the_best_come_first_and_a_limit_keeps_them(library):
    full = library.search("angry > 0.5 or happy > 0.5")
    assert len(full) > 20 and list(full.score) == sorted(full.score, reverse=True)
    few = library.search("angry > 0.5 or happy > 0.5", limit=7)
    assert [replace(one) for one in few] == full[:7]


def test_the_score_is_the_least_that_was_asked_for(tmp_path):
    window = make_window(1, 0, 1, {"angry": 0.7, "happy": 0.2, "sad": 0.1})
    library = write_library(tmp_path / "l", [window])
    scores = {
        "angry > .5 and happy > .1": 0.2,
        "angry > .5 or happy > .1": 0.7,
        "angry > .5 and sad < .2": 0.7,
        "sad < .2": 0.9,
        "not sad > .2": 0.9,
        "not (angry < .5 or happy < .1)": 0.2,
        "face": 0.7,
        "angry > happy": 0.75,
        "voice.happy > .9 or face": 0.0,
    }
    for query, score in scores.items():
        assert library.search(query)[0].score == pytest.approx(score), query


def test_windows_that_follow_each_other_are_one_moment_with_their_mean(tmp_path):
    library = write_library(tmp_path / "l", angry_windows(0.7, 0.9, 0.1, 0.8, None, 0.9))
    found = library.search("angry > .6")
    assert times(found) == [(0, 2), (3, 4), (5, 6)]
    assert max(found, key=lambda one: one.end_s - one.start_s).score == pytest.approx(0.8)
    assert [one.label for one in found] == ["angry"] * 3


def test_means_weigh_windows_by_their_length(tmp_path):
    windows = [make_window(1, 0, 3, {"angry": 0.9}), make_window(1, 3, 4, {"angry": 0.7})]
    assert write_library(tmp_path / "l", windows).search("angry > .6")[0].score == pytest.approx(0.85)


def test_short_moments_are_left_out_and_gaps_bridged(tmp_path):
    library = write_library(tmp_path / "l", angry_windows(0.7, 0.9, 0.1, 0.8, None, None, 0.9))
    assert times(library.search("angry > .6", min_s=2)) == [(0, 2)]
    assert times(library.search("angry > .6", gap_s=1)) == [(0, 4), (6, 7)]
    assert times(library.search("angry > .6", gap_s=1, min_s=4)) == [(0, 4)]


def test_hysteresis_goes_on_while_a_little_less_is_shown(tmp_path):
    library = write_library(tmp_path / "l", angry_windows(0.45, 0.7, 0.55, 0.3, 0.55, 0.2))
    assert times(library.search("angry > .6", hysteresis=0.2)) == [(0, 3)]
    assert times(library.search("not angry <= .6", hysteresis=0.2)) == [(0, 3)]
    assert times(library.search("angry > .6 and not angry < .4", hysteresis=0.1)) == [(1, 3)]


def test_people_and_files_are_never_joined(tmp_path):
    windows = [*angry_windows(0.9), *angry_windows(0.9, person=1), *angry_windows(0.9, person=2)]
    windows += angry_windows(None, 0.9, number=2)
    library = write_library(tmp_path / "l", windows, files=(1, 2))
    assert len(library.search("angry > .5")) == 2, "single people are looked at though nobody asked for them"
    found = library.search("angry > .5 and person >= 0", gap_s=60)
    assert sorted((one.file[-5], one.person) for one in found) == [("1", 0), ("1", 1), ("1", 2), ("2", 0)]


def test_rows_in_no_order_give_the_same(tmp_path):
    windows = angry_windows(0.9, 0.8, 0.1, 0.7, 0.9) + angry_windows(0.9, 0.2, 0.9, number=2)
    expected = found_moments(write_library(tmp_path / "a", windows, files=(1, 2)).search("angry > .5"))
    shuffled = [windows[place] for place in np.random.default_rng(0).permutation(len(windows))]
    assert found_moments(write_library(tmp_path / "b", shuffled, files=(1, 2)).search("angry > .5")) == expected


def test_a_picture_is_found_though_it_has_no_length(tmp_path):
    library = write_library(tmp_path / "l", [make_window(1, 0, 0, {"happy": 0.9})])
    assert times(library.search("happy > .5")) == [(0, 0)]
    assert not len(library.search("happy > .5", min_s=1))


def test_an_empty_library_holds_no_moments(tmp_path):
    Store.open(tmp_path / "l", create=True)
    library = Library.open(tmp_path / "l")
    for _ in range(2):
        found = library.search("angry > 0.6 and file like '%a%'", limit=3)
        assert len(found) == 0 and list(found) == [] and found.to_arrow().num_rows == 0
        assert library.warm()


def test_what_comes_later_is_found_after_a_refresh(tmp_path):
    library = write_library(tmp_path / "l", angry_windows(0.9))
    library.warm()
    library.store.write("1of1", Rows.make([make_file(2)], angry_windows(0.9, number=2)))
    library.refresh()
    assert len(library.search("angry > .5")) == 2


def test_searches_go_on_while_a_writer_merges_parts(tmp_path):
    library = write_library(tmp_path / "l", angry_windows(0.9))
    assert len(library.search("angry > .5")) == 1
    for number in range(2, 70):
        library.store.write("1of1", Rows.make([make_file(number)], angry_windows(0.9, number=number)))
    assert len(library.search("angry > .5")) in (1, 69), "neither what was there when it was opened, nor what is there"
    library.refresh()
    assert len(library.search("angry > .5")) == 69


@pytest.mark.parametrize("table", ["files", "windows"])
def test_a_damaged_part_is_named_in_one_line(tmp_path, table):
    write_library(tmp_path / "l", angry_windows(0.9))
    (part,) = (tmp_path / "l" / table).glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-200])
    with pytest.raises(LibraryError, match=re.escape(str(part))) as caught:
        Library.open(tmp_path / "l").search("angry > .5 and duration > 1")
    assert "\n" not in str(caught.value)


def test_a_closed_library_leaves_nothing_and_can_be_used_again(tmp_path):
    with write_library(tmp_path / "l", angry_windows(0.9)) as library:
        assert len(library.search("angry > .5")) == 1
        temporary = Path(library._temporary.name)
        assert temporary.exists()
    assert not temporary.exists()
    assert len(library.search("angry > .5")) == 1


def test_threads_may_search_one_library(folder):
    library = Library.open(folder)
    queries = ["angry > .6", "happy > .6 and duration > 1", "sad > .6", "not face"] * 4
    expected = [found_moments(library.search(query)) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda query: found_moments(library.search(query)), queries)) == expected


def test_a_library_that_is_too_large_is_not_held_in_memory(folder):
    library = Library.open(folder, memory_mb=100)
    assert library.warm()
    library.memory_mb = 0
    assert not library.warm() and len(library.search("angry > .6"))


def test_a_query_that_needs_too_much_memory_is_told_in_one_line(folder):
    with pytest.raises(LibraryError, match="more than 16 MiB of memory"):
        Library.open(folder, memory_mb=16).sql("select list(a.i + b.i) from range(3000) a(i), range(3000) b(i)")


@pytest.mark.parametrize("options", [{"min_s": -1}, {"gap_s": float("nan")}, {"hysteresis": 2}, {"limit": 0}])
def test_options_out_of_range_are_refused_in_one_line(library, options):
    with pytest.raises(QueryError, match=f"^{next(iter(options))} is .*, expected"):
        library.search("angry > .5", **options)


def test_found_moments_are_a_table(library):
    found = library.search("angry > 0.6", limit=5)
    table = found.to_arrow()
    assert table.column_names == ["file", "start_s", "end_s", "person", "score", *EMOTIONS, "file_id"]
    assert table.column("file").to_pylist() == [one.file for one in found]
    assert table.column("angry").to_pylist() == [one.probabilities[0] for one in found]
    assert found[-1] == found[4] and len(found[1:3]) == 2
    with pytest.raises(IndexError):
        found[5]


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_tables_of_other_packages(library, name, monkeypatch):
    found = library.search("angry > 0.6", limit=5)
    try:
        __import__(name)
    except ImportError:
        with pytest.raises(LibraryError, match=f"{name} is not installed; pip install {name}"):
            getattr(found, f"to_{name}")()
    else:
        assert list(getattr(found, f"to_{name}")()["start_s"]) == list(found.start_s)


def test_a_pattern_takes_time_in_proportion_to_the_text(tmp_path):
    assert write_pattern("%a.b_%%c") == "(?is).*a\\.b..*c"
    library = write_library(tmp_path / "l", angry_windows(0.9))
    assert not len(library.search(f"file like '{'%a' * 900}b'"))


def test_values_never_become_sql(library):
    hostile = "'; DROP TABLE files; --"
    assert not len(library.search(f'name = "{hostile}" or folder like "{hostile}"'))
    assert library.sql("select count(*) n from files").column("n").to_pylist() == [N_FILES]


def test_sql_answers_from_the_three_tables(library):
    table = library.sql(
        "select name, max(w.p_angry) m from windows w join files using (file_id) group by name order by m desc"
    )
    assert table.num_rows == N_FILES
    assert library.sql("select count(*) c from people").column("c").to_pylist()[0] > 0


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("select * from read_text('/etc/passwd')", "disabled"),
        ("select * from '/etc/passwd'", "does not exist"),
        ("select * from read_csv('{outside}')", "disabled"),
        ("select * from glob('/etc/*')", "disabled"),
        ("copy files to '{outside}'", "one SELECT"),
        ("copy files to '{inside}'", "one SELECT"),
        ("create table t as select 1", "one SELECT"),
        ("drop view files", "one SELECT"),
        ("attach '{outside}'", "one SELECT"),
        ("install httpfs", "one SELECT"),
        ("load httpfs", "one SELECT"),
        ("set enable_external_access = true", "one SELECT"),
        ("pragma database_list", "one SELECT"),
        ("select 1; select 2", "one SELECT"),
        ("export database '{outside}'", "one SELECT"),
        ("", "one SELECT"),
        ("selekt 1", "syntax error"),
        ("select * from fils", "does not exist"),
        ("select * from secret_frame", "does not exist"),
    ],
)
def test_sql_reads_nothing_else_and_writes_nothing(folder, tmp_path, statement, told):
    secret_frame = Store.open(folder).connect().sql("select 1 a").to_arrow_table()  # noqa: F841  # DuckDB could see it
    outside = tmp_path / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    inside = folder / "files" / "stray.parquet"
    library = Library.open(folder)
    with pytest.raises(QueryError) as caught:
        library.sql(statement.format(outside=outside, inside=inside))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert outside.read_text() == "a,b\n1,2\n" and not inside.exists()
    assert library.sql("select count(*) n from files").column("n").to_pylist() == [N_FILES]


def test_dates_are_whole_days_months_and_years():
    assert bounds_s(Date("1970-01-01")) == (0, DAY_S)
    assert bounds_s(Date("2024-02"))[1] - bounds_s(Date("2024-02"))[0] == 29 * DAY_S
    assert bounds_s(Date("2023"))[1] == bounds_s(Date("2024"))[0]


def test_the_reference_knows_like():
    assert matches("%a_b%", "xxaxbyy") and not matches("a%b", "acbc") and matches("%", "") and matches("%%a", "a")
    assert isinstance(Comparison(Name("label"), "=", Text("sad")), Comparison)


def test_a_search_that_takes_long_prints_nothing(library, capfd):
    shown = "select current_setting('enable_progress_bar') as shown"
    assert library.sql(shown).to_pylist() == [{"shown": False}]
    assert library.read(lambda connection: connection.sql(shown).fetchall()) == [(False,)]
    assert capfd.readouterr().out == ""
