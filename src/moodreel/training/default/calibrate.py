"""Choose how the default bundle's face and voice are calibrated and added, on what both networks answered in training.

Everything is chosen on held-out answers alone: the face's on the faces its training set aside, the voice's on speakers
that the network in question never heard. No labelled audio-visual clips are used: each held-out voice is paired with
held-out faces of the same emotion, as if voice and face were independent given the emotion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from moodreel.errors import BundleError, CorpusError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import balance_classes
from moodreel.recognition.fusion import FloatArray, Fusion, read_fusion
from moodreel.storage.cache import hash_file
from moodreel.storage.whole_files import write_text
from moodreel.training.calibration.fit import ANSWERED_SHARE, HeldOut, Labels, Pairs, fit_fusion
from moodreel.training.voice.scores import RULED_OUT, RecordingLogits

TRUST_DB = (0.0, 10.0, 20.0, 30.0)
PAIRS_A_VOICE = 4
PRIOR_SHARE = 0.25
"""Part of FER2013's class prior that the face's logits get back: on the faces set aside accuracy and UAR gain by it."""
UNHEARD_SHARE = 0.9
"""Weight of voices of a corpus that the network never heard: what users bring is mostly a stranger's recording."""
NO_SPEECH_SHARE = 0.005
"""Share of the held-out voices that may be taken for no speech."""

CHOSEN_ON = (
    "temperatures: least class-balanced negative log-likelihood on held-out faces, and on held-out voices (unseen "
    f"RAVDESS actors; and, with {UNHEARD_SHARE:.0%} of the weight, networks trained on one corpus heard on the other, "
    "their logits brought to the size of those that ship); "
    "weights and trust: the same, under backgrounds too, each voice paired with held-out faces of its emotion; "
    "abstention: "
    f"{ANSWERED_SHARE:.0%} of these answers, face alone, voice alone and both, stay above it"
)


_START = Fusion(
    face_temperature=1.0,
    voice_temperature=1.0,
    face_weight=0.8,
    voice_weight=0.8,
    voice_trust_db=TRUST_DB,
    voice_trust=(1.0,) * len(TRUST_DB),
    abstain_below=0.0,
)


@dataclass(frozen=True)
class DefaultCalibration:
    """How the default bundle is calibrated and fused, and with which networks that was chosen.

    Attributes:
        fusion: temperatures, weights, trust and the abstention threshold.
        no_speech_below_db: below this estimated speech-to-background ratio nobody is taken to speak.
        chosen_with: sha256 of `face` and `voice`.
    """

    fusion: Fusion
    no_speech_below_db: float
    chosen_with: Mapping[str, str]


def calibrate_runs(face_run: Path, voice_run: Path) -> DefaultCalibration:
    """Choose the calibration anew from the held-out answers of `pretrain faces` and `pretrain voice`; takes seconds.

    Args:
        face_run: folder with `face.onnx`, `holdout.npz` and `scores.json`.
        voice_run: folder with `voice.onnx`, `heldout.npz`, both transfers' `.npz` and `scores.json`.

    Raises:
        CorpusError: a run is not finished.
    """
    check_finished(face_run, ("face.onnx", "holdout.npz", "scores.json"))
    check_finished(voice_run, ("voice.onnx", "heldout.npz", "scores.json", *_TRANSFERS, _COVERED))
    faces, (voices, clean) = read_heldout_faces(face_run / "holdout.npz"), read_voices(voice_run)
    return DefaultCalibration(
        fusion=choose_fusion(faces, voices, clean, tuple(read_bias(face_run / "scores.json"))),
        no_speech_below_db=round(float(np.quantile(voices.snr_db, NO_SPEECH_SHARE)), 2),
        chosen_with=name_files(face_run, voice_run),
    )


def write_calibration(calibration: DefaultCalibration, path: Path) -> None:
    """Write a calibration as JSON.

    Raises:
        OutputError: the place cannot be written.
    """
    write_text(path, json.dumps(asdict(calibration), indent=2) + "\n")


def read_calibration(path: Path) -> DefaultCalibration:
    """Read what `write_calibration` wrote.

    Raises:
        CorpusError: it is missing or damaged.
    """
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        digests = {str(name): str(digest) for name, digest in entry["chosen_with"].items()}
        return DefaultCalibration(read_fusion(entry["fusion"]), float(entry["no_speech_below_db"]), digests)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BundleError) as error:
        raise CorpusError(f"{path}: missing or damaged ({error}); run the stage calibrate") from None


def choose_fusion(
    faces: HeldOut, voices: HeldOut, clean: HeldOut, face_bias: tuple[float, ...] = (0.0,) * N_EMOTIONS
) -> Fusion:
    """Choose temperatures, weights, trust and the abstention threshold.

    Args:
        faces: held-out faces.
        voices: held-out voices, under backgrounds too.
        clean: held-out voices as they are.
        face_bias: added to the face's logits, seven values.
    """
    rows, partners = pair_by_label(voices.label, faces.label)
    pairs = Pairs(
        face=faces.logits[partners],
        voice=voices.logits[rows],
        snr_db=voices.snr_db[rows],
        speaker_share=np.ones(len(rows)),
        label=voices.label[rows],
        weight=voices.weight[rows],
    )
    return fit_fusion(faces, clean, pairs, replace(_START, face_bias=face_bias))


