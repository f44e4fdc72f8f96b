"""Readers of corpora that tell emotion and speaker in their file names or their own table: RAVDESS, CREMA-D, nEMO."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from moodreel.corpora.files import AUDIO_SUFFIXES, find_clips, find_files, group_problems, keep_one_form
from moodreel.corpora.layout import Layout, count_names
from moodreel.corpora.rows import Row, read_header, read_rows
from moodreel.corpora.sample import Corpus, CorpusProblem, Sample, natural_key

RAVDESS_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>\d\d)"
)
"""Livingstone & Russo (2018), section "File naming convention"."""

RAVDESS_EMOTIONS: Mapping[str, str] = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}

CREMAD_NAME = re.compile(r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{1,2})")
"""Cao et al. (2014), README "Filename labeling conventions"; one file of the release has a one-letter level."""

NEMO_COLUMNS = ("file_id", "emotion", "speaker_id")

_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}


def read_ravdess(root: Path) -> Corpus:
    """Read RAVDESS by its file names, in any folder structure; speech only.

    Args:
        root: a folder with files such as `Actor_01/01-01-03-01-01-01-01.mp4` (video with sound), `02-…` (video alone)
            or `03-…` (sound alone). A take that is there in several modalities counts once: 01 before 02 before 03.

    Returns:
        Speakers `01` to `24`; clips named by their file name. Songs (vocal channel 02) and files of other names are
        listed as problems.
    """
    samples: list[Sample] = []
    failures: list[tuple[str, Path]] = []
    for path in find_clips(root):
        match = RAVDESS_NAME.fullmatch(path.stem)
        if match is None:
            failures.append(("not a RAVDESS file name", path))
        elif match["channel"] == "02":
            failures.append(("song, not speech (vocal channel 02)", path))
        else:
            samples.append(_ravdess_sample(path, match))
    ordered = sorted(samples, key=lambda sample: sample.clip_id)
    kept, forms = keep_one_form(ordered, take_of=lambda sample: sample.clip_id.split("-", 1)[1])
    return Corpus("ravdess", root, kept, group_problems(failures) + forms, "ravdess")


def _recognise_ravdess(_: Path, clips: Sequence[Path]) -> str:
    return count_names(clips, RAVDESS_NAME.fullmatch)


RAVDESS = Layout("ravdess", "files named like 01-01-03-01-01-01-01.mp4", _recognise_ravdess, read_ravdess)


def _ravdess_sample(path: Path, match: re.Match[str]) -> Sample:
    return Sample(
        path=path,
        label=RAVDESS_EMOTIONS[match["emotion"]],
        speaker=match["actor"],
        clip_id=path.stem,
        split=None,
        corpus="ravdess",
        gender="female" if int(match["actor"]) % 2 == 0 else "male",
    )


def read_cremad(root: Path) -> Corpus:
    """Read CREMA-D by its file names, in any folder structure.

    Args:
        root: a folder with files such as `VideoFlash/1001_DFA_ANG_XX.flv`; a take that is there as video and as sound
            counts once, as video. `VideoDemographics.csv` gives age and gender where it is there.

    Returns:
        Speakers `1001` to `1091`, six emotions (no surprise). Files of other names are listed as problems.
    """
    actors = _read_demographics(root)
    samples: list[Sample] = []
    failures: list[tuple[str, Path]] = []
    for path in find_clips(root):
        match = CREMAD_NAME.fullmatch(path.stem)
        if match is None:
            failures.append(("not a CREMA-D file name", path))
        else:
            samples.append(_cremad_sample(path, match, actors.get(match["actor"], {})))
    kept, forms = keep_one_form(samples)
    return Corpus("cremad", root, kept, group_problems(failures) + forms, "cremad")


def _recognise_cremad(_: Path, clips: Sequence[Path]) -> str:
    return count_names(clips, CREMAD_NAME.fullmatch)


CREMAD = Layout("cremad", "files named like 1001_DFA_ANG_XX.flv", _recognise_cremad, read_cremad)


def _cremad_sample(path: Path, match: re.Match[str], actor: Row) -> Sample:
    return Sample(
        path=path,
        label=match["emotion"],
        speaker=match["actor"],
        clip_id=path.stem,
        split=None,
        corpus="cremad",
        gender=read_gender(actor.get("sex", "")),
        age=read_age(actor.get("age", "")),
    )


def _read_demographics(root: Path) -> dict[str, Row]:
    tables = [path for path in find_files(root, frozenset({".csv"})) if path.name == "VideoDemographics.csv"]
    return {row["actorid"]: row for row in read_rows(tables[0], ["actorid"])} if tables else {}


def read_nemo(root: Path) -> Corpus:
    """Read nEMO by its `data.tsv`.

    Args:
        root: a folder with `data.tsv` (file_id, emotion, …, speaker_id, gender, age) and the clips below it, in the
            original WAV or in another sound format with the same stems.

    Returns:
        Nine speakers, six emotions (no disgust). Rows without a file and files without a row are listed as problems.

    Raises:
        CorpusError: the table is missing or damaged.
    """
    rows = read_rows(root / "data.tsv", NEMO_COLUMNS)
    files = {path.stem: path for path in reversed(find_files(root, AUDIO_SUFFIXES))}
    named = {Path(row["file_id"]).stem: row for row in rows}
    samples = [_nemo_sample(files[stem], row) for stem, row in named.items() if stem in files]
    samples.sort(key=lambda sample: natural_key(sample.clip_id))
    failures = [
        ("a row of data.tsv without its file", root / row["file_id"]) for s, row in named.items() if s not in files
    ]
    failures += [("a file without a row in data.tsv", path) for stem, path in files.items() if stem not in named]
    return Corpus("nemo", root, tuple(samples), group_problems(failures) + _repeated_rows(root, rows, named), "nemo")


def _recognise_nemo(root: Path, _: Sequence[Path]) -> str:
    return "data.tsv" if set(NEMO_COLUMNS) <= set(read_header(root / "data.tsv")) else ""


NEMO = Layout("nemo", "data.tsv with file_id, emotion and speaker_id", _recognise_nemo, read_nemo)


def _nemo_sample(path: Path, row: Row) -> Sample:
    return Sample(
        path=path,
        label=row["emotion"],
        speaker=row["speaker_id"],
        clip_id=path.stem,
        split=None,
        corpus="nemo",
        gender=read_gender(row.get("gender", "")),
        age=read_age(row.get("age", "")),
        label_place=f"data.tsv, {row['file_id']}",
    )


def _repeated_rows(root: Path, rows: list[Row], named: dict[str, Row]) -> tuple[CorpusProblem, ...]:
    n_repeated = len(rows) - len(named)
    if not n_repeated:
        return ()
    return (
        CorpusProblem(f"{n_repeated} rows name a clip that another row names too, the last kept", (root / "data.tsv",)),
    )


def read_gender(text: str) -> str | None:
    """Map a corpus's own word to `female` or `male`; `None` for anything else."""
    return _GENDERS.get(text.strip().lower())


def read_age(text: str) -> int | None:
    """Read an age in years; `None` where the text is no whole number between 0 and 150."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and int(digits[:4]) <= 150 else None
