"""Features to batches: frames encoded once, linear maps fitted on the training side, clips padded and shuffled."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.cache import make_key
from moodreel.corpora import Sample
from moodreel.errors import CorpusError
from moodreel.features import Features
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.training.extraction import Extraction
from moodreel.training.networks import ClipBatch, ResNetEncoder
from moodreel.training.projection import (
    LinearMap,
    class_scores,
    fit_components,
    fit_lda,
    fit_scaling,
    out_of_fold,
)
from moodreel.training.recipe import EXPRESSION, SPEECH, AudioRecipe, Recipe, VideoRecipe

logger = logging.getLogger(__name__)

LARGEST_HELD_BYTES = 2 * 2**30
"""Encoded frames larger than this are not held: frames are then read from the cache and encoded in every step."""
_ENCODE_AT_ONCE = 64


@dataclass(frozen=True)
class ClipItem:
    """One clip as the network reads it.

    Attributes:
        sequence: float features of each frame, shape (t, d), t at least 1; or the index of a clip whose frames are
            read from the cache in every step.
        looks: float32 class scores of the picture as a whole, shape (7,) or (0,).
        vector: float32 sound features, shape (d,).
        has_face: whether there is a picture.
        has_voice: whether there is sound.
        label: index into `EMOTIONS`.
        clip_id: name of the clip.
    """

    sequence: Tensor | int
    looks: Tensor
    vector: Tensor
    has_face: bool
    has_voice: bool
    label: int
    clip_id: str


@dataclass(frozen=True)
class Maps:
    """What was fitted on the training side before the network.

    Attributes:
        frames: map of frame features; `None` where they go in as they are.
        looks: map of a clip's mean and deviation of each frame feature to class scores; `None` where none are wanted.
        sound: map of sound features; `None` for a network without ears.
    """

    frames: LinearMap | None
    looks: LinearMap | None
    sound: LinearMap | None


class Material:
    """A corpus, read and encoded: everything about its clips that does not depend on the split.

    Attributes:
        extraction: where the features are.
        recipe: what is wanted of them.
        encoder: the frame encoder; `None` for a network without eyes, and where features were read instead of frames.
        held: encoded frames of each clip, float16 (t, d); `None` where they are too large or the encoder is trained.
        vectors: sound features of each clip, float32 (n, d).
        has_face: bool, (n,).
        has_voice: bool, (n,).
    """

    def __init__(self, extraction: Extraction, recipe: Recipe, encoder: ResNetEncoder | None) -> None:
        """Encode what can be held.

        Raises:
            CorpusError: a clip's features are NaN or infinite; names it.
        """
        self.extraction = extraction
        self.recipe = recipe
        self.encoder = encoder
        self.held: list[Tensor] | None = [] if self._can_hold() else None
        vectors, has_face, has_voice = [], [], []
        for index, sample in enumerate(extraction.samples):
            features = extraction.load(index)
            vectors.append(_check_finite(self._sound_of(features), sample))
            has_face.append(features.has_face)
            has_voice.append(features.has_voice)
            if self.held is not None and encoder is not None:
                self.held.append(_encode(extraction, index, features, encoder))
            elif self.held is not None:
                self.held.append(_read_expressions(features, sample))
        self.vectors = np.stack(vectors)
        self.has_face, self.has_voice = np.array(has_face), np.array(has_voice)

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


def _encode(extraction: Extraction, index: int, features: Features, encoder: ResNetEncoder) -> Tensor:
    """Encode one clip's frames, or take them from the cache."""
    key = make_key("encoded", extraction.keys[index], fingerprint(encoder))
    cached = extraction.cache.read(key)
    if cached is None:
        cached = {"sequence": _run_encoder(features.frames, encoder)}
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
    digest = hashlib.sha256(f"cells={encoder.cells} grey={encoder.grey}".encode())
    for name, value in sorted(encoder.network.state_dict().items()):
        if not name.startswith("linear") and value.is_floating_point():
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit_maps(material: Material, rows: npt.NDArray[np.int_]) -> Maps:
    """Fit the linear maps that stand before the network, on training clips alone.

    Args:
        material: the corpus.
        rows: its training clips.

    Raises:
        CorpusError: no training clip has sound that LDA could be fitted on.
    """
    video, audio = material.recipe.video, material.recipe.audio
    frames = None if video is None else _fit_frames(material, rows, video)
    looks = None if video is None or not video.scores else _fit_looks(material, rows, video)
    sound = None if audio is None else _fit_sound(material, rows, audio)
    return Maps(frames, looks, sound)


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


