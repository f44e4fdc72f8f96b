"""How well the speaker network tells who speaks, on people whom it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from moodreel.training.speaker.material import SLOT_SAMPLES, Footage
from moodreel.training.speaker.network import FRAMES_PER_PICTURE, SpeakerNetwork
from moodreel.voice.cepstra import extract_cepstra

Float32 = npt.NDArray[np.float32]
_LEAST_SPOKEN = 8


def measure_speaker(network: SpeakerNetwork, footage: Sequence[Footage], seed: int = 0) -> dict[str, Any]:
    """Compare each clip's own sound with a stranger's, over its speech, and its lips with lips that rest.

    Args:
        network: what is measured.
        footage: clips of at least two people.
        seed: decides who is compared with whom.

    Returns:
        Number of clips and people; median log-odds and areas under the curve.
    """
    network.eval()
    rng = np.random.default_rng(seed)
    spoken = [clip for clip in footage if (clip.active == 1).sum() >= _LEAST_SPOKEN]
    rows = [row for row in (_compare(network, clip, spoken, rng) for clip in spoken) if row is not None]
    if not rows:
        return {"n_clips": 0, "n_people": 0}
    own, other, resting = np.array(rows).T
    return {
        "n_clips": len(rows),
        "n_people": len({clip.person for clip in spoken}),
        "median": {
            "own": float(np.median(own)),
            "other": float(np.median(other)),
            "resting": float(np.median(resting)),
        },
        "auc": {"other": _area(own, other), "resting": _area(own, resting)},
    }


def _compare(
    network: SpeakerNetwork, clip: Footage, others: Sequence[Footage], rng: np.random.Generator
) -> tuple[float, float, float] | None:
    strangers = [one for one in others if one.person != clip.person]
    if not strangers:
        return None
    stranger = strangers[rng.integers(len(strangers))]
    speaks = clip.active == 1
    sound = np.resize(stranger.sound, len(clip.sound))
    rest = np.repeat(clip.lips[:1], len(clip.lips), axis=0)
    return (
        float(_score(network, clip.lips, clip.sound)[speaks].mean()),
        float(_score(network, clip.lips, sound)[speaks].mean()),
        float(_score(network, rest, clip.sound)[speaks].mean()),
    )


@torch.inference_mode()
def _score(network: SpeakerNetwork, lips: npt.NDArray[np.uint8], sound: Float32) -> Float32:
    spectra = extract_cepstra(sound, FRAMES_PER_PICTURE * (len(sound) // SLOT_SAMPLES))
    answer: Float32 = network(torch.from_numpy(np.ascontiguousarray(lips))[None], torch.from_numpy(spectra)[None])[
        0
    ].numpy()
    return answer


def _area(above: Float32, below: Float32) -> float:
    return float((above[:, None] > below[None, :]).mean())
