"""A corpus's clips to features, through the cache: several processes, progress, and a list of what cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remember, partial
from typing import Generic, Literal, TypeVar

import numpy as np

from moodreel.batch.clips import CRASHED, map_clips
from moodreel.batch.on_ray import joined_cluster
from moodreel.bundle import load_bundle
from moodreel.corpora import Sample, read_feature_file
from moodreel.errors import CorpusError, MediaError, OutputError
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.recognition.encoders import FACE, VOICE, Encoders
from moodreel.recognition.inputs import FEATURES_VERSION, NOT_READ, Features, InputSpec, Part, spec_to_dict
from moodreel.recognition.reading import extract_features
from moodreel.storage.cache import Cache, hash_file, make_key
from moodreel.training.progress import phase
from moodreel.voice.functionals import N_FUNCTIONALS

logger = logging.getLogger(__name__)

T = TypeVar("T")
FunctionalsSource = Literal["opensmile", "corpus"]
MOST_UNREADABLE = 0.05
"""Share of unreadable clips above which training stops, unless allowed."""


@dataclass(frozen=True)
class Unreadable:
    """A clip that was left out.

    Attributes:
        clip_id: which.
        reason: why, in one line.
    """

    clip_id: str
    reason: str


ClipKeys = Mapping[Part, str]
"""Where a clip's features stand in the cache, by the parts that are asked for."""


@dataclass(frozen=True)
class Extraction:
    """The features of a corpus, in the cache.

    Attributes:
        samples: the clips that could be read, in the order given.
        keys: where the features of each stand in the cache.
        cache: the cache.
        source: where functionals come from.
        unreadable: the clips that could not be read.
        n_extracted: how many clips were really read; the rest stood in the cache.
    """

    samples: tuple[Sample, ...]
    keys: tuple[ClipKeys, ...]
    cache: Cache
    source: FunctionalsSource
    unreadable: tuple[Unreadable, ...]
    n_extracted: int

    def load(self, index: int) -> Features:
        """Return the features of one clip.

        Raises:
            OutputError: the cache lost the entry since it was written.
            CorpusError: the clip came without a feature file, or one of another dimension than 1582.
        """
        features: Features | None = NOT_READ
        for part, key in self.keys[index].items():
            features = features and _from_cache(self.cache, key, part, features)
        if features is None:
            raise OutputError(f"{self.cache.folder}: an entry vanished or was damaged; start again to make it anew")
        return _with_corpus_functionals(features, self.samples[index]) if self.source == "corpus" else features


def extract_corpus(
    samples: Sequence[Sample],
    spec: InputSpec,
    cache: Cache,
    *,
    workers: int = 1,
    ray: str | None = None,
    functionals_source: FunctionalsSource = "opensmile",
    encoders: str = "default",
    allow_unreadable: bool = False,
) -> Extraction:
    """Read the features of every clip, from the cache where they stand there.

    Args:
        samples: the clips.
        spec: what to read of each.
        cache: where features are kept; a run that was stopped goes on where it was.
        workers: processes that read clips.
        ray: the Ray cluster that reads them instead, whose machines see clips and cache; `None` for processes here.
        functionals_source: `corpus` takes the feature files that came with the corpus instead of running openSMILE.
        encoders: name or folder of the bundle whose networks describe faces and speech, where `spec` asks for that.
        allow_unreadable: go on whatever share of the clips cannot be read.

    Raises:
        CorpusError: more than 5 % of the clips cannot be read, or a feature file has another dimension than 1582.
        OutputError: the cache cannot be written.
        BundleError: the encoders cannot be opened.
        MoodreelError: openSMILE is needed and not installed.
    """
    open_encoders(encoders, spec)
    read = partial(_read_one, spec=spec, cache=cache, bundle=encoders)
    done = read_each(read, samples, workers, ray=ray, allow_unreadable=allow_unreadable)
    clips, keys = zip(*done.kept, strict=True)
    return Extraction(clips, keys, cache, functionals_source, done.unreadable, done.n_new)


@dataclass(frozen=True)
class ReadClips(Generic[T]):
    """What came of reading many clips.

    Attributes:
        kept: the clips that could be read, in the order given, and what was read of each.
        unreadable: the others.
        n_new: how many clips were really read; the rest stood in the cache.
    """

    kept: tuple[tuple[Sample, T], ...]
    unreadable: tuple[Unreadable, ...]
    n_new: int


