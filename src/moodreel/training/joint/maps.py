"""The linear maps that stand before the network: fitted on training clips, then applied to all."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moodreel.errors import CorpusError
from moodreel.labels import N_EMOTIONS
from moodreel.training.joint.batches import ClipItem
from moodreel.training.joint.material import Material
from moodreel.training.joint.projection import (
    Float64,
    LinearMap,
    class_scores,
    fit_components,
    fit_lda,
    fit_scaling,
    out_of_fold,
)
from moodreel.training.joint.recipe import AudioRecipe, VideoRecipe

Rows = npt.NDArray[np.int_]
Fitted = TypeVar("Fitted")


@dataclass(frozen=True)
class Maps:
    """What was fitted on the training side before the network.

    Attributes:
        frames: map of frame features; `None` where they go in as they are.
        picture_scores: map of a clip's summary of its frame features to class scores; `None` where none are wanted.
        sound: map of sound features; `None` for a network without sound.
    """

    frames: LinearMap | None
    picture_scores: LinearMap | None
    sound: LinearMap | None


@dataclass(frozen=True)
class ModalityFeatures:
    """One vector per clip that LDA is fitted on, and how.

    Attributes:
        name: of the modality.
        vectors: shape (n, d), by row of the material.
        copies: changed copies of each clip, shape (n, k, d), that are learned from and never scored; k may be 0.
        there: bool, (n,): clips that have the modality at all.
        settings: of `fit_lda`.
        cross_fit: parts that training clips are scored in by fits without their speakers; 0: by the one fit.
        is_scored: whether class scores are wanted and not coordinates.
    """

    name: str
    vectors: npt.NDArray[np.float32]
    copies: npt.NDArray[np.float32]
    there: npt.NDArray[np.bool_]
    settings: dict[str, Any]
    cross_fit: int
    is_scored: bool

    @property
    def fitting(self) -> tuple[Hashable, ...]:
        """All that a fit on some clips depends on."""
        return self.name, self.cross_fit, self.is_scored, repr(self.settings)


def sound_features(material: Material, audio: AudioRecipe) -> ModalityFeatures:
    """Return what LDA is fitted on of the sound."""
    settings = {
        "n_directions": min(audio.directions, material.vectors.shape[1]),
        "shrinkage": audio.shrinkage,
        "share": audio.share,
        "scale": audio.scale,
        "limit": audio.limit or float("inf"),
        "squash": audio.squash,
    }
    return ModalityFeatures(
        "audio", material.vectors, material.varied, material.has_voice, settings, audio.cross_fit, audio.scores
    )


def picture_features(material: Material, video: VideoRecipe) -> ModalityFeatures:
    """Return what LDA is fitted on of the picture.

    Raises:
        CorpusError: the encoded frames are too large to be held.
    """
    if material.summaries is None:
        raise CorpusError("video.scores needs frames small enough to be held; lower frames.side_px or frames.rate_hz")
    settings = {
        "n_directions": N_EMOTIONS - 1,
        "shrinkage": "fixed",
        "share": video.share,
        "scale": True,
        "limit": 3.0,
    }
    summaries, copies = material.summaries[:, 0], material.summaries[:, 1:]
    return ModalityFeatures("video", summaries, copies, material.has_face, settings, video.cross_fit, True)


def fit_maps(material: Material, rows: Rows) -> Maps:
    """Fit the linear maps that stand before the network, on training clips alone.

    Args:
        material: the corpus.
        rows: its training clips.

    Raises:
        CorpusError: no training clip has sound, or a face, that LDA could be fitted on.
    """
    video, audio = material.recipe.video, material.recipe.audio
    return Maps(
        frames=None if video is None else _fit_frames(material, rows, video),
        picture_scores=_fit_modality(material, picture_features(material, video), rows, "show a face")
        if video and video.scores
        else None,
        sound=_fit_modality(material, sound_features(material, audio), rows, "have sound") if audio else None,
    )


def _fit_frames(material: Material, rows: Rows, video: VideoRecipe) -> LinearMap | None:
    if material.held is None or not (video.scale or video.reduced):
        return None
    held, seen = material.held, rows[material.has_face[rows]]
    if not len(seen):
        raise CorpusError("no training clip shows a face that can be found; try frames.framing: whole")

    def fit() -> LinearMap:
        features = np.concatenate([held[row].numpy() for row in seen])  # float16: float64 would be gigabytes
        return fit_components(features, video.reduced, scale=video.scale) if video.reduced else fit_scaling(features)

    return _remember(material, ("frames", video.reduced, video.scale), seen, fit)


def _fit_modality(material: Material, modality: ModalityFeatures, rows: Rows, what: str) -> LinearMap:
    there = rows[modality.there[rows]]
    labels = material.labels(there)
    if len(np.unique(labels)) < 2:
        raise CorpusError(f"the training clips that {what} show one class or none: LDA needs two")

    def fit() -> LinearMap:
        vectors, classes = _with_copies(modality, there, labels)
        found = fit_lda(vectors, classes, **modality.settings)
        return class_scores(found, vectors, classes, N_EMOTIONS) if modality.is_scored else found.projection

    return _remember(material, ("map", *modality.fitting), there, fit)


def _with_copies(modality: ModalityFeatures, rows: Rows, labels: Rows) -> tuple[Float64, Rows]:
    """Return the vectors of clips and, behind them, of their copies, with the label of each."""
    n_copies, width = modality.copies.shape[1:]
    copies = modality.copies[rows].reshape(len(rows) * n_copies, width)
    vectors = np.concatenate([modality.vectors[rows], copies]).astype(np.float64)
    return vectors, np.concatenate([labels, np.repeat(labels, n_copies)])


def make_items(material: Material, rows: Rows, maps: Maps, *, training: bool) -> tuple[ClipItem, ...]:
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
    video, audio = material.recipe.video, material.recipe.audio
    vectors = _project(material, sound_features(material, audio) if audio else None, rows, maps.sound, training)
    picture_scores = _project(
        material,
        picture_features(material, video) if video and maps.picture_scores else None,
        rows,
        maps.picture_scores,
        training,
    )
    labels = material.labels(rows)
    samples = material.extraction.samples
    return tuple(
        ClipItem(
            sequence=_sequence(material, int(row), maps.frames),
            picture_scores=torch.as_tensor(look, dtype=torch.float32),
            vector=torch.as_tensor(vector, dtype=torch.float32),
            has_face=bool(material.has_face[row]),
            has_voice=bool(material.has_voice[row]),
            label=int(label),
            clip_id=samples[row].clip_id,
        )
        for row, look, vector, label in zip(rows, picture_scores, vectors, labels, strict=True)
    )


def _project(
    material: Material, modality: ModalityFeatures | None, rows: Rows, linear_map: LinearMap | None, training: bool
) -> Float64:
    if modality is None or linear_map is None:
        return np.zeros((len(rows), 0))
    projected = linear_map.apply(modality.vectors[rows].astype(np.float64))
    if training and modality.cross_fit:
        there = modality.there[rows]
        projected[there] = _score_strangers(material, modality, rows[there])
    return projected


def _score_strangers(material: Material, modality: ModalityFeatures, rows: Rows) -> Float64:
    """Score training clips by fits that did not see their speakers; their clips, where only one speaker is known."""
    samples = [material.extraction.samples[row] for row in rows]
    speakers = [sample.speaker for sample in samples]
    if len(set(speakers)) < 2:  # which a split accepts only where the user asked for shared speakers by name
        speakers = [sample.clip_id for sample in samples]

    def score() -> Float64:
        vectors, labels = _with_copies(modality, rows, material.labels(rows))
        groups = [*speakers, *np.repeat(speakers, modality.copies.shape[1])]
        return out_of_fold(vectors, labels, groups, modality.cross_fit, N_EMOTIONS, **modality.settings)[: len(rows)]

    return _remember(material, ("strangers", *modality.fitting), rows, score)


def _remember(material: Material, what: tuple[Hashable, ...], rows: Rows, make: Callable[[], Fitted]) -> Fitted:
    """Return what is made of some clips, out of the memory where it was made before with the same settings."""
    key = (*what, rows.tobytes())
    if key not in material.remembered:
        material.remembered[key] = make()
    remembered: Fitted = material.remembered[key]
    return remembered


def _sequence(material: Material, row: int, frame_map: LinearMap | None) -> Tensor | int:
    if material.recipe.video is None:
        return torch.zeros(1, 0)
    if material.held is None:
        return row
    features = material.held[row].float()
    return features if frame_map is None else torch.as_tensor(frame_map.apply(features.numpy()), dtype=torch.float32)