def pair_by_label(label: Labels, others: Labels, seed: int = 0) -> tuple[Labels, Labels]:
    """Draw `PAIRS_A_VOICE` partners of the same label for each row.

    Args:
        label: int64, shape (n,).
        others: int64, shape (m,), holding every label of `label`.
        seed: decides the draw.

    Returns:
        Rows and partners, int64, shape (n * PAIRS_A_VOICE,) each.
    """
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(label)), PAIRS_A_VOICE)
    partners = np.zeros_like(rows)
    for emotion in np.unique(label):
        here = label[rows] == emotion
        partners[here] = rng.choice(np.flatnonzero(others == emotion), here.sum())
    return rows, partners


_TRANSFERS = ("nemo-to-ravdess.npz", "ravdess-to-nemo.npz")
_COVERED = "nemo-to-ravdess-covered.npz"


def read_bias(scores: Path) -> FloatArray:
    """Read FER2013's class prior and return the part that is added to the face's logits, shape (7,), of mean 0."""
    priors = json.loads(scores.read_text())["priors"]["fer2013"]
    logarithms = np.log([priors[emotion] for emotion in EMOTIONS])
    return np.asarray(np.round(PRIOR_SHARE * (logarithms - logarithms.mean()), 4))


def read_heldout_faces(path: Path) -> HeldOut:
    """Read the face network's answers on the faces set aside; those without a FER2013 label are left out."""
    with np.load(path, allow_pickle=False) as stored:
        logits, label = stored["logits"].astype(np.float64), stored["fer2013"].astype(np.int64)
    known = (label >= 0) & (label < N_EMOTIONS)
    return _hold(logits[known], label[known], np.zeros(int(known.sum())))


def read_voices(run: Path) -> tuple[HeldOut, HeldOut]:
    """Read the voice network's answers.

    Args:
        run: the folder of `pretrain voice`.

    Returns:
        Unseen speakers and unheard corpora, under backgrounds too; and the same without backgrounds. `UNHEARD_SHARE` of
        the weight lies on unheard corpora.
    """
    folds, transfers = (
        RecordingLogits.load(run / "heldout.npz"),
        [RecordingLogits.load(run / name) for name in _TRANSFERS],
    )
    covered = RecordingLogits.load(run / _COVERED)
    backgrounds = [_condition(folds, row) for row in range(len(folds.conditions))]
    spread = _spread(backgrounds[0].logits)
    unheard = [_scale_to(_condition(one, 0), spread) for one in transfers]
    scale = spread / _spread(_condition(covered, 0).logits)
    strange_backgrounds = [_scale(_condition(covered, row), scale) for row in range(len(covered.conditions))]
    return _join(backgrounds, [*unheard, *strange_backgrounds]), _join(backgrounds[:1], unheard)


def _spread(logits: FloatArray) -> float:
    """Deviation of the logits of a row on average, those of emotions left aside."""
    return float(np.nanmean(np.nanstd(np.where(logits > RULED_OUT, logits, np.nan), axis=1)))


def _scale_to(held: HeldOut, spread: float) -> HeldOut:
    return _scale(held, spread / _spread(held.logits))


def _scale(held: HeldOut, scale: float) -> HeldOut:
    """Scale what a smaller network says of strangers as if the one that ships had said it.

    The transfers are measured on networks that speak in small logits: one epoch, or a linear head. What ships speaks in
    logits twice as large, and is no more often right of strangers for that.
    """
    return replace(held, logits=np.where(held.logits > RULED_OUT, scale * held.logits, held.logits))


def _condition(heard: RecordingLogits, row: int) -> HeldOut:
    return _hold(heard.logits[row].astype(np.float64), heard.label, heard.snr_db[row].astype(np.float64))


def _hold(logits: FloatArray, label: Labels, snr_db: FloatArray) -> HeldOut:
    return HeldOut(logits, label, snr_db, balance_classes(label))


def _join(heard: list[HeldOut], unheard: list[HeldOut]) -> HeldOut:
    groups = ((heard, 1 - UNHEARD_SHARE), (unheard, UNHEARD_SHARE))
    parts = [(part, share / len(group)) for group, share in groups for part in group]
    return HeldOut(
        np.concatenate([part.logits for part, _ in parts]),
        np.concatenate([part.label for part, _ in parts]),
        np.concatenate([part.snr_db for part, _ in parts]),
        np.concatenate([part.weight * share for part, share in parts]),
    )


def check_finished(run: Path, files: tuple[str, ...]) -> None:
    """Refuse a run that lacks a file.

    Raises:
        CorpusError: names what is missing.
    """
    missing = [name for name in files if not (run / name).is_file()]
    if missing:
        raise CorpusError(f"{run}: the run is not finished, it lacks {', '.join(missing)}; run it again, it goes on")


def name_runs(face_run: Path, voice_run: Path) -> tuple[tuple[str, Path], ...]:
    """Return each network and the run that trained it."""
    return (("face", face_run), ("voice", voice_run))


def name_files(face_run: Path, voice_run: Path) -> dict[str, str]:
    """Return the sha256 of each run's network."""
    return {name: hash_file(run / f"{name}.onnx") for name, run in name_runs(face_run, voice_run)}
