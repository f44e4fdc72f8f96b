"""`moodreel pretrain default`: every network of the bundle that ships, stage by stage, in one command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodreel.bundle import load_bundle
from moodreel.corpora import read_corpus
from moodreel.errors import RecipeError
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.training_clips import know_clips, write_training_clips
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import whole_folder, write_text
from moodreel.training.default.assemble import assemble_bundle
from moodreel.training.default.calibrate import calibrate_runs, read_calibration, write_calibration
from moodreel.training.face.appearance import write_appearance
from moodreel.training.face.ferplus import read_ferplus
from moodreel.training.face.generations import pretrain_faces
from moodreel.training.heads.refit import refit_heads
from moodreel.training.sounds.pretrain import pretrain_sounds
from moodreel.training.voice.stages import pretrain_voice

REBUILD = (
    "moodreel pretrain default --ferplus FERPLUS --ravdess RAVDESS --nemo NEMO --corpus CORPUS … --nonspeech NONSPEECH "
    "--out OUT"
)
STAGES = ("faces", "voice", "calibrate", "bundle", "heads", "sounds")
CALIBRATION_FILE = "calibration.json"
MADE_FROM_FILE = "made-from.json"


@dataclass(frozen=True)
class DefaultData:
    """What the default bundle is trained on.

    Attributes:
        ferplus: folder with FER2013 and FER+ as `train.npz` and `valid.npz`.
        ravdess: folder with RAVDESS's speech.
        nemo: folder with nEMO's `data.tsv` and `audio`.
        corpora: further corpora, folders or manifests, for the last layers; without them there is no stage `heads`.
        nonspeech: folder of sounds that are no speech; without it there is no stage `sounds`.
    """

    ferplus: Path
    ravdess: Path
    nemo: Path
    corpora: tuple[Path, ...] = ()
    nonspeech: Path | None = None


def pretrain_default(
    data: DefaultData, out: Path, threads: int = 1, cache: Cache | None = None, stages: Sequence[str] | None = None
) -> Path:
    """Rebuild the default bundle; a run that was stopped goes on.

    Stages whose networks are there already train nothing. `calibrate` takes seconds and always chooses anew; `bundle`
    refuses a calibration that was chosen with other networks. `heads` and `sounds` are gone through again when what
    they were made from has changed.

    Args:
        data: what it is trained on.
        out: folder of the runs `face/`, `voice/`, `heads/` and `sounds/`, of `calibration.json` and of the bundle
            `default/`; `plain/` holds the bundle before `heads` and `sounds`.
        threads: processor threads of the voice's training; the face's takes those that torch has.
        cache: where fingerprints of clips and answers to them are kept; the user's cache by default.
        stages: some of `STAGES`; all of them by default.

    Returns:
        The path of `bundle.json`.

    Raises:
        MoodreelError: there is no such stage, or the data or the origins' weights cannot be used.
    """
    wanted = tuple(stages or STAGES)
    if unknown := [stage for stage in wanted if stage not in STAGES]:
        raise RecipeError(f"unknown stage {unknown[0]!r}, expected one of {', '.join(STAGES)}")
    kept = cache or default_cache()
    _train_networks(data, out, threads, kept, wanted)
    made = out / "plain"
    if data.corpora:
        made = _refit(data, made, out / "heads", kept, again="heads" in wanted)
    if data.nonspeech is not None:
        made = _add_sounds(data, data.nonspeech, made, out / "sounds", threads, again="sounds" in wanted)
    if (made / "bundle.json").is_file():
        _publish(made, out / "default")
    return out / "default" / "bundle.json"


def _train_networks(data: DefaultData, out: Path, threads: int, cache: Cache, wanted: Sequence[str]) -> None:
    face_run, voice_run, bundle = out / "face", out / "voice", out / "plain"
    if "faces" in wanted:
        face = pretrain_faces(data.ferplus, face_run)
        if not (face_run / "appearance.onnx").exists():
            write_appearance(face.read_bytes(), read_ferplus(data.ferplus / "train.npz"), face_run / "appearance.onnx")
    if "voice" in wanted:
        pretrain_voice(data.ravdess, data.nemo, voice_run, threads=threads)
    if "calibrate" in wanted:
        write_calibration(calibrate_runs(face_run, voice_run), out / CALIBRATION_FILE)
    if "bundle" in wanted:
        calibration = read_calibration(out / CALIBRATION_FILE)
        known = _list_training_clips((data.ravdess, data.nemo), bundle, cache, threads)
        assemble_bundle(face_run, voice_run, calibration, bundle, REBUILD, known)


def _refit(data: DefaultData, plain: Path, run: Path, cache: Cache, *, again: bool) -> Path:
    """Fit the last layers unless that was done with these very networks and corpora, and return the bundle."""
    corpora = (*data.corpora, data.ravdess, data.nemo)
    if again:

        def make(folder: Path) -> None:
            refit_heads(str(plain), data.ferplus, corpora, folder / "run", cache)

        _make_once(run, _name_sources(plain, corpora), make)
    return run / "run" / "bundle"


def _add_sounds(data: DefaultData, others: Path, before: Path, run: Path, threads: int, *, again: bool) -> Path:
    """Train the sound network likewise, and return the bundle with it."""
    speech = (*data.corpora, data.ravdess, data.nemo)
    if again:

        def make(folder: Path) -> None:
            pretrain_sounds(str(before), speech, others, folder / "run", threads)

        _make_once(run, _name_sources(before, (*speech, others)), make)
    return run / "run"


def _make_once(run: Path, sources: Mapping[str, object], make: Callable[[Path], None]) -> None:
    """Make a folder anew unless it was made from these sources."""
    told = json.dumps(sources, indent=2) + "\n"
    listed = run / MADE_FROM_FILE
    if listed.is_file() and listed.read_text(encoding="utf-8") == told:
        return
    shutil.rmtree(run, ignore_errors=True)
    with whole_folder(run) as folder:
        make(folder)
        write_text(folder / MADE_FROM_FILE, told)


def _name_sources(bundle: Path, corpora: Sequence[Path]) -> dict[str, object]:
    networks = {name: entry["sha256"] for name, entry in load_bundle(str(bundle)).networks.items()}
    return {"networks": networks, "corpora": [str(path.absolute()) for path in corpora]}


def _publish(made: Path, out: Path) -> None:
    """Copy a finished bundle to its place, with the old one there until the new one is whole."""
    old = out.with_name(f".{out.name}-before")
    with whole_folder(out.with_name(f".{out.name}-new"), discard=True) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        write_text(
            folder / "bundle.json",
            json.dumps({**manifest, "name": out.name, "rebuild": REBUILD}, indent=2, ensure_ascii=False) + "\n",
        )
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.replace(old)
        folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _list_training_clips(corpora: Sequence[Path], bundle: Path, cache: Cache, threads: int) -> dict[str, Any]:
    """Write the list of the clips that the voice was trained on into the bundle."""
    samples = [sample for corpus in corpora for sample in read_corpus(corpus).samples]
    prints = read_fingerprints(samples, cache, threads)
    return write_training_clips(know_clips(samples, prints, ["trained"] * len(samples)), bundle)
