"""What runs leave behind: the outcomes of an evaluation folder or a training run, and the folds in a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moodreel.corpora import natural_key
from moodreel.errors import EvaluationError
from moodreel.evaluation.answers import ANSWERS_FILE, gather_outcomes, read_answers
from moodreel.labels import EMOTIONS
from moodreel.metrics.outcomes import Outcomes, make_outcomes
from moodreel.text import printable

TEST_FILE = "test-predictions.csv"
SCORES_FILE = "scores.json"
REPORT_FILE = "report.json"
_COLUMNS = ("clip", "speaker", "label", *EMOTIONS)


def read_run(folder: Path) -> Outcomes:
    """Read what a run predicted.

    Args:
        folder: made by `moodreel evaluate` (`predictions.jsonl`), or by `moodreel train` (`test-predictions.csv`).

    Returns:
        The clips that were answered; `read_failed` names the others.

    Raises:
        EvaluationError: the folder holds neither, no clip was answered, or the predictions are damaged.
    """
    if (folder / ANSWERS_FILE).is_file():
        return _read_evaluation(folder / ANSWERS_FILE)
    if (folder / TEST_FILE).is_file():
        return _read_table(folder / TEST_FILE)
    raise EvaluationError(f"{folder}: holds neither {ANSWERS_FILE} nor {TEST_FILE}; expected a folder of a run")


def read_failed(folder: Path) -> tuple[str, ...]:
    """Name the clips that a run was asked about and could not read; `read_run` leaves them out.

    Args:
        folder: as for `read_run`.

    Raises:
        EvaluationError: the answers are damaged.
    """
    if (folder / ANSWERS_FILE).is_file():
        return tuple(answer.clip for answer in read_answers(folder / ANSWERS_FILE)[1] if answer.error is not None)
    try:
        unreadable = json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))["unreadable"]
        return tuple(str(entry["clip"]) for entry in unreadable if entry["side"] == "test")
    except (OSError, ValueError, TypeError, KeyError):  # no run of today's moodreel: it kept no list
        return ()


def read_leaked(folder: Path) -> frozenset[str] | None:
    """Name the clips whose speaker or recording a run's bundle knows.

    Args:
        folder: as for `read_run`.

    Returns:
        What `moodreel evaluate` found; `None` where the folder tells nothing: a run of `moodreel train`, an evaluation
        that was interrupted, or one of a bundle that lists no training clips.

    Raises:
        EvaluationError: the report is damaged.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        return None
    try:
        leaks = json.loads(path.read_text(encoding="utf-8"))["leaks"]
        leaked = frozenset(map(str, leaks["leaked"]))
        return leaked if leaks["against"] or leaked else None
    except (OSError, ValueError, TypeError, KeyError):
        raise EvaluationError(f"{path}: damaged; evaluate again with --out {printable(str(folder))}") from None


def _read_evaluation(path: Path) -> Outcomes:
    _, answers = read_answers(path)
    with _naming(path):
        return gather_outcomes(answers)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say in which file the fault is."""
    try:
        yield
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from None


def _read_table(path: Path) -> Outcomes:
    rows = _read_rows(path)
    names, speakers, labels = ([row[key] for row in rows] for key in ("clip", "speaker", "label"))
    try:
        probabilities = [[float(row[emotion]) for emotion in EMOTIONS] for row in rows]
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{path}: a probability is no number ({error}); score the run anew") from None
    with _naming(path):
        return make_outcomes(names, speakers, labels, probabilities)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: cannot be read ({error})") from None
    lacking = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        raise EvaluationError(f"{path}: lacks the column {lacking[0]!r}; expected {', '.join(_COLUMNS)}")
    return rows


def read_test_clips(run: Path) -> tuple[str, ...]:
    """Name the clips that a training run was scored on.

    Raises:
        EvaluationError: its `test-predictions.csv` is missing or damaged.
    """
    return tuple(row["clip"] for row in _read_rows(run / TEST_FILE))


def find_folds(runs: Path) -> tuple[Path, ...]:
    """Find the run folders of `moodreel train --fold K` in a folder.

    Raises:
        EvaluationError: there is none that has both a bundle and test predictions.
    """
    found = (path.parent for path in runs.glob(f"*/{TEST_FILE}") if (path.parent / "bundle").is_dir())
    folds = sorted(found, key=lambda run: natural_key(run.name))
    if not folds:
        raise EvaluationError(
            f"{runs}: no run of `moodreel train --fold K` in it; expected folders with bundle/ and {TEST_FILE}"
        )
    return tuple(folds)
