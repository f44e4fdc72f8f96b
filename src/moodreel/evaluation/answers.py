"""What a bundle answered to each clip of a corpus, kept clip by clip in a file, so that an interrupted run goes on.

The file is JSON Lines: a first line that says what is being evaluated, then one line per clip. A line that a kill cut
off is dropped when the file is opened again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np

from moodreel.corpora import Sample
from moodreel.errors import EvaluationError, OutputError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics.outcomes import Floats, Outcomes, make_outcomes
from moodreel.recognition.prediction import Modality, Prediction

ANSWERS_VERSION = 1
ANSWERS_FILE = "predictions.jsonl"


Row = tuple[float, ...]
"""Seven values in the order of `EMOTIONS`."""


@dataclass(frozen=True)
class ModalityAnswer:
    """What one modality alone answers to a clip.

    Attributes:
        state: one of `moodreel.recognition.prediction.FACE_STATES` or `VOICE_STATES`.
        probabilities: seven values in the order of `EMOTIONS`; `None` where it has no answer of its own.
    """

    state: str
    probabilities: tuple[float, ...] | None


@dataclass(frozen=True)
class Unadapted:
    """What the networks said of a clip before it was adapted to its person.

    Attributes:
        fused: probabilities by both; `None` with nothing to go by.
        face: by the face alone.
        voice: by the voice alone.
        weights: of face and voice in `fused`.
        face_stretches: log-probabilities of each stretch by the face.
        voice_stretches: the same by the voice.
        abstain_below: the bundle's threshold.
    """

    fused: Row | None
    face: Row | None
    voice: Row | None
    weights: tuple[float, float]
    face_stretches: tuple[Row, ...]
    voice_stretches: tuple[Row, ...]
    abstain_below: float


@dataclass(frozen=True)
class ClipAnswer:
    """What a bundle answered to one labelled clip.

    Attributes:
        clip: name of the clip within its corpus.
        speaker: who speaks, or the film; `UNKNOWN_SPEAKER` where unknown.
        label: the true emotion, one of `EMOTIONS`.
        gender: `female` or `male` where the corpus tells.
        age: in years where the corpus tells.
        duration_s: length in seconds.
        probabilities: seven values in the order of `EMOTIONS`; `None` where the clip failed.
        abstained: whether the bundle took the evidence for too weak.
        face: the answer of the face alone; `None` where the clip failed.
        voice: the answer of the voice alone; `None` where the clip failed.
        error: why the clip failed, in one line; `None` where it did not.
        unadapted: the answer as it was; `None` where nothing was adapted.
    """

    clip: str
    speaker: str
    label: str
    gender: str | None = None
    age: int | None = None
    duration_s: float = 0.0
    probabilities: tuple[float, ...] | None = None
    abstained: bool = False
    face: ModalityAnswer | None = None
    voice: ModalityAnswer | None = None
    error: str | None = None
    unadapted: Unadapted | None = None

    @property
    def modalities(self) -> str:
        """What the answer could go by: `face and voice`, `face only`, `voice only` or `neither`."""
        face, voice = (modalities is not None and modalities.state == "ok" for modalities in (self.face, self.voice))
        return {(True, True): "face and voice", (True, False): "face only", (False, True): "voice only"}.get(
            (face, voice), "neither"
        )


def make_answer(sample: Sample, prediction: Prediction, unadapted: Unadapted | None = None) -> ClipAnswer:
    """Put a prediction beside the truth."""
    return replace(
        make_failure(sample, ""),
        duration_s=prediction.duration_s,
        probabilities=prediction.probabilities,
        abstained=prediction.abstained,
        face=_take_modality(prediction.face),
        voice=_take_modality(prediction.voice),
        error=None,
        unadapted=unadapted,
    )


def _take_modality(modality: Modality) -> ModalityAnswer:
    return ModalityAnswer(modality.state, modality.probabilities)


def make_failure(sample: Sample, error: str) -> ClipAnswer:
    """Record a clip that could not be predicted, and why."""
    return ClipAnswer(sample.clip_id, sample.speaker, sample.label, sample.gender, sample.age, error=error)


def gather_outcomes(answers: Iterable[ClipAnswer]) -> Outcomes:
    """Make what is scored of the clips that were answered.

    A clip with nothing to go by has even probabilities, of which the first would count, in favour of `angry`. It is
    dealt an emotion by a hash of its name instead: right once in seven times, whatever the labels.

    Args:
        answers: of clips; failed ones are left out.

    Raises:
        EvaluationError: no clip was answered, two have one name, or probabilities are damaged; names the clip.
    """
    answered = [answer for answer in answers if answer.probabilities is not None]
    probabilities = [_break_tie(answer.clip, answer.probabilities or ()) for answer in answered]
    names, speakers, labels = ([getattr(answer, key) for answer in answered] for key in ("clip", "speaker", "label"))
    return make_outcomes(names, speakers, labels, np.array(probabilities).reshape(len(answered), -1))


def _break_tie(clip: str, probabilities: Iterable[float]) -> Floats:
    values = np.asarray(tuple(probabilities), dtype=np.float64)
    if len(values) == N_EMOTIONS and np.ptp(values) < 1e-9:
        values[int.from_bytes(sha256(clip.encode()).digest()[:4]) % N_EMOTIONS] += 1e-9
    return values


class AnswerFile:
    """The answers of one evaluation on disk. Opened by `open_answers`; a context manager.

    Attributes:
        answers: those there are, by name of the clip.
    """

    def __init__(self, path: Path, file: IO[str], answers: dict[str, ClipAnswer]) -> None:
        self.answers = answers
        self._path = path
        self._file = file

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, answer: ClipAnswer) -> None:
        """Keep an answer; it is on disk when this returns.

        Raises:
            OutputError: the disk is full.
        """
        _write_line(self._path, self._file, _to_line(answer))
        self.answers[answer.clip] = answer

    def rewrite(self, header: Mapping[str, Any], answers: Sequence[ClipAnswer]) -> None:
        """Put other answers in the place of all that are there, at once.

        Args:
            header: as for `open_answers`.
            answers: of the same clips.

        Raises:
            OutputError: the disk is full.
        """
        self._file.close()
        self._file, self.answers = _begin_file(self._path, header, answers)


def open_answers(path: Path, header: Mapping[str, Any]) -> AnswerFile:
    """Open an evaluation's answers to go on with, or begin them.

    Clips that failed are taken out, so that they are tried again.

    Args:
        path: the file.
        header: what is being evaluated; JSON types.

    Raises:
        OutputError: the file cannot be written, or holds another evaluation.
        EvaluationError: the file is damaged.
    """
    wanted = _complete_header(header)
    found, answers = read_answers(path) if path.exists() else (wanted, ())
    if found != wanted:
        differing = ", ".join(key for key in wanted if found.get(key) != wanted[key])
        raise OutputError(f"{path}: holds another evaluation ({differing} differs); name another folder with --out")
    return AnswerFile(path, *_begin_file(path, header, [answer for answer in answers if answer.error is None]))


def _complete_header(header: Mapping[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps({"moodreel_answers": ANSWERS_VERSION, **header}))
    return whole


def _begin_file(
    path: Path, header: Mapping[str, Any], answers: Sequence[ClipAnswer]
) -> tuple[IO[str], dict[str, ClipAnswer]]:
    """Write a file of answers in the place of another, and open it to go on with."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            for line in (_complete_header(header), *map(_to_line, answers)):
                _write_line(partial, file, line)
        partial.replace(path)
        return path.open("a", encoding="utf-8"), {answer.clip: answer for answer in answers}
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); name another --out") from None


