"""`moodreel pretrain default`: both networks, their calibration and fusion, and the list of what they heard."""

from __future__ import annotations

from pathlib import Path

from moodreel.corpora import read_corpus
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.training_clips import know_clips, write_training_clips
from moodreel.storage.cache import Cache, default_cache
from moodreel.training.default.calibrate import assemble_bundle
from moodreel.training.face.generations import pretrain_faces
from moodreel.training.voice.stages import pretrain_voice

REBUILD = "moodreel pretrain default --ferplus FERPLUS --ravdess RAVDESS --nemo NEMO --out OUT"


def pretrain_default(
    ferplus: Path, ravdess: Path, nemo: Path, out: Path, threads: int = 1, cache: Cache | None = None
) -> Path:
    """Rebuild the default bundle; a run that was stopped goes on.

    Args:
        ferplus: folder with FER2013 and FER+ as `train.npz` and `valid.npz`.
        ravdess: folder with RAVDESS's speech.
        nemo: folder with nEMO's `data.tsv` and `audio`.
        out: folder of the runs `face/` and `voice/` and of the bundle `default/`.
        threads: processor threads of the voice's training; the face's takes those that torch has.
        cache: where fingerprints of clips are kept; the user's cache by default.

    Returns:
        The path of `bundle.json`.

    Raises:
        MoodreelError: the data or the origins' weights cannot be used.
    """
    if not (out / "face" / "scores.json").exists():
        pretrain_faces(ferplus, out / "face")
    pretrain_voice(ravdess, nemo, out / "voice", threads=threads)
    bundle = out / "default"
    samples = [sample for corpus in (ravdess, nemo) for sample in read_corpus(corpus).samples]
    prints = read_fingerprints(samples, cache or default_cache(), threads)
    heard = write_training_clips(know_clips(samples, prints, ["trained"] * len(samples)), bundle)
    return assemble_bundle(out / "face", out / "voice", bundle, REBUILD, heard)
