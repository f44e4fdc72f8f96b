"""Which output formats there are: moodreel's own, a file each beside this one, and those of plug-ins."""

from __future__ import annotations

from moodreel.errors import OutputError
from moodreel.output.formats.format import Format
from moodreel.plugins import find_entries, load_entry
from moodreel.text import suggest

PLUGINS = "moodreel.formats"
"""Group of entry points that name a `Format` each."""

_OWN = {
    name: f"moodreel.output.formats.{name.replace('-', '_')}:FORMAT"
    for name in ("table", "json", "jsonl", "csv", "vtt", "csv-clips", "rttm")
}


def list_formats() -> tuple[str, ...]:
    """Return the names of all formats, without importing them."""
    return tuple(find_entries(PLUGINS, _OWN))


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        OutputError: there is none of that name; the message lists all.
        MoodreelError: it is a plug-in that cannot be loaded.
    """
    entries = find_entries(PLUGINS, _OWN)
    if name not in entries:
        raise OutputError(f"unknown format {name!r}, expected one of {', '.join(entries)}{suggest(name, entries)}")
    found: Format = load_entry(entries[name], Format)
    return found
