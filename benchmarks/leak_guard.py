"""How many planted copies the leakage guard finds, how many strangers it takes for copies, and how long it takes.

    python benchmarks/leak_guard.py RAVDESS              # folder of real recordings (sound, or video with --pictures)
    python benchmarks/leak_guard.py CLIPS --pictures     # re-encodes and holds against each other the pictures
    python benchmarks/leak_guard.py --drawn              # takes of drawn actors, alike by make, by the time compared

Some clips are re-encoded, re-levelled, trimmed and resampled, and each copy is held against all clips of the folder.
For false alarms, every two clips are held against each other as they are: other takes of one sentence by one speaker
are the hard case.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from moodreel.corpora.files import find_clips
from moodreel.leaks.fingerprints import (
    SOUND_RATE_HZ,
    Fingerprint,
    Track,
    describe_picture,
    describe_sound,
    shrink_picture,
)
from moodreel.leaks.matching import PICTURE, SOUND, Likeness, find_alike, find_matches
from moodreel.media.clip import open_clip
from moodreel.media.frames import Frame

Samples = npt.NDArray[np.float32]
_PIECE = 5
NOTHING = Track(np.zeros(0, np.uint32), np.zeros(0, bool))


def keep(samples: Samples, start: float, end: float) -> Samples:
    """Keep the part between two shares of the length, 0-1."""
    return samples[int(start * len(samples)) : int(end * len(samples))]


SOUND_CHANGES: dict[str, tuple[int, str, int, str, Callable[[Samples], Samples]]] = {
    "MP3 48 kbit/s": (44_100, "libmp3lame", 48_000, "mp3", lambda s: s),
    "Opus 16 kbit/s": (48_000, "libopus", 16_000, "ogg", lambda s: s),
    "AAC 32 kbit/s, 18 dB down": (44_100, "aac", 32_000, "adts", lambda s: s / 8),
    "12 dB up, clipped": (16_000, "pcm_s16le", 0, "wav", lambda s: np.clip(4 * s, -1, 1)),
    "resampled to 8 kHz": (8_000, "pcm_s16le", 0, "wav", lambda s: s),
    "the first fifth cut off": (16_000, "pcm_s16le", 0, "wav", lambda s: keep(s, 0.2, 1)),
    "the middle half": (16_000, "pcm_s16le", 0, "wav", lambda s: keep(s, 0.25, 0.75)),
    "the middle 60 %, 9 dB down, MP3 32 kbit/s at 11 kHz": (
        11_025,
        "libmp3lame",
        32_000,
        "mp3",
        lambda s: 0.35 * keep(s, 0.2, 0.8),
    ),
}

PICTURE_CHANGES: dict[str, tuple[float, float, float, float, int]] = {
    "CRF 38": (1.0, 1.0, 0.0, 1.0, 38),
    "half the size, darker": (0.5, 0.7, 0.0, 1.0, 30),
    "the first quarter cut off": (1.0, 1.0, 0.25, 1.0, 28),
    "the middle 60 %, smaller, brighter, CRF 34": (0.6, 1.2, 0.2, 0.8, 34),
}
"""Scale, brightness, start and end (shares of the length), and x264's constant rate factor."""


def read_sound(media: Path | bytes, rate_hz: int) -> Samples:
    """Decode the sound of a clip."""
    with open_clip(media) as clip:
        stream = clip.stream(longest_side_px=64, frames_rate_hz=0, sound_rate_hz=rate_hz)
        return np.concatenate([item.samples for item in stream if not isinstance(item, Frame)])


def encode_sound(samples: Samples, rate_hz: int, codec: str, bit_rate: int, container: str) -> bytes:
    """Encode mono sound."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        if bit_rate:
            stream.bit_rate = bit_rate
        resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate_hz)
        for first in range(0, len(samples), 4096):
            block = np.ascontiguousarray(samples[None, first : first + 4096], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, first, Fraction(1, rate_hz)
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return target.getvalue()


def copy_sound(path: Path, change: str) -> Track:
    """Change a clip's sound and fingerprint the copy."""
    rate_hz, codec, bit_rate, container, alter = SOUND_CHANGES[change]
    coded = encode_sound(alter(read_sound(path, rate_hz)), rate_hz, codec, bit_rate, container)
    return describe_sound(read_sound(coded, SOUND_RATE_HZ))


