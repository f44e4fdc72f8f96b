"""`moodreel parts`: what each part and each fusion of a predecessor is worth, over the folds of a corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.errors import EvaluationError
from moodreel.evaluation.run_folders import read_run
from moodreel.labels import EMOTIONS
from moodreel.metrics import Outcomes, make_outcomes, score


def format_parts(runs: Sequence[Path]) -> str:
    """Return a Markdown table: a row per part and a fusion, test clips of all runs together.

    Args:
        runs: run folders of one recipe, a fold each.

    Raises:
        EvaluationError: a folder holds no scored run of a predecessor, or a clip stands in two of them.
    """
    scores = [_read_scores(run) for run in runs]
    names = [*scores[0]["parts"], *scores[0]["fusions"]]
    lines = ["| part | UAR | WAR | train, CPU s per fold | predict, CPU ms per clip |", "|---|---|---|---|---|"]
    for name in names:
        figures = score(_join([read_run(run / "parts" / name) for run in runs]))
        entries = [one["parts"].get(name, {}) for one in scores]
        train_cpu_s, clip_cpu_s = (_mean(entries, key) for key in ("train_cpu_s", "clip_cpu_s"))
        unknown = train_cpu_s is None or clip_cpu_s is None
        times = "- | -" if unknown else f"{train_cpu_s:.0f} | {1000 * (clip_cpu_s or 0):.0f}"
        lines.append(f"| `{name}` | {figures.uar} | {figures.war} | {times} |")
    return "\n".join(lines)


def _read_scores(run: Path) -> Any:
    try:
        scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{run}: holds no scores.json ({error}); expected a run of `moodreel train`") from None
    if "parts" not in scores or "test" not in scores:
        raise EvaluationError(f"{run}: is no scored run of a predecessor; train one with --recipe emonets --fold K")
    return scores


def _join(folds: Sequence[Outcomes]) -> Outcomes:
    clip_ids = [name for fold in folds for name in fold.clip_ids]
    speakers = [name for fold in folds for name in fold.speakers]
    labels = [EMOTIONS[index] for fold in folds for index in fold.truth]
    return make_outcomes(clip_ids, speakers, labels, np.concatenate([fold.probabilities for fold in folds]))


def _mean(entries: Sequence[dict[str, float]], key: str) -> float | None:
    values = [entry[key] for entry in entries if key in entry]
    return float(np.mean(values)) if values else None
