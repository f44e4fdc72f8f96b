"""Tune a late bundle to labelled clips, and measure on speakers set aside what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from moodreel.corpora.balance import balance
from moodreel.labels import N_EMOTIONS
from moodreel.metrics import (
    Comparison,
    Interval,
    Outcomes,
    balance_classes,
    compare,
    compare_balanced_nll,
    make_outcomes,
)
from moodreel.recognition.fusion import ClipLogits, FloatArray, Fusion
from moodreel.training.calibration.choose import AskedClip, refit
from moodreel.training.progress import phase
from moodreel.training.tuned.clips import MODALITIES, TunedClip
from moodreel.training.tuned.heads import Correction, Rows, fit_corrections

Level = Literal["fusion", "heads", "last-block", "all"]

WORDS: Mapping[Level, str] = {
    "fusion": "biases and fusion alone",
    "heads": "last layers and fusion",
    "last-block": "last block of each network, last layers and fusion",
    "all": "all blocks of each network, last layers and fusion",
}

PULLS = (3.0, 1.0, 0.3)
"""Strengths of the pull to the shipped last layer to choose from, by speakers left out."""
LONE_PULL = 1.0
"""The one taken where there is a single speaker, on whom none can be chosen."""
MOST_FOLDS = 5
NETWORK_FOLDS = 3
"""Folds on which networks tuned below their last layers are judged, for each takes minutes."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Refitted:
    """A network tuned below its last layer.

    Attributes:
        n_epochs: for how many.
        move: a clip to what it is to this network.
        write: the network as ONNX, without what is added to its logits.
    """

    n_epochs: int
    move: Callable[[TunedClip], TunedClip]
    write: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Tuned:
    """A late bundle's networks and fusion as tuned.

    Attributes:
        corrections: what is added to the logits of each network that answered a clip.
        pulls: how strongly each was pulled, `None` for a bias alone.
        calibration: how the corrected answers are calibrated and added.
        left_out: clips with what networks say of them that were corrected without their speaker.
        refitted: networks tuned below their last layers.
    """

    corrections: Mapping[str, Correction]
    pulls: Mapping[str, float | None]
    calibration: Fusion
    left_out: tuple[AskedClip, ...]
    refitted: Mapping[str, Refitted] = field(default_factory=dict)

    @property
    def maps(self) -> dict[str, Correction]:
        """The corrections that a network must carry; the others are biases, which the fusion holds."""
        return {name: one for name, one in self.corrections.items() if one.weights is not None}

    @property
    def fusion(self) -> Fusion:
        """The fusion to ship: the calibration and the biases of networks without a map."""
        fusion = self.calibration
        for name, one in self.corrections.items():
            if one.weights is None:
                fusion = _add_bias(fusion, name, one.bias)
        return fusion

    def answer(self, clip: TunedClip) -> FloatArray:
        """Return the probabilities of a clip that shows a face or holds speech, shape (7,)."""
        for network in self.refitted.values():
            clip = network.move(clip)
        answer = self.fusion.answer(correct(clip, self.maps).description.logits)
        assert answer is not None
        return answer


@dataclass(frozen=True, eq=False)
class Judged:
    """The tuned bundle against the one that was tuned, on clips of speakers set aside.

    Attributes:
        folds: what was set aside, in words.
        before: answers of the bundle as it was.
        after: answers of bundles tuned without the clip's speaker.
        gain: in UAR and WAR.
        nll_before: nats, every emotion that occurs counting alike.
        nll_after: the same after.
        nll_gain: nats by which they fall.
    """

    folds: str
    before: Outcomes
    after: Outcomes
    gain: Comparison
    nll_before: Interval
    nll_after: Interval
    nll_gain: Interval

    @property
    def is_better(self) -> bool:
        """Whether the tuned answers cost fewer nats and no less of UAR."""
        return self.nll_gain.value > 0 and self.gain.uar.value >= 0


Tuner = Callable[[Sequence[TunedClip], Sequence[str], Fusion, Level], Tuned]
"""Tunes to clips as `tune` does."""


