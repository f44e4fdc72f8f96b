"""What people reach on the same corpus, where that was published: a row of its own beside a bundle's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HumanFigure:
    """How well people recognise the emotion that an actor was asked to show.

    Attributes:
        modalities: what they saw or heard.
        accuracy: part of their answers that name the emotion asked for, 0-1.
        n_classes: emotions to choose from.
        protocol: who answered what.
        source: where it was published.
    """

    modalities: str
    accuracy: float
    n_classes: int
    protocol: str
    source: str


_CREMAD_PROTOCOL = "2,443 raters, 7,442 clips of 91 actors, one of six emotions chosen; part of all answers"
_CREMAD_SOURCE = "Cao et al. 2014, CREMA-D, IEEE Transactions on Affective Computing 5(4)"

HUMAN_FIGURES: Mapping[str, tuple[HumanFigure, ...]] = {
    "cremad": tuple(
        HumanFigure(modalities, accuracy, 6, _CREMAD_PROTOCOL, _CREMAD_SOURCE)
        for modalities, accuracy in (("voice only", 0.409), ("face only", 0.582), ("face and voice", 0.636))
    ),
}
"""Published figures by name of the corpus, as `read_corpus` names it. To be compared with WAR, not with UAR."""
