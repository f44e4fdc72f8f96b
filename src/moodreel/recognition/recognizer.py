"""Media in, `Prediction` out, with whatever networks a bundle holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from moodreel.bundle import Bundle, load_bundle
from moodreel.errors import BundleError
from moodreel.face.appearance import group_vectors, read_same_person
from moodreel.media.clip import Clip, Media, open_clip
from moodreel.media.parts import format_fragment
from moodreel.media.sounds import Channel
from moodreel.recognition.adaptation import NO_ADAPTER, Adapter, adapt_to, apply_offsets, estimate_at_rest, read_adapter
from moodreel.recognition.evidence import Evidence, compose
from moodreel.recognition.fusion import ClipLogits, Fusion
from moodreel.recognition.joint_network import JointCalibration
from moodreel.recognition.joint_reader import JointReader
from moodreel.recognition.late_fusion import LateReader
from moodreel.recognition.live import Live, LiveReader
from moodreel.recognition.prediction import Prediction, shift_prediction
from moodreel.recognition.prediction_parts import MOST_PRESENT
from moodreel.recognition.stretches import SceneStretch
from moodreel.timeline import count_stretches

Progress = Callable[[float], None]

_MOST_OPEN = 2
"""Bundles of recognizers from other processes that stay open here, so that not each clip of a pool opens them anew."""


class Reader(Protocol):
    """What reads clips and live streams with the networks of a bundle, whatever its kind."""

    def observe(self, clip: Clip, name: str, progress: Progress | None, speaks_for: str = MOST_PRESENT) -> Evidence:
        """Tell what an opened clip shows.

        Args:
            clip: the clip.
            name: the clip as the user named it.
            progress: called now and then with the share done, 0-1.
            speaks_for: whom the answer speaks for, see `Recognizer.predict`.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """

    def read_logits(self, clip: Clip) -> ClipLogits:
        """Tell what the networks say of an opened clip before it is calibrated.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """

    @property
    def calibration(self) -> Fusion | JointCalibration:
        """What makes answers of these logits."""

    def start_live(self) -> Live:
        """Begin a live stream."""


READERS: dict[str, Callable[..., Reader]] = {"late": LateReader, "joint": JointReader}
"""What opens the networks of each kind of bundle: called with the bundle and `threads`."""


@dataclass(frozen=True)
class _Place:
    """Where the bundle of a recognizer lies, which one it is, and with how many threads it is opened."""

    folder: str
    threads: int
    fingerprint: str

    @classmethod
    def find(cls, bundle: Bundle, threads: int) -> _Place:
        """Return the place of an opened bundle."""
        folder = os.path.abspath(bundle.path)  # noqa: PTH100  # `resolve` would follow links, which may be moved
        return cls(folder, threads, _fingerprint(bundle))


@dataclass(frozen=True)
class _Networks:
    """A bundle whose networks are open."""

    bundle: Bundle
    adapter: Adapter
    reader: Reader

    @classmethod
    def open(cls, bundle: Bundle, threads: int) -> _Networks:
        """Open the networks of a bundle.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        adapter = read_adapter(bundle.manifest.get("adaptation"))
        return cls(bundle, adapter, READERS[bundle.kind](bundle, threads=threads))


