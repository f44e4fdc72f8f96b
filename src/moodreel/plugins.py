"""Plug-ins: what other packages add to moodreel, and moodreel itself registers, by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from moodreel.errors import MoodreelError


def find_entries(group: str, own: Mapping[str, str] = MappingProxyType({})) -> dict[str, EntryPoint]:
    """Find what is registered, without importing any of it.

    Args:
        group: name of the entry points, such as `moodreel.formats`.
        own: what moodreel registers itself, name -> `module:object`; no plug-in takes the place of one.

    Returns:
        Name -> entry point: moodreel's own in their order, then the plug-ins by name.
    """
    entries = {name: EntryPoint(name, value, group) for name, value in own.items()}
    for plugin in sorted(entry_points(group=group), key=lambda entry: entry.name):
        entries.setdefault(plugin.name, plugin)
    return entries


def load_entry(entry: EntryPoint, kind: type | None = None) -> Any:
    """Import what an entry point names.

    Args:
        entry: from `find_entries`.
        kind: what it must be an instance of; `None` for something to call.

    Raises:
        MoodreelError: importing it fails, whatever it raises, or gives something else.
    """
    try:
        found = entry.load()
    except Exception as error:  # a plug-in may fail in any way, and must not take moodreel with it
        raise MoodreelError(f"{_describe(entry)} cannot be loaded ({type(error).__name__}: {error})") from error
    if not (callable(found) if kind is None else isinstance(found, kind)):
        expected = "something to call" if kind is None else f"a {kind.__name__}"
        raise MoodreelError(f"{_describe(entry)} is {type(found).__name__!r}, expected {expected}")
    return found


def _describe(entry: EntryPoint) -> str:
    package = f" of the package {entry.dist.name}" if entry.dist is not None else ""
    return f"the plug-in {entry.name!r}{package} ({entry.group}, {entry.value})"
