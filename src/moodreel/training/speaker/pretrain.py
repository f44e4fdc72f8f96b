"""`moodreel pretrain speaker`: a bundle's network of lips and sound, trained, measured, and written as a new bundle."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.bundle import load_bundle
from moodreel.corpora.sound_clips import read_sound_clips
from moodreel.errors import CorpusError
from moodreel.face.lips import LIPS_SIDE_PX
from moodreel.metrics import to_plain
from moodreel.recognition.lip_reading import NETWORK
from moodreel.storage.cache import hash_file
from moodreel.storage.whole_files import whole_folder, write_text
from moodreel.training.onnx_export import GraphPlan, write_onnx
from moodreel.training.speaker.examples import ExampleMaker
from moodreel.training.speaker.fit import fit_speaker
from moodreel.training.speaker.material import Footage, read_footage
from moodreel.training.speaker.network import FRAMES_PER_PICTURE, SpeakerNetwork, read_origin
from moodreel.training.speaker.recipe import DEFAULT_RECIPE, SpeakerRecipe
from moodreel.training.speaker.scores import measure_speaker
from moodreel.training.voice.recordings import read_recording
from moodreel.voice.cepstra import N_CEPSTRA

logger = logging.getLogger(__name__)

FILE = f"{NETWORK}.onnx"
SCORES_FILE = f"{NETWORK}.json"
SPEAKS_ABOVE = -1.5
"""Log-odds from which on a face rather speaks; found on conversations made of people held out."""
_NOT_OTHER = ("speech", "silence")
_LEAST_SAMPLES = 1600


def pretrain_speaker(
    model: str,
    corpora: Sequence[Path],
    drawn: Path | None,
    others: Path,
    origin: Path,
    out: Path,
    hold_out: Sequence[str] = (),
    recipe: SpeakerRecipe = DEFAULT_RECIPE,
) -> Path:
    """Fine-tune what tells who speaks, and write a late bundle with it.

    Args:
        model: name or folder of the bundle.
        corpora: folders of clips of one photographed face each that speaks.
        drawn: folder of drawn ones, or `None`.
        others: folder of sounds that are no speech: `labels.tsv` with path, sound and source.
        origin: file with LR-ASD's published weights.
        out: folder of the new bundle, which must not be there yet; `speaker.json` in it holds the figures.
        hold_out: people of the corpora whom nothing is learned from: the figures are of them.
        recipe: how.

    Returns:
        The path of `bundle.json`.

    Raises:
        BundleError: there is no such bundle.
        CorpusError: a folder cannot be read, or there are too few people.
        MoodreelError: the origin is something else.
        OutputError: the folder cannot be written, or is there already.
    """
    network = SpeakerNetwork()
    network.load_state_dict(read_origin(origin))
    footage = [clip for folder in corpora for clip in read_footage(folder, is_drawn=False)]
    footage += read_footage(drawn, is_drawn=True) if drawn is not None else []
    learned, kept = split_people(footage, hold_out)
    mean = fit_speaker(network, ExampleMaker(learned, read_others(others, recipe), recipe), recipe)
    figures = {"held_out": measure_speaker(mean, kept)}
    logger.info("people held out: %s", figures["held_out"])
    return write_bundle(model, mean, figures, _count(learned), out)


def split_people(footage: Sequence[Footage], hold_out: Sequence[str]) -> tuple[list[Footage], list[Footage]]:
    """Part clips into those to learn from and those of people held out.

    Args:
        footage: all clips.
        hold_out: people as the corpora name them.

    Raises:
        CorpusError: fewer than two people are left to learn from.
    """
    names = {clip.person for clip in footage if clip.person.rpartition("-")[2] in hold_out and not clip.is_drawn}
    learned = [clip for clip in footage if clip.person not in names]
    if len({clip.person for clip in learned}) < 2:
        raise CorpusError("clips of fewer than two people are left to learn from; name more corpora")
    return learned, [clip for clip in footage if clip.person in names]


def read_others(folder: Path, recipe: SpeakerRecipe) -> list[npt.NDArray[np.float32]]:
    """Read sounds that are no speech, at random.

    Raises:
        CorpusError: the folder cannot be read, or holds none.
    """
    clips = [one for one in read_sound_clips(folder) if one.sound not in _NOT_OTHER]
    order = np.random.default_rng(recipe.seed).permutation(len(clips))[: recipe.most_sounds]
    sounds = [read_recording(clips[int(place)].path) for place in order]
    fit = [sound for sound in sounds if len(sound) >= _LEAST_SAMPLES and np.abs(sound).max() > 0]
    if not fit:
        raise CorpusError(f"{folder}: holds no sound that is no speech; expected laughter, music and the like")
    return fit


def export_speaker(network: SpeakerNetwork, path: Path) -> float:
    """Write the network as ONNX: `lips` (n, times, side, side) uint8 and `spectra` (1, 4 * times, 13) to `log_odds`.

    Raises:
        MoodreelError: the graph answers otherwise than the network; no file is left then.
        OutputError: the file cannot be written.
    """
    rng = np.random.default_rng(0)
    examples: list[dict[str, npt.NDArray[Any]]] = [
        {
            "lips": rng.integers(0, 256, (n, n_times, LIPS_SIDE_PX, LIPS_SIDE_PX)).astype(np.uint8),
            "spectra": rng.standard_normal((1, FRAMES_PER_PICTURE * n_times, N_CEPSTRA)).astype(np.float32),
        }
        for n, n_times in ((2, 10), (1, 25), (3, 7))
    ]
    axes = {
        "lips": {0: "n", 1: "times"},
        "spectra": {1: "frames"},
        "log_odds": {0: "n", 1: "times"},
    }
    return write_onnx(network, path, examples, GraphPlan(["log_odds"], axes, "float16"))


def write_bundle(
    model: str, network: SpeakerNetwork, figures: dict[str, Any], counts: dict[str, int], out: Path
) -> Path:
    """Write a bundle anew with the network in it; returns the path of `bundle.json`."""
    bundle = load_bundle(model)
    manifest: dict[str, Any] = json.loads(json.dumps(dict(bundle.manifest)))
    with whole_folder(out) as folder:
        shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
        export_speaker(network, folder / FILE)
        manifest["networks"][NETWORK] = {
            "file": FILE,
            "sha256": hash_file(folder / FILE),
            "speaks_above": SPEAKS_ABOVE,
            "input": "grey lower halves of faces 0-255 at 25 Hz, cepstra of the sound at 100 Hz",
            "trained_on": counts,
        }
        write_text(folder / SCORES_FILE, json.dumps(to_plain(figures), indent=2) + "\n")
        write_text(folder / "bundle.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return out / "bundle.json"


def _count(footage: Sequence[Footage]) -> dict[str, int]:
    corpora = [clip.person.rpartition("-")[0] for clip in footage]
    return {corpus: corpora.count(corpus) for corpus in dict.fromkeys(corpora)}
