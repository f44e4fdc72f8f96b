"""Labelled clips as the networks of a late bundle see and hear them, through the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remember, partial
from typing import Any

import numpy as np

from moodreel.bundle import Bundle, load_bundle
from moodreel.corpora import Sample
from moodreel.errors import BundleError, MediaError
from moodreel.labels import EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.defence import name_clip
from moodreel.recognition.fusion import ClipLogits
from moodreel.recognition.late_fusion import Description, LateReader
from moodreel.storage.cache import Arrays, Cache, hash_file, make_key
from moodreel.training.extraction import ReadClips, Unreadable, read_each

DESCRIPTION_VERSION = 1
"""Part of every cache key: raise it when the same clip is read otherwise than before."""

MODALITIES = ("face", "voice")


@dataclass(frozen=True, eq=False)
class TunedClip:
    """A labelled clip and what the networks make of it.

    Attributes:
        sample: the clip.
        description: logits and features, pooled over time.
    """

    sample: Sample
    description: Description

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
) -> ReadClips[TunedClip]:
    """Read every clip with the networks of a late bundle, from the cache where that was done before.

    Args:
        samples: the clips.
        model: name or folder of the bundle.
        cache: where what was read is kept; a run that was stopped goes on where it was.
        workers: processes that read clips.
        ray: see `read_each`.
        allow_unreadable: go on with more than 5 % of the clips unreadable.

    Raises:
        BundleError: the bundle cannot be used.
        CorpusError: too many clips cannot be read.
        OutputError: the cache cannot be written.
    """
    open_late(model)
    read = partial(_read_one, model=model, cache=cache)
    return read_each(read, samples, workers, ray=ray, allow_unreadable=allow_unreadable)


@remember
def _open_reader(model: str) -> tuple[LateReader, Mapping[str, Any]]:
    """Open the networks once in every process; beside them what tells them from others.

    All of them: one that answers nothing itself may still decide what is heard of a clip.
    """
    bundle = load_bundle(model)
    return LateReader(bundle, threads=1), {name: dict(entry) for name, entry in bundle.networks.items()}


def _read_one(sample: Sample, model: str, cache: Cache) -> tuple[TunedClip | Unreadable, bool]:
    reader, mark = _open_reader(model)
    try:
        key = make_key("described", DESCRIPTION_VERSION, hash_file(sample.path), sample.start_s, sample.end_s, mark)
        if (known := _from_arrays(cache.read(key))) is not None:
            return TunedClip(sample, known), False
        with name_clip(sample.path), open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
            description = reader.describe(clip)
        cache.write(key, _to_arrays(description))
    except MediaError as error:
        return Unreadable(sample.clip_id, str(error)), False
    return TunedClip(sample, description), True


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