def tune_where_better(
    clips: Sequence[TunedClip],
    groups: Sequence[str],
    present: Fusion,
    levels: Sequence[Level],
    tuner: Tuner | None = None,
) -> tuple[Tuned | None, list[tuple[Level, Judged]]]:
    """Tune at the first level that helps on groups set aside.

    Args:
        clips: as in `tune`.
        groups: as in `tune`.
        present: as in `tune`.
        levels: what to try, in this order.
        tuner: what tunes; `tune` by default.

    Returns:
        What was tuned, `None` where no level helps; and how each that was tried did.
    """
    tried: list[tuple[Level, Judged]] = []
    for level in levels:
        with phase(f"judging {WORDS[level]}"):
            tried.append((level, judge(clips, groups, present, level, tuner)))
        if tried[-1][1].is_better:
            with phase(f"tuning {WORDS[level]}"):
                return (tuner or tune)(clips, groups, present, level), tried
    return None, tried


def tune(clips: Sequence[TunedClip], groups: Sequence[str], present: Fusion, level: Level) -> Tuned:
    """Tune to all clips given.

    What the calibration is chosen on are answers of networks that were corrected without the clip's own speaker, for to
    clips that they learned from they answer too surely.

    Args:
        clips: each with a face or speech.
        groups: who speaks in each; no group stands on two sides of a fold.
        present: the bundle's fusion.
        level: `fusion` for biases and calibration alone; `heads` for maps of the features too, where they help.
    """
    fold_of = deal(clips, groups)
    several = len(set(groups)) > 1
    candidates = (None,) if level == "fusion" else (None, *PULLS) if several else (LONE_PULL,)
    corrections: dict[str, Correction] = {}
    pulls: dict[str, float | None] = {}
    logits = [clip.description.logits for clip in clips]
    for modality in MODALITIES:
        there = np.array([getattr(clip.description, modality) is not None for clip in clips])
        if not there.any():
            continue
        rows = _make_rows([clip for clip, is_there in zip(clips, there, strict=True) if is_there], present, modality)
        answers = _answer_left_out(rows, fold_of[there], candidates)
        best = int(np.argmin([_cost(rows.label, one) for one in answers]))  # of equals the strongest pull
        pulls[modality] = candidates[best]
        corrections[modality] = fit_corrections(rows, candidates[: best + 1])[-1]
        for index, row in zip(np.flatnonzero(there), answers[best], strict=True):
            logits[index] = _put(logits[index], modality, _to_logits(row, present, modality))
    left_out = tuple(AskedClip(clip.sample, one) for clip, one in zip(clips, logits, strict=True))
    calibration = refit(left_out, present)
    assert isinstance(calibration, Fusion)
    return Tuned(corrections, pulls, calibration, left_out)


def judge(
    clips: Sequence[TunedClip], groups: Sequence[str], present: Fusion, level: Level, tuner: Tuner | None = None
) -> Judged:
    """Answer each clip with what is tuned without its group, and compare that with the bundle as it is.

    Args:
        clips: as in `tune`.
        groups: as in `tune`, two or more.
        present: as in `tune`.
        level: as in `tune`.
        tuner: what tunes; `tune` by default.
    """
    fold_of = deal(clips, groups, MOST_FOLDS if level in ("fusion", "heads") else NETWORK_FOLDS)
    after = np.zeros((len(clips), N_EMOTIONS))
    for fold in np.unique(fold_of):
        rest = [row for row, its in enumerate(fold_of) if its != fold]
        tuned = (tuner or tune)([clips[row] for row in rest], [groups[row] for row in rest], present, level)
        for row, clip in enumerate(clips):
            if fold_of[row] == fold:
                after[row] = tuned.answer(clip)
    return compare_answers(clips, answer_as_is(clips, present), after, f"{fold_of.max() + 1} folds")


def compare_answers(clips: Sequence[TunedClip], before: FloatArray, after: FloatArray, folds: str) -> Judged:
    """Compare two answers to each clip, shape (n, 7) each."""
    first, second = (gather(clips, rows) for rows in (before, after))
    return Judged(folds, first, second, compare(first, second), *compare_balanced_nll(first, second))


