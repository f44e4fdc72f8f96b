"""Fingerprints of a clip's sound and picture, by which the same recording is found again after it was re-encoded.

Both are runs of 32-bit words at a fixed rate. A bit is the sign of a difference, so that level, brightness and codec
leave most of them as they are, and a trimmed clip holds a part of the same run:

- sound: bit m of a word tells whether the slope of the spectrum between bands m and m+1 rose since a little before
  (Haitsma & Kalker 2002, "A Highly Robust Audio Fingerprinting System", section 4.2);
- picture: the signs of the 32 lowest cosine coefficients of what changed in the picture since half a second before.
  It is the change that is described, not the picture: two takes of one actor before one wall look alike, but do not
  move alike (in the spirit of Oostveen, Kalker & Haitsma 2002, "Feature Extraction and a Database Strategy for Video
  Fingerprinting").

Words of silence and of a picture that stands still say nothing; they are marked as inactive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.batch.clips import map_clips
from moodreel.corpora import Sample
from moodreel.errors import MediaError
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.media.frames import Frame
from moodreel.storage.cache import Cache, hash_file, make_key

FINGERPRINT_VERSION = 1
N_BITS = 32

SOUND_RATE_HZ = 8_000
SOUND_HOP_S = 0.02
_WINDOW_SAMPLES = 3072
_HOP_SAMPLES = 160
_LAG_HOPS = 3
_BANDS_HZ = (300.0, 3000.0)
_SILENCE_RANGE_DB = 35.0
_SILENCE_DBFS = -65.0

PICTURE_HOP_S = 0.1
_PICTURE_SIDE_PX = 64
_GRID = 16
_PICTURE_LAG = 5
_STILL_LEVELS = 0.6
"""Change, in grey levels of 256 averaged over the picture, below which it stands still."""

Words = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """A run of words.

    Attributes:
        words: uint32, shape (n,), one every `SOUND_HOP_S` or `PICTURE_HOP_S` seconds.
        active: bool, shape (n,): the words that say something.
    """

    words: Words
    active: Bools


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a clip is known by.

    Attributes:
        sha256: of the file's bytes.
        sound: empty without sound.
        picture: empty without picture.
        background_db: level of the loud over that of the quiet parts of the sound, dB; NaN without sound.
        start_s: where the clip begins in the file, in seconds.
        end_s: where it ends; `None` for the file's end.
    """

    sha256: str
    sound: Track
    picture: Track
    background_db: float
    start_s: float = 0.0
    end_s: float | None = None

    def overlaps(self, other: Fingerprint) -> bool:
        """Return whether two clips of one file share an instant of it."""
        ends_s = (np.inf if one.end_s is None else one.end_s for one in (self, other))
        return max(self.start_s, other.start_s) < min(ends_s)


def read_fingerprint(sample: Sample, cache: Cache | None = None) -> Fingerprint:
    """Read a clip's fingerprint, from the cache where it stands there.

    Args:
        sample: the clip.
        cache: where fingerprints are kept by the content of each file; `None` for nowhere.

    Raises:
        MediaError: the file cannot be read.
        OutputError: the cache cannot be written.
    """
    digest = hash_file(sample.path)
    key = make_key("fingerprint", FINGERPRINT_VERSION, digest, sample.start_s, sample.end_s)
    arrays = cache.read(key) if cache is not None else None
    if arrays is None:
        with name_clip(sample.path):
            arrays = _read_arrays(sample)
        if cache is not None:
            cache.write(key, arrays)
    sound, picture = (Track(arrays[f"{kind}_words"], arrays[f"{kind}_active"]) for kind in ("sound", "picture"))
    return Fingerprint(digest, sound, picture, float(arrays["background_db"]), sample.start_s, sample.end_s)


def read_fingerprints(
    samples: Sequence[Sample],
    cache: Cache | None,
    workers: int = 1,
    track: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
    show: Callable[[int], None] | None = None,
) -> tuple[Fingerprint | None, ...]:
    """Read the fingerprints of many clips; `None` for those that cannot be read.

    Args:
        samples: the clips.
        cache: as in `read_fingerprint`.
        workers: processes that read clips.
        track: passes the clips on, to show progress; with one worker only.
        show: called after each clip with the number of clips done.

    Raises:
        OutputError: the cache cannot be written.
    """
    read = functools.partial(_read_or_none, cache=cache)
    shown = samples if workers > 1 else track(samples)
    found = []
    for one in map_clips(read, shown, workers, on_crash=lambda _: None):
        found.append(one)
        if show is not None:
            show(len(found))
    return tuple(found)


def _read_or_none(sample: Sample, cache: Cache | None) -> Fingerprint | None:
    try:
        return read_fingerprint(sample, cache)
    except MediaError:
        return None


def _read_arrays(sample: Sample) -> dict[str, npt.NDArray[Any]]:
    grids, blocks = [], [np.zeros(0, np.float32)]
    with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
        for item in clip.stream(
            longest_side_px=_PICTURE_SIDE_PX,
            frames_rate_hz=1 / PICTURE_HOP_S,
            sound_rate_hz=SOUND_RATE_HZ,
        ):
            if isinstance(item, Frame):
                grids.append((item.time_s, shrink_picture(item.pixels)))
            else:
                blocks.append(item.samples)
    samples = np.concatenate(blocks)
    sound, picture = describe_sound(samples), describe_picture(grids)
    return {
        "sound_words": sound.words,
        "sound_active": sound.active,
        "picture_words": picture.words,
        "picture_active": picture.active,
        "background_db": np.array(measure_background_db(samples)),
    }


