"""The paper's network in parts: frame encoder, LSTM over frames, dense layers over sound, and the head that joins them.

Networks know nothing of files. Each is built from its part of a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from moodreel.labels import N_EMOTIONS
from moodreel.training.backbones.resnet import N_STAGES, STAGE_WIDTHS, ResNet20, normalise_images
from moodreel.training.greys import LUMA
from moodreel.training.joint.recipe import AudioRecipe, HeadRecipe, VideoRecipe

_LEAST_VARIANCE = 1e-5
_ENCODED_AT_ONCE = 32
_LEAST_CONTRAST = 4.0
"""Grey levels added to a picture's deviation, so that noise in a blank one is not blown up."""
_QUIET = 0.1
"""Factor on the fresh weights beside class scores, so that these speak first."""


@dataclass(frozen=True)
class ClipBatch:
    """Clips as a network reads them, padded to one length.

    Attributes:
        sequence: float32 features of each frame, shape (n, t, d), or uint8 frames (n, t, side, side, 3).
        lengths: int64, frames of each clip, shape (n,), at least 1: a clip without picture has one frame of zeros.
        picture_scores: float32 class scores of the picture as a whole, shape (n, 7), or (n, 0) where the network reads
            none.
        vector: float32 sound features of each clip, shape (n, d).
        has_face: float32, shape (n,), 1 where there is a picture, else 0.
        has_voice: float32, shape (n,), 1 where there is sound, else 0.
        labels: int64, shape (n,), index into `EMOTIONS`.
        clip_ids: names of the clips, for messages.
    """

    sequence: Tensor
    lengths: Tensor
    picture_scores: Tensor
    vector: Tensor
    has_face: Tensor
    has_voice: Tensor
    labels: Tensor
    clip_ids: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """What a network says.

    Attributes:
        logits: shape (n, 7).
        video: the logits of the picture branch, shape (n, 7); `None` where the network has no such output.
        audio: the logits of the sound branch, shape (n, 7); `None` where the network has no such output.
    """

    logits: Tensor
    video: Tensor | None = None
    audio: Tensor | None = None


