"""Readers of corpora whose folders are their classes: AFEW and plain class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from moodreel.corpora.files import (
    FEATURE_SUFFIXES,
    find_clips,
    find_files,
    group_problems,
    keep_one_form,
    list_folders,
    relative_id,
)
from moodreel.corpora.layout import Layout
from moodreel.corpora.sample import UNKNOWN_SPEAKER, Corpus, Sample
from moodreel.errors import CorpusError
from moodreel.labels import read_emotion

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}


def read_split_name(name: str) -> str | None:
    """Map the name of a side of a split (`Val`, `Train_AFEW`, `dev`) to one of `SPLITS`; `None` where it is none."""
    return SPLIT_NAMES.get(name.strip().lower().removesuffix("_afew"))


def split_folders(root: Path) -> dict[str, Path]:
    """Find the folders of the sides of a split.

    Args:
        root: a corpus folder.

    Returns:
        Folder by name of the side, as in `SPLITS`.

    Raises:
        CorpusError: two folders stand for one side.
    """
    found: dict[str, Path] = {}
    for folder in list_folders(root):
        split = read_split_name(folder.name)
        if split in found:
            raise CorpusError(f"{root}: both {found[split].name!r} and {folder.name!r} stand for the {split} side")
        if split is not None:
            found[split] = folder
    return found


def read_afew(root: Path) -> Corpus:
    """Read AFEW, the corpus of the EmotiW challenges (Dhall et al. 2012), or any `Train|Val|Test/<Emotion>/` folder.

    Args:
        root: a folder with `Train`, `Val` and `Test` (or `Train_AFEW`, …), in them one folder per emotion. The official
            split is kept. Films are not told by names such as `000046280.avi`: `read_corpus` takes them from a CSV.
            Sound features that came with the clips (`.arff`, `.csv`, `.txt` or `.mat` with a clip's stem, below a
            folder named after the same side of the split, or after none) stand in `Sample.features_path`.

    Returns:
        Clips named by their path (`Train/Angry/000046280`). Clips without an emotion folder, as in the challenge's own
        test set, are listed as problems.

    Raises:
        CorpusError: no folder of a split.
    """
    folders = split_folders(root)
    if not folders:
        raise CorpusError(f"{root}: expected folders Train, Val and Test with one folder per emotion in each")
    samples: list[Sample] = []
    unlabelled: list[tuple[str, Path]] = []
    for split, folder in folders.items():
        samples += _class_samples(folder, root, "afew", split)
        unlabelled += [(f"no emotion folder ({split})", path) for path in find_clips(folder) if path.parent == folder]
    kept, forms = keep_one_form(_attach_features(samples, root))
    return Corpus("afew", root, kept, group_problems(unlabelled) + forms, "afew")


def _recognise_afew(root: Path, _: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in split_folders(root).values() if find_clips(folder))


AFEW = Layout("afew", "Train|Val|Test/<Emotion>/*.avi", _recognise_afew, read_afew)


def read_class_folders(root: Path) -> Corpus:
    """Read a plain class folder: `root/<emotion>/…/clip.mp4`.

    Args:
        root: a folder with one folder per class, of any of the names that `moodreel.labels.read_emotion` knows.

    Returns:
        Clips named by their path (`angry/clip1`), speakers unknown until `read_corpus` is told how to find them.
    """
    name = root.resolve().name
    kept, forms = keep_one_form(_class_samples(root, root, name, None))
    loose = [("no emotion folder", path) for path in find_clips(root) if path.parent == root]
    return Corpus(name, root, kept, group_problems(loose) + forms, "folders")


def _recognise_class_folders(root: Path, clips: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in list_folders(root) if _is_class(folder, clips))


def _is_class(folder: Path, clips: Sequence[Path]) -> bool:
    try:
        read_emotion(folder.name)
    except ValueError:
        return False
    return any(path.is_relative_to(folder) for path in clips)


CLASS_FOLDERS = Layout("folders", "<emotion>/*.mp4", _recognise_class_folders, read_class_folders)


def _class_samples(folder: Path, root: Path, corpus: str, split: str | None) -> list[Sample]:
    samples: list[Sample] = []
    for class_folder in list_folders(folder):
        files = find_clips(class_folder)
        samples += [
            Sample(
                path,
                class_folder.name,
                UNKNOWN_SPEAKER,
                relative_id(path, root),
                split,
                corpus,
                label_place=str(folder),
            )
            for path in files
        ]
    return samples


def _attach_features(samples: Sequence[Sample], root: Path) -> list[Sample]:
    files = _index_features(root)
    paths = (files.get((s.split, s.path.stem)) or files.get((None, s.path.stem)) for s in samples)
    return [replace(sample, features_path=path) for sample, path in zip(samples, paths, strict=True)]


def _index_features(root: Path) -> dict[tuple[str | None, str], Path]:
    files = find_files(root, frozenset(FEATURE_SUFFIXES))
    by_preference = sorted(files, key=lambda path: FEATURE_SUFFIXES.index(path.suffix.lower()), reverse=True)
    return {(_side(path.relative_to(root)), path.stem): path for path in by_preference}


def _side(path: Path) -> str | None:
    return next(filter(None, map(read_split_name, path.parts[:-1])), None)
