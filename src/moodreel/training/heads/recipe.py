"""Everything that fitting the last layers anew depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FaceHeadRecipe:
    """How the face's last layer is fitted.

    Attributes:
        fer2013: weight of FER2013's labels; every emotion counts alike within a set.
        ferplus: weight of FER+'s majorities.
        corpus: weight of each further corpus.
        pull: strength of the pull towards the map that was there.
        faces: most FER2013 faces of each kind of labels that are used.
        steps: steps of the optimiser at most.
    """

    fer2013: float = 1.0
    ferplus: float = 0.5
    corpus: float = 0.5
    pull: float = 1e-3
    faces: int = 9000
    steps: int = 80


@dataclass(frozen=True)
class VoiceHeadRecipe:
    """How the map that stands beside the voice's own answer is fitted.

    Attributes:
        shrinkage: of the discriminant analysis: what is added to each feature's variance within a speaker, in average
            variances.
        penalty: of the logistic regression.
        own_share: size of the network's own logits beside that of each of the two maps.
        gate_strength: inverse penalty of the gate, see `fit_gate`.
        gate_doubt: nats by which a recording must be likelier one that the network knows, before the map counts half.
        steps: steps of the optimiser at most.
    """

    shrinkage: float = 0.3
    penalty: float = 3.0
    own_share: float = 0.8
    gate_strength: float = 100.0
    gate_doubt: float = 2.0
    steps: int = 80


@dataclass(frozen=True)
class HeadsRecipe:
    """How both are fitted.

    Attributes:
        face: see `FaceHeadRecipe`.
        voice: see `VoiceHeadRecipe`.
        tilt_nats: a corpus whose answers cost so much more counts e times as much when the fusion is chosen.
        most_clips: of a corpus that are used, drawn by `seed`.
        seed: of all draws.
    """

    face: FaceHeadRecipe = field(default_factory=FaceHeadRecipe)
    voice: VoiceHeadRecipe = field(default_factory=VoiceHeadRecipe)
    tilt_nats: float = 0.5
    most_clips: int = 2000
    seed: int = 0