def _summaries(material: Material, rows: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
    if material.held is None:
        raise CorpusError("video.scores needs frames small enough to be held; lower frames.side_px or frames.rate_hz")
    return np.stack([summarise(material.held[row].float()).numpy() for row in rows]).astype(np.float64)


def _fit_looks(material: Material, rows: npt.NDArray[np.int_], video: VideoRecipe) -> LinearMap:
    seen = rows[material.has_face[rows]]
    labels = material.labels(seen)
    if len(np.unique(labels)) < 2:
        raise CorpusError("the training clips that show a face show one class or none: LDA needs two")
    summaries = _summaries(material, seen)
    return class_scores(fit_lda(summaries, labels, **_looks_settings(video)), summaries, labels, N_EMOTIONS)


def _looks_settings(video: VideoRecipe) -> dict[str, Any]:
    return {"n_directions": N_EMOTIONS - 1, "shrinkage": "fixed", "share": video.share, "scale": True, "limit": 3.0}


def _project_looks(
    material: Material, rows: npt.NDArray[np.int_], maps: Maps, training: bool
) -> npt.NDArray[np.float64]:
    video = material.recipe.video
    if video is None or maps.looks is None:
        return np.zeros((len(rows), 0))
    scores = maps.looks.apply(_summaries(material, rows))
    if training:
        seen = material.has_face[rows]
        there = rows[seen]
        scores[seen] = _score_strangers(
            material, there, _summaries(material, there), video.cross_fit, _looks_settings(video)
        )
    return scores


def _score_strangers(
    material: Material,
    rows: npt.NDArray[np.int_],
    vectors: npt.NDArray[np.float64],
    n_parts: int,
    settings: dict[str, Any],
) -> npt.NDArray[np.float64]:
    """Score training clips by fits that did not see their speakers."""
    speakers = [material.extraction.samples[row].speaker for row in rows]
    if len(set(speakers)) < 2:
        raise CorpusError("cross_fit needs two training speakers or more")
    return out_of_fold(vectors, material.labels(rows), speakers, n_parts, N_EMOTIONS, **settings)


def _fit_frames(material: Material, rows: npt.NDArray[np.int_], video: VideoRecipe) -> LinearMap | None:
    if material.held is None or not (video.scale or video.reduced):
        return None
    seen = [material.held[row].float().numpy() for row in rows if material.has_face[row]]
    if not seen:
        raise CorpusError("no training clip shows a face that can be found; try frames.framing: whole")
    features = np.concatenate(seen)
    return fit_components(features, video.reduced, scale=video.scale) if video.reduced else fit_scaling(features)


def _fit_sound(material: Material, rows: npt.NDArray[np.int_], audio: AudioRecipe) -> LinearMap:
    heard = rows[material.has_voice[rows]]
    labels = material.labels(heard)
    if len(np.unique(labels)) < 2:
        raise CorpusError("the training clips that have sound show one class or none: LDA needs two")
    vectors = material.vectors[heard].astype(np.float64)
    found = fit_lda(vectors, labels, **_lda_settings(audio, vectors.shape[1]))
    return class_scores(found, vectors, labels, N_EMOTIONS) if audio.scores else found.projection


def _lda_settings(audio: AudioRecipe, n_features: int) -> dict[str, Any]:
    return {
        "n_directions": min(audio.directions, n_features),
        "shrinkage": audio.shrinkage,
        "share": audio.share,
        "scale": audio.scale,
        "limit": audio.limit or float("inf"),
        "squash": audio.squash,
    }


def make_items(material: Material, rows: npt.NDArray[np.int_], maps: Maps, *, training: bool) -> tuple[ClipItem, ...]:
    """Apply the maps to some clips.

    Args:
        material: the corpus.
        rows: which clips.
        maps: from `fit_maps`.
        training: whether these are the clips the maps were fitted on; with `cross_fit` they are then projected by
            fits that did not see their speakers.
    """
    if not len(rows):
        return ()
    vectors = _project_sound(material, rows, maps, training)
    looks = _project_looks(material, rows, maps, training)
    labels = material.labels(rows)
    samples = material.extraction.samples
    return tuple(
        ClipItem(
            sequence=_sequence(material, int(row), maps.frames),
            looks=torch.as_tensor(look, dtype=torch.float32),
            vector=torch.as_tensor(vector, dtype=torch.float32),
            has_face=bool(material.has_face[row]),
            has_voice=bool(material.has_voice[row]),
            label=int(label),
            clip_id=samples[row].clip_id,
        )
        for row, look, vector, label in zip(rows, looks, vectors, labels, strict=True)
    )


def _sequence(material: Material, row: int, frame_map: LinearMap | None) -> Tensor | int:
    if material.recipe.video is None:
        return torch.zeros(1, 0)
    if material.held is None:
        return row
    features = material.held[row].float()
    return features if frame_map is None else torch.as_tensor(frame_map.apply(features.numpy()), dtype=torch.float32)


def _project_sound(
    material: Material, rows: npt.NDArray[np.int_], maps: Maps, training: bool
) -> npt.NDArray[np.float64]:
    audio = material.recipe.audio
    if audio is None or maps.sound is None:
        return np.zeros((len(rows), 0))
    vectors = material.vectors[rows].astype(np.float64)
    if not training or not audio.cross_fit:
        return maps.sound.apply(vectors)
    return _score_strangers(material, rows, vectors, audio.cross_fit, _lda_settings(audio, vectors.shape[1]))


class Batches:
    """Batches of clips for one epoch and one process.

    The order depends on seed and epoch alone, and each global batch is dealt out to the processes clip by clip, so
    that two processes together take the very steps that one would take.
    """

    def __init__(
        self,
        material: Material,
        items: Sequence[ClipItem],
        batch_size: int,
        *,
        seed: int | None = None,
        modality_dropout: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Store what to batch.

        Args:
            material: where frames that are not held are read.
            items: the clips.
            batch_size: clips a step, over all processes.
            seed: of the shuffle and of lost modalities; `None` keeps order and clips as they are, and the last batch
                may be smaller.
            modality_dropout: chance that a clip loses its picture, and as much that it loses its sound.
            rank: number of this process.
            world_size: number of processes.
        """
        self.material = material
        self.items = items
        self.batch_size = batch_size
        self.seed = seed
        self.modality_dropout = modality_dropout
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        if self.seed is None:
            return (len(self.items) + self.batch_size - 1) // self.batch_size
        return max(1, len(self.items) // self.batch_size)

    def __iter__(self) -> Iterator[ClipBatch]:
        rng = np.random.default_rng(self.seed)
        order = np.arange(len(self.items)) if self.seed is None else rng.permutation(len(self.items))
        lost = rng.random(len(self.items))
        for step in range(len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            if self.seed is not None:
                rows = rows[: len(rows) // self.world_size * self.world_size][self.rank :: self.world_size]
            yield self._collate(rows, lost[rows])

    def _collate(self, rows: npt.NDArray[np.int_], lost: npt.NDArray[np.float64]) -> ClipBatch:
        items = [self.items[row] for row in rows]
        has_face = torch.tensor([float(item.has_face) for item in items])
        has_voice = torch.tensor([float(item.has_voice) for item in items])
        both = has_face * has_voice
        chance = torch.from_numpy(lost).float()
        has_face -= both * (chance < self.modality_dropout)
        has_voice -= both * (chance > 1 - self.modality_dropout)
        sequences = [self._sequence(item) for item in items]
        return ClipBatch(
            sequence=torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
            lengths=torch.tensor([len(sequence) for sequence in sequences]),
            looks=torch.stack([item.looks for item in items]),
            vector=torch.stack([item.vector for item in items]),
            has_face=has_face,
            has_voice=has_voice,
            labels=torch.tensor([item.label for item in items]),
            clip_ids=tuple(item.clip_id for item in items),
        )

    def _sequence(self, item: ClipItem) -> Tensor:
        return self.material.frames(item.sequence) if isinstance(item.sequence, int) else item.sequence


def class_weights(items: Sequence[ClipItem]) -> Tensor:
    """Return weights that make every class count alike, float32 (7,); 1 on average over the clips."""
    counts = np.bincount([item.label for item in items], minlength=N_EMOTIONS)
    present = (counts > 0).sum()
    weights = np.where(counts > 0, len(items) / (present * np.maximum(counts, 1)), 0.0)
    return torch.as_tensor(weights, dtype=torch.float32)
