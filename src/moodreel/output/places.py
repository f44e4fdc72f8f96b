"""Which files the answers and pictures of one run go to, and whether they may be written, before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moodreel.errors import OutputError
from moodreel.media.find import is_folder
from moodreel.media.parts import Part
from moodreel.output.formats import Format
from moodreel.storage.whole_files import check_writable, file_mode
from moodreel.text import printable


@dataclass(frozen=True)
class Targets:
    """Where the answers and pictures of some clips go.

    Attributes:
        format: how answers are written.
        output: file for all answers; for several clips that need a file each a folder; `None` is stdout.
        plot: PNG of the timeline; a folder with several clips.
        overlay: MP4 with faces and emotions drawn in; a folder with several clips.
        names: the clips, and what the files made of each are called (`name_apart`).
    """

    format: Format
    output: Path | None
    plot: Path | None
    overlay: Path | None
    names: Mapping[Part, str]

    def answer_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's own answer, `None` where all answers go to one place."""
        if not self.format.is_file_each or self.output is None or not _may_be_folder(self.output):
            return None
        return self.output / f"{self.names[clip]}{self.format.suffix}"

    def plot_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's timeline."""
        return self._place(self.plot, clip, ".png")

    def overlay_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's overlay."""
        return self._place(self.overlay, clip, ".mp4")

    def check(self) -> None:
        """Refuse places that cannot take what is to come.

        Raises:
            OutputError: the places do not fit several clips, would overwrite a clip, or cannot be written.
        """
        if len(self.names) > 1:
            self._check_room()
        self._check_apart()
        for target in self._list(most=1):
            check_writable(target)

    def _place(self, place: Path | None, clip: Part, suffix: str) -> Path | None:
        if place is None:
            return None
        return place / f"{self.names[clip]}{suffix}" if _may_be_folder(place) else place

    def _check_room(self) -> None:
        for option, place in (("--plot", self.plot), ("--overlay", self.overlay)):
            if place is not None and not _may_be_folder(place):
                shown = printable(str(place))
                raise OutputError(f"{option} {shown}: {len(self.names)} clips were given; name a folder instead")
        if self.format.is_file_each and (self.output is None or not _may_be_folder(self.output)):
            raise OutputError(f"--format {self.format.name}: several clips need a file each: add --output FOLDER")

    def _check_apart(self) -> None:
        taken = {os.path.realpath(clip) for clip in self.names}
        for target in self._list():
            if os.path.realpath(target) in taken:
                raise OutputError(
                    f"{printable(str(target))}: is a clip to read or asked for twice; choose another place"
                )
            taken.add(os.path.realpath(target))

    def _list(self, most: int | None = None) -> Iterator[Path]:
        """Yield the files to be written, of all clips or of the first `most` ones."""
        clips = list(self.names)[:most]
        if self.output is not None and not any(self.answer_of(clip) for clip in clips):
            yield self.output
        for clip in clips:
            for target in (self.answer_of(clip), self.plot_of(clip), self.overlay_of(clip)):
                if target is not None:
                    yield target


def name_apart(clips: Sequence[Part]) -> dict[Part, str]:
    """Give each clip a name for the files made of it: its stem, numbered where an earlier clip has it already.

    Args:
        clips: files or parts of files, each once.
    """
    names: dict[Part, str] = {}
    taken: set[str] = set()
    for clip in clips:
        name, number = clip.stem, 1
        while name.casefold() in taken:  # file systems may ignore case
            number += 1
            name = f"{clip.stem}-{number}"
        taken.add(name.casefold())
        names[clip] = name
    return names


def _may_be_folder(place: Path) -> bool:
    return is_folder(place) or not (place.suffix or file_mode(place))
