"""Labelled clips as the networks of a late bundle see and hear them, through the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remember, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle, load_bundle
from moodreel.corpora import Sample
from moodreel.errors import BundleError, MediaError, OutputError
from moodreel.labels import EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.recognition.fusion import ClipLogits
from moodreel.recognition.late_fusion import Description, LateReader
from moodreel.storage.cache import Arrays, Cache, hash_file, make_key
from moodreel.training.extraction import ReadClips, Unreadable, read_each

DESCRIPTION_VERSION = 1
GIVEN_VERSION = 1
"""Part of every cache key: raise it when the same clip is read otherwise than before."""

MODALITIES = ("face", "voice")


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of speech as the voice network was given it.

    Attributes:
        mel: log-mel spectrum, float32, shape (80, n_frames).
        pooling: weights of its tokens, float32, shape (n_frames / 2,).
        weight: what it counts for in the clip, above 0.
    """

    mel: npt.NDArray[np.float32]
    pooling: npt.NDArray[np.float32]
    weight: float


@dataclass(frozen=True, eq=False)
class Given:
    """What the networks were given of a clip, a part of a long one.

    Attributes:
        faces: the person's aligned faces, uint8, shape (n, side, side, 3).
        speech: stretches of speech.
    """

    faces: npt.NDArray[np.uint8]
    speech: tuple[Stretch, ...]


@dataclass(frozen=True, eq=False)
class TunedClip:
    """A labelled clip and what the networks make of it.

    Attributes:
        sample: the clip.
        description: logits and features, pooled over time.
        given: where in the cache stands what the networks were given; empty unless asked for.
    """

    sample: Sample
    description: Description
    given: str = ""

    @property
    def label(self) -> int:
        """The emotion shown, 0-6."""
        return EMOTIONS.index(self.sample.label)

    @property
    def is_empty(self) -> bool:
        """Whether neither a face nor speech was found."""
        return self.description.face is None and self.description.voice is None


def open_late(model: str) -> Bundle:
    """Open a bundle that can be tuned.

    Raises:
        BundleError: there is no such bundle, or it is a joint one.
    """
    bundle = load_bundle(model)
    if bundle.kind != "late":
        raise BundleError(f"{model}: a {bundle.kind} bundle, which cannot be tuned; name a late one, such as default")
    return bundle


def read_described(
    samples: Sequence[Sample],
    model: str,
    cache: Cache,
    workers: int = 1,
    *,
    ray: str | None = None,
    allow_unreadable: bool = False,
    keeps_given: bool = False,
) -> ReadClips[TunedClip]:
    """Read every clip with the networks of a late bundle, from the cache where that was done before.

    Args:
        samples: the clips.
        model: name or folder of the bundle.
        cache: where what was read is kept; a run that was stopped goes on where it was.
        workers: processes that read clips.
        ray: see `read_each`.
        allow_unreadable: go on with more than 5 % of the clips unreadable.
        keeps_given: keep in the cache what the networks were given too, up to half a megabyte of faces and 130 kB for
            8 s of speech a clip.

    Raises:
        BundleError: the bundle cannot be used.
        CorpusError: too many clips cannot be read.
        OutputError: the cache cannot be written.
    """
    open_late(model)
    read = partial(_read_one, model=model, cache=cache, keeps_given=keeps_given)
    return read_each(read, samples, workers, ray=ray, allow_unreadable=allow_unreadable)


@remember
def _open_reader(model: str) -> tuple[LateReader, Mapping[str, Any]]:
    """Open the networks once in every process; beside them what tells them from others.

    All of them: one that answers nothing itself may still decide what is heard of a clip.
    """
    bundle = load_bundle(model)
    return LateReader(bundle, threads=1), {name: dict(entry) for name, entry in bundle.networks.items()}


def _read_one(sample: Sample, model: str, cache: Cache, keeps_given: bool) -> tuple[TunedClip | Unreadable, bool]:
    reader, mark = _open_reader(model)
    try:
        content = (hash_file(sample.path), sample.start_s, sample.end_s, mark)
        key, given = make_key("described", DESCRIPTION_VERSION, *content), ""
        if keeps_given:
            given = make_key("given", GIVEN_VERSION, DESCRIPTION_VERSION, *content)
        known = _from_arrays(cache.read(key))
        if known is not None and (not keeps_given or cache.read(given) is not None):
            return TunedClip(sample, known, given), False
        with name_clip(sample.path), open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
            description = reader.describe(clip)
        cache.write(key, _to_arrays(description))
        if keeps_given:
            cache.write(given, _pack_given(description))
    except MediaError as error:
        return Unreadable(sample.clip_id, str(error)), False
    return TunedClip(sample, replace(description, seen=None, heard=()), given), True


def load_given(clip: TunedClip, cache: Cache) -> Given:
    """Return what the networks were given of a clip that was read for that.

    Raises:
        OutputError: the cache lost the entry since it was written.
    """
    arrays = cache.read(clip.given)
    if arrays is None or "weights" not in arrays:
        raise OutputError(f"{cache.folder}: an entry vanished or was damaged; start again to make it anew")
    stretches = enumerate(arrays["weights"])
    return Given(
        arrays["faces"],
        tuple(
            Stretch(arrays[f"mel{index}"].astype(np.float32), arrays[f"pooling{index}"], float(weight))
            for index, weight in stretches
        ),
    )


def _pack_given(description: Description) -> Arrays:
    faces = np.zeros((0, 1, 1, 3), np.uint8) if description.seen is None else description.seen
    weights = np.array([weight for _, weight in description.heard], np.float64)
    arrays: dict[str, npt.NDArray[Any]] = {"faces": faces, "weights": weights}
    for index, (heard, _) in enumerate(description.heard):
        arrays |= {f"mel{index}": heard.mel.astype(np.float16), f"pooling{index}": heard.pooling}
    return arrays


def _to_arrays(description: Description) -> Arrays:
    logits = description.logits
    parts = {
        "face": description.face,
        "voice": description.voice,
        "face_logits": logits.face,
        "voice_logits": logits.voice,
        "snr_db": logits.snr_db,
        "speaker_share": logits.speaker_share,
    }
    return {name: np.asarray(part, np.float64) for name, part in parts.items() if part is not None}


def _from_arrays(arrays: Arrays | None) -> Description | None:
    """Read what `_to_arrays` gave; `None` where there is nothing, or it is damaged."""
    if arrays is None or "speaker_share" not in arrays:
        return None
    part = arrays.get
    snr_db = part("snr_db")
    return Description(
        logits=ClipLogits(
            face=part("face_logits"),
            voice=part("voice_logits"),
            snr_db=None if snr_db is None else float(snr_db),
            speaker_share=float(arrays["speaker_share"]),
        ),
        face=part("face"),
        voice=part("voice"),
    )
