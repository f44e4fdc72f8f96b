"""What every training command is told, and what it does with a corpus: split it, score it, list its clips."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.corpora import Corpus, Sample, read_corpus
from moodreel.corpora.splits import Split, clip_folds, make_split, official_split, speaker_folds, speaker_split
from moodreel.errors import RecipeError
from moodreel.labels import EMOTIONS, read_class_map
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.training_clips import know_clips, read_training_clips, write_training_clips
from moodreel.metrics import make_outcomes, score, to_plain
from moodreel.storage.cache import Cache
from moodreel.storage.whole_files import whole_file
from moodreel.training.extraction import Unreadable
from moodreel.training.progress import phase

UNKNOWN_LICENCE = "unknown: the licence of the training data binds these weights"


@dataclass(frozen=True)
class TrainOptions:
    """What `moodreel train` is told beside corpus, recipe and run folder.

    Attributes:
        max_epochs: overrides the recipe's.
        fold: train on all folds of speakers but this one, from 1, and score it; `None` for the corpus's own split, or
            all clips where it has none.
        resume: go on with the run in the folder.
        devices: processes that share each batch.
        workers: processes that read clips.
        ray: the Ray cluster that reads them instead; `None` for processes here.
        nodes: machines that share each batch; each runs the same command.
        changes: `key=value` changes of the recipe.
        layout: of the corpus; found out by default.
        speaker_regex: see `read_corpus`.
        speakers_csv: see `read_corpus`.
        allow_outside: see `read_corpus`.
        allow_shared_speakers: accept clips of one speaker, or unknown ones, on several sides; the report says so.
        allow_unreadable: go on with more than 5 % of the clips unreadable.
        cache: where features are kept; the user's cache by default.
        licence: of the weights, as the bundle will state it.
    """

    max_epochs: int | None = None
    fold: int | None = None
    resume: bool = False
    devices: int = 1
    workers: int = 1
    ray: str | None = None
    nodes: int = 1
    changes: tuple[str, ...] = ()
    layout: str | None = None
    speaker_regex: str | None = None
    speakers_csv: Path | None = None
    allow_outside: bool = False
    allow_shared_speakers: bool = False
    allow_unreadable: bool = False
    cache: Path | None = None
    licence: str = UNKNOWN_LICENCE


class SplitRecipe(Protocol):
    """What a recipe says of how a corpus is read and parted."""

    @property
    def labels(self) -> dict[str, str]:
        """What the corpus's own classes are, see `moodreel.labels.read_class_map`."""

    @property
    def seed(self) -> int:
        """Of the draw of the speakers set aside."""

    @property
    def folds(self) -> int:
        """Folds of unseen speakers."""

    @property
    def valid_share(self) -> float:
        """Part of the training speakers set aside."""


def change_labels(mapped: Sequence[str], ignored: Sequence[str]) -> tuple[str, ...]:
    """Return the changes of a recipe that `--map` and `--ignore` stand for, so that the run's own recipe holds them.

    Args:
        mapped: `class=emotion` each.
        ignored: names of classes.

    Raises:
        CorpusError: see `read_class_map`.
    """
    return tuple(f"labels.{name}={emotion}" for name, emotion in read_class_map(mapped, ignored).items())


def open_corpus(path: Path, recipe: SplitRecipe, options: TrainOptions) -> Corpus:
    """Read a corpus as recipe and options say; a fold that there is not is refused before.

    Raises:
        CorpusError: see `read_corpus`.
        RecipeError: the recipe has no such fold.
    """
    if options.fold is not None and not 1 <= options.fold <= recipe.folds:
        raise RecipeError(
            f"fold {options.fold}: expected 1 to {recipe.folds}; more folds are made by --set folds={options.fold}"
        )
    return read_corpus(
        path,
        options.layout,
        options.speaker_regex,
        options.speakers_csv,
        allow_outside=options.allow_outside,
        class_map=recipe.labels,
    )


def make_run_split(corpus: Corpus, recipe: SplitRecipe, options: TrainOptions) -> Split:
    """Part a corpus into clips to train on, to choose by and to score.

    With a fold: its speakers are scored, and of the others some are set aside to choose by. Without: the corpus's own
    split where it has one, else nothing is scored.

    Raises:
        CorpusError: only some clips have a side in the corpus's own split; or see `moodreel.corpora.splits`.
    """
    split = _make_split(corpus.samples, recipe, options)
    present = {sample.label for sample in corpus.samples}
    missing = [label for label in EMOTIONS if label not in present]
    if not missing:
        return split
    warning = f"no clip of {', '.join(missing)}: what is trained will hardly ever say that"
    return replace(split, warnings=(*split.warnings, warning))


