"""Output formats: each is found by its name, says how its answers stand together, and an unknown one is named."""

import pytest

from moodreel.errors import MoodreelError, OutputError
from moodreel.output.formats import Format, find_format, join_lines, list_formats
from moodreel.output.formats.json import FORMAT as JSON


def test_every_format_of_the_list_is_found_under_its_own_name():
    assert list_formats()[:5] == ("table", "json", "jsonl", "csv", "vtt")
    for name in list_formats():
        assert find_format(name).name == name and find_format(name).suffix.startswith(".")


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(OutputError, match=r"unknown format 'jsnl', expected one of table, .*; did you mean 'jsonl'\?"):
        find_format("jsnl")


def test_answers_are_joined_as_lines_or_as_a_list():
    assert join_lines(["a", "b\n"], True) == "a\nb\n"
    assert JSON.join(["{}\n"], False) == "{}\n" and JSON.join(["{}", "{}"], True) == "[\n{},\n{}\n]\n"


@pytest.mark.parametrize("value", ["no_such_module:FORMAT", "moodreel.labels:EMOTIONS", "moodreel.labels:NOTHING"])
def test_a_broken_plug_in_is_named_when_it_is_asked_for_and_harms_no_other(monkeypatch, value):
    from importlib.metadata import EntryPoint, EntryPoints

    broken = EntryPoints([EntryPoint("srt", value, "moodreel.formats"), EntryPoint("csv", value, "moodreel.formats")])
    monkeypatch.setattr("moodreel.plugins.entry_points", lambda group: broken)
    assert list_formats()[-1] == "srt" and isinstance(find_format("csv"), Format)
    with pytest.raises(
        MoodreelError, match=r"the plug-in 'srt' \(moodreel.formats, .*\) (cannot be loaded|is 'tuple')"
    ):
        find_format("srt")
