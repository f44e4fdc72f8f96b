"""Answers out: as text, as pictures, to files and to the terminal."""

from __future__ import annotations

from moodreel.output.formats import format_csv, format_vtt
from moodreel.output.overlay import write_overlay
from moodreel.output.plot import write_plot
from moodreel.output.report import Report
from moodreel.output.table import format_table

__all__ = [
    "Report",
    "format_csv",
    "format_table",
    "format_vtt",
    "write_overlay",
    "write_plot",
]
