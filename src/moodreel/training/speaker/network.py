"""The network that tells from lips and sound whether a face speaks, moment by moment.

Its shape is LR-ASD's (Liao et al. 2025, "LR-ASD: Lightweight and robust network for active speaker detection", IJCV;
MIT licence), written anew so that each convolution is one over a plane: over the picture, then over time. That is what
processors are fast at, and the published weights fit. It costs a sixth of the origin: the first convolution strides
by four, and each block looks over time only after its picture was made smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from moodreel.errors import MoodreelError

FRAMES_PER_PICTURE = 4
"""Frames of sound for each picture."""
N_FEATURES = 128
_STRIDE = 4
_MEAN, _SPREAD = 0.4161, 0.1688
_MOMENTUM, _EPSILON = 0.01, 0.001


def _layer(n_in: int, n_out: int, kernel: tuple[int, int], stride: int = 1) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(n_out, momentum=_MOMENTUM, eps=_EPSILON),
        nn.ReLU(),
    )


class PictureBlock(nn.Module):
    """Two convolutions over the picture and two over time.

    Args:
        n_in: channels in.
        n_out: channels out.
        stride: of the first convolution.
        pools: whether the picture is halved in between.
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1, *, pools: bool = True) -> None:
        super().__init__()
        self.pools = pools
        self.s_1 = _layer(n_in, n_out // 2, (5, 5), stride)
        self.s_2 = _layer(n_out // 2, n_out, (3, 3))
        self.t_1 = _layer(n_out, n_out, (5, 1))
        self.t_2 = _layer(n_out, n_out, (3, 1))

    def forward(self, pictures: Tensor, n_faces: int) -> Tensor:
        """Read pictures of shape (n_faces * n_times, channels, height, width)."""
        seen: Tensor = self.s_2(self.s_1(pictures))
        if self.pools:
            seen = nn.functional.max_pool2d(seen, 3, 2, 1)
        _, n_channels, height, width = seen.shape
        planes = seen.reshape(n_faces, -1, n_channels, height * width).transpose(1, 2)
        moved: Tensor = self.t_2(self.t_1(planes)).transpose(1, 2)
        return moved.reshape(-1, n_channels, height, width)


class SoundBlock(nn.Module):
    """Two convolutions over the spectrum and two over time.

    Args:
        n_in: channels in.
        n_out: channels out.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.m_1 = _layer(n_in, n_out // 2, (5, 1))
        self.m_2 = _layer(n_out // 2, n_out, (3, 1))
        self.t_1 = _layer(n_out, n_out, (1, 5))
        self.t_2 = _layer(n_out, n_out, (1, 3))

    def forward(self, spectra: Tensor) -> Tensor:
        """Read spectra of shape (n, channels, coefficients, frames)."""
        heard: Tensor = self.t_2(self.t_1(self.m_2(self.m_1(spectra))))
        return heard


class Gate(nn.Module):
    """Weighs channels by each other.

    Args:
        n_channels: how many.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(n_channels, n_channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(n_channels, momentum=_MOMENTUM, eps=_EPSILON)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Join two of shape (n, times, channels) and weigh them."""
        joined = torch.cat((one, other), 2).transpose(1, 2)
        return (joined * torch.sigmoid(self.bn(self.attention(joined)))).transpose(1, 2)


class SpeakerNetwork(nn.Module):
    """Lips and sound to the log-odds that the face speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.ModuleList(
            [PictureBlock(1, 32, _STRIDE), PictureBlock(32, 64), PictureBlock(64, 128, pools=False)]
        )
        self.sounds = nn.ModuleList([SoundBlock(1, 32), SoundBlock(32, 64), SoundBlock(64, 128)])
        self.gate = Gate(2 * N_FEATURES)
        self.forth = nn.GRU(2 * N_FEATURES, N_FEATURES // 2, batch_first=True)
        self.back = nn.GRU(2 * N_FEATURES, N_FEATURES // 2, batch_first=True)
        self.gate_of_both = Gate(N_FEATURES)
        self.head = nn.Linear(N_FEATURES, 2)

    def see(self, lips: Tensor) -> Tensor:
        """Features of lips, shape (n, times, 128); `lips` is grey 0-255, shape (n, times, side, side)."""
        n_faces, n_times, height, width = lips.shape
        seen = ((lips / 255 - _MEAN) / _SPREAD).reshape(n_faces * n_times, 1, height, width)
        for block in self.pictures:
            seen = block(seen, n_faces)
        return seen.amax((2, 3)).reshape(n_faces, n_times, N_FEATURES)

    def hear(self, spectra: Tensor) -> Tensor:
        """Features of sound, shape (n, times, 128); `spectra` has shape (n, 4 * times, coefficients)."""
        heard = spectra.transpose(1, 2)[:, None]
        for index, block in enumerate(self.sounds):
            heard = block(heard)
            if index < len(self.sounds) - 1:
                heard = nn.functional.max_pool2d(heard, (1, 3), (1, 2), (0, 1))
        return heard.mean(2).transpose(1, 2)

    def compare(self, heard: Tensor, seen: Tensor) -> Tensor:
        """Log-odds that the face speaks, shape (n, times)."""
        joined = self.gate(heard, seen)
        forth, _ = self.forth(joined)
        back, _ = self.back(joined.flip(1))
        scores: Tensor = self.head(self.gate_of_both(forth, back.flip(1)))
        return scores[..., 1] - scores[..., 0]

    def forward(self, lips: Tensor, spectra: Tensor) -> Tensor:
        """Log-odds that each face speaks, shape (n, times), all beside one sound: `spectra` (1, 4 * times, 13)."""
        seen = self.see(lips.float())
        return self.compare(self.hear(spectra).expand(seen.shape[0], -1, -1), seen)


def read_origin(path: Path) -> dict[str, Tensor]:
    """Read LR-ASD's published weights as a state of `SpeakerNetwork`.

    Raises:
        MoodreelError: the file holds something else.
    """
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
        state = {_rename(name): _flatten(name, value) for name, value in _inference_part(held).items()}
        SpeakerNetwork().load_state_dict(state)
    except Exception as error:  # a foreign file fails in many ways
        raise MoodreelError(
            f"{path}: not LR-ASD's weights ({type(error).__name__}); expected its file finetuning_TalkSet.model"
        ) from None
    return state


def _inference_part(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all but what served its training alone."""
    return {name: value for name, value in held.items() if not name.startswith("lossV.")}


_NAMES = (
    ("model.", ""),
    ("visualEncoder.block1", "pictures.0"),
    ("visualEncoder.block2", "pictures.1"),
    ("visualEncoder.block3", "pictures.2"),
    ("audioEncoder.block1", "sounds.0"),
    ("audioEncoder.block2", "sounds.1"),
    ("audioEncoder.block3", "sounds.2"),
    ("fusion.", "gate."),
    ("detector.gru_forward", "forth"),
    ("detector.gru_backward", "back"),
    ("detector.attention.", "gate_of_both."),
    ("lossAV.FC", "head"),
)


def _rename(name: str) -> str:
    """Return our name of a weight: `s_1.weight` is `s_1.0.weight` here, `s_norm_1.bias` is `s_1.1.bias`."""
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours, 1) if name.startswith(theirs) else name
    for kind in ("s", "t", "m"):
        for number in ("1", "2"):
            name = name.replace(f".{kind}_norm_{number}.", f".{kind}_{number}.1.")
            name = name.replace(f".{kind}_{number}.weight", f".{kind}_{number}.0.weight")
    return name


def _flatten(name: str, value: Tensor) -> Tensor:
    """Take the axis of length one out of a convolution over time and picture."""
    if value.dim() != 5:
        return value
    return value.squeeze(2) if ".s_" in name else value.squeeze(4)
