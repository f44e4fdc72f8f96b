"""How what an installation lacks is installed, said as it works for this installation."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "moodreel"
_REQUIREMENT = re.compile(
    r"\s*(?P<package>[A-Za-z0-9._-]+)(?P<version>[^;]*)(;.*\bextra\s*==\s*['\"](?P<extra>[^'\"]+))?"
)


def advise(extra: str) -> str:
    """Return the command that installs an extra.

    From a clone or a wheel that is still where it was installed from, or from a repository, it names that; else the
    packages that are missing, for no index may be taken to have moodreel.

    Args:
        extra: of `pyproject.toml`, such as `train`.
    """
    try:
        found = distribution(NAME)
    except PackageNotFoundError:  # a source tree on the path
        return f"pip install '.[{extra}]' in the folder of pyproject.toml"
    source = _find_source(found)
    if source is not None:
        return f"pip install {source.format(extra=extra)}"
    packages = _find_missing(found, extra)
    return f"pip install {' '.join(map(shlex.quote, packages))}"


def _find_source(found: Distribution) -> str | None:
    """Return what pip is told to install moodreel from again, with `{extra}` for the extra; `None` where unknown."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        url = str(origin.get("url", ""))
    except (ValueError, AttributeError):
        return None
    if "vcs_info" in origin:
        where = f"{NAME}[{{extra}}] @ {origin['vcs_info'].get('vcs', 'git')}+{_brace(url)}"
        return shlex.quote(where)
    path = Path(unquote(urlsplit(url).path))
    if not url.startswith("file:") or not path.exists():
        return None
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return editable + shlex.quote(f"{_brace(str(path))}[{{extra}}]")


def _brace(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _find_missing(found: Distribution, extra: str) -> Sequence[str]:
    """Return the requirements of an extra that are not installed; all of them where each is there."""
    matches = [
        match for line in found.requires or () if (match := _REQUIREMENT.match(line)) and match["extra"] == extra
    ]
    wanted = {match["package"]: match["package"] + match["version"].strip() for match in matches}
    missing = [requirement for package, requirement in wanted.items() if not _is_installed(package)]
    return missing or list(wanted.values())


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
