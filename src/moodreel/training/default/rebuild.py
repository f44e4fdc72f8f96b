"""`moodreel pretrain default`: both networks, their calibration and fusion, and the clips the voice was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moodreel.corpora import read_corpus
from moodreel.errors import RecipeError
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.training_clips import know_clips, write_training_clips
from moodreel.storage.cache import Cache, default_cache
from moodreel.training.default.assemble import assemble_bundle
from moodreel.training.default.calibrate import calibrate_runs, read_calibration, write_calibration
from moodreel.training.face.appearance import write_appearance
from moodreel.training.face.ferplus import read_ferplus
from moodreel.training.face.generations import pretrain_faces
from moodreel.training.voice.stages import pretrain_voice

REBUILD = "moodreel pretrain default --ferplus FERPLUS --ravdess RAVDESS --nemo NEMO --out OUT"


STAGES = ("faces", "voice", "calibrate", "bundle")
CALIBRATION_FILE = "calibration.json"


def pretrain_default(
    ferplus: Path,
    ravdess: Path,
    nemo: Path,
    out: Path,
    threads: int = 1,
    cache: Cache | None = None,
    stages: Sequence[str] | None = None,
) -> Path:
    """Rebuild the default bundle; a run that was stopped goes on.

    Stages whose networks are there already train nothing. `calibrate` takes seconds and always chooses anew; `bundle`
    refuses a calibration that was chosen with other networks.

    Args:
        ferplus: folder with FER2013 and FER+ as `train.npz` and `valid.npz`.
        ravdess: folder with RAVDESS's speech.
        nemo: folder with nEMO's `data.tsv` and `audio`.
        out: folder of the runs `face/` and `voice/`, of `calibration.json` and of the bundle `default/`.
        threads: processor threads of the voice's training; the face's takes those that torch has.
        cache: where fingerprints of clips are kept; the user's cache by default.
        stages: some of `STAGES`; all of them by default.

    Returns:
        The path of `bundle.json`.

    Raises:
        MoodreelError: there is no such stage, or the data or the origins' weights cannot be used.
    """
    wanted = tuple(stages or STAGES)
    if unknown := [stage for stage in wanted if stage not in STAGES]:
        raise RecipeError(f"unknown stage {unknown[0]!r}, expected one of {', '.join(STAGES)}")
    face_run, voice_run, bundle = out / "face", out / "voice", out / "default"
    if "faces" in wanted:
        face = pretrain_faces(ferplus, face_run)
        if not (face_run / "appearance.onnx").exists():
            write_appearance(face.read_bytes(), read_ferplus(ferplus / "train.npz"), face_run / "appearance.onnx")
    if "voice" in wanted:
        pretrain_voice(ravdess, nemo, voice_run, threads=threads)
    if "calibrate" in wanted:
        write_calibration(calibrate_runs(face_run, voice_run), out / CALIBRATION_FILE)
    if "bundle" in wanted:
        calibration = read_calibration(out / CALIBRATION_FILE)
        known = _list_training_clips((ravdess, nemo), bundle, cache or default_cache(), threads)
        assemble_bundle(face_run, voice_run, calibration, bundle, REBUILD, known)
    return bundle / "bundle.json"


def _list_training_clips(corpora: Sequence[Path], bundle: Path, cache: Cache, threads: int) -> dict[str, Any]:
    """Write the list of the clips that the voice was trained on into the bundle."""
    samples = [sample for corpus in corpora for sample in read_corpus(corpus).samples]
    prints = read_fingerprints(samples, cache, threads)
    return write_training_clips(know_clips(samples, prints, ["trained"] * len(samples)), bundle)
