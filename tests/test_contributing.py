"""The plug-ins that CONTRIBUTING shows work when they are installed, broken ones harm nobody, and its paths exist."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import chirp
from media_files import write_sound

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = re.findall(r"```python\n# (\w+)\.py\n(.*?)```\n\n```toml\n(.*?)```", TEXT, re.DOTALL)


def install(folder, module, code, registration):
    """Lay a package down as pip would: its module, and what it registers."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0\n")
    groups = tomllib.loads(registration)["project"]["entry-points"]
    lines = [f"[{group}]\n{name} = {value}\n" for group, entries in groups.items() for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def moodreel(tmp_path):
    """Run a command line in a process of its own that sees the packages in a folder; returns what came of it."""
    (tmp_path / "packages").mkdir()

    def run(*arguments):
        path = os.pathsep.join([str(tmp_path / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "moodreel", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)

    return run


@pytest.fixture
def examples(tmp_path, moodreel):
    for module, code, registration in EXAMPLES:
        install(tmp_path / "packages", module, code, registration)


@pytest.fixture
def broken(tmp_path, moodreel):
    """A package whose plug-ins of all three kinds fail when they are imported, and one that is of the wrong kind."""
    groups = [f'[project.entry-points."moodreel.{kind}"]\nbroken = "broken:X"' for kind in ("formats", "corpora")]
    commands = '[project.entry-points."moodreel.commands"]\nbroken = "broken:X"\nodd = "odd:f"\ndoctor = "odd:g"\n'
    install(tmp_path / "packages", "broken", "import no_such_module\n", "\n".join([*groups, commands]))
    (tmp_path / "packages" / "odd.py").write_text("def f(x: 'NoSuch'): ...\ndef g(): ...\n")


@pytest.fixture
def sound(tmp_path):
    return write_sound(tmp_path / "a.wav", 3, sound=chirp)


def test_there_is_an_example_of_each_kind_and_it_is_short():
    kinds = [re.search(r'"(moodreel\.\w+)"', registration).group(1) for _, _, registration in EXAMPLES]
    assert kinds == ["moodreel.commands", "moodreel.formats", "moodreel.corpora"]
    assert max(len(code.split("\n")) - code.count("\n\n") for _, code, _ in EXAMPLES) <= 15


def test_the_command_runs(examples, moodreel, tiny_bundle, sound):
    done = moodreel("loudest", sound, "--model", tiny_bundle)
    assert (done.returncode, done.stderr) == (0, "") and re.fullmatch(r"\d\.\d s: surprise\n", done.stdout)
    assert "Say when a clip" in moodreel("--help").stdout


def test_the_format_is_written_and_listed(examples, moodreel, tiny_bundle, sound, tmp_path):
    done = moodreel("predict", sound, "--model", tiny_bundle, "--format", "srt")
    assert done.returncode == 0 and done.stdout.startswith("1\n00:00:00,000 --> 00:00:03,000\nsurprise\n"), done.stderr
    assert moodreel("predict", sound, "-m", tiny_bundle, "-f", "srt", "-o", tmp_path / "cues").returncode == 0
    assert (tmp_path / "cues" / "a.srt").read_text() == done.stdout
    assert "srt" in moodreel("predict", "--help").stdout


def test_the_corpus_is_recognised_and_read(examples, moodreel, tmp_path):
    for name in ("DC/a01.wav", "JE/h01.wav", "JK/n01.wav", "KL/sa1.wav"):
        (tmp_path / "SAVEE" / name).parent.mkdir(parents=True)
        write_sound(tmp_path / "SAVEE" / name, 0.2)
    done = moodreel("corpus", tmp_path / "SAVEE", "--json")
    assert done.returncode == 0 and '"savee"' in done.stdout and '"JK"' in done.stdout, done.stderr
    assert "savee: <speaker>" in moodreel("corpus", tmp_path / "packages").stderr, "a list of layouts lacks it"


def test_a_broken_plug_in_costs_a_line_and_itself_alone(examples, broken, moodreel, tiny_bundle, sound, tmp_path):
    done = moodreel("loudest", sound, "--model", tiny_bundle)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and "surprise" in done.stdout
    assert len(lines) == 3 and all(line.startswith("moodreel: warning: the plug-in ") for line in lines), done.stderr
    assert "no_such_module" in lines[0] and "'doctor'" in lines[1] and "'f'" in lines[2]
    assert "onnxruntime" in moodreel("doctor").stdout, "a plug-in took the place of a command"
    done = moodreel("predict", sound, "-m", tiny_bundle, "--format", "broken")
    assert done.returncode == 2 and "error: the plug-in 'broken' of the package broken" in done.stderr
    (tmp_path / "happy").mkdir()
    write_sound(tmp_path / "happy" / "a.wav", 0.2)
    done = moodreel("corpus", tmp_path, "--layout", "folders", "--json")
    assert done.returncode == 0 and sum("moodreel.corpora" in line for line in done.stderr.splitlines()) == 1


def test_every_path_exists():
    paths = re.findall(r"`([\w./-]+(?:\.py|\.yaml|/))`", TEXT)
    assert len(paths) > 15
    missing = [path for path in paths if not any((root / path).exists() for root in (ROOT, ROOT / "src" / "moodreel"))]
    assert not missing


def test_ten_things_are_easily_found():
    assert len(re.findall(r"^\| (?:an?|the|AVIF) .*`[\w/]+\.py`", TEXT, re.MULTILINE)) == 10
