"""What sounds in a window, if anything: speech, or laughter, crying, music and the like; read off the voice network.

A small network takes the statistics that the voice network's first block gives of a window's loud tokens. It is an
optional part of a bundle: without it, all that `speech_signs` does not refuse is speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.errors import BundleError
from moodreel.inference import run_network

if TYPE_CHECKING:
    import onnxruntime

NETWORK = "sounds"
"""What the network is called in `bundle.json`."""
SPEECH = "speech"
"""The class that every such network must know."""

_MOST_CLASSES = 64
_LONGEST_NAME = 40


@dataclass(frozen=True)
class SoundNetwork:
    """An opened sound network.

    Attributes:
        session: `statistics` -> `probabilities`.
        classes: their names in the order of its answers.
        speech_above: least probability of speech at which a window counts as speech, 0-1.
        width: how many of the voice network's statistics it reads, from the first on.
    """

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    speech_above: float
    width: int

    @classmethod
    def open(cls, bundle: Bundle, threads: int) -> SoundNetwork | None:
        """Open a bundle's sound network; `None` where it has none.

        Args:
            bundle: the opened bundle.
            threads: processor threads that it may use.

        Raises:
            BundleError: it is damaged, or its entry names no classes, or none for speech.
        """
        if NETWORK not in bundle.networks:
            return None
        session = bundle.session(NETWORK, threads)
        return cls(
            session=session,
            classes=_read_classes(bundle),
            speech_above=bundle.number(NETWORK, "speech_above", 0.5, 0, 1),
            width=_read_width(session, bundle),
        )

    def read(self, statistics: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Tell what sounds in some windows.

        Args:
            statistics: of the voice network, shape (n_windows, at least `width`).

        Returns:
            Probabilities, shape (n_windows, n_classes), each row summing to 1.

        Raises:
            BundleError: it does not fit the voice network, or gives something else.
        """
        if statistics.shape[1] < self.width:
            raise BundleError(
                f"the bundle's sound network reads {self.width} statistics, its voice network gives "
                f"{statistics.shape[1]}; export both anew"
            )
        shapes = {"probabilities": (len(statistics), len(self.classes))}
        inputs = {"statistics": np.ascontiguousarray(statistics[:, : self.width])}
        return run_network(self.session, inputs, shapes)[0]

    def speech(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability of speech of each row."""
        return probabilities[:, self.classes.index(SPEECH)]


def _read_classes(bundle: Bundle) -> tuple[str, ...]:
    classes = bundle.networks[NETWORK].get("classes")
    is_sound = (
        isinstance(classes, list)
        and 2 <= len(classes) <= _MOST_CLASSES
        and all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME for name in classes)
        and len(set(classes)) == len(classes)
        and SPEECH in classes
    )
    if not isinstance(classes, list) or not is_sound:
        raise BundleError(
            f"{bundle.path}: bundle.json: {NETWORK}: 'classes' must be 2 to {_MOST_CLASSES} names, with {SPEECH!r}"
        )
    return tuple(classes)


def _read_width(session: onnxruntime.InferenceSession, bundle: Bundle) -> int:
    shapes: dict[str, list[Any]] = {given.name: given.shape for given in session.get_inputs()}
    width = shapes.get("statistics", [None])[-1]
    if not isinstance(width, int):
        raise BundleError(f"{bundle.path}: its sound network takes no 'statistics' of a fixed width; export it anew")
    return width