class ResNetEncoder(nn.Module):
    """ResNet-20 without pooling, dense layer and softmax, over single frames."""

    def __init__(self, network: ResNet20, cells: int, *, stages: int = N_STAGES, grey: bool = False) -> None:
        """Store what to run.

        Args:
            network: the encoder's weights.
            cells: see `VideoRecipe`.
            stages: see there.
            grey: see there.
        """
        super().__init__()
        self.network = network
        for unused in (*network.stages[stages:], network.linear):
            unused.requires_grad_(False)  # DDP would wait for their gradients
        self.cells = cells
        self.stages = stages
        self.grey = grey

    def width(self, side_px: int) -> int:
        """Return the features per frame."""
        n_cells = self.cells or -(-side_px // 2 ** (self.stages - 1))
        return STAGE_WIDTHS[self.stages - 1] * n_cells**2

    def forward(self, frames: Tensor) -> Tensor:
        """Map RGB frames 0-255, shape (n, side, side, 3), to non-negative features (n, channels * cells * cells)."""
        pictures = frames.permute(0, 3, 1, 2)
        maps = self.network.maps(even_greys(pictures) if self.grey else normalise_images(pictures), self.stages)
        if self.cells:
            size = maps.shape[-1] // self.cells
            maps = functional.avg_pool2d(maps[..., : size * self.cells, : size * self.cells], size)
        return maps.flatten(1)


def even_greys(pictures: Tensor) -> Tensor:
    """Turn pictures into greys of mean 0 and nearly deviation 1: the colour of skin and light says nothing.

    Args:
        pictures: RGB, values 0-255 of any dtype, shape (n, 3, height, width).

    Returns:
        float32, same shape, three equal planes.
    """
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    grey = (pictures.float() * luma).sum(1, keepdim=True)
    centred = grey - grey.mean((2, 3), keepdim=True)
    deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
    return (centred / (deviation + _LEAST_CONTRAST)).expand(-1, 3, -1, -1)


class VideoBranch(nn.Module):
    """Stacked LSTM over the features of a clip's frames (the paper: 3 layers)."""

    def __init__(self, n_in: int, recipe: VideoRecipe) -> None:
        super().__init__()
        self.centre = recipe.centre
        self.pool = recipe.pool
        self.dropout = nn.Dropout(recipe.dropout)
        n_read = n_in * (2 if recipe.centre == "both" else 1)
        self.lstm = nn.LSTM(n_read, recipe.width, recipe.layers, batch_first=True, bidirectional=recipe.both_ways)
        n_steps = recipe.width * (2 if recipe.both_ways else 1)
        self.n_out = n_steps if recipe.pool == "last" else 3 * n_steps

    def forward(self, sequence: Tensor, lengths: Tensor | None) -> Tensor:
        """Read clips.

        Args:
            sequence: shape (n, t, n_in), zeros behind each clip's end.
            lengths: frames of each clip, shape (n,), on the CPU; `None` where all have t.

        Returns:
            Shape (n, n_out).
        """
        mask = _mask(sequence, lengths)
        sequence = self.dropout(self._centre(sequence, mask))
        outputs, last = self._run(sequence, lengths)
        read: Tensor = self.dropout(last if self.pool == "last" else _statistics(outputs, mask))
        return read

    def _centre(self, sequence: Tensor, mask: Tensor) -> Tensor:
        if self.centre == "none":
            return sequence
        mean = (sequence * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        moved = (sequence - mean) * mask
        return moved if self.centre == "only" else torch.cat([sequence, moved], dim=2)

    def _run(self, sequence: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if lengths is None:
            outputs, (hidden, _) = self.lstm(sequence)
        else:
            packed = pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
            packed, (hidden, _) = self.lstm(packed)
            outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=sequence.shape[1])
        n_ways = 2 if self.lstm.bidirectional else 1
        return outputs, torch.cat(list(hidden[-n_ways:]), dim=1)


def _mask(sequence: Tensor, lengths: Tensor | None) -> Tensor:
    """Return 1 for real frames and 0 for padding, shape (n, t, 1)."""
    if lengths is None:
        return torch.ones_like(sequence[:, :, :1])
    steps = torch.arange(sequence.shape[1])
    return (steps[None, :] < lengths[:, None]).to(sequence.dtype)[:, :, None]


def _statistics(outputs: Tensor, mask: Tensor) -> Tensor:
    """Mean, deviation and maximum over the real frames, shape (n, 3 * width)."""
    count = mask.sum(1)
    mean = (outputs * mask).sum(1) / count
    variance = (((outputs - mean[:, None]) * mask) ** 2).sum(1) / count
    highest = (outputs - 2 * (1 - mask)).amax(1)  # an LSTM's outputs lie within -1..1
    return torch.cat([mean, (variance + _LEAST_VARIANCE).sqrt(), highest], dim=1)


class DenseBranch(nn.Module):
    """Dense layers, each with ReLU and dropout, over a vector per clip; with `skip` the vector goes on beside them."""

    def __init__(self, n_in: int, widths: Sequence[int], dropout: float, *, skip: bool = False) -> None:
        super().__init__()
        self.skip = skip
        n_skipped = n_in if skip else 0
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(n_in, width), nn.ReLU(), nn.Dropout(dropout)]
            n_in = width
        self.layers = nn.Sequential(*layers)
        self.n_out = n_in + n_skipped

    def forward(self, vector: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        hidden: Tensor = self.layers(vector)
        return torch.cat([hidden, vector], dim=1) if self.skip else hidden


class JointNet(nn.Module):
    """A picture branch and a sound branch, concatenated, dense layers, seven logits.

    A modality that is not there is replaced by a learned vector; it learns only where training clips lose modalities.
    """

    def __init__(
        self,
        video: VideoBranch | None,
        audio: DenseBranch | None,
        recipe: HeadRecipe,
        encoder: ResNetEncoder | None = None,
        n_picture_scores: int = 0,
        n_sound_scores: int = 0,
    ) -> None:
        """Build the network.

        Args:
            video: the picture branch, or `None`.
            audio: the sound branch, or `None`.
            recipe: of the head.
            encoder: the frame encoder where it runs in every step.
            n_picture_scores: class scores of the picture that go on beside the picture branch; 0 for none.
            n_sound_scores: class scores of the sound that go on beside the sound branch's dense layers; 0 for none.
        """
        super().__init__()
        self.encoder = encoder
        self.video = video
        self.audio = audio
        self.recipe = recipe
        n_video, n_audio = video.n_out + n_picture_scores if video else 0, audio.n_out if audio else 0
        self.no_face = nn.Parameter(torch.zeros(n_video)) if video else None
        self.no_voice = nn.Parameter(torch.zeros(n_audio)) if audio else None
        self.dense = DenseBranch(n_video + n_audio, recipe.dense, recipe.dropout)
        self.out = nn.Linear(self.dense.n_out, N_EMOTIONS)
        has_own = recipe.branch_loss > 0 or recipe.vote
        self.video_out = nn.Linear(n_video, N_EMOTIONS) if has_own and video else None
        self.audio_out = nn.Linear(n_audio, N_EMOTIONS) if has_own and audio else None
        if recipe.vote and recipe.from_scores and (n_picture_scores or n_sound_scores):
            self._start_from_scores(n_picture_scores, n_sound_scores)

    @torch.no_grad()
    def _start_from_scores(self, n_picture_scores: int, n_sound_scores: int) -> None:
        """Let the first answer be the sum of the class scores that go on beside the layers.

        A head that starts from nothing has to find out from some 900 clips what the scores mean, and loses by it: on
        sound alone six points of UAR against the scores as they are. From here it only learns what they lack.
        """
        for out, n_scores in ((self.out, 0), (self.video_out, n_picture_scores), (self.audio_out, n_sound_scores)):
            if out is not None:
                out.weight.mul_(_QUIET)
                out.bias.zero_()
                if n_scores:
                    out.weight[:, -n_scores:] = torch.eye(N_EMOTIONS)

    def read_batch(self, batch: ClipBatch) -> Answers:
        """Answer for padded clips."""
        sequence = batch.sequence
        if self.video is not None and self.encoder is not None:
            sequence = self._encode(sequence, batch.lengths)
        return self.forward(
            sequence, batch.lengths, batch.picture_scores, batch.vector, batch.has_face, batch.has_voice
        )

    def forward(
        self,
        sequence: Tensor,
        lengths: Tensor | None,
        picture_scores: Tensor,
        vector: Tensor,
        has_face: Tensor,
        has_voice: Tensor,
    ) -> Answers:
        """Answer for clips whose frames are encoded; arguments as in `ClipBatch`, `lengths` `None` without padding."""
        parts, video, audio = [], None, None
        if self.video is not None:
            seen = self.video(sequence, lengths)
            seen = _replace(
                torch.cat([seen, picture_scores], dim=1) if picture_scores.shape[1] else seen, has_face, self.no_face
            )
            parts.append(seen)
            video = None if self.video_out is None else self.video_out(seen)
        if self.audio is not None:
            sound = _replace(self.audio(vector), has_voice, self.no_voice)
            parts.append(sound)
            audio = None if self.audio_out is None else self.audio_out(sound)
        logits = self.out(self.dense(torch.cat(parts, dim=1)))
        if self.recipe.vote and video is not None:
            logits = logits + has_face[:, None] * video
        if self.recipe.vote and audio is not None:
            logits = logits + has_voice[:, None] * audio
        return Answers(logits, video, audio)

    def _encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Run the frame encoder over real frames alone, so that padding does not enter its batch statistics."""
        assert self.encoder is not None
        real = torch.arange(frames.shape[1])[None, :] < lengths[:, None]
        features = self._run_encoder(frames[real])
        sequence: Tensor = features.new_zeros(*frames.shape[:2], features.shape[1])
        sequence[real] = features
        return sequence

    def _run_encoder(self, frames: Tensor) -> Tensor:
        """Encode frames; a frozen encoder takes a few at a time, for the maps within it are 16 times its input."""
        assert self.encoder is not None
        if any(parameter.requires_grad for parameter in self.encoder.parameters()):
            features: Tensor = self.encoder(frames)
            return features
        with torch.no_grad():
            return torch.cat([self.encoder(part) for part in torch.split(frames, _ENCODED_AT_ONCE)])


def _replace(features: Tensor, present: Tensor, substitute: Tensor | None) -> Tensor:
    assert substitute is not None
    there = present[:, None]
    return features * there + substitute * (1 - there)


def build_network(
    video: VideoRecipe | None,
    audio: AudioRecipe | None,
    head: HeadRecipe,
    *,
    n_video: int,
    n_audio: int,
    n_picture_scores: int = 0,
    encoder: ResNetEncoder | None = None,
) -> JointNet:
    """Build the trained part of a recipe's network.

    Args:
        video: the picture branch, or `None`.
        audio: the sound branch, or `None`.
        head: what joins them.
        n_video: features per frame.
        n_audio: sound features per clip.
        n_picture_scores: class scores of the picture as a whole; 0 for none.
        encoder: the frame encoder where it is trained too.
    """
    return JointNet(
        None if video is None else VideoBranch(n_video, video),
        None if audio is None else DenseBranch(n_audio, audio.dense, audio.dropout, skip=audio.skip),
        head,
        encoder,
        n_picture_scores,
        N_EMOTIONS if audio is not None and audio.scores and audio.skip else 0,
    )
