"""`moodreel pretrain sounds`: a bundle's sound network, trained, measured, and written as a new bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.bundle import Bundle, load_bundle, read_network
from moodreel.metrics import to_plain
from moodreel.storage.cache import hash_file
from moodreel.storage.whole_files import whole_folder, write_text
from moodreel.training.sounds.examples import Examples, make_examples
from moodreel.training.sounds.head import SoundHead, export_head, fit_head
from moodreel.training.sounds.material import SOUNDS, SoundRecording, read_others, read_speech
from moodreel.training.sounds.recipe import DEFAULT_RECIPE, SoundRecipe
from moodreel.training.sounds.scenes import Heard
from moodreel.training.sounds.scores import choose_threshold, headline, hold_out, tabulate
from moodreel.training.voice.recordings import read_recording
from moodreel.voice.sounds import NETWORK

logger = logging.getLogger(__name__)

FILE = "sounds.onnx"
SCORES_FILE = "sounds.json"


def pretrain_sounds(
    model: str, speech: Sequence[Path], others: Path, out: Path, threads: int = 1, recipe: SoundRecipe = DEFAULT_RECIPE
) -> Path:
    """Train what tells speech from other sounds, and write a late bundle with it.

    Args:
        model: name or folder of the bundle whose voice network it reads.
        speech: folders of corpora of speech, see `read_speech`.
        others: folder of sounds that are no speech, see `read_others`.
        out: folder of the new bundle, which must not be there yet; `sounds.json` in it holds every figure.
        threads: processor threads that the voice network may use.
        recipe: how.

    Returns:
        The path of `bundle.json`.

    Raises:
        BundleError: the bundle has no voice network that gives statistics.
        CorpusError: a folder cannot be read.
        OutputError: the folder cannot be written, or is there already.
    """
    bundle = load_bundle(model)
    voice = bundle.session("voice", threads)
    recordings = [one for folder in speech for one in read_speech(folder, recipe.most_speech, recipe.seed)]
    recordings += read_others(others)
    logger.info("reading %d recordings", len(recordings))
    heard = [Heard(one, read_recording(one.path)) for one in recordings]
    examples = make_examples(heard, voice, recipe)
    logger.info("%d windows of %d scenes; measuring on what is left out", len(examples.kinds), len(examples.origins))
    tables, entry = _measure(examples, recipe)
    head = fit_head(examples, np.ones(len(examples.kinds), np.bool_), recipe)
    return _write_bundle(bundle, head, entry | {"trained_on": count_sources(recordings)}, tables, out)


def count_sources(recordings: Sequence[SoundRecording]) -> dict[str, int]:
    """Count the recordings of each source."""
    sources = [one.source for one in recordings]
    return {source: sources.count(source) for source in dict.fromkeys(sources)}


def _measure(examples: Examples, recipe: SoundRecipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures, and the network's entry in `bundle.json` but for its file."""
    held_out = hold_out(examples, recipe)
    threshold = choose_threshold(examples, held_out, recipe)
    tables = tabulate(examples, held_out, threshold)
    for line in headline(tables):
        logger.info(line)
    entry = {
        "classes": list(SOUNDS),
        "speech_above": threshold,
        "input": "statistics of the first block of the voice network over a window's loud tokens",
    }
    return tables, entry


def _write_bundle(bundle: Bundle, head: SoundHead, entry: dict[str, Any], tables: dict[str, Any], out: Path) -> Path:
    manifest: dict[str, Any] = json.loads(json.dumps(dict(bundle.manifest)))
    with whole_folder(out) as folder:
        for network in bundle.networks.values():
            (folder / str(network["file"])).write_bytes(read_network(bundle.path, network))
        listed = bundle.manifest.get("training_clips")
        if listed:
            (folder / str(listed["file"])).write_bytes((bundle.path / str(listed["file"])).read_bytes())
        export_head(head, folder / FILE)
        manifest["networks"][NETWORK] = {"file": FILE, "sha256": hash_file(folder / FILE), **entry}
        write_text(folder / SCORES_FILE, json.dumps(to_plain(tables), indent=2) + "\n")
        write_text(folder / "bundle.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return out / "bundle.json"
