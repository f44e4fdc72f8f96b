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
from moodreel.output.resume import is_there
from moodreel.storage.whole_files import check_writable, file_mode
from moodreel.text import printable

PLOT_SUFFIXES = (".png", ".jpg", ".jpeg", ".svg")
OVERLAY_SUFFIXES = (".mp4", ".mkv")


@dataclass(frozen=True)
class Targets:
    """Where the answers and pictures of some clips go.

    Attributes:
        format: how answers are written.
        output: file for all answers; a folder that is there, or for formats that need it one that is to be made, takes
            a file for each; `None` is stdout.
        plot: PNG, JPEG or SVG of the timeline; a folder with several clips.
        overlay: MP4 or MKV with faces and emotions drawn in; a folder with several clips.
        names: the clips, and what the files made of each are called (`name_apart`).
    """

    format: Format
    output: Path | None
    plot: Path | None
    overlay: Path | None
    names: Mapping[Part, str]

    def answer_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's own answer, `None` where all answers go to one place."""
        if self.output is None or not self.has_folder_of_answers:
            return None
        return self.output / f"{self.names[clip]}{self.format.suffix}"

    def plot_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's timeline."""
        return self._place(self.plot, clip, ".png")

    def overlay_of(self, clip: Part) -> Path | None:
        """Return the file for a clip's overlay."""
        return self._place(self.overlay, clip, ".mp4")

    @property
    def has_folder_of_answers(self) -> bool:
        """Whether each clip's answer is a file of its own, in a folder."""
        if self.output is None:
            return False
        return is_folder(self.output) or (self.format.is_file_each and _may_be_folder(self.output))

    def is_answered(self, clip: Part) -> bool:
        """Return whether a clip's own file of answers is there."""
        place = self.answer_of(clip)
        return place is not None and is_there(place)

    def lacks_picture(self, clip: Part) -> bool:
        """Return whether a picture that is asked for is not there."""
        return any(place is not None and not is_there(place) for place in (self.plot_of(clip), self.overlay_of(clip)))

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
        if self.format.is_file_each and not self.has_folder_of_answers:
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


def open_place(name: str) -> Path:
    """Return the place that a user names; one that ends with a slash is made a folder.

    Raises:
        OutputError: the folder cannot be made.
    """
    place = Path(name)
    if name.endswith(("/", os.sep)):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            problem = f"{printable(name)}: the folder cannot be made ({printable(str(error))}); choose another place"
            raise OutputError(problem) from None
    return place


def check_suffixes(plot: Path | None, overlay: Path | None) -> None:
    """Refuse pictures of a kind that is not written.

    Raises:
        OutputError: names the option and the suffixes that it takes.
    """
    for option, place, suffixes in (("--plot", plot, PLOT_SUFFIXES), ("--overlay", overlay, OVERLAY_SUFFIXES)):
        if place is not None and not _may_be_folder(place) and place.suffix.lower() not in suffixes:
            shown, kind = printable(str(place)), printable(place.suffix) or "a file without suffix"
            raise OutputError(f"{option} {shown}: cannot be written as {kind}; expected {', '.join(suffixes)}")


def name_apart(clips: Sequence[Part], folders: Sequence[Path] = ()) -> dict[Part, str]:
    """Give each clip a name for the files made of it: folder and stem, numbered where an earlier clip has it already.

    Args:
        clips: files or parts of files, each once.
        folders: the folders that were searched for them; names begin below what all of these and of the folders of
            other clips lie in.
    """
    root = _find_root(clips, folders)
    names: dict[Part, str] = {}
    taken: set[str] = set()
    for clip in clips:
        below = os.path.relpath(_folder_of(clip), root) if root else "."
        stem = str(Path(below, clip.stem))
        name, number = stem, 1
        while name.casefold() in taken:  # file systems may ignore case
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names[clip] = name
    return names


def _find_root(clips: Sequence[Part], folders: Sequence[Path]) -> str:
    """Return the folder that names of clips begin below; empty where there is none, as on two drives."""
    searched = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100  # as in `_folder_of`
    held = {_folder_of(clip) for clip in clips}
    named = [one for one in held if not any(one == top or one.startswith(top + os.sep) for top in searched)]
    try:
        return os.path.commonpath([*searched, *named])
    except ValueError:
        return ""


def _folder_of(clip: Part) -> str:
    return os.path.dirname(os.path.abspath(clip.path))  # noqa: PTH100, PTH120  # links stay what they are called


def _may_be_folder(place: Path) -> bool:
    return is_folder(place) or not (place.suffix or file_mode(place))
