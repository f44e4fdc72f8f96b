"""Lips read beside the sound: how likely each person speaks at each moment, in a second pass over a clip.

The pass goes in blocks of six seconds, so that its memory does not grow, and looks only where somebody is heard. Its
time grows with the seconds of speech and with the faces on screen then, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.face.lips import LIPS_RATE_HZ, LIPS_SIDE_PX, FacePath, Lips, LipsCutter
from moodreel.inference import run_network
from moodreel.media.frames import Frame
from moodreel.media.sounds import Sound
from moodreel.voice.cepstra import CEPSTRA_RATE_HZ, N_CEPSTRA, extract_cepstra
from moodreel.voice.speech import RATE_HZ, SILENT_DBFS, TOKEN_S, extract_speech

if TYPE_CHECKING:
    import onnxruntime

NETWORK = "speaker"
"""What the network is called in `bundle.json`."""

BLOCK_SLOTS = 150
MARGIN_SLOTS = 10
_SLOT_SAMPLES = round(RATE_HZ / LIPS_RATE_HZ)
_LEAST_SLOTS = 5
_FACES_AT_ONCE = 4

Float32 = npt.NDArray[np.float32]
Span = tuple[float, float]


@dataclass(frozen=True)
class SpeakerReader:
    """The opened network.

    Attributes:
        session: `lips` (n, times, side, side) uint8 and `spectra` (1, 4 * times, 13) -> `log_odds` (n, times).
        speaks_above: the network's log-odds from which on a face is rather the speaker than not: it was taught with
            more faces that do not speak than there are.
    """

    session: onnxruntime.InferenceSession
    speaks_above: float = 0.0

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int) -> SpeakerReader | None:
        """Open a bundle's network and try it; `None` where it has none.

        Raises:
            BundleError: the network is missing from the folder, damaged or foreign.
        """
        if NETWORK not in bundle.networks:
            return None
        reader = cls(bundle.session(NETWORK, threads), bundle.number(NETWORK, "speaks_above", 0.0, -20, 20))
        reader.read(np.zeros((1, 5, LIPS_SIDE_PX, LIPS_SIDE_PX), np.uint8), np.zeros((20, N_CEPSTRA), np.float32))
        return reader

    def read(self, lips: Lips, cepstra: Float32) -> Float32:
        """Tell how likely faces speak.

        Args:
            lips: of some faces at the same time, shape (n_faces, n_times, side, side).
            cepstra: of the sound then, shape (4 * n_times, 13).

        Returns:
            Log-odds, shape (n_faces, n_times); from 0 on a face rather speaks.

        Raises:
            BundleError: it is no such network.
        """
        parts = [
            run_network(
                self.session,
                {"lips": np.ascontiguousarray(some), "spectra": cepstra[None]},
                {"log_odds": some.shape[:2]},
            )[0]
            for some in np.array_split(lips, -(-len(lips) // _FACES_AT_ONCE))
        ]
        return np.concatenate(parts) - np.float32(self.speaks_above)


@dataclass(frozen=True, eq=False)
class LipScores:
    """What was read from the lips of a clip. Slots are of 1 / `LIPS_RATE_HZ` s, from the clip's start.

    Attributes:
        log_odds: shape (n_people, n_slots), that the person speaks; NaN where the lips were not seen or
            nobody is heard.
        voiced: shape (n_slots,), whether somebody is heard.
    """

    log_odds: Float32
    voiced: npt.NDArray[np.bool_]


@dataclass
class SoundBuffer:
    """The last seconds of a clip's sound.

    Attributes:
        begins: number of the first sample that is kept, from the clip's start.
    """

    begins: int = 0
    _samples: Float32 = field(default_factory=lambda: np.zeros(0, np.float32), init=False)

    @property
    def end_s(self) -> float:
        """Up to when the sound is known, in seconds."""
        return (self.begins + len(self._samples)) / RATE_HZ

    def add(self, sound: Sound) -> None:
        """Take the next block; what is missing before it is silence."""
        missing = round(sound.start_s * RATE_HZ) - self.begins - len(self._samples)
        silence = np.zeros(max(0, min(missing, _MOST_SILENCE_S * RATE_HZ)), np.float32)
        if missing > len(silence):  # a long hole: nothing before it is needed any more
            self.begins += missing - len(silence)
        self._samples = np.concatenate([self._samples, silence, sound.samples])

    def cut(self, first: int, length: int) -> Float32:
        """Return a stretch by numbers of samples; what is not known of it is silence."""
        found = np.zeros(length, np.float32)
        start, end = max(first, self.begins), min(first + length, self.begins + len(self._samples))
        if end > start:
            found[start - first : end - first] = self._samples[start - self.begins : end - self.begins]
        return found

    def forget(self, before: int) -> None:
        """Keep nothing before a sample."""
        gone = min(max(before - self.begins, 0), len(self._samples))
        self._samples = self._samples[gone:]
        self.begins += gone


@dataclass
class LipWatch:
    """Reads the lips of some people through one pass over a clip.

    Attributes:
        reader: the network.
        paths: where each person's face stood.
        spoken: start and end of the stretches in which somebody is heard, in seconds, rising.
        lag_s: how much later than the lips the sound is, in seconds.
    """

    reader: SpeakerReader
    paths: Sequence[FacePath]
    spoken: Sequence[Span]
    lag_s: float = 0.0
    _sound: SoundBuffer = field(default_factory=SoundBuffer, init=False)
    _lips: list[dict[int, Lips]] = field(default_factory=list, init=False)
    _block: int = field(default=0, init=False)
    _watched_s: float = field(default=0.0, init=False)
    _columns: list[Float32] = field(default_factory=list, init=False)
    _voiced: list[npt.NDArray[np.bool_]] = field(default_factory=list, init=False)

    def watch(self, items: Iterable[Frame | Sound]) -> LipScores:
        """Read a clip's stream, frames at `LIPS_RATE_HZ` and sound at 16 kHz, to its end."""
        self._lips = [{} for _ in self.paths]
        for slot, number, lips in LipsCutter(self.paths, self._is_spoken).cut(self._listen(items)):
            self._lips[number][slot] = lips
        while self._block * BLOCK_SLOTS <= self._watched_s * LIPS_RATE_HZ:
            self._read_block()
        return LipScores(np.concatenate(self._columns, axis=1), np.concatenate(self._voiced))

    def _listen(self, items: Iterable[Frame | Sound]) -> Iterator[Frame]:
        """Keep the sound and hand the frames on; before each, read the blocks that are complete."""
        for item in items:
            if isinstance(item, Sound):
                self._sound.add(item)
                continue
            while self._is_complete():
                self._read_block()
            yield item
            self._watched_s = item.time_s

    def _is_complete(self) -> bool:
        """Tell whether all of a block has come; picture and sound may lie a little apart in a file."""
        needed_s = ((self._block + 1) * BLOCK_SLOTS + MARGIN_SLOTS + 1) / LIPS_RATE_HZ
        is_heard = self._sound.end_s >= needed_s + self.lag_s or self._watched_s >= needed_s + _LONGEST_WAIT_S
        return self._watched_s >= needed_s and is_heard

    def _is_spoken(self, start_s: float, end_s: float) -> bool:
        margin_s = MARGIN_SLOTS / LIPS_RATE_HZ
        return any(one[0] - margin_s < end_s and start_s < one[1] + margin_s for one in self.spoken)

    def _read_block(self) -> None:
        """Read the block that is due, and forget what lies before the next one."""
        core = self._block * BLOCK_SLOTS
        end = min(core + BLOCK_SLOTS, round(self._watched_s * LIPS_RATE_HZ) + 1)
        first, last = max(core - MARGIN_SLOTS, 0), max(end, core) + MARGIN_SLOTS
        samples = self._sound.cut(first * _SLOT_SAMPLES + round(self.lag_s * RATE_HZ), (last - first) * _SLOT_SAMPLES)
        voiced = self._find_voice(samples, first, last)
        scores = np.full((len(self.paths), last - first), np.nan, np.float32)
        heard = np.flatnonzero(voiced)
        if len(heard):
            near = slice(max(0, int(heard[0]) - MARGIN_SLOTS), min(last - first, int(heard[-1]) + 1 + MARGIN_SLOTS))
            self._read_faces(scores, first, near, voiced, samples)
        scores[:, ~voiced] = np.nan
        self._columns.append(scores[:, core - first :][:, : end - core])
        self._voiced.append(voiced[core - first :][: end - core])
        self._block += 1
        kept = self._block * BLOCK_SLOTS - MARGIN_SLOTS
        self._lips = [{slot: lips for slot, lips in one.items() if slot >= kept} for one in self._lips]
        self._sound.forget((kept - 1) * _SLOT_SAMPLES + round(self.lag_s * RATE_HZ))

    def _read_faces(
        self, scores: Float32, first: int, near: slice, voiced: npt.NDArray[np.bool_], samples: Float32
    ) -> None:
        """Fill in the scores of all faces whose lips were seen; mouths that rest need no network."""
        begin, end = first + near.start, first + near.stop
        held = [{slot: lips for slot, lips in one.items() if begin <= slot < end} for one in self._lips]
        seen = [number for number, one in enumerate(held) if len(one) >= _LEAST_SLOTS]
        rows = {number: _fill(held[number], begin, end) for number in seen}
        moving = [number for number in seen if not rests(rows[number], voiced[near])]
        if moving:
            cepstra = extract_cepstra(samples[near.start * _SLOT_SAMPLES :], (end - begin) * _FRAMES_PER_SLOT)
            scores[moving, near] = self.reader.read(np.stack([rows[number] for number in moving]), cepstra)
        for number in seen:
            if number not in moving:
                scores[number, near] = _RESTS
            absent = [slot - first for slot in range(begin, end) if slot not in held[number]]
            scores[number, absent] = np.nan

    def _find_voice(self, samples: Float32, first: int, last: int) -> npt.NDArray[np.bool_]:
        """Tell in which slots somebody is heard: where it is loud, within the stretches of speech."""
        loud = find_loud_slots(samples)
        slots_s = np.arange(first, last) / LIPS_RATE_HZ
        spoken = np.zeros(last - first, np.bool_)
        for start_s, end_s in self.spoken:
            spoken |= (slots_s >= start_s - self.lag_s) & (slots_s < end_s - self.lag_s)
        return loud & spoken


