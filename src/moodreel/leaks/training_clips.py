"""The list of the clips that a bundle was trained on: names, speakers and fingerprints, in a file of the bundle.

It lets `moodreel evaluate` tell clips that the bundle has seen. The file holds arrays of numbers alone, never a pickle,
and no sound or picture can be made of it again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.corpora import Sample
from moodreel.errors import BundleError
from moodreel.leaks.fingerprints import FINGERPRINT_VERSION, Fingerprint, Track
from moodreel.storage.whole_files import whole_file

CLIPS_FILE = "training-clips.npz"
MAX_CLIPS_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class KnownClip:
    """A clip and what it is known by.

    Attributes:
        name: of the clip within its corpus.
        corpus: name of the corpus.
        speaker: who speaks, or the film; `UNKNOWN_SPEAKER` where unknown.
        side: where it stands, e.g. `test`, or `trained` for a clip that a bundle was trained on.
        fingerprint: `None` where the clip could not be read.
    """

    name: str
    corpus: str
    speaker: str
    side: str
    fingerprint: Fingerprint | None


def know_clips(
    samples: Sequence[Sample], prints: Sequence[Fingerprint | None], sides: Sequence[str]
) -> tuple[KnownClip, ...]:
    """Put clips, their fingerprints and sides together."""
    rows = zip(samples, prints, sides, strict=True)
    return tuple(KnownClip(s.clip_id, s.corpus, s.speaker, side, one) for s, one, side in rows)


def write_training_clips(clips: Sequence[KnownClip], folder: Path) -> dict[str, Any]:
    """Write the list into a bundle's folder.

    Args:
        clips: what the bundle was trained on; those without a fingerprint are left out.
        folder: of the bundle; made if missing.

    Returns:
        The entry `training_clips` of `bundle.json`.

    Raises:
        OutputError: the folder cannot be written.
    """
    read = [clip for clip in clips if clip.fingerprint is not None]
    rows = [[c.name, c.corpus, c.speaker, c.fingerprint.sha256, *_part(c.fingerprint)] for c in read if c.fingerprint]
    arrays: dict[str, npt.NDArray[Any]] = {"clips": np.frombuffer(json.dumps(rows).encode(), np.uint8)}
    for kind in ("sound", "picture"):
        tracks = [getattr(clip.fingerprint, kind) for clip in read]
        arrays[f"{kind}_lengths"] = np.array([len(track.words) for track in tracks], np.int64)
        arrays[f"{kind}_words"] = np.concatenate([np.zeros(0, np.uint32), *(track.words for track in tracks)])
        arrays[f"{kind}_active"] = np.packbits(np.concatenate([np.zeros(0, bool), *(track.active for track in tracks)]))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes the names for options
    with whole_file(folder / CLIPS_FILE) as temporary:
        temporary.write_bytes(content.getvalue())
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    return {"file": CLIPS_FILE, "sha256": digest, "version": FINGERPRINT_VERSION, "n_clips": len(read)}


def _part(fingerprint: Fingerprint) -> list[float | None]:
    """Return where a clip begins and ends in its file; nothing for a whole file."""
    is_part = fingerprint.start_s > 0 or fingerprint.end_s is not None
    return [fingerprint.start_s, fingerprint.end_s] if is_part else []


def read_training_clips(bundle: Bundle) -> tuple[KnownClip, ...] | None:
    """Read the list of a bundle's training clips.

    Args:
        bundle: the opened bundle.

    Returns:
        The clips, all on the side `trained`; `None` where the bundle carries no list.

    Raises:
        BundleError: the list is missing, altered, damaged, or of another version.
    """
    if "training_clips" not in bundle.manifest:
        return None
    entry = bundle.section("training_clips")
    path = bundle.path / CLIPS_FILE
    if entry.get("version") != FINGERPRINT_VERSION or entry.get("file") != CLIPS_FILE:
        raise BundleError(
            f"{bundle.path}: training_clips of version {entry.get('version')!r} in {entry.get('file')!r}, expected "
            f"version {FINGERPRINT_VERSION} in {CLIPS_FILE}; train the bundle anew"
        )
    try:
        return _unpack(_read_arrays(path, str(entry.get("sha256"))))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: damaged or missing ({error}); train or install the bundle anew") from None


def _read_arrays(path: Path, digest: str) -> dict[str, npt.NDArray[Any]]:
    if path.stat().st_size > MAX_CLIPS_BYTES:
        raise ValueError("too large")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("sha256 differs from bundle.json")
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        if sum(part.file_size for part in parts.infolist()) > MAX_CLIPS_BYTES:
            raise ValueError("too large when unpacked")
    with np.load(io.BytesIO(content), allow_pickle=False) as entry:
        return {name: entry[name] for name in entry.files}


def _unpack(arrays: dict[str, npt.NDArray[Any]]) -> tuple[KnownClip, ...]:
    rows = json.loads(arrays["clips"].tobytes().decode())
    sounds, pictures = _unpack_tracks(arrays, "sound", len(rows)), _unpack_tracks(arrays, "picture", len(rows))
    return tuple(
        KnownClip(
            str(name),
            str(corpus),
            str(speaker),
            "trained",
            Fingerprint(str(digest), sound, picture, float("nan"), *_read_part(*times)),
        )
        for (name, corpus, speaker, digest, *times), sound, picture in zip(rows, sounds, pictures, strict=True)
    )


def _read_part(start_s: Any = 0.0, end_s: Any = None) -> tuple[float, float | None]:
    return float(start_s), None if end_s is None else float(end_s)


def _unpack_tracks(arrays: dict[str, npt.NDArray[Any]], kind: str, n_clips: int) -> list[Track]:
    lengths, words = arrays[f"{kind}_lengths"].astype(np.int64), arrays[f"{kind}_words"].astype(np.uint32)
    active = np.unpackbits(arrays[f"{kind}_active"], count=len(words)).astype(bool)
    if len(lengths) != n_clips or (lengths < 0).any() or not lengths.sum() == len(words) == len(active):
        raise ValueError("lengths do not fit")
    ends = lengths.cumsum()[:-1]
    parts = zip(np.split(words, ends), np.split(active, ends), strict=True) if n_clips else ()
    return [Track(*part) for part in parts]
