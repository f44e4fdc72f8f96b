"""The published schema: what docs/library.md says is what stands in the files."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from made_library import make_library
from moodreel.labels import EMOTIONS
from moodreel.library.alike_vector import SOUNDS, alike_vector
from moodreel.library.describe import from_text, to_text
from moodreel.library.schema import ALIKE_WIDTH, COLUMNS, TABLES, arrow_schema
from moodreel.recognition.segments import Window

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


@pytest.mark.parametrize("table", TABLES)
def test_the_docs_list_the_columns(table):
    section = PAGE.read_text().split(f"### `{table}`")[1].split("\n### ")[0]
    expected = [
        f"| `{column.name}` | {column.type}{', null' if column.may_be_null else ''} | {column.meaning} |"
        for column in COLUMNS[table]
    ]
    assert re.findall(r"^\| `.*$", section, re.MULTILINE) == expected


@pytest.mark.parametrize("table", TABLES)
def test_files_are_of_the_schema(tmp_path, table):
    make_library(tmp_path / "lib", 3, 3)
    (part,) = (tmp_path / "lib" / table).iterdir()
    assert pq.read_schema(part).equals(arrow_schema(table), check_metadata=True)


def window(**values):
    even = tuple([1 / 7] * 7)
    return Window(0.0, 1.0, "angry", **{"probabilities": even, **values})


def test_windows_that_show_the_same_are_near():
    angry, sad = ((0.7, *[0.05] * 6), (*[0.05] * 5, 0.7, 0.05))
    here = alike_vector(window(probabilities=angry, face=angry))
    same = alike_vector(window(probabilities=angry, face=(0.66, *[0.0566] * 6)))
    other = alike_vector(window(probabilities=sad, face=sad))
    assert here.shape == (ALIKE_WIDTH,) and here.dtype == "float32"
    assert abs(here - same).sum() < 0.2 * abs(here - other).sum()


def test_what_is_absent_or_unknown_is_zero():
    vector = alike_vector(window(sounds={"laughter": 1.0, "of another bundle": 0.0}))
    assert list(vector[: 3 * len(EMOTIONS)]) == pytest.approx([0.0] * 21, abs=1e-6)
    assert vector[21 + SOUNDS.index("laughter")] == 3.0 and abs(vector).sum() == pytest.approx(3.0, abs=1e-5)
    assert alike_vector(window(face=(1.0, *[0.0] * 6))).max() < 5, "a probability of 0 must not reach infinity"


@pytest.mark.parametrize("name", ["a.mp4", "ä ö.mp4", "b\udcffd.mp4", r"back\slash.mp4"])
def test_names_come_back(name):
    to_text(name).encode("utf-8")
    assert from_text(to_text(name)) == name