def read_each(
    read: Callable[[Sample], tuple[T | Unreadable, bool]],
    samples: Sequence[Sample],
    workers: int,
    *,
    ray: str | None = None,
    allow_unreadable: bool,
) -> ReadClips[T]:
    """Read every clip, in several processes, and leave out those that cannot be read.

    Args:
        read: reads one clip: what was read or why nothing could be, and whether the clip was really read.
        samples: the clips.
        workers: processes that read clips.
        ray: the Ray cluster that reads them instead, whose machines see clips and cache; `None` for processes here.
        allow_unreadable: go on whatever share of the clips cannot be read.

    Raises:
        CorpusError: more than 5 % of the clips cannot be read, or none can.
    """
    kept: list[tuple[Sample, T]] = []
    unreadable: list[Unreadable] = []
    n_new = 0
    with joined_cluster(ray) as crew, phase("reading clips", len(samples)) as show:
        outcomes = map_clips(read, samples, workers, _leave_out, crew=crew)
        for done, (sample, (outcome, is_new)) in enumerate(zip(samples, outcomes, strict=True), 1):
            n_new += is_new
            if isinstance(outcome, Unreadable):
                unreadable.append(outcome)
                logger.warning("left out %s: %s", outcome.clip_id, outcome.reason)
            else:
                kept.append((sample, outcome))
            show(done)
    _check_share(unreadable, len(samples), allow_unreadable)
    return ReadClips(tuple(kept), tuple(unreadable), n_new)


def _leave_out(sample: Sample) -> tuple[Unreadable, bool]:
    return Unreadable(sample.clip_id, CRASHED), False


@remember
def open_encoders(bundle: str, spec: InputSpec) -> Encoders:
    """Open the encoders that a spec asks for, once in every process.

    Args:
        bundle: name or folder of the bundle they are taken from.
        spec: what is to be read.

    Raises:
        BundleError: there is no such bundle, or it lacks a network.
    """
    if not (spec.expressions or spec.speech):
        return Encoders()
    return Encoders.open(load_bundle(bundle), face=spec.expressions, voice=spec.speech, threads=1)


def _read_one(sample: Sample, spec: InputSpec, cache: Cache, bundle: str) -> tuple[ClipKeys | Unreadable, bool]:
    """Read one clip; runs in the worker."""
    encoders = open_encoders(bundle, spec)
    try:
        keys = _find_keys(sample, spec, encoders)
        missing = [part for part, key in keys.items() if _from_cache(cache, key, part) is None]
        if missing:
            with name_clip(sample.path):
                features = _extract_missing(sample, spec, missing, encoders)
            for part in missing:
                cache.write(keys[part], features.to_arrays(part))
    except MediaError as error:
        return Unreadable(sample.clip_id, str(error)), False
    return keys, bool(missing)


def _find_keys(sample: Sample, spec: InputSpec, encoders: Encoders) -> ClipKeys:
    content = (FEATURES_VERSION, hash_file(sample.path), sample.start_s, sample.end_s)
    face, voice = (encoders.checksums.get(name, "") for name in (FACE, VOICE))
    keys: dict[Part, str] = {}
    if spec.frames:
        keys["picture"] = make_key("picture", *content, spec_to_dict(spec.picture), face)
    if spec.reads_sound:
        keys["sound"] = make_key("sound", *content, spec_to_dict(spec.sound), voice)
    return keys


def _from_cache(cache: Cache, key: str, part: Part, features: Features = NOT_READ) -> Features | None:
    """Add one part out of the cache to a clip's features; `None` where it is not there, or damaged."""
    arrays = cache.read(key)
    try:
        return None if arrays is None else features.with_arrays(part, arrays)
    except KeyError:
        return None


def _extract_missing(sample: Sample, spec: InputSpec, missing: Sequence[Part], encoders: Encoders) -> Features:
    """Read one part, or all in one pass."""
    if len(missing) == 1:
        try:
            return _extract(sample, spec.picture if missing[0] == "picture" else spec.sound, encoders)
        except MediaError:
            pass  # a silent film cannot be read for its sound alone, yet it is no clip to be left out
    return _extract(sample, spec, encoders)


def _extract(sample: Sample, spec: InputSpec, encoders: Encoders) -> Features:
    with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
        features = extract_features(clip, spec, encoders=encoders)
    if not np.isfinite(features.functionals).all():
        raise MediaError(f"{sample.path}: NaN or infinity in its functionals; leave the clip out")
    return features


def _with_corpus_functionals(features: Features, sample: Sample) -> Features:
    if sample.features_path is None:
        raise CorpusError(f"{sample.path}: came without a feature file; pass --set audio.source=opensmile")
    return replace(features, functionals=read_feature_file(sample.features_path, N_FUNCTIONALS))


def _check_share(unreadable: Sequence[Unreadable], n_clips: int, allowed: bool) -> None:
    if len(unreadable) == n_clips:
        raise CorpusError(f"none of {n_clips} clips can be read; the first: {_list(unreadable[:1])}")
    if len(unreadable) > MOST_UNREADABLE * n_clips and not allowed:
        raise CorpusError(
            f"{len(unreadable)} of {n_clips} clips cannot be read, more than {MOST_UNREADABLE:.0%} "
            f"(--allow-unreadable goes on): {_list(unreadable[:5])}"
        )


def _list(unreadable: Sequence[Unreadable]) -> str:
    return "; ".join(f"{clip.clip_id}: {clip.reason}" for clip in unreadable)
