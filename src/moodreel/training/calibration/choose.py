"""Choose how a bundle is calibrated on labelled clips, and measure what that is worth on speakers left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moodreel.corpora import UNKNOWN_SPEAKER, Sample
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import (
    Interval,
    Outcomes,
    balance_classes,
    compare_balanced_nll,
    fit_temperature,
    make_outcomes,
    measure_calibration,
    score,
)
from moodreel.recognition.fusion import ClipLogits, FloatArray, Fusion, log_softmax
from moodreel.recognition.joint_network import JointCalibration
from moodreel.training.calibration.fit import ANSWERED_SHARE, HeldOut, Labels, Pairs, choose_threshold, fit_fusion

PRIOR_CLIPS = 20.0
"""As many clips speak for the values that a bundle has."""

Calibration = Fusion | JointCalibration
KINDS = ("face", "voice", "answer")
"""What a bundle answers to a clip: what the face says alone, what the voice says alone, and both together."""


@dataclass(frozen=True)
class AskedClip:
    """A labelled clip and what a bundle's networks say of it.

    Attributes:
        sample: the clip.
        logits: before calibration.
    """

    sample: Sample
    logits: ClipLogits


@dataclass(frozen=True)
class Figures:
    """What answers are worth.

    Attributes:
        uar: unweighted average recall.
        nll: negative log-likelihood of the true emotion in nats, every emotion that occurs counting alike.
        ece: expected calibration error, 0-1.
    """

    uar: Interval
    nll: Interval
    ece: float


@dataclass(frozen=True)
class Change:
    """What a calibration changes, on speakers that it was not chosen on.

    Attributes:
        kind: one of `KINDS`.
        n_clips: clips that it answers.
        before: with the present values.
        after: with values chosen on other speakers.
        gain: nats by which the NLL falls.
    """

    kind: str
    n_clips: int
    before: Figures
    after: Figures
    gain: Interval


@dataclass(frozen=True)
class Choice:
    """A calibration and how it was chosen.

    Attributes:
        corpus: name of the corpus.
        n_clips: clips that it was chosen on.
        n_speakers: known speakers among them.
        protocol: how it was chosen and measured, in words.
        taken: whether it is better than the present one on speakers left out; the present values are kept if not.
        present: the values before.
        chosen: the values chosen on all clips, taken or not.
        changes: what they change, for each of `KINDS` that occurs.
    """

    corpus: str
    n_clips: int
    n_speakers: int
    protocol: str
    taken: bool
    present: Calibration
    chosen: Calibration
    changes: tuple[Change, ...]

    @property
    def values(self) -> Calibration:
        """The values that the bundle shall have."""
        return self.chosen if self.taken else self.present


def choose_calibration(
    clips: Sequence[AskedClip], fold_of: Mapping[str, int], folds_name: str, present: Calibration
) -> Choice:
    """Choose a calibration and measure it on the clips of each fold with what the other folds choose.

    Args:
        clips: one or more that were answered by face, voice or both, all of one corpus.
        fold_of: number of the fold of each clip, by `clip_id`.
        folds_name: what the folds are, in words.
        present: the bundle's calibration; logits are of its networks.
    """
    samples = [clip.sample for clip in clips]
    left_out = _answer_left_out(clips, fold_of, present)
    before = [(present, clip.logits) for clip in clips]
    after = [(own, clip.logits) for own, clip in zip(left_out, clips, strict=True)]
    changes = measure_changes(samples, before, after)
    return Choice(
        corpus=samples[0].corpus,
        n_clips=len(clips),
        n_speakers=len({sample.speaker for sample in samples} - {UNKNOWN_SPEAKER}),
        protocol=_PROTOCOL.format(folds=folds_name),
        taken=changes[-1].gain.value > 0,
        present=present,
        chosen=refit(clips, present),
        changes=changes,
    )


_PROTOCOL = (
    "{folds}: each clip is answered with values chosen on the clips of the other folds; what stands in the bundle is "
    "chosen on all of them. Temperatures and weights: least negative log-likelihood, every emotion that occurs "
    f"counting alike, pulled to the values before as by {PRIOR_CLIPS:g} clips; the voice's weight never falls as its "
    f"sound gets clearer. Abstention: {ANSWERED_SHARE:.0%} of the answers stay above it, pulled likewise. The values "
    "before are kept unless the answers' negative log-likelihood on left-out clips is lower"
)


def refit(clips: Sequence[AskedClip], present: Calibration, prior_clips: float = PRIOR_CLIPS) -> Calibration:
    """Choose a calibration on labelled clips.

    Args:
        clips: any number.
        present: the values pulled to; what no clip tells of stays as it is.
        prior_clips: how many clips speak for them.
    """
    if isinstance(present, Fusion):
        return fit_fusion(hold(clips, "face"), hold(clips, "voice"), _pair(clips), present, prior_clips)
    return _refit_joint(hold(clips, "joint"), present, prior_clips)


def _refit_joint(held: HeldOut, present: JointCalibration, prior_clips: float) -> JointCalibration:
    if not len(held.label):
        return present
    pull = prior_clips / len(held.label)
    temperature = fit_temperature(held.label, held.logits, held.weight, present=present.temperature, pull=pull)
    chosen = replace(present, temperature=round(temperature, 4))
    tops = np.exp(log_softmax(held.logits / chosen.temperature)).max(axis=1)
    return replace(chosen, abstain_below=choose_threshold([tops], present.abstain_below, prior_clips))


def hold(clips: Sequence[AskedClip], name: str) -> HeldOut:
    """Gather what one network said of the clips that it answered, every emotion counting alike.

    Args:
        clips: any number.
        name: `face`, `voice` or `joint`.
    """
    there = [clip for clip in clips if getattr(clip.logits, name) is not None]
    logits = np.array([getattr(clip.logits, name) for clip in there]).reshape(-1, N_EMOTIONS)
    snr_db = np.array([clip.logits.snr_db or 0.0 for clip in there], dtype=np.float64)
    label = _labels(there)
    return HeldOut(logits, label, snr_db, balance_classes(label))


def _pair(clips: Sequence[AskedClip]) -> Pairs:
    both = [clip for clip in clips if clip.logits.face is not None and clip.logits.voice is not None]
    face, voice = hold(both, "face"), hold(both, "voice")
    return Pairs(
        face=face.logits,
        voice=voice.logits,
        snr_db=np.array([clip.logits.snr_db for clip in both], dtype=np.float64),
        speaker_share=np.array([clip.logits.speaker_share for clip in both], dtype=np.float64),
        label=face.label,
        weight=face.weight,
    )


def _labels(clips: Sequence[AskedClip]) -> Labels:
    return np.array([EMOTIONS.index(clip.sample.label) for clip in clips], dtype=np.int64)


def _answer_left_out(clips: Sequence[AskedClip], fold_of: Mapping[str, int], present: Calibration) -> list[Calibration]:
    """Return for each clip what the clips of the other folds choose."""
    folds = [fold_of[clip.sample.clip_id] for clip in clips]
    chosen = {
        fold: refit([clip for clip, other in zip(clips, folds, strict=True) if other != fold], present)
        for fold in set(folds)
    }
    return [chosen[fold] for fold in folds]


Answered = tuple[Calibration, ClipLogits]
"""A clip's logits and what makes an answer of them."""