def describe_sound(samples: npt.NDArray[np.float32]) -> Track:
    """Describe sound by a word every 20 ms.

    Args:
        samples: mono at 8 kHz, shape (n,), full scale at 1.

    Returns:
        Words of 0.38 s of sound each; none where the sound is shorter than 0.46 s.
    """
    n_frames = (len(samples) - _WINDOW_SAMPLES) // _HOP_SAMPLES + 1
    if n_frames <= _LAG_HOPS:
        return _no_track()
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW_SAMPLES)[::_HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW_SAMPLES).astype(np.float32))) ** 2
    bands = np.log(power @ _band_filters() + 1e-9)
    slopes = bands[:, :-1] - bands[:, 1:]
    level_db = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)[_LAG_HOPS:]
    active = level_db > max(float(level_db.max()) - _SILENCE_RANGE_DB, _SILENCE_DBFS)
    return Track(_pack(slopes[_LAG_HOPS:] > slopes[:-_LAG_HOPS]), active)


@functools.cache
def _band_filters() -> Floats:
    """Sum the bins of a spectrum into 33 bands, as wide as the ear's would be; shape (n_bins, 33)."""
    edges_hz = np.geomspace(*_BANDS_HZ, N_BITS + 2)
    bins_hz = np.fft.rfftfreq(_WINDOW_SAMPLES, 1 / SOUND_RATE_HZ)
    inside = (bins_hz[:, None] >= edges_hz[:-1]) & (bins_hz[:, None] < edges_hz[1:])
    return inside.astype(np.float64)


def shrink_picture(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Average a picture, RGB uint8 (height, width, 3), into 16x16 cells of grey, 0-255."""
    grey = pixels.astype(np.float64) @ (0.299, 0.587, 0.114)
    return _cells(grey.shape[0]) @ grey @ _cells(grey.shape[1]).T


@functools.cache
def _cells(n_px: int) -> Floats:
    """Average `n_px` pixels into 16 cells, those on a border shared; shape (16, n_px)."""
    ends = np.linspace(0, n_px, _GRID + 1)
    shares = np.clip(
        np.minimum(ends[1:, None], np.arange(1, n_px + 1)) - np.maximum(ends[:-1, None], np.arange(n_px)), 0, 1
    )
    cells: Floats = shares / shares.sum(axis=1, keepdims=True)
    return cells


def describe_picture(grids: list[tuple[float, Floats]]) -> Track:
    """Describe a moving picture by a word every 0.1 s.

    Args:
        grids: times in seconds, rising, and cells of grey from `shrink_picture`.

    Returns:
        Words of what changed within 0.5 s; none where the picture is shorter.
    """
    if len(grids) < 2:
        return _no_track()
    times_s, cells = np.array([time_s for time_s, _ in grids]), np.stack([cells for _, cells in grids])
    ticks_s = np.arange(0, times_s[-1] + 1e-6, PICTURE_HOP_S)
    if len(ticks_s) <= _PICTURE_LAG:
        return _no_track()
    steady = _interpolate(times_s, cells, ticks_s)
    change = steady[_PICTURE_LAG:] - steady[:-_PICTURE_LAG]
    change -= change.mean(axis=(1, 2), keepdims=True)
    active = np.abs(change).mean(axis=(1, 2)) > _STILL_LEVELS
    coefficients = np.einsum("ui,tij,vj->tuv", _cosines(), change, _cosines())
    return Track(_pack(coefficients[:, *_lowest()] > 0), active)


def _interpolate(times_s: Floats, values: Floats, ticks_s: Floats) -> Floats:
    """Values at evenly spaced times, so that the phase of sampling hardly matters; shape (n_ticks, …)."""
    right = np.clip(np.searchsorted(times_s, ticks_s), 1, len(times_s) - 1)
    share = np.clip((ticks_s - times_s[right - 1]) / np.maximum(times_s[right] - times_s[right - 1], 1e-9), 0, 1)
    blended: Floats = values[right - 1] * (1 - share)[:, None, None] + values[right] * share[:, None, None]
    return blended


@functools.cache
def _cosines() -> Floats:
    """The eight lowest cosines over 16 cells; shape (8, 16)."""
    cosines: Floats = np.cos(np.pi * np.arange(8)[:, None] * (np.arange(_GRID) + 0.5) / _GRID)
    return cosines


@functools.cache
def _lowest() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the 32 lowest coefficients, the mean left out."""
    rows, columns = np.indices((8, 8)).reshape(2, -1)
    order = np.lexsort((rows, rows**2 + columns**2))[1 : N_BITS + 1]
    return rows[order], columns[order]


def _pack(bits: Bools) -> Words:
    """Pack rows of 32 bits into words."""
    return (bits.astype(np.uint64) @ (1 << np.arange(N_BITS, dtype=np.uint64))).astype(np.uint32)


def _no_track() -> Track:
    return Track(np.zeros(0, np.uint32), np.zeros(0, bool))


def measure_background_db(samples: npt.NDArray[np.float32]) -> float:
    """Measure how far the loud parts of a sound stand above the quiet ones.

    Args:
        samples: mono at 8 kHz, shape (n,).

    Returns:
        Level of the 95th over that of the 10th percentile of 25 ms frames, dB, 0-100; NaN without sound. A rough
        measure of noise: speech in babble has some 10 dB, in a studio 40 dB and more.
    """
    frames = samples[: len(samples) // 200 * 200].reshape(-1, 200)
    if not len(frames):
        return float("nan")
    power = np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-10
    loud, quiet = np.percentile(10 * np.log10(power), [95, 10])
    return float(loud - quiet)
