"""Features to batches: frames encoded once, clips padded and shuffled. Between the two stand the maps of `maps.py`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.corpora import Sample
from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS
from moodreel.recognition.inputs import Features
from moodreel.storage.cache import make_key
from moodreel.training.extraction import Extraction
from moodreel.training.joint.networks import ResNetEncoder
from moodreel.training.joint.recipe import EXPRESSION, SPEECH, Recipe
from moodreel.training.progress import phase

logger = logging.getLogger(__name__)

LARGEST_HELD_BYTES = 2 * 2**30
"""Encoded frames larger than this are not held: frames are then read from the cache and encoded in every step."""
_ENCODE_AT_ONCE = 64
ENCODING_VERSION = 1
"""Raised when the same frames and weights give other maps, so that what was kept before is made anew."""


class Material:
    """A corpus, read and encoded: everything about its clips that does not depend on the split.

    Attributes:
        extraction: where the features are.
        recipe: what is wanted of them.
        encoder: the frame encoder; `None` for a network without a picture branch, and where features alone are read of
            frames.
        held: encoded frames of each clip, float16 (t, d); `None` where they are too large or the encoder is trained.
        summaries: what `summarise` makes of each clip's features and, where the recipe wants that, of its mirrored
            frames', float32 (n, 1 or 2, 5 d); `None` where nothing is held, or nobody asks for them.
        vectors: sound features of each clip, float32 (n, d).
        varied: sound features of each clip at the recipe's other speeds, float32 (n, n_speeds, d).
        has_face: bool, (n,).
        has_voice: bool, (n,).
        remembered: what was fitted on it, by what it was fitted with, so that trials of a search that share a map do
            not fit it again.
    """

    def __init__(self, extraction: Extraction, recipe: Recipe, encoder: ResNetEncoder | None) -> None:
        """Encode what can be held.

        Raises:
            CorpusError: a clip's features are NaN or infinite; names it.
        """
        self.extraction = extraction
        self.recipe = recipe
        self.encoder = encoder
        self.remembered: dict[Hashable, Any] = {}
        self.held: list[Tensor] | None = [] if self._can_hold() else None
        vectors, varied, has_face, has_voice, summaries = [], [], [], [], []
        with phase("encoding clips", len(extraction.samples)) as show:
            for index, sample in enumerate(extraction.samples):
                features = extraction.load(index)
                vectors.append(_check_finite(self._sound_of(features), sample))
                varied.append(_check_finite(features.varied, sample))
                has_face.append(features.has_face)
                has_voice.append(features.has_voice)
                if self.held is not None:
                    self.held.append(self._describe_frames(index, features))
                    summaries.append(self._summarise(index, features))
                show(index + 1)
        self.vectors = np.stack(vectors)
        is_varied = recipe.audio is not None and bool(recipe.audio.speeds)
        self.varied = np.stack(varied) if is_varied else self.vectors[:, None][:, :0]
        self.has_face, self.has_voice = np.array(has_face), np.array(has_voice)
        is_asked = recipe.video is not None and recipe.video.scores
        self.summaries = np.stack(summaries) if is_asked and self.held is not None else None

    def under(self, recipe: Recipe) -> Material:
        """Return the same clips under a recipe that reads and encodes them alike; what is remembered is shared."""
        material = copy(self)
        material.recipe = recipe
        return material

    def _describe_frames(self, index: int, features: Features) -> Tensor:
        video = self.recipe.video
        parts = []
        if self.encoder is None or (video is not None and video.expressions):
            parts.append(_read_expressions(features, self.extraction.samples[index]))
        if self.encoder is not None:
            parts.append(_encode(self.extraction, index, features.frames, self.encoder))
        return torch.cat(parts, dim=1)

    def _summarise(self, index: int, features: Features) -> npt.NDArray[np.float32]:
        assert self.held is not None and self.recipe.video is not None
        if not self.recipe.video.scores:
            return np.zeros((1, 0), np.float32)
        views = [self.held[index]]
        if self.recipe.video.mirrored and self.encoder is not None:
            views.append(_encode(self.extraction, index, features.frames[:, :, ::-1], self.encoder, "mirrored"))
        return np.stack([summarise(view.float()).numpy() for view in views])

    def _can_hold(self) -> bool:
        video, frames = self.recipe.video, self.recipe.frames
        if video is not None and video.weights == EXPRESSION:
            return True
        if video is None or frames is None or self.encoder is None or not video.frozen:
            return False
        clip_bytes = 2 * self.encoder.width(frames.side_px) * frames.rate_hz * self.recipe.longest_s / 2
        return clip_bytes * len(self.extraction.samples) <= LARGEST_HELD_BYTES

    def _sound_of(self, features: Features) -> npt.NDArray[np.float32]:
        audio = self.recipe.audio
        return features.speech if audio is not None and audio.source == SPEECH else features.functionals

    def index_of(self, samples: Sequence[Sample]) -> npt.NDArray[np.int_]:
        """Return the rows of some of the clips, those that could not be read left out."""
        rows = {(s.corpus, s.clip_id): row for row, s in enumerate(self.extraction.samples)}
        return np.array([rows[s.corpus, s.clip_id] for s in samples if (s.corpus, s.clip_id) in rows], dtype=int)

    def labels(self, rows: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
        """Return indices into `EMOTIONS` of some rows."""
        return np.array([EMOTIONS.index(self.extraction.samples[row].label) for row in rows], dtype=int)

    def frames(self, row: int) -> Tensor:
        """Return a clip's frames, uint8 (t, side, side, 3); one black frame where there are none."""
        assert self.recipe.frames is not None
        frames = self.extraction.load(row).frames
        side_px = self.recipe.frames.side_px
        return torch.from_numpy(frames if len(frames) else np.zeros((1, side_px, side_px, 3), np.uint8))


