"""The same person in several files: told by the face alone, and only where somebody asks for it."""

import numpy as np
import pytest

from made_windows import make_person, make_window, write_library
from moodreel.bundle import load_bundle
from moodreel.errors import LibraryError, QueryError
from moodreel.library import people


@pytest.fixture(autouse=True)
def bundle_that_tells(monkeypatch):
    monkeypatch.setattr(people, "read_same_person", lambda bundle: 0.5)


def face(*values):
    return list(np.float32(values))


@pytest.fixture
def library(tmp_path):
    """Anna in three files, Ben in one of them, somebody too small to tell."""
    windows = [
        make_window(number, 0, 1, {"happy": 0.5 + number / 10}, person=person)
        for number, person in ((1, 1), (2, 1), (2, 2), (3, 1), (3, 2))
    ]
    windows += [make_window(number, 0, 1, {"happy": 0.95}) for number in (1, 2, 3)]
    told = [
        make_person(1, 1, face(0, 1, 0)),
        make_person(2, 1, face(1, 0, 0)),
        make_person(2, 2, face(0, 2, 0.1)),
        make_person(3, 1, face(0.1, 1, 0)),
        make_person(3, 2, None),
    ]
    return write_library(tmp_path / "l", windows, files=(1, 2, 3), people=told)


def whose(found):
    return sorted((one.file[-5], one.person, one.who) for one in found)


@pytest.mark.parametrize("is_warm", [False, True])
def test_each_person_has_a_number_in_the_whole_library(library, is_warm):
    assert library.warm() or not is_warm
    expected = [("1", 1, 1), ("2", 1, 2), ("2", 2, 1), ("3", 1, 1), ("3", 2, 0)]
    assert whose(library.search("happy > .5", people=True)) == expected
    best = library.search("happy > .5", people=True, limit=2)
    assert whose(best) == [("3", 1, 1), ("3", 2, 0)]
    assert library.search("happy > .5", people=True).to_arrow().column_names[-1] == "who"


def test_one_person_can_be_looked_for(library):
    assert whose(library.search("who = 1 and happy > .65", people=True)) == [("2", 2, 1), ("3", 1, 1)]
    assert whose(library.search("not who = 1", people=True)) == [("2", 1, 2), ("3", 2, 0)]


def test_nobody_is_told_apart_unasked(library):
    found = library.search("person > 0")
    assert len(found) == 5 and {one.who for one in found} == {0}
    with pytest.raises(QueryError, match="'who' is known only where people are told apart, with --people"):
        library.search("who = 1")


def test_vectors_of_another_network_are_left_out(tmp_path):
    windows = [make_window(number, 0, 1, {"happy": 0.9}, person=1) for number in (1, 2, 3)]
    told = [make_person(1, 1, face(1, 0)), make_person(2, 1, face(1, 0, 0)), make_person(3, 1, face(1, 0, 0))]
    library = write_library(tmp_path / "l", windows, files=(1, 2, 3), people=told)
    assert whose(library.search("happy > .5", people=True)) == [("1", 1, 0), ("2", 1, 1), ("3", 1, 1)]


def test_faces_that_are_all_zeros_are_nobodys(tmp_path):
    windows = [make_window(1, 0, 1, {"happy": 0.9}, person=1)]
    library = write_library(tmp_path / "l", windows, people=[make_person(1, 1, face(0, 0))])
    assert whose(library.search("happy > .5", people=True)) == [("1", 1, 0)]


def test_too_many_people_are_refused_in_one_line(library, monkeypatch):
    monkeypatch.setattr(people, "MOST_PEOPLE", 3)
    with pytest.raises(LibraryError, match="more than 3 people"):
        library.search("happy > .5", people=True)


def test_a_bundle_that_does_not_tell_people_apart_is_named(library, monkeypatch, tiny_bundle):
    monkeypatch.undo()
    assert "appearance" not in load_bundle(tiny_bundle).networks
    library.model = str(tiny_bundle)
    with pytest.raises(LibraryError, match="does not tell people apart"):
        library.search("happy > .5", people=True)
