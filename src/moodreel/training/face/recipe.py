"""Everything that training the face network depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass, field

from moodreel.training.backbones.mobilenet import Architecture
from moodreel.training.face.augment import Augmentation


@dataclass(frozen=True)
class Stage:
    """A run of epochs at one picture size.

    Attributes:
        side: of the pictures in pixels; of the form 32 k + 1, see `MobileNet`.
        epochs: how many.
    """

    side: int
    epochs: int


@dataclass(frozen=True)
class Generation:
    """One network of a line; the first learns from the labels alone, the last is what ships.

    Attributes:
        stages: picture sizes from small to large.
        start: number of the earlier generation that it goes on from, counted from 1; 0 for the origin.
        teachers: numbers of the earlier generations that it is distilled from.
        is_consistent: the teachers see each picture as it is varied and mixed for the student, and their soft targets
            alone are learned (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR
            2022). Otherwise they see the faces once, as they are, and decide `FaceRecipe.soft_share` of FER2013's
            targets.
        mixing: concentration of the Beta distribution that the share of two mixed faces is drawn from (Zhang et al.,
            "mixup", ICLR 2018); 0 for none.
        kept: share of the weights it started from in those it ends with, 0..1: between a network and what fine-tuning
            makes of it lie better ones than either (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
            2022).
    """

    stages: tuple[Stage, ...]
    start: int = 0
    teachers: tuple[int, ...] = ()
    is_consistent: bool = False
    mixing: float = 0.0
    kept: float = 0.0

    @property
    def side(self) -> int:
        """Picture size of the last stage."""
        return self.stages[-1].side

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def side_at(self, epoch: int) -> int:
        """Picture size at an epoch counted from 0.

        Raises:
            IndexError: `epoch` is not below `epochs`.
        """
        return [stage.side for stage in self.stages for _ in range(stage.epochs)][epoch]


@dataclass(frozen=True)
class FaceRecipe:
    """Everything a run depends on besides its data.

    Attributes:
        seed: of the shuffles, the augmentation and the holdout.
        generations: the networks that are fitted one after another.
        soft_share: share of soft targets in FER2013's targets where teachers see the faces once, 0..1.
        batch: faces per step.
        head_rate: highest rate of the two heads, which start from nothing.
        learning_rate: highest rate of the trunk's last block.
        frozen_layers: layers of the trunk, counted from the stem, that stay as the origin has them.
        layer_decay: factor on the trunk's rate from one block to the block below.
        weight_decay: of AdamW.
        dropout: probability before the heads.
        averaging: decay of the weight averaging; the average is what ships.
        warmup: steps of linearly rising rate; then it falls along a cosine to zero.
        holdout: share of the training faces set aside to choose settings on.
        ferplus_weight: share of the FER+ head in the exported logits, 0..1; the default has the best mean UAR over both
            kinds of labels on the faces set aside.
        architecture: of the trunk.
        augmentation: of the training pictures.
    """

    seed: int = 2013
    generations: tuple[Generation, ...] = (
        Generation((Stage(129, 18),)),
        Generation((Stage(129, 14),), teachers=(1,), mixing=0.3),
        Generation((Stage(161, 9),), start=2, teachers=(1, 2), mixing=0.3),
        Generation((Stage(161, 4),), start=3, teachers=(1, 2, 3)),
        Generation((Stage(161, 8),), start=4, teachers=(1, 2, 4), is_consistent=True, mixing=0.5, kept=0.3),
    )
    soft_share: float = 0.5
    batch: int = 64
    head_rate: float = 1e-3
    learning_rate: float = 1e-3
    frozen_layers: int = 7
    layer_decay: float = 0.9
    weight_decay: float = 0.02
    dropout: float = 0.3
    averaging: float = 0.998
    warmup: int = 150
    holdout: float = 0.05
    ferplus_weight: float = 0.7
    architecture: Architecture = field(default_factory=Architecture)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def side(self) -> int:
        """Picture size of the network that ships."""
        return self.generations[-1].side