def answer_as_is(clips: Sequence[TunedClip], fusion: Fusion) -> FloatArray:
    """Return what a fusion answers to clips as the shipped networks see and hear them, shape (n, 7)."""
    return np.array([fusion.answer(clip.description.logits) for clip in clips], dtype=np.float64)


def gather(clips: Sequence[TunedClip], answers: FloatArray) -> Outcomes:
    """Put answers beside the truth."""
    names, speakers, labels = ([getattr(clip.sample, key) for clip in clips] for key in ("clip_id", "speaker", "label"))
    return make_outcomes(names, speakers, labels, answers)


def deal(clips: Sequence[TunedClip], groups: Sequence[str], most_folds: int = MOST_FOLDS) -> Ints:
    """Deal groups out into folds of about as many clips of each class; where there is one group, its clips."""
    parts = list(groups) if len(set(groups)) > 1 else [clip.sample.clip_id for clip in clips]
    names = {name: row for row, name in enumerate(dict.fromkeys(parts))}
    if len(names) < 2:
        return np.zeros(len(clips), np.int64)
    counts = np.zeros((len(names), N_EMOTIONS), np.int64)
    rows = np.array([names[part] for part in parts])
    for row, clip in zip(rows, clips, strict=True):
        counts[row, clip.label] += 1
    fold_of: Ints = balance(counts, min(most_folds, len(names)))[rows]
    return fold_of


def _make_rows(clips: Sequence[TunedClip], present: Fusion, modality: str) -> Rows:
    logits = np.stack([getattr(clip.description.logits, modality) for clip in clips])
    calibrate = {"face": present.face_log_probabilities, "voice": present.voice_log_probabilities}[modality]
    features = np.stack([getattr(clip.description, modality) for clip in clips])
    label = np.array([clip.label for clip in clips], dtype=np.int64)
    return Rows(calibrate(logits), _temperature(present, modality), features, label)


def _add_bias(fusion: Fusion, modality: str, bias: FloatArray) -> Fusion:
    if modality == "face":
        return replace(fusion, face_bias=tuple(np.round(fusion.face_bias + bias, 4).tolist()))
    return replace(fusion, voice_bias=tuple(np.round(fusion.voice_bias + bias, 4).tolist()))


def _temperature(fusion: Fusion, modality: str) -> float:
    return fusion.face_temperature if modality == "face" else fusion.voice_temperature


def _answer_left_out(rows: Rows, fold_of: Ints, pulls: Sequence[float | None]) -> list[FloatArray]:
    """Return for each pull the log-probabilities of each row by what the other folds' rows teach."""
    answers = [np.zeros_like(rows.log_probabilities) for _ in pulls]
    for fold in np.unique(fold_of):
        corrections = fit_corrections(rows.select(fold_of != fold), pulls)
        for answer, one in zip(answers, corrections, strict=True):
            answer[fold_of == fold] = rows.select(fold_of == fold).correct(one)
    return answers


def _cost(label: Ints, log_probabilities: FloatArray) -> float:
    return -float(balance_classes(label) @ log_probabilities[np.arange(len(label)), label])


def _to_logits(log_probabilities: FloatArray, present: Fusion, modality: str) -> FloatArray:
    """Return logits whose calibration by `present` gives these log-probabilities."""
    bias = np.asarray(getattr(present, f"{modality}_bias"))
    return np.asarray(log_probabilities * _temperature(present, modality) - bias)


def correct(clip: TunedClip, corrections: Mapping[str, Correction]) -> TunedClip:
    """Return a clip with what is added to the logits of its networks."""
    logits = clip.description.logits
    for name, one in corrections.items():
        if (features := getattr(clip.description, name)) is not None:
            logits = _put(logits, name, one.apply(getattr(logits, name), features))
    return replace(clip, description=replace(clip.description, logits=logits))


def cost_of(clips: Sequence[TunedClip], fusion: Fusion, modality: str) -> float:
    """Return the nats that one modality's answers cost, every emotion that occurs counting alike."""
    rows = _make_rows(clips, fusion, modality)
    return _cost(rows.label, rows.log_probabilities)


def _put(logits: ClipLogits, modality: str, values: FloatArray) -> ClipLogits:
    return replace(logits, face=values) if modality == "face" else replace(logits, voice=values)