_LONGEST_WAIT_S = 2.0
_FRAMES_PER_SLOT = round(CEPSTRA_RATE_HZ / LIPS_RATE_HZ)


def rests(lips: Lips, voiced: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a mouth hardly changes within 0.2 s all the while somebody is heard.

    Args:
        lips: shape (n_slots, side, side).
        voiced: whether somebody is heard, shape (n_slots,).
    """
    if len(lips) <= _REST_SLOTS or not voiced[_REST_SLOTS:].any():
        return False
    mouth = lips[:, _MOUTH_ROWS, _MOUTH_COLUMNS].astype(np.float32)
    mouth -= mouth.mean(axis=(1, 2), keepdims=True)
    mouth /= np.maximum(mouth.std(axis=(1, 2), keepdims=True), _LEAST_DEVIATION)
    changes = np.abs(mouth[_REST_SLOTS:] - mouth[:-_REST_SLOTS]).mean(axis=(1, 2))
    return bool(np.percentile(changes[voiced[_REST_SLOTS:]], 80) < _REST_BELOW)


_REST_SLOTS = 5
_REST_BELOW = 0.20
"""Of 40 clips the mouth of none that speaks changes by less than .29, in its pixels' own deviations, on the median."""
_RESTS = -4.0
_MOUTH_ROWS, _MOUTH_COLUMNS = slice(44, 108, 4), slice(24, 88, 4)
_LEAST_DEVIATION = 6.0


def find_loud_slots(samples: Float32) -> npt.NDArray[np.bool_]:
    """Tell in which slots a block of sound, at most 8 s, is loud enough for speech."""
    n_slots = len(samples) // _SLOT_SAMPLES
    if not len(samples) or np.abs(samples).max() < 10 ** (SILENT_DBFS / 20):
        return np.zeros(n_slots, np.bool_)
    active = extract_speech(samples).active
    per_slot = round(1 / LIPS_RATE_HZ / TOKEN_S)
    padded = np.pad(active, (0, max(0, n_slots * per_slot - len(active))))[: n_slots * per_slot]
    return np.asarray(padded.reshape(n_slots, per_slot).any(axis=1))


def _fill(held: dict[int, Lips], first: int, last: int) -> Lips:
    """Put lips in a row, those missing like the ones before, or the first ones after."""
    slots = np.array(sorted(held))
    places = np.clip(np.searchsorted(slots, np.arange(first, last), side="right") - 1, 0, None)
    return np.stack([held[int(slot)] for slot in slots[places]])


_MOST_SILENCE_S = 20
