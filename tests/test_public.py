"""What the package offers to programs: every name is there, documented, light to import and seen by type checkers."""

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moodreel

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_readme_lists_what_is_public():
    (listed,) = re.findall(r"All that a program needs.*?\n\n", README, re.DOTALL)
    named = set(re.findall(r"`(\w+)`", listed)) - {"moodreel"}
    assert named == set(moodreel.__all__) - {"__version__"}


@pytest.mark.parametrize("name", moodreel.__all__)
def test_every_public_name_is_there_and_has_one_place(name):
    assert getattr(moodreel, name) is getattr(moodreel, name)
    assert name in dir(moodreel)


def test_every_error_of_a_user_is_public():
    from moodreel import errors

    kinds = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert kinds <= set(moodreel.__all__)


def test_no_other_name_is_made_up():
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        moodreel.Recogniser  # noqa: B018


def test_help_shows_an_example_and_the_classes():
    shown = pydoc.plain(pydoc.render_doc(moodreel))
    assert 'Recognizer.load("default")' in shown and "class Recognizer" in shown and "class MediaError" in shown


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, moodreel; moodreel.EMOTIONS; moodreel.MediaError; dir(moodreel)\n"
        "heavy = {'numpy', 'av', 'onnxruntime', 'PIL', 'torch', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    from media_files import write_wav
    from moodreel.cli.demo_clip import synthesise_voice

    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "a.wav", synthesise_voice()[:32_000, None]).rename(tmp_path / "clip.mp4")
    exec(compile(moodreel.__doc__.split("\n\n", 1)[1], "moodreel", "exec"), {})
    assert "0.0 2.0" in capsys.readouterr().out


def test_a_type_checker_sees_every_name(tmp_path):
    pytest.importorskip("mypy")
    names = ", ".join(name for name in moodreel.__all__ if name != "__version__")
    (tmp_path / "user.py").write_text(
        f"from moodreel import {names}\n"
        "label: str | None = Recognizer.load('default').predict('a').label\n"
        "number: int = Recognizer.load('default').predict('a').label\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "user.py"]
    source = Path(moodreel.__file__).parents[1]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"MYPYPATH": str(source), "PATH": ""}
    )
    errors = [line for line in done.stdout.splitlines() if "error" in line and line.startswith("user.py")]
    assert len(errors) == 1 and errors[0].startswith("user.py:3"), done.stdout
