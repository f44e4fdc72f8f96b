"""Measure a voice network on unseen recordings, as they are and under backgrounds, the way predicting does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import nn

from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import Interval, make_outcomes, score as measure
from moodreel.recognition.fusion import log_softmax
from moodreel.storage.whole_files import write_arrays
from moodreel.training.voice import augment
from moodreel.training.voice.recordings import Recording, list_known, read_recording
from moodreel.voice.speech import CHUNK_S, RATE_HZ, Float32, extract_speech, pool_windows, trim_silence

CONDITIONS = ("clean", "babble 10 dB", "babble 0 dB", "music 10 dB", "music 0 dB")
N_BABBLE = 4
RULED_OUT = -1000.0
"""Logit of an emotion that is no answer."""


@dataclass(frozen=True)
class RecordingLogits:
    """What a network answers to recordings.

    Attributes:
        conditions: names, n_conditions of them.
        logits: float32, shape (n_conditions, n, 7).
        snr_db: the network's estimate, float32, shape (n_conditions, n).
        label: int64, shape (n,).
        speaker: names, shape (n,).
        name: file names without ending, shape (n,).
    """

    conditions: NDArray[np.str_]
    logits: Float32
    snr_db: Float32
    label: NDArray[np.int64]
    speaker: NDArray[np.str_]
    name: NDArray[np.str_]

    def save(self, path: Path) -> None:
        """Write to one `.npz`."""
        write_arrays(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> RecordingLogits:
        """Read what `save` wrote, and what `score_folds` keeps."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def among(self, known: NDArray[np.bool_]) -> RecordingLogits:
        """Leave out the recordings of emotions that the network never saw in training, and rule those emotions out.

        Args:
            known: bool, shape (7,).
        """
        kept = known[self.label]
        logits = np.where(known, self.logits[:, kept], np.float32(RULED_OUT))
        return RecordingLogits(
            self.conditions, logits, self.snr_db[:, kept], self.label[kept], self.speaker[kept], self.name[kept]
        )


def predict_recordings(
    net: nn.Module, recordings: Sequence[Recording], conditions: Sequence[str] | None, seed: int
) -> RecordingLogits:
    """Run a network over whole recordings, silence before and after the speech included.

    Args:
        net: the network, in evaluation mode.
        recordings: what to read; babble is made of their other speakers.
        conditions: some of `CONDITIONS`; all when None.
        seed: together with a recording's place decides the backgrounds.
    """
    conditions = conditions or CONDITIONS
    sounds = [read_recording(recording.path)[: int(CHUNK_S * RATE_HZ)] for recording in recordings]
    speakers = np.array([recording.speaker for recording in recordings])
    logits = np.zeros((len(conditions), len(sounds), N_EMOTIONS), dtype=np.float32)
    snr_db = np.zeros((len(conditions), len(sounds)), dtype=np.float32)
    for place, sound in enumerate(sounds):
        others = [sounds[index] for index in np.flatnonzero(speakers != speakers[place])]
        for row, condition in enumerate(conditions):
            rng = np.random.default_rng([seed, place, row])
            logits[row, place], snr_db[row, place] = _predict_one(net, mix_background(sound, condition, others, rng))
    label = np.array([recording.label for recording in recordings])
    names = np.array([recording.path.stem for recording in recordings])
    return RecordingLogits(np.array(conditions), logits, snr_db, label, speakers, names)


def mix_background(sound: Float32, condition: str, others: Sequence[Float32], rng: Generator) -> Float32:
    """Mix a background into a sound.

    Args:
        sound: the speech.
        condition: `clean`, or a kind of background and its ratio, such as `music 10 dB`.
        others: voices that babble is made of.
        rng: decides the background.
    """
    if condition == "clean":
        return sound
    kind, ratio_db, _ = condition.split()
    if kind == "babble":
        voices = [others[int(index)] for index in rng.choice(len(others), N_BABBLE, replace=False)]
        return augment.mix_sound(sound, augment.make_babble(voices, len(sound), rng), float(ratio_db))
    make: Callable[[int, Generator], Float32] = {"music": augment.make_music, "laughter": augment.make_laughter}[kind]
    return augment.mix_sound(sound, make(len(sound), rng), float(ratio_db))


@torch.no_grad()
def _predict_one(net: nn.Module, sound: Float32) -> tuple[Float32, float]:
    speech = extract_speech(sound)
    pooling = pool_windows(speech.active, [(0.0, CHUNK_S)])
    mel, weights = trim_silence(speech, pooling)
    logits, snr_db = net(torch.from_numpy(mel), torch.from_numpy(weights)[None])
    return logits[0, 0].numpy(), float(snr_db[0, 0])


def score_folds(paths: Sequence[Path], heldout: Path) -> dict[str, Any]:
    """Join the folds' results, keep them in one file and score each condition over all unseen speakers.

    Args:
        paths: one `RecordingLogits` a fold.
        heldout: where the joined arrays go: `conditions`, `logits`, `snr_db`, `label`, `speaker`, `name`, `fold`.
    """
    found = [RecordingLogits.load(path) for path in paths]
    joined = RecordingLogits(
        found[0].conditions,
        np.concatenate([part.logits for part in found], axis=1),
        np.concatenate([part.snr_db for part in found], axis=1),
        *(np.concatenate([getattr(part, name) for part in found]) for name in ("label", "speaker", "name")),
    )
    fold = np.repeat(np.arange(len(found)), [len(part.label) for part in found])
    write_arrays(heldout, {"fold": fold, **vars(joined)})
    everyone = np.ones(N_EMOTIONS, dtype=np.bool_)
    scores = {str(name): score_condition(joined, row, everyone) for row, name in enumerate(joined.conditions)}
    return scores | {"clean by fold": [score_condition(part, 0, everyone)["uar"] for part in found]}


def score_transfer(path: Path) -> dict[str, Any]:
    """Score a network on the corpus it was not trained on, over the six emotions that both corpora name."""
    return score_condition(RecordingLogits.load(path), 0, list_known("nemo"))


def score_condition(found: RecordingLogits, row: int, known: NDArray[np.bool_]) -> dict[str, Any]:
    """Score one condition.

    Args:
        found: the results.
        row: which condition.
        known: bool, shape (7,): recordings of other emotions are left out, and their logits are not looked at.

    Returns:
        UAR and WAR, each with its 95 % interval from a bootstrap over speakers (`moodreel.metrics.intervals`), how it
        was drawn, recall by emotion, and the estimated ratio.
    """
    found = found.among(known)
    label, probabilities = found.label, np.exp(log_softmax(found.logits[row]))
    scores = measure(
        make_outcomes(found.name.tolist(), found.speaker.tolist(), [EMOTIONS[i] for i in label], probabilities)
    )
    return {
        "n": len(label),
        **_round_interval("uar", scores.uar),
        **_round_interval("war", scores.war),
        "intervals": scores.uar.method,
        "recall": {one.label: round(one.recall.value, 3) for one in scores.classes if one.n_clips},
        "estimated_snr_db": np.percentile(found.snr_db[row], (10, 50, 90)).round(1).tolist(),
    }


def _round_interval(name: str, figure: Interval) -> dict[str, Any]:
    ends = [None if end is None else round(end, 4) for end in (figure.low, figure.high)]
    return {name: round(figure.value, 4), f"{name}_95": ends}
