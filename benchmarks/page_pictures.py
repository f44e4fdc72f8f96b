"""The pictures of the pages in the docs, made anew: needs Chromium and the extras `serve`, `library` and `dev`.

    python benchmarks/page_pictures.py docs

writes `serve.png`, and `serve-phone.png` in dark colours, of the demo clip, and `library-page.png` of a drawn library.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import Page, chromium, emulate
from drawn_library import write_drawn_library
from moodreel.cli.demo_clip import write_demo_clip
from running_server import running_server

AT_S = 1.5
PICTURED = "return [...document.querySelectorAll('.shot img')].every((one) => one.complete && one.naturalWidth > 0)"
SHOTS = {"serve.png": ("light", 1200), "serve-phone.png": ("dark", 390)}


def main(folder: Path, clip: Path | None = None) -> None:
    """Upload a clip, by default the demo's, and picture its answer in each size."""
    with tempfile.TemporaryDirectory() as made, chromium() as driver, running_server("default") as (address, _):
        given = clip or write_demo_clip(Path(made) / "demo.mp4")
        for name, (scheme, width_px) in SHOTS.items():
            emulate(driver, scheme=scheme, width_px=width_px)
            driver.get(address)
            driver.find_element("id", "file").send_keys(str(given.absolute()))
            while not driver.find_elements("css selector", "#timeline canvas.thumbnail"):
                time.sleep(0.2)
            driver.execute_script(f"document.querySelector('#player video').currentTime = {AT_S}; scrollTo(0, 0)")
            time.sleep(2)
            (folder / name).write_bytes(_picture(driver))
    picture_library(folder)


def picture_library(folder: Path) -> None:
    """Search a drawn library, and picture what is found."""
    with tempfile.TemporaryDirectory() as made, chromium() as driver:
        library = write_drawn_library(Path(made))
        with running_server("default", "--library", str(library)) as (address, _):
            emulate(driver, width_px=1280)
            driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            driver.get(f"{address}/library.html#happy=40&surprise=40")
            Page(driver).find(".moment")
            while not driver.execute_script(PICTURED):
                time.sleep(0.2)
            shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            (folder / "library-page.png").write_bytes(base64.b64decode(shot["data"]))


def _picture(driver: Any) -> bytes:
    """Return the answer from its title to its last lane as PNG."""
    place = """const rect = (css) => document.querySelector(css).getBoundingClientRect();
        const [top, last] = [rect('#answer'), rect('#timeline')];
        const [x, y] = [Math.max(0, top.x - 12), top.y + scrollY - 8];
        return {x, y, width: top.width + 2 * (top.x - x), height: last.bottom - top.top + 16, scale: 1};"""
    clip = driver.execute_script(place)
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(Path, sys.argv[2:3]))
