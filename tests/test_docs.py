"""What README and docs show runs, and links lead somewhere."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moodreel.cli import main as cli
from moodreel.cli.demo_clip import write_demo_clip
from moodreel.output.formats import find_format

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_demo_clip(tmp_path / "moodreel-demo" / "demo.mp4")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue().startswith("happy")


def test_demo_prints_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["moodreel", "demo"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = re.search(r"\$ moodreel demo\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    printed = capsys.readouterr().out
    assert printed.split("->")[1].split()[0] == shown.split("->")[1].split()[0], "README shows another label"
    assert next(line.split()[0] for line in printed.split("\n\n")[1].splitlines()) == "happy"


@pytest.mark.parametrize("name", ["csv", "csv-clips"])
def test_the_data_dictionary_is_that_of_the_formats(name):
    page = (ROOT / "docs" / "output.md").read_text()
    section = page.split(f"## Columns of `{name}`")[1].split("\n## ")[0]
    expected = [f"| `{column.name}` | {column.meaning} |" for column in find_format(name).columns]
    assert re.findall(r"^\| `.*$", section, re.MULTILINE) == expected


def test_every_command_that_the_docs_name_exists():
    pattern = re.compile(r"(?:`|^ {4}|\$ )moodreel ([a-z0-9]+)\b", re.MULTILINE)
    named = {word for page in PAGES for word in pattern.findall(page.read_text())}
    listed = CliRunner().invoke(cli.app, ["--help"]).output
    commands = set(re.findall(r"^│ ([a-z]+) ", listed, re.MULTILINE))
    assert named & commands, "no command is named at all"
    assert named <= commands, f"docs name commands that are not there: {sorted(named - commands)}"