def measure_changes(
    samples: Sequence[Sample], before: Sequence[Answered], after: Sequence[Answered]
) -> tuple[Change, ...]:
    """Measure each kind of answers that occurs; the last is that of both together.

    Args:
        samples: labelled clips.
        before: how each is answered now.
        after: how each would be answered.
    """
    changes = []
    for kind in KINDS:
        rows = [[_answer(kind, *one) for one in ways] for ways in (before, after)]
        if there := [index for index, answer in enumerate(rows[0]) if answer is not None]:
            shown = [samples[index] for index in there]
            changes.append(_compare(kind, *(_outcomes(shown, [one[index] for index in there]) for one in rows)))
    return tuple(changes)


def _answer(kind: str, calibration: Calibration, logits: ClipLogits) -> FloatArray | None:
    ways = {"face": calibration.face_answer, "voice": calibration.voice_answer, "answer": calibration.answer}
    return ways[kind](logits)


def _outcomes(samples: Sequence[Sample], answers: Sequence[FloatArray | None]) -> Outcomes:
    names, speakers, labels = ([getattr(one, key) for one in samples] for key in ("clip_id", "speaker", "label"))
    return make_outcomes(names, speakers, labels, np.array(answers, dtype=np.float64))


def _compare(kind: str, before: Outcomes, after: Outcomes) -> Change:
    *costs, gain = compare_balanced_nll(before, after)
    first, second = (
        Figures(score(one).uar, nll, measure_calibration(one).ece)
        for one, nll in zip((before, after), costs, strict=True)
    )
    return Change(kind, len(before), first, second, gain)
