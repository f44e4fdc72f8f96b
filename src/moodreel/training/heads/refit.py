"""`moodreel pretrain heads`: last layers fitted on many corpora, calibrated, judged, and written as a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.bundle import Bundle, read_network
from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.training_clips import know_clips, read_training_clips, write_training_clips
from moodreel.metrics import to_plain
from moodreel.recognition.adaptation import NO_ADAPTER
from moodreel.recognition.encoders import OUTPUTS
from moodreel.recognition.fusion import read_fusion
from moodreel.storage.cache import Cache
from moodreel.storage.whole_files import whole_folder, write_arrays, write_text
from moodreel.training.calibration.calibrate import describe_adapter
from moodreel.training.calibration.offsets import learn_adapter
from moodreel.training.face.ferplus import clean_faces, read_ferplus
from moodreel.training.heads.corpora import HeadsCorpus, read_heads_corpus
from moodreel.training.heads.gate import add_gated
from moodreel.training.heads.held_out import Fitted, fit_heads
from moodreel.training.heads.judge import Refitted, describe_refitted, judge, without_known
from moodreel.training.heads.recipe import HeadsRecipe
from moodreel.training.tuned.bundle import add_correction
from moodreel.training.tuned.clips import open_late

LEAST_CORPORA = 3
"""With fewer corpora of voices nothing can be said of one that is left out."""
HELD_OUT_FILE = "held-out.npz"
_MOSTLY = 0.5


def refit_heads(
    model: str, ferplus: Path, corpora: Sequence[Path], out: Path, cache: Cache, recipe: HeadsRecipe | None = None
) -> Refitted:
    """Fit the last layers of a late bundle's networks on many corpora, calibrate it, and write the bundle.

    Args:
        model: name or folder of the bundle.
        ferplus: folder with FER2013 and FER+ as `train.npz` and `valid.npz`.
        corpora: labelled clips, recordings or pictures; what each shows, a face or a voice, is found out.
        out: folder for `bundle/` and the raw answers, `held-out.npz`; it must not be there yet.
        cache: where what networks see and hear is kept; a run that was stopped goes on from there.
        recipe: how.

    Raises:
        BundleError: the bundle cannot be used.
        CorpusError: a corpus cannot be read, or there are too few.
        OutputError: the folder cannot be written, or is there already.
    """
    recipe = recipe or HeadsRecipe()
    with whole_folder(out, discard=True):  # whoever cannot write there hears so before hours of reading
        pass
    bundle = open_late(model)
    read = [read_heads_corpus(path, bundle, model, cache, recipe.most_clips, recipe.seed) for path in corpora]
    known = _find_known(bundle, read)
    if sum(corpus.heard is not None for corpus in read) < LEAST_CORPORA:
        raise CorpusError(f"expected voices of {LEAST_CORPORA} corpora or more, to leave one out at a time")
    train, valid = clean_faces(*(read_ferplus(ferplus / f"{side}.npz") for side in ("train", "valid")))
    fitted, faces = fit_heads(bundle, read, known, train, valid, recipe, cache)
    present = read_fusion(bundle.section("fusion"))
    refitted = judge(fitted, present, faces, known, recipe.tilt_nats)
    _write(bundle, fitted, refitted, read, out, cache, recipe)
    return refitted


def _find_known(bundle: Bundle, read: Sequence[HeadsCorpus]) -> tuple[str, ...]:
    """Name the corpora most of whose clips the bundle was trained on."""
    trained = {clip.name for clip in read_training_clips(bundle) or ()}
    shares = {corpus.name: np.mean([one.clip_id in trained for one in corpus.samples]) for corpus in read}
    return tuple(name for name, share in shares.items() if share > _MOSTLY)


def _write(
    bundle: Bundle,
    fitted: Fitted,
    refitted: Refitted,
    read: Sequence[HeadsCorpus],
    out: Path,
    cache: Cache,
    recipe: HeadsRecipe,
) -> None:
    manifest: dict[str, Any] = json.loads(json.dumps(dict(bundle.manifest)))
    manifest["heads"] = {**json.loads(json.dumps(asdict(recipe))), "corpora": [corpus.name for corpus in read]}
    manifest["training_data"] = [*manifest.get("training_data", []), *map(_describe_data, read)]
    manifest["scores"] = {**manifest.get("scores", {}), "heads": describe_refitted(refitted)}
    clips = [clip for rows in without_known(fitted.after, refitted.known).values() for clip in rows]
    adapter = learn_adapter(clips, refitted.fusion) if refitted.adapted else NO_ADAPTER
    manifest.pop("adaptation", None)
    corpora = ", ".join(name for name in refitted.changes)
    if (section := describe_adapter(adapter, refitted.adapted, corpora)) is not None:
        manifest["adaptation"] = section
    samples = [sample for corpus in read if corpus.name not in refitted.known for sample in corpus.samples]
    learned = know_clips(samples, read_fingerprints(samples, cache), ["trained"] * len(samples))
    with whole_folder(out) as folder:
        made = folder / "bundle"
        made.mkdir()
        for name, entry in bundle.networks.items():
            graph = read_network(bundle.path, entry)
            if name == "face":
                graph = add_correction(graph, OUTPUTS[name], fitted.face)
            elif name == "voice":
                graph = add_gated(graph, OUTPUTS[name], fitted.voice)
            manifest["networks"][name]["sha256"] = sha256(graph).hexdigest()
            (made / str(entry["file"])).write_bytes(graph)
        trained = read_training_clips(bundle)
        if trained is not None:
            manifest["training_clips"] = write_training_clips([*trained, *learned], made)
        manifest["fusion"] = {
            **to_plain(refitted.fusion),
            "chosen_on": f"held-out answers to {corpora}: `scores`, `heads` says how",
            "chosen_with": {name: entry["sha256"] for name, entry in manifest["networks"].items()},
        }
        write_text(made / "bundle.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        write_arrays(folder / HELD_OUT_FILE, _to_arrays(fitted))


def _describe_data(corpus: HeadsCorpus) -> dict[str, Any]:
    """What the model card says of a corpus."""
    people = len({sample.speaker for sample in corpus.samples})
    return {
        "network": f"last layer of {corpus.networks}",
        "name": corpus.name,
        "clips": len(corpus.samples),
        "people": people,
        "licence": corpus.licence,
    }


def _to_arrays(fitted: Fitted) -> dict[str, np.ndarray[Any, Any]]:
    """The raw answers, so that any figure can be computed anew."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, clips in fitted.after.items():
        arrays[f"{name}.clip"] = np.array([clip.sample.clip_id for clip in clips])
        arrays[f"{name}.speaker"] = np.array([clip.sample.speaker for clip in clips])
        arrays[f"{name}.label"] = np.array([EMOTIONS.index(clip.sample.label) for clip in clips])
        for when, ways in (("before", fitted.before[name]), ("after", clips)):
            for kind in ("face", "voice"):
                rows = [getattr(clip.logits, kind) for clip in ways]
                arrays[f"{name}.{kind}.{when}"] = np.array(
                    [np.full(len(EMOTIONS), np.nan) if row is None else row for row in rows], np.float32
                )
    return arrays
