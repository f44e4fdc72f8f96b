"""Answers out: as text, as pictures, to files and to the terminal."""

from __future__ import annotations

from moodreel.output.formats import Format, find_format, list_formats

__all__ = ["Format", "find_format", "list_formats"]
