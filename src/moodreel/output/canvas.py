"""What plots are drawn on: pixels or SVG, through the calls that Pillow has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SHORT_PX = 1200
"""Width of the plot of a short clip."""
MARGINS_PX = 280
"""What of a plot's width is not the timeline."""
SECOND_PX = 2
MOST_PX = 7480
"""Width of the plot of an hour; those of longer clips are no wider."""

_ANCHORS = {"l": "start", "m": "middle", "r": "end"}
_RISE = {"a": 0.8, "m": 0.35, "s": 0.0}
"""How far below a text's anchor its baseline lies, in letter heights: anchored at the top, the middle, the baseline."""


def measure_width_px(duration_s: float) -> int:
    """Return the width of a plot: it grows with the clip, so that a second stays visible."""
    return min(max(SHORT_PX, MARGINS_PX + math.ceil(duration_s * SECOND_PX)), MOST_PX)


class PixelDraw(ImageDraw.ImageDraw):
    """Draws pixels on white, and writes them as JPEG or PNG."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        self._picture = Image.new("RGB", size_px, "white")
        super().__init__(self._picture)

    def save(self, path: Path) -> None:
        """Write the picture, JPEG where it is called so and else PNG.

        Raises:
            OSError: the file cannot be written.
        """
        if path.suffix.lower() in (".jpg", ".jpeg"):
            self._picture.save(path, format="JPEG", quality=92, subsampling=0)
        else:
            self._picture.save(path, format="PNG")


class SvgDraw:
    """Takes shapes and texts as `PIL.ImageDraw.ImageDraw` does, and writes them as SVG."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        self._size_px = size_px
        self._shapes: list[str] = []

    def rectangle(self, area: Sequence[float], fill: str | None = None) -> None:
        """Draw a box from its left, top, right and bottom."""
        left, top, right, bottom = area
        place = f'x="{_px(left)}" y="{_px(top)}" width="{_px(right - left)}" height="{_px(bottom - top)}"'
        self._shapes.append(f'<rect {place} fill="{fill or "none"}"/>')

    def polygon(self, points: Iterable[Sequence[float]], fill: str | None = None, outline: str | None = None) -> None:
        """Draw a polygon through points."""
        corners = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
        self._shapes.append(f'<polygon points="{corners}" fill="{fill or "none"}" stroke="{outline or "none"}"/>')

    def line(self, ends: Sequence[float], fill: str) -> None:
        """Draw a line between two points."""
        x1, y1, x2, y2 = map(_px, ends)
        self._shapes.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{fill}"/>')

    def text(
        self, place: Sequence[float], text: str, fill: str, font: ImageFont.FreeTypeFont, anchor: str = "la"
    ) -> None:
        """Write a text; the anchor is Pillow's: `l`, `m` or `r` and `a`, `m` or `s`."""
        x, y = place[0], place[1] + _RISE[anchor[1]] * font.size
        style = f'font-size="{font.size:g}" text-anchor="{_ANCHORS[anchor[0]]}" fill="{fill}"'
        self._shapes.append(f'<text x="{_px(x)}" y="{_px(y)}" {style}>{escape(text)}</text>')

    def save(self, path: Path) -> None:
        """Write the SVG file.

        Raises:
            OSError: the file cannot be written.
        """
        width, height = self._size_px
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        ground = f'<rect width="{width}" height="{height}" fill="white"/>'
        path.write_text("\n".join([head, ground, *self._shapes, "</svg>", ""]), "utf-8", errors="backslashreplace")


Canvas = PixelDraw | SvgDraw


def open_canvas(size_px: tuple[int, int], path: Path) -> Canvas:
    """Return what to draw a file on, by its suffix."""
    return SvgDraw(size_px) if path.suffix.lower() == ".svg" else PixelDraw(size_px)


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
