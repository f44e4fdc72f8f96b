"""The clips that a bundle got wrong, the worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.metrics.outcomes import Outcomes


@dataclass(frozen=True)
class Mistake:
    """A clip that was given another emotion than its own.

    Attributes:
        clip: its name.
        label: the true emotion.
        predicted: the one it was given.
        of_label: probability given to the true one, 0-1.
        of_predicted: probability given to the predicted one, 0-1.
        link: address of the file, with the part of it; `None` where unknown.
    """

    clip: str
    label: str
    predicted: str
    of_label: float
    of_predicted: float
    link: str | None


def list_mistakes(outcomes: Outcomes, links: Mapping[str, str]) -> tuple[Mistake, ...]:
    """List the clips got wrong, the one whose truth was given the least probability first.

    Args:
        outcomes: the clips scored.
        links: addresses of files by name of the clip.
    """
    rows = zip(outcomes.clip_ids, outcomes.truth, outcomes.predicted, outcomes.probabilities, strict=True)
    wrong = [
        Mistake(clip, EMOTIONS[truth], EMOTIONS[given], float(row[truth]), float(row[given]), links.get(clip))
        for clip, truth, given, row in rows
        if truth != given
    ]
    return tuple(sorted(wrong, key=lambda one: one.of_label))


def link_clip(sample: Sample) -> str:
    """Give the address under which a browser plays a clip: its file, and the part (Media Fragments URI 1.0)."""
    whole = sample.start_s == 0 and sample.end_s is None
    end = "" if sample.end_s is None else f",{sample.end_s:g}"
    return sample.path.absolute().as_uri() + ("" if whole else f"#t={sample.start_s:g}{end}")