def _to_line(answer: ClipAnswer) -> dict[str, Any]:
    line = asdict(answer)
    if line["unadapted"] is None:
        del line["unadapted"]
    return line


def _write_line(path: Path, file: IO[str], line: Mapping[str, Any]) -> None:
    try:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); make room and start again") from None


def read_answers(path: Path) -> tuple[Mapping[str, Any], tuple[ClipAnswer, ...]]:
    """Read a file of answers: its header and the clips.

    Raises:
        EvaluationError: it cannot be read, is no file of answers, or a line other than the last is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    whole = lines[:-1]  # what stands behind the last newline was cut off
    entries = [_read_line(line, f"{path}:{number}") for number, line in enumerate(whole, 1)]
    if not entries or entries[0].get("moodreel_answers") != ANSWERS_VERSION:
        raise EvaluationError(f"{path}: no answers of `moodreel evaluate` in version {ANSWERS_VERSION}; evaluate anew")
    places = enumerate(entries[1:], 2)
    return entries[0], tuple(_read_answer(entry, f"{path}:{number}") for number, entry in places)


def _read_line(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise EvaluationError(f"{where}: damaged line, no JSON object; delete the file and evaluate anew")
    return entry


def _read_answer(entry: dict[str, Any], where: str) -> ClipAnswer:
    try:
        modalities = {key: None if entry[key] is None else _read_modality(entry[key]) for key in ("face", "voice")}
        rows = {
            "probabilities": _read_row(entry["probabilities"]),
            "unadapted": _read_unadapted(entry.get("unadapted")),
        }
        answer = ClipAnswer(**{**entry, **modalities, **rows})
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{where}: damaged line ({error}); delete the file and evaluate anew") from None
    if answer.label not in EMOTIONS or not isinstance(answer.clip, str):
        raise EvaluationError(f"{where}: damaged line (label {answer.label!r}); delete the file and evaluate anew")
    return answer


def _read_modality(entry: Mapping[str, Any]) -> ModalityAnswer:
    return ModalityAnswer(str(entry["state"]), _read_row(entry["probabilities"]))


def _read_unadapted(entry: Mapping[str, Any] | None) -> Unadapted | None:
    if entry is None:
        return None
    face_weight, voice_weight = map(float, entry["weights"])
    return Unadapted(
        fused=_read_row(entry["fused"]),
        face=_read_row(entry["face"]),
        voice=_read_row(entry["voice"]),
        weights=(face_weight, voice_weight),
        face_stretches=tuple(filter(None, map(_read_row, entry["face_stretches"]))),
        voice_stretches=tuple(filter(None, map(_read_row, entry["voice_stretches"]))),
        abstain_below=float(entry["abstain_below"]),
    )


def _read_row(values: Any) -> tuple[float, ...] | None:
    if values is None:
        return None
    row = tuple(map(float, values))
    if len(row) != N_EMOTIONS or not all(map(math.isfinite, row)):
        raise ValueError(f"expected {N_EMOTIONS} finite probabilities")
    return row