def _check_finite(values: npt.NDArray[np.float32], sample: Sample) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise CorpusError(f"{sample.path}: NaN or infinity in its features; leave the clip out or read it anew")
    return values


def _read_expressions(features: Features, sample: Sample) -> Tensor:
    """Return a clip's features of faces, float16 (t, d); one row of zeros where there are none."""
    width = features.expressions.shape[1]
    values = features.expressions if len(features.expressions) else np.zeros((1, width), np.float32)
    return torch.from_numpy(_check_finite(values, sample).astype(np.float16))


def _encode(
    extraction: Extraction, index: int, frames: npt.NDArray[np.uint8], encoder: ResNetEncoder, view: str = ""
) -> Tensor:
    """Encode one clip's frames, or take what they gave from the cache, where each view of them has its own name."""
    key = make_key(
        "encoded", ENCODING_VERSION, extraction.keys[index]["picture"], fingerprint(encoder), *([view] if view else [])
    )
    cached = extraction.cache.read(key)
    if cached is None:
        cached = {"sequence": _run_encoder(np.ascontiguousarray(frames), encoder)}
        extraction.cache.write(key, cached)
    sequence = torch.from_numpy(cached["sequence"])
    if not bool(torch.isfinite(sequence).all()):
        raise CorpusError(f"{extraction.samples[index].path}: NaN or infinity in the encoded frames")
    return sequence


def _run_encoder(frames: npt.NDArray[np.uint8], encoder: ResNetEncoder) -> npt.NDArray[np.float16]:
    if len(frames) == 0:
        return np.zeros((1, encoder.width(frames.shape[1])), np.float16)
    encoder.eval()
    with torch.inference_mode():
        parts = [encoder(part) for part in torch.split(torch.from_numpy(frames), _ENCODE_AT_ONCE)]
    return np.asarray(torch.cat(parts).half().numpy())


def fingerprint(encoder: ResNetEncoder) -> str:
    """Return a hash of an encoder's weights and settings."""
    digest = hashlib.sha256(f"stages={encoder.stages} cells={encoder.cells} grey={encoder.grey}".encode())
    for name, value in sorted(encoder.network.state_dict().items()):
        if not name.startswith("linear") and value.is_floating_point():
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def summarise(sequence: Tensor) -> Tensor:
    """Describe a clip by its frames' features: how they are, how they move, and how they begin, go on and end.

    Args:
        sequence: shape (t, d), t at least 1.

    Returns:
        Shape (5 d,): mean and deviation over time, and how far each third's mean lies from the whole's;
        a third without frames counts as the whole.
    """
    mean = sequence.mean(0)
    moved = sequence - mean
    deviation = moved.square().mean(0).sqrt()
    steps = torch.arange(sequence.shape[0], device=sequence.device)
    third = torch.div(steps * 3, sequence.shape[0], rounding_mode="floor")
    member = (third[None, :] == torch.arange(3)[:, None]).to(sequence.dtype)
    thirds = member @ moved / member.sum(1, keepdim=True).clamp(min=1)
    return torch.cat([mean, deviation, thirds.flatten()])
