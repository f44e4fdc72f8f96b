"""Answers as text: a file per format, and how the one asked for is found."""

from __future__ import annotations

from moodreel.output.formats.find import find_format, list_formats
from moodreel.output.formats.format import Column, Format, join_lines, mark_bytes

__all__ = ["Column", "Format", "find_format", "join_lines", "list_formats", "mark_bytes"]