def read_pictures(media: Path | bytes, longest_side_px: int, rate_hz: float) -> Iterator[Frame]:
    """Decode the picture of a clip."""
    with open_clip(media) as clip:
        for item in clip.stream(longest_side_px=longest_side_px, frames_rate_hz=rate_hz, sound_rate_hz=0):
            if isinstance(item, Frame):
                yield item


def print_picture(media: Path | bytes) -> Track:
    """Fingerprint the picture of a clip."""
    return describe_picture([(f.time_s, shrink_picture(f.pixels)) for f in read_pictures(media, 64, 10.0)])


def copy_picture(path: Path, change: str) -> Track:
    """Change a clip's picture and fingerprint the copy."""
    scale, brightness, start, end, crf = PICTURE_CHANGES[change]
    frames = list(read_pictures(path, 320, 25.0))
    kept = frames[int(start * len(frames)) : int(end * len(frames))]
    height, width = (int(side * scale) // 2 * 2 for side in frames[0].pixels.shape[:2])
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stamps = {round((frame.time_s - kept[0].time_s) * 25): frame for frame in kept}  # of equal ones the last
        for stamp, frame in stamps.items():
            pixels = np.clip(frame.pixels * brightness, 0, 255).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(width, height, "yuv420p")
            picture.pts = stamp
            picture.time_base = Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return print_picture(target.getvalue())


def as_prints(tracks: Sequence[Track], pictures: bool) -> list[Fingerprint]:
    """Make fingerprints of one kind of track."""
    pairs = [(NOTHING, track) if pictures else (track, NOTHING) for track in tracks]
    return [Fingerprint(str(index), *pair, 0.0) for index, pair in enumerate(pairs)]


def measure_recall(paths: Sequence[Path], tracks: Sequence[Track], pictures: bool, n_copies: int) -> None:
    """Plant copies and count those that are found, and strangers taken for their originals."""
    chosen = np.random.default_rng(0).permutation(len(paths))[:n_copies]
    copy, changes = (copy_picture, PICTURE_CHANGES) if pictures else (copy_sound, SOUND_CHANGES)
    fewest = (PICTURE if pictures else SOUND).limits[0][0]
    print("| change | copies | found | of those with enough to compare | strangers matched |\n|---|---|---|---|---|")
    for change in changes:
        copies = [copy(paths[index], change) for index in chosen]
        prints = as_prints([*tracks, *copies], pictures)
        pairs = {(m.first, m.second) for m in find_matches(prints, ["original"] * len(tracks) + ["copy"] * len(copies))}
        true = {(int(index), len(tracks) + row) for row, index in enumerate(chosen)}
        able = {pair for pair in true if active(copies[pair[1] - len(tracks)]) >= fewest}
        found, foreign = len(pairs & true), len(pairs - true)
        print(f"| {change} | {len(true)} | {found / len(true):.3f} | {len(pairs & able)} of {len(able)} | {foreign} |")


def measure_look_alikes(n_actors: int = 8, n_takes: int = 60) -> None:
    """Hold takes of drawn actors against each other and tell how alike the nearest are, by the time compared."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from drawn_actors import drawn_take

    rng, tracks = np.random.default_rng(0), []
    for actor, seed in np.ndindex(n_actors, n_takes):
        draw, times_s = drawn_take(20 + actor, seed), np.arange(0, rng.uniform(2.5, 7), 0.1)
        tracks.append(describe_picture([(float(time_s), shrink_picture(draw(time_s))) for time_s in times_s]))
    anything = Likeness("picture", PICTURE.hop_s, limits=((12, 1.0),), key_bits=PICTURE.key_bits)
    found = list(find_alike(tracks, np.arange(len(tracks)), anything))
    n_pairs = len(tracks) * (len(tracks) - 1) // 2
    print(f"{len(tracks)} takes of {n_actors} drawn actors, {n_pairs} pairs\n")
    print("| seconds compared | pairs | bits that differ, the nearest three | taken for one |\n|---|---|---|---|")
    ends_s = (1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 9.0)
    for low_s, high_s in pairwise(ends_s):
        wrong = sorted((m.wrong, m.overlap_s) for m in found if low_s <= m.overlap_s < high_s)
        nearest = ", ".join(f"{one:.3f}" for one, _ in wrong[:3])
        taken = sum(one <= PICTURE.most_wrong(round(seconds / PICTURE.hop_s)) for one, seconds in wrong)
        print(f"| {low_s:.1f}-{high_s:.1f} | {len(wrong)} | {nearest} | {taken} |")


def active(track: Track) -> int:
    """Words of a track that say something."""
    return int(track.active.sum())


def measure_false_alarms(paths: Sequence[Path], tracks: Sequence[Track], pictures: bool) -> None:
    """Hold every two clips of the folder against each other."""
    matches = find_matches(as_prints(tracks, pictures), [str(index) for index in range(len(tracks))])
    n_pairs = len(tracks) * (len(tracks) - 1) // 2
    print(f"\nEvery two of {len(tracks)} clips, {n_pairs} pairs: {len(matches)} taken for one recording")
    for match in matches[:20]:
        names = f"{paths[match.first].name} and {paths[match.second].name}"
        print(f"- {names}: {match.wrong:.3f} of the bits differ over {match.overlap_s:.1f} s")


def measure_time(tracks: Sequence[Track], pictures: bool, n_clips: int) -> None:
    """Index many clips, spliced of pieces of the folder's own, so that words are as common as they really are."""
    rng = np.random.default_rng(0)
    words, active = (np.concatenate([getattr(track, key) for track in tracks]) for key in ("words", "active"))
    length = int(np.median([len(track.words) for track in tracks]))
    many = []
    for _ in range(n_clips):
        starts = rng.integers(len(words) - _PIECE, size=max(1, length // _PIECE))
        rows = (starts[:, None] + np.arange(_PIECE)).ravel()
        flips = (rng.random((len(rows), 32)) < 0.02) @ (1 << np.arange(32, dtype=np.uint64))
        many.append(Track(words[rows] ^ flips.astype(np.uint32), active[rows]))
    begun_s = time.process_time()
    matches = find_matches(as_prints(many, pictures), ["one" if index % 2 else "other" for index in range(n_clips)])
    print(f"\n{n_clips} fingerprints: {time.process_time() - begun_s:.1f} s of one core, {len(matches)} matches")


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--drawn", action="store_true", help="measure look-alikes that are drawn; needs no folder")
    parser.add_argument("--pictures", action="store_true", help="measure the picture's fingerprints, not the sound's")
    parser.add_argument("--copies", type=int, default=100, help="copies planted a change")
    parser.add_argument("--many", type=int, default=10_000, help="fingerprints indexed to measure time")
    given = parser.parse_args()
    if given.drawn:
        measure_look_alikes()
        return
    if given.folder is None:
        parser.error("name a folder of clips, or --drawn")
    paths = find_clips(given.folder)
    begun_s = time.process_time()
    tracks = [print_picture(p) if given.pictures else describe_sound(read_sound(p, SOUND_RATE_HZ)) for p in paths]
    spent_s = (time.process_time() - begun_s) / len(tracks)
    print(f"{len(paths)} clips, {1000 * spent_s:.0f} ms of one core a clip to fingerprint\n")
    measure_recall(paths, tracks, given.pictures, given.copies)
    measure_false_alarms(paths, tracks, given.pictures)
    measure_time(tracks, given.pictures, given.many)


if __name__ == "__main__":
    main()