class Recognizer:
    """Tells the emotion of clips with one bundle. Made by `Recognizer.load`; its networks are opened once.

    One recognizer may serve several threads at a time. Handed to another process, it opens its bundle's folder there
    when first asked, once for all clips: `ProcessPoolExecutor().map(recognizer.predict, clips)`.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 2) -> None:
        """Open the networks of a bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        self._place = _Place.find(bundle, threads)
        self._networks: _Networks | None = _Networks.open(bundle, threads)

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_networks": None}

    @property
    def _opened(self) -> _Networks:
        """The networks; not opened on arrival, since an error there would end a pool's process without a word."""
        if self._networks is None:
            self._networks = _open_again(self._place)
        return self._networks

    @property
    def bundle(self) -> Bundle:
        """The opened bundle."""
        return self._opened.bundle

    @property
    def threads(self) -> int:
        """Processor threads that a network may use."""
        return self._place.threads

    @property
    def adapter(self) -> Adapter:
        """What the bundle knows of how answers vary from person to person."""
        return self._opened.adapter

    @property
    def _reader(self) -> Reader:
        return self._opened.reader

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "default", *, threads: int = 2) -> Recognizer:
        """Open a bundle by name or folder.

        Args:
            model: name of a bundle that ships with the package, or a bundle's folder.
            threads: processor threads that a network may use.

        Raises:
            BundleError: there is no such bundle, or it cannot be used.
        """
        return cls(load_bundle(model), threads=threads)

    @classmethod
    def promise(cls, model: str | os.PathLike[str] = "default", *, threads: int = 2) -> Recognizer:
        """Name a bundle by name or folder; its networks are opened where they are first asked, as in another process.

        Args:
            model: as for `load`.
            threads: as for `load`.

        Raises:
            BundleError: there is no such bundle. A network that cannot be used is told when it is first asked.
        """
        recognizer = cls.__new__(cls)
        recognizer._place, recognizer._networks = _Place.find(load_bundle(model), threads), None
        return recognizer

    @property
    def fingerprint(self) -> str:
        """What tells the bundle from every other one: a hash of its numbers and of its networks."""
        return self._place.fingerprint

    def start_live(self) -> LiveReader:
        """Begin a live stream, which takes frames and sound as they come."""
        return LiveReader(self._reader.start_live(), self.adapter)

    def predict(
        self,
        media: Media,
        *,
        name: str | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        channels: Channel = "mix",
        adapt: bool = True,
        speaks_for: str = MOST_PRESENT,
        progress: Progress | None = None,
    ) -> Prediction:
        """Tell the emotion of one clip, or of a part of a file.

        Args:
            media: a file's path, its bytes, an open binary file, or `moodreel.Arrays` of frames and sound.
            name: how to call the clip in the answer; by default its path with the part's fragment.
            start_s: where the clip begins in the file, in seconds; times of the answer count from the file's start.
            end_s: where it ends; `None` for the file's end.
            channels: what is heard of a sound with several: all added (`mix`), or `left` or `right` alone, as of a call
                with a speaker on each; the name of the answer then ends in `#channel=left`.
            adapt: whether to adapt to the person by this clip alone; see `conclude` for more clips of a person.
            speaks_for: whom the answer speaks for: `most-present`, `most-speaking`, the number of a person, or
                `everyone`, which tells the clip as a crowd. A joint network follows one face, whatever is asked for.
            progress: called now and then with the share done, 0-1, which never falls; at the end with 1.

        Returns:
            The answer; where nothing usable is in the clip, uniform probabilities, abstained, with a warning.

        Raises:
            MediaError: the file cannot be read as media, or lacks that part.
        """
        evidence = self.observe(
            media,
            name=name,
            start_s=start_s,
            end_s=end_s,
            channels=channels,
            speaks_for=speaks_for,
            progress=progress,
        )
        return self.conclude(evidence, [evidence] if adapt else ())

    def observe(
        self,
        media: Media,
        *,
        name: str | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        channels: Channel = "mix",
        speaks_for: str = MOST_PRESENT,
        progress: Progress | None = None,
    ) -> Evidence:
        """Tell what one clip shows, before it is adapted; arguments and errors as for `predict`."""
        with open_clip(media, name, start_s=start_s, end_s=end_s, channel=channels) as clip:
            shown = str(Path(media)) if isinstance(media, str | os.PathLike) else clip.name
            called = name or shown + format_fragment(start_s, end_s, channels)
            observed = replace(
                self._reader.observe(clip, called, progress, speaks_for),
                start_s=start_s,
                picture_px=_measure_picture(clip),
                recorded_s=clip.recorded_s,
            )
        if progress is not None:
            progress(1.0)
        return observed

    def count_stretches(self, media: Media, *, name: str | None = None) -> int:
        """Return by how many stretches a film may be shared out; 1 where it is short, no film, or not to be shared.

        Args:
            media: as for `predict`.
            name: as for `predict`.

        Raises:
            MediaError: the file cannot be read as media.
        """
        if not isinstance(self._reader, LateReader):
            return 1
        with open_clip(media, name) as clip:
            return 1 if clip.video is None else count_stretches(clip.duration_s)

    def observe_stretch(self, media: Media, number: int, count: int) -> SceneStretch:
        """Tell what one stretch of a film's picture shows.

        Args:
            media: as for `predict`.
            number: of the stretch, from 0.
            count: as `count_stretches` says, at least 2.

        Raises:
            MediaError: nothing in the stretch can be decoded.
        """
        assert isinstance(self._reader, LateReader), "other bundles read a file in one go"
        with open_clip(media, None) as clip:
            stretch = self._reader.observe_stretch(clip, number, count)
            return replace(stretch, picture_px=_measure_picture(clip), recorded_s=clip.recorded_s)

    def observe_sound(self, media: Media, *, channels: Channel = "mix") -> SceneStretch:
        """Tell what of a film is heard.

        Args:
            media: as for `predict`.
            channels: as for `predict`.

        Raises:
            MediaError: it has sound, of which nothing can be decoded.
        """
        assert isinstance(self._reader, LateReader), "other bundles read a file in one go"
        with open_clip(media, None, channel=channels) as clip:
            return self._reader.observe_sound(clip)

    def join_stretches(self, name: str, pictures: Sequence[SceneStretch], sound: SceneStretch) -> Evidence | None:
        """Return what `observe` does of a film that was read by its stretches.

        Args:
            name: how to call the clip in the answer.
            pictures: from `observe_stretch`, all of them, in order.
            sound: from `observe_sound`.

        Returns:
            What the clip shows; `None` where that is sure only in one go, as with damaged files: call `observe`.
        """
        assert isinstance(self._reader, LateReader), "other bundles read a file in one go"
        evidence = self._reader.join(name, pictures, sound)
        if evidence is None:
            return None
        return replace(evidence, picture_px=pictures[0].picture_px, recorded_s=pictures[0].recorded_s)

    def conclude(
        self, evidence: Evidence, person: Sequence[Evidence] = (), at_rest: Evidence | None = None
    ) -> Prediction:
        """Make the answer of what a clip shows.

        Args:
            evidence: from `observe`.
            person: clips of the person that it speaks for, this one among them: the answer is adapted to them.
            at_rest: a clip or picture of that person at rest, which is then all that the answer is adapted to.
        """
        if at_rest is not None:
            offsets = estimate_at_rest(self.adapter, at_rest)
            evidence = apply_offsets(evidence, offsets, "baseline", self.adapter)
        elif person:
            evidence = adapt_to(evidence, person, "clip" if len(person) == 1 else "folder", self.adapter)
        prediction = compose(evidence)
        return shift_prediction(prediction, evidence.start_s) if evidence.start_s else prediction

    @property
    def adapts(self) -> bool:
        """Whether the bundle knows how answers vary from person to person."""
        return self.adapter != NO_ADAPTER

    def tell_people(self, evidences: Sequence[Evidence]) -> tuple[int | None, ...]:
        """Tell by their faces which clips speak for one person.

        Args:
            evidences: from `observe`.

        Returns:
            For each clip the number of its person, from 0 in the order of the clips; `None` where it shows no face
            that is large enough, or the bundle does not tell faces apart.
        """
        same_person = read_same_person(self.bundle)
        if same_person is None:
            return (None,) * len(evidences)
        return tuple(group_vectors([one.appearance for one in evidences], same_person))

    @property
    def calibration(self) -> Fusion | JointCalibration:
        """How the bundle's answers are calibrated, and how those of face and voice are added."""
        return self._reader.calibration

    def read_logits(self, media: Media, *, start_s: float = 0.0, end_s: float | None = None) -> ClipLogits:
        """Tell what the networks say of one clip before it is calibrated: `calibration` makes the answer of it.

        Args:
            media: as for `predict`.
            start_s: as for `predict`.
            end_s: as for `predict`.

        Raises:
            MediaError: the file cannot be read as media.
        """
        with open_clip(media, None, start_s=start_s, end_s=end_s) as clip:
            return self._reader.read_logits(clip)


def _measure_picture(clip: Clip) -> tuple[int, int] | None:
    return None if clip.video is None else (clip.video.width_px, clip.video.height_px)


@lru_cache(maxsize=_MOST_OPEN)
def _open_again(place: _Place) -> _Networks:
    """Open the bundle of a recognizer that came from another process.

    Raises:
        BundleError: it is gone, or another one stands in its place.
    """
    bundle = load_bundle(place.folder)
    if _fingerprint(bundle) != place.fingerprint:
        raise BundleError(f"{place.folder}: is not the bundle any more that the recognizer was made of; load it anew")
    return _Networks.open(bundle, place.threads)


def _fingerprint(bundle: Bundle) -> str:
    """Tell bundles apart: their numbers, and the sha256 of their networks, which opening checks."""
    return hashlib.sha256(json.dumps(bundle.manifest, sort_keys=True).encode()).hexdigest()