def _make_split(samples: Sequence[Sample], recipe: SplitRecipe, options: TrainOptions) -> Split:
    if options.fold is not None:
        return _fold_split(samples, recipe, options)
    if any(sample.split is not None for sample in samples):  # official_split refuses those that have none
        return official_split(samples, allow_shared_speakers=options.allow_shared_speakers)
    return _set_aside(samples, recipe, options)


def _fold_split(samples: Sequence[Sample], recipe: SplitRecipe, options: TrainOptions) -> Split:
    assert options.fold is not None
    shared = options.allow_shared_speakers
    folds = (
        clip_folds(samples, recipe.folds, recipe.seed, allow_shared_speakers=True)
        if shared
        else speaker_folds(samples, recipe.folds)
    )
    outer = folds[options.fold - 1]
    inner = _set_aside(outer.train, recipe, options)
    return make_split(outer.name, inner.train, inner.valid, outer.test, allow_shared_speakers=shared)


def _set_aside(samples: Sequence[Sample], recipe: SplitRecipe, options: TrainOptions) -> Split:
    """Set a part of the clips aside to watch the fit by, or none."""
    if not recipe.valid_share:
        return make_split("nothing set aside", samples, (), allow_shared_speakers=options.allow_shared_speakers)
    if options.allow_shared_speakers:
        split = clip_folds(samples, round(1 / recipe.valid_share), recipe.seed, allow_shared_speakers=True)[0]
        return replace(split, valid=split.test, test=())
    return speaker_split(samples, recipe.valid_share, recipe.seed)


def list_unreadable(unreadable: Sequence[Unreadable], split: Split) -> list[dict[str, str]]:
    """Say which clips were left out, on which side they would have stood, and why, as JSON types."""
    sides = {sample.clip_id: side for side in ("train", "valid", "test") for sample in getattr(split, side)}
    return [{"clip": one.clip_id, "side": sides[one.clip_id], "reason": one.reason} for one in unreadable]


def list_clips(split: Split, cache: Cache, workers: int, out: Path, encoders: Bundle | None = None) -> dict[str, Any]:
    """Write the list of the clips that a run learned from, so that no evaluation takes them for unknown ones.

    Args:
        split: the run's.
        cache: where fingerprints are kept.
        workers: processes that read clips.
        out: the run folder.
        encoders: the bundle whose networks it builds on: what those learned from is listed too, as far as it is known.

    Raises:
        BundleError: the list of `encoders` is damaged.
        OutputError: the list cannot be written.
    """
    known = None if encoders is None else read_training_clips(encoders)
    samples = [*split.train, *split.valid]
    with phase("noting which clips were learned from", len(samples)) as show:
        prints = read_fingerprints(samples, cache, workers, show=show)
    learned = know_clips(samples, prints, ["trained"] * len(samples))
    return write_training_clips([*(known or ()), *learned], out / "bundle")


def format_scores(scores: dict[str, Any], out: Path) -> str:
    """Return what a run came to, for people."""
    lines = [f"split: {scores['split']}; speaker-independent: {'yes' if scores['speaker_independent'] else 'NO'}"]
    lines += [f"warning: {warning}" for warning in scores["warnings"]]
    lines += scores.get("notes", [])
    lines.append(", ".join(f"{side} {count}" for side, count in scores["n_clips"].items()) + " clips")
    for side in ("valid", "test"):
        if side in scores:
            lines.append(f"{side}: UAR {scores[side]['uar']['value']:.3f}, WAR {scores[side]['war']['value']:.3f}")
    return "\n".join([*lines, f"bundle: {out / 'bundle'}"])


def score_side(samples: Sequence[Sample], probabilities: npt.NDArray[np.float64], side: str, out: Path) -> Any:
    """Write the predictions of one side of a split and return their scores as JSON types.

    Args:
        samples: its clips.
        probabilities: shape (n, 7).
        side: `valid` or `test`.
        out: folder for `SIDE-predictions.csv`.
    """
    write_predictions(samples, probabilities, out / f"{side}-predictions.csv")
    ids, speakers, labels = zip(*((s.clip_id, s.speaker, s.label) for s in samples), strict=True)
    return to_plain(score(make_outcomes(ids, speakers, labels, probabilities)))


def write_predictions(samples: Sequence[Sample], probabilities: npt.NDArray[np.float64], path: Path) -> None:
    """Write one row per clip: name, speaker, true label and the seven probabilities."""
    with whole_file(path) as whole, whole.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "speaker", "label", *EMOTIONS])
        for sample, row in zip(samples, probabilities, strict=True):
            writer.writerow([sample.clip_id, sample.speaker, sample.label, *(f"{value:.6f}" for value in row)])
