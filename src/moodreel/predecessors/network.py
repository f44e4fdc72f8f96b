"""A predecessor as one network: all parts, and the fusion of what they say; what goes into the bundle's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.predecessors.parts import FittedPart
from moodreel.recognition.inputs import InputSpec, input_names

_LEAST = 1e-6


class PredecessorNetwork(nn.Module):
    """One clip's inputs to logits."""

    weights: Tensor

    def __init__(self, parts: Sequence[FittedPart], weights: Mapping[str, Sequence[float]], spec: InputSpec) -> None:
        """Store parts and fusion.

        Args:
            parts: members of a part before it.
            weights: of each part that has a say, a weight for each class.
            spec: what is read of a clip.
        """
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.voters = tuple(weights)
        self.register_buffer("weights", torch.tensor([list(weights[name]) for name in self.voters]))
        self.input_names = input_names(spec)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Answer for one clip.

        Args:
            inputs: in the order of `input_names`: `frames` uint8 (t, 96, 96, 3), t at least 1; `has_face` float32 (1,),
                0 or 1; `functionals` float32 (1582,), `descriptors` float32 (n, 86), n at least 1; `has_voice`
                float32 (1,).

        Returns:
            Logits, shape (7,): logarithms of the fused probabilities.
        """
        given = dict(zip(self.input_names, inputs, strict=True))
        answers: dict[str, Tensor] = {}
        for part in self.parts:
            assert isinstance(part, FittedPart)
            answers[part.part.name] = self._ask(part, given, answers)
        votes = torch.stack([answers[name] for name in self.voters])
        fused = (votes * self.weights).sum(0)
        return torch.log(fused / fused.sum() + _LEAST)

    def _ask(self, part: FittedPart, given: Mapping[str, Tensor], answers: Mapping[str, Tensor]) -> Tensor:
        """Ask one part; without anything to look at or listen to it says that all classes are alike."""
        if part.part.members:
            answer: Tensor = part(torch.cat([answers[name] for name in part.part.members])[None])
            return answer
        there = given[f"has_{part.part.modality}"]
        # What stands in for a missing input may give anything, NaN included: it is dropped, not multiplied by zero.
        return torch.where(there > 0, part(given[part.part.reads]), torch.full((N_EMOTIONS,), 1 / N_EMOTIONS))
