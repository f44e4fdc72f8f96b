"""What docs/search.md shows is so: its words are those of the language, its queries are read, its Python runs."""

import re
from pathlib import Path

import pytest

from moodreel.library import grammar
from moodreel.library.fields import FIELDS, SOUNDS
from moodreel.library.formats import FORMATS
from moodreel.library.grammar import parse_query

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
ASKED = re.findall(r"^\| .* \| `([^`]*[<>=][^`]*)` \|$", PAGE.split("## Ask")[1].split("### Words")[0], re.MULTILINE)


@pytest.mark.parametrize("query", ASKED)
def test_every_example_is_read(query):
    parse_query(query)


def test_there_are_examples():
    assert len(ASKED) >= 7


def test_the_table_of_words_is_whole():
    table = PAGE.split("### Words")[1].split("\n- ")[0]
    named = set(re.findall(r"`([\w.]+)`", table))
    plain = {name for name in FIELDS if "." not in name}
    assert plain <= named, f"not told: {sorted(plain - named)}"
    assert named - set(FIELDS) - set(SOUNDS) <= {"label", "happy"}


def test_the_grammar_is_that_of_the_parser():
    rules = re.findall(r"^    (?:\w+ +=|  +\|).*$", grammar.__doc__, re.MULTILINE)
    assert len(rules) > 8 and all(rule in PAGE for rule in rules)


def test_limits_and_formats_are_those_of_the_code():
    assert f"{grammar.MOST_COMPARISONS} comparisons and {grammar.DEEPEST} levels" in PAGE
    assert re.findall(r"^\| `(\w+)` \| ", PAGE.split("## Take it along")[1], re.MULTILINE) == list(FORMATS)


def test_the_python_runs(tmp_path, monkeypatch):
    from made_library import make_library

    monkeypatch.chdir(tmp_path)
    make_library("moods", 6, 10)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    held = {}
    exec(compile(code.replace("debate.mp4#t=61,65", "/films/weddings/clip 0000000.mp4#t=1,3"), "page", "exec"), held)
    assert len(held["more"]) and held["hours"].num_rows == 4
