"""Help and `doctor`: every option is readable on a narrow terminal, and sizes are those of the docs."""

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from moodreel.cli.examination import examine, format_examination
from moodreel.cli.main import app


def commands(command, path=()):
    """Yield each command with the words that call it."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_at_80_columns_cuts_no_option(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80).output
    for parameter in ALL[path].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-"):
                assert re.search(rf"{re.escape(option)}(?![\w-])", shown), f"{option} of {path} is cut"
    assert max(map(len, shown.splitlines())) <= 80


def test_help_keeps_brackets_of_its_texts():
    shown = CliRunner().invoke(app, ["predict", "--help"], terminal_width=200, env={"COLUMNS": "200"}).output
    assert shown.count("seconds, or as 1:02:03") == 2


def test_doctor_and_docs_agree_about_the_default_bundle():
    (default,) = (bundle for bundle in examine().bundles if bundle.title.startswith("default "))
    docs = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    told = re.search(r"default bundle has ([\d.]+) MB", docs)
    assert told and float(told[1]) == pytest.approx(default.size_mb, abs=0.06)
    assert f"{default.size_mb:.1f} MB (networks {default.networks_mb:.1f})" in format_examination(examine())
