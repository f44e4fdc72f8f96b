"""What the face network's two heads learn: one FER2013's labels, one FER+'s votes.

Both losses add the logarithm of their labels' prior to the logits (Menon et al., "Long-tail learning via logit
adjustment", ICLR 2021), so that the logits themselves know nothing of how often an emotion occurs on the web pages
FER2013 was gathered from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.training.face.ferplus import UNKNOWN_LABEL, Faces, soft_labels


@dataclass(frozen=True)
class FaceTargets:
    """What the two heads learn.

    Attributes:
        fer2013: float32, shape (n, 7), distributions; all of it on one emotion but for soft targets.
        known: float32, shape (n,): 1 where FER2013's label is known, else 0.
        ferplus: float32, shape (n, 7), distributions.
        trust: float32, shape (n,), range 0..1: weight of each FER+ distribution.
    """

    fer2013: Tensor
    known: Tensor
    ferplus: Tensor
    trust: Tensor

    @classmethod
    def of(cls, faces: Faces) -> FaceTargets:
        """The targets of labelled faces."""
        known = faces.fer2013 != UNKNOWN_LABEL
        labels = np.eye(N_EMOTIONS, dtype=np.float32)[np.where(known, faces.fer2013, 0)]
        return cls(*map(torch.from_numpy, (labels, known.astype(np.float32), *soft_labels(faces.votes))))

    def take(self, chosen: Tensor) -> FaceTargets:
        """The targets at an index tensor."""
        return FaceTargets(self.fer2013[chosen], self.known[chosen], self.ferplus[chosen], self.trust[chosen])

    def soften(self, soft_targets: Tensor, share: float) -> FaceTargets:
        """Mix teachers' soft targets into FER2013's labels, which one person each has given.

        Args:
            soft_targets: the teachers' probabilities of these faces, float32, shape (n, 7).
            share: of the soft targets in the new ones, 0..1 (Furlanello et al., "Born-again neural networks", ICML
                2018).
        """
        return replace(self, fer2013=self.fer2013.lerp(soft_targets, share))


@dataclass(frozen=True)
class Priors:
    """How often each emotion occurs in the training labels: natural logarithms, float32, shape (7,) each."""

    fer2013: Tensor
    ferplus: Tensor

    @classmethod
    def of(cls, targets: FaceTargets) -> Priors:
        """The priors of training targets; an emotion that never occurs counts as one occurrence."""
        counts = (targets.fer2013 * targets.known[:, None]).sum(0).clamp(min=1)
        votes = (targets.ferplus * targets.trust[:, None]).sum(0).clamp(min=1)
        return cls((counts / counts.sum()).log(), (votes / votes.sum()).log())


def loss_of(logits: tuple[Tensor, Tensor], targets: FaceTargets, priors: Priors) -> Tensor:
    """Cross-entropy of both heads, each with its own prior added to the logits.

    Args:
        logits: of the FER2013 and the FER+ head, float32, shape (n, 7).
        targets: of the same n faces.
        priors: of the training labels.

    Returns:
        A scalar: the sum of the two means.
    """
    fer2013 = nn.functional.cross_entropy(logits[0] + priors.fer2013, targets.fer2013, reduction="none")
    ferplus = nn.functional.cross_entropy(logits[1] + priors.ferplus, targets.ferplus, reduction="none")
    return (fer2013 * targets.known + ferplus * targets.trust).mean()
