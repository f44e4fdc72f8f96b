"""What a message says to install can be typed as it stands, however moodreel was installed."""

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from moodreel import extras

ROOT = Path(__file__).parents[1]
REQUIRES = [
    "numpy>=1.26",
    "torch>=2.4; extra == 'train'",
    "no-such-package<9,>=2; extra == 'train'",
    "another_one; python_version < '4' and extra == 'train'",
    "pyarrow>=15; extra == 'parquet'",
]


class Installed:
    """An installation that came from somewhere."""

    requires = REQUIRES

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.origin if self.origin is None or isinstance(self.origin, str) else json.dumps(self.origin)


@pytest.fixture
def advise(monkeypatch):
    def ask(origin, extra="train"):
        def find(name):
            if name == "moodreel":
                return Installed(origin)
            if name == "torch":
                return object()
            raise PackageNotFoundError(name)

        monkeypatch.setattr(extras, "distribution", find)
        return extras.advise(extra)

    return ask


def test_from_a_clone_or_a_wheel_that_is_still_there(advise, tmp_path):
    clone = tmp_path / "my {clone}"
    clone.mkdir()
    origin = {"url": clone.as_uri(), "dir_info": {}}
    assert advise(origin) == f"pip install '{clone}[train]'"
    assert advise({**origin, "dir_info": {"editable": True}}) == f"pip install -e '{clone}[train]'"
    wheel = tmp_path / "moodreel-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert advise({"url": wheel.as_uri(), "archive_info": {}}, "parquet") == f"pip install '{wheel}[parquet]'"


def test_from_a_repository(advise):
    origin = {"url": "https://example.org/moodreel.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert advise(origin) == "pip install 'moodreel[train] @ git+https://example.org/moodreel.git'"


@pytest.mark.parametrize("origin", [None, "no JSON", {"url": "file:///no/such/clone", "dir_info": {}}, {"url": 5}])
def test_otherwise_the_missing_packages_are_named(advise, origin):
    """`pip install 'moodreel[train]'` once sent people to an index that has no moodreel."""
    assert advise(origin) == "pip install 'no-such-package<9,>=2' another_one"
    assert advise(origin, "parquet") == "pip install 'pyarrow>=15'"


def test_no_text_tells_anyone_to_install_moodreel_from_an_index():
    texts = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found = [path.name for path in texts if re.search(r"pip install [^`\n]*[\"' ]moodreel\b(?!-)", path.read_text())]
    assert found == []
