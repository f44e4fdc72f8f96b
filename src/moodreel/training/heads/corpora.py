"""Labelled corpora as a late bundle's networks see and hear them, with what changes of their answers held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle, read_network
from moodreel.corpora import Sample, read_corpus
from moodreel.corpora.files import AUDIO_SUFFIXES
from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS
from moodreel.media.find import PICTURE_SUFFIXES
from moodreel.recognition.fusion import ClipLogits, FloatArray
from moodreel.storage.cache import Cache
from moodreel.text import printable
from moodreel.training.calibration.choose import AskedClip
from moodreel.training.heads.voices import HeardCorpus, hear_corpus
from moodreel.training.tuned.clips import read_described

_LICENCE_FILES = ("LICENCE.txt", "LICENSE.txt", "LICENCE", "LICENSE", "LICENSE.md")
_MOST_LICENCE = 300


@dataclass(frozen=True, eq=False)
class SeenCorpus:
    """The faces of a corpus's clips and pictures; those without a face are left out.

    Attributes:
        name: of the corpus.
        samples: the clips, n of them.
        features: of the face network, pooled over the clip, float64, shape (n, d).
        logits: of the face network, likewise, float64, shape (n, 7).
    """

    name: str
    samples: tuple[Sample, ...]
    features: FloatArray
    logits: FloatArray

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Emotions shown, int64, shape (n,), 0-6."""
        return np.array([EMOTIONS.index(sample.label) for sample in self.samples], np.int64)

    @property
    def people(self) -> npt.NDArray[np.str_]:
        """Who is seen, shape (n,)."""
        return np.array([f"{self.name}/{sample.speaker}" for sample in self.samples])


@dataclass(frozen=True, eq=False)
class HeadsCorpus:
    """A corpus: what was seen of it and what was heard.

    Attributes:
        name: unique among those read.
        samples: its clips.
        seen: its faces; `None` where none was looked for or found.
        heard: its voices; `None` likewise.
        licence: what the licence file beside the clips says first, at most 300 characters; `not stated` without one.
    """

    name: str
    samples: tuple[Sample, ...]
    seen: SeenCorpus | None
    heard: HeardCorpus | None
    licence: str

    @property
    def networks(self) -> str:
        """What it teaches, in words."""
        return " and ".join(name for name, one in (("face", self.seen), ("voice", self.heard)) if one is not None)


def read_heads_corpus(path: Path, bundle: Bundle, model: str, cache: Cache, most_clips: int, seed: int) -> HeadsCorpus:
    """Read a corpus with the networks of a late bundle.

    Args:
        path: folder or manifest.
        bundle: the opened bundle.
        model: its name or folder.
        cache: where what is read is kept.
        most_clips: so many are drawn where there are more.
        seed: decides which.

    Raises:
        BundleError: the bundle cannot be used.
        CorpusError: the corpus cannot be read, or shows no face and holds no speech.
        OutputError: the cache cannot be written.
    """
    corpus = read_corpus(path, allow_outside=True)
    name = corpus.name
    samples = tuple(replace(sample, corpus=name) for sample in _draw(corpus.samples, most_clips, seed))
    seen = _see(name, [one for one in samples if one.path.suffix.lower() not in AUDIO_SUFFIXES], model, cache)
    audible = [one for one in samples if one.path.suffix.lower() not in PICTURE_SUFFIXES]
    heard = None
    if audible:
        entry = bundle.networks["voice"]
        heard = hear_corpus(name, read_network(bundle.path, entry), str(entry["sha256"]), audible, cache)
    if seen is None and (heard is None or not heard.samples):
        raise CorpusError(f"{path}: no clip shows a face or holds speech; nothing can be learnt from it")
    licence = _read_licence(path if path.is_dir() else path.absolute().parent)
    return HeadsCorpus(name, samples, seen, heard if heard is not None and heard.samples else None, licence)


def _read_licence(folder: Path) -> str:
    for name in _LICENCE_FILES:
        file = folder / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")[:_MOST_LICENCE]
            return printable(" ".join(text.split()))
    return "not stated"


def _draw(samples: Sequence[Sample], most: int, seed: int) -> list[Sample]:
    if len(samples) <= most:
        return list(samples)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(samples))[:most])
    return [samples[int(index)] for index in chosen]


def _see(name: str, samples: Sequence[Sample], model: str, cache: Cache) -> SeenCorpus | None:
    if not samples:
        return None
    read = read_described(samples, model, cache, allow_unreadable=True)
    rows = [
        (clip.sample, clip.description.face, clip.description.logits.face)
        for _, clip in read.kept
        if clip.description.face is not None
    ]
    if not rows:
        return None
    kept, features, logits = zip(*rows, strict=True)
    return SeenCorpus(name, kept, np.stack(features), np.stack(logits))


def put_together(
    corpus: HeadsCorpus, face: FloatArray | None, voice: FloatArray | None, variant: int
) -> tuple[AskedClip, ...]:
    """Put what was answered to the faces and voices of a corpus together, clip by clip.

    Args:
        corpus: what was seen and heard.
        face: logits to `corpus.seen`, shape (n, 7); `None` where there is none.
        voice: logits to `corpus.heard` in one variant, shape (n, 7); `None` where there is none.
        variant: which, index into `VARIANTS`.
    """
    found: dict[str, ClipLogits] = {}
    samples: dict[str, Sample] = {}
    if corpus.seen is not None and face is not None:
        for sample, row in zip(corpus.seen.samples, face, strict=True):
            samples[sample.clip_id], found[sample.clip_id] = sample, ClipLogits(face=row)
    if corpus.heard is not None and voice is not None:
        for index, (sample, row) in enumerate(zip(corpus.heard.samples, voice, strict=True)):
            samples[sample.clip_id] = sample
            before = found.get(sample.clip_id, ClipLogits())
            found[sample.clip_id] = replace(before, voice=row, snr_db=float(corpus.heard.snr_db[index, variant]))
    unique = {name: replace(one, speaker=f"{corpus.name}/{one.speaker}") for name, one in samples.items()}
    return tuple(AskedClip(unique[name], found[name]) for name in samples)
