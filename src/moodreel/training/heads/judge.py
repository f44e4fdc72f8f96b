"""The fusion chosen on held-out answers, and each corpus judged with what the others choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moodreel.metrics import to_plain
from moodreel.recognition.fusion import FloatArray, Fusion, log_softmax
from moodreel.training.calibration.choose import PRIOR_CLIPS, AskedClip, Change, hold, measure_changes
from moodreel.training.calibration.fit import HeldOut, Pairs, fit_fusion, no_answers
from moodreel.training.calibration.offsets import Adapted, measure_adapter
from moodreel.training.heads.held_out import FACE_FOLDS, Clips, Fitted
from moodreel.training.heads.strangers import Stranger, format_strangers, measure_stranger


@dataclass(frozen=True)
class Refitted:
    """What fitting last layers anew came to.

    Attributes:
        fusion: how answers are calibrated and added, chosen on all held-out answers.
        changes: of each corpus, with a fusion chosen on the others.
        adapted: what adapting to a person is worth.
        strangers: what the people of each corpus get, with a fusion and an adapter that others taught.
        faces: figures on the cleaned valid split of FER2013 and FER+, before and after.
        known: corpora that the bundle was trained on before, on whose voices nothing is chosen or measured.
    """

    fusion: Fusion
    changes: Mapping[str, tuple[Change, ...]]
    adapted: Adapted | None
    strangers: Mapping[str, Stranger]
    faces: Mapping[str, Any]
    known: tuple[str, ...]


def judge(
    fitted: Fitted, present: Fusion, faces: Mapping[str, Any], known: Sequence[str], tilt_nats: float
) -> Refitted:
    """Choose the fusion on held-out answers, and measure each corpus with what the others choose.

    Args:
        fitted: held-out answers.
        present: the bundle's fusion.
        faces: see `Refitted`.
        known: see `Refitted`.
        tilt_nats: see `choose_fusion`.
    """
    after = without_known(fitted.after, known)
    before = without_known(fitted.before, known)
    covered = without_known(fitted.covered, known)
    changes, strangers = {}, {}
    for name, clips in after.items():
        others = choose_fusion(_all_but(name, after), _all_but(name, covered), present, tilt_nats)
        strangers[name] = measure_stranger(name, after, fitted.telephone, others)
        samples = [clip.sample for clip in clips]
        changes[name] = measure_changes(
            samples,
            [(present, clip.logits) for clip in before[name]],
            [(others, clip.logits) for clip in clips],
        )
    fusion = choose_fusion(list(after.values()), list(covered.values()), present, tilt_nats)
    adapted = measure_adapter([clip for clips in after.values() for clip in clips], fusion)
    return Refitted(fusion, changes, adapted, strangers, faces, tuple(known))


def without_known(clips: Clips, known: Sequence[str]) -> Clips:
    """Leave out corpora that the bundle was trained on before: to those it answers too surely."""
    return {name: rows for name, rows in clips.items() if name not in known and rows}


def _all_but(name: str, clips: Clips) -> list[tuple[AskedClip, ...]]:
    return [rows for other, rows in clips.items() if other != name]


def choose_fusion(
    corpora: Sequence[Sequence[AskedClip]],
    covered: Sequence[Sequence[AskedClip]],
    present: Fusion,
    tilt_nats: float,
) -> Fusion:
    """Choose a fusion on held-out answers, above all for corpora that are answered badly; their emotions count alike.

    A stranger may be of any kind, and an answer that is too sure is worse than one that is too modest. So a corpus
    whose answers cost `tilt_nats` more counts e times as much (tilted empirical risk: Li et al. 2021).

    Args:
        corpora: the clips of each corpus.
        covered: the same with voices under a background, which tell how far such a voice counts beside a face.
        present: what is pulled to.
        tilt_nats: above 0; the larger, the more alike they count.
    """
    face, voice = ([part for clips in corpora if len((part := hold(clips, way)).label)] for way in ("face", "voice"))
    pairs, fusion = _pair([*corpora, *covered]), present
    for _ in range(_TILTS):
        faces = _join(face, _tilt(face, fusion.face_log_probabilities, tilt_nats))
        voices = _join(voice, _tilt(voice, fusion.voice_log_probabilities, tilt_nats))
        fusion = fit_fusion(faces, voices, pairs, present, PRIOR_CLIPS)
    return fusion


_TILTS = 8
"""Rounds of weighing and fitting; the temperatures stand still to three digits then."""


def _tilt(parts: Sequence[HeldOut], calibrate: Callable[[FloatArray], FloatArray], tilt_nats: float) -> FloatArray:
    """How much each corpus counts, summing to 1."""
    costs = [-float(part.weight @ calibrate(part.logits)[np.arange(len(part.label)), part.label]) for part in parts]
    return np.asarray(np.exp(log_softmax(np.array(costs) / tilt_nats))) if costs else np.zeros(0)


def _pair(corpora: Sequence[Sequence[AskedClip]]) -> Pairs:
    both = [
        [clip for clip in clips if clip.logits.face is not None and clip.logits.voice is not None] for clips in corpora
    ]
    there = [clips for clips in both if clips]
    alike = np.full(len(there), 1 / max(len(there), 1))
    face, voice = (_join([hold(clips, name) for clips in there], alike) for name in ("face", "voice"))
    share = np.array([clip.logits.speaker_share for clips in there for clip in clips], np.float64)
    return Pairs(face.logits, voice.logits, voice.snr_db, share, face.label, face.weight)


def _join(parts: Sequence[HeldOut], shares: FloatArray) -> HeldOut:
    if not parts:
        return no_answers()
    weight = np.concatenate([part.weight * share for part, share in zip(parts, shares, strict=True)])
    logits, label, snr_db = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "label", "snr_db")
    )
    return HeldOut(logits, label, snr_db, weight)


def describe_refitted(refitted: Refitted) -> dict[str, Any]:
    """Say what fitting came to, as JSON types."""
    return {
        "protocol": PROTOCOL,
        "corpora": to_plain(refitted.changes),
        "strangers": to_plain(refitted.strangers),
        "faces": dict(refitted.faces),
        "trained_on_before": list(refitted.known),
    }


PROTOCOL = (
    f"faces: by maps that learned from nobody of their fold, {FACE_FOLDS} folds of people; voices: by maps that heard "
    "nothing of their corpus; fusion: chosen on the other corpora. 95 % intervals by bootstrap over speakers"
)


def format_refitted(refitted: Refitted) -> str:
    """Write what fitting came to as plain text, ending in a newline."""
    lines = [PROTOCOL, ""]
    for name, changes in refitted.changes.items():
        for change in changes:
            lines.append(
                f"{name + ', ' + change.kind:<24}{change.n_clips:>6} clips  UAR {change.before.uar} -> "
                f"{change.after.uar}  NLL {change.before.nll.value:.2f} -> {change.after.nll.value:.2f}  "
                f"ECE {change.before.ece:.3f} -> {change.after.ece:.3f}"
            )
    for name, row in refitted.faces.items():
        lines.append(f"{name:<24}{row['n']:>6} faces  UAR {row['uar']['value']:.3f}  WAR {row['war']['value']:.3f}")
    lines += ["", *format_strangers(refitted.strangers), ""]
    if (one := refitted.adapted) is not None:
        lines.append(
            f"adapting to each of {one.n_people} people by all of their clips: "
            f"UAR {one.uar_before} -> {one.uar_after}, NLL {one.nll_before:.2f} -> {one.nll_after:.2f}"
        )
    return "\n".join(lines) + "\n"
