"""The parts as one kind of thing: an encoder from a clip to rows, and a classifier of rows; answers are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moodreel.labels import N_EMOTIONS
from moodreel.predecessors.emonets.audio_dbn import DeepBeliefNetwork
from moodreel.predecessors.emonets.bag_of_mouths import fit_mouths
from moodreel.predecessors.emonets.face_cnn import FaceAnswers, FaceCnn
from moodreel.predecessors.emonets.relational_autoencoder import fit_motion
from moodreel.predecessors.recipe import CONVNET_AUDIO_MEMBERS, PredecessorRecipe
from moodreel.predecessors.shared.logistic import make_logistic, to_module
from moodreel.predecessors.shared.svm import KernelSvm
from moodreel.predecessors.yao2015.au_relations import AuRelationSvm
from moodreel.predecessors.yao2015.patch_features import GRID, PatchFeatures
from moodreel.recognition.inputs import DESCRIPTORS, FRAMES, FUNCTIONALS
from moodreel.storage.cache import make_key

Array = npt.NDArray[Any]
ModalityName = Literal["face", "voice"]


@dataclass(frozen=True)
class Part:
    """A part that is not fitted yet.

    Attributes:
        name: as `--only` and `scores.json` call it.
        reads: the input of a clip that it looks at.
        fit_encoder: inputs of training clips to a network from one clip's input to rows (n, d).
        make_classifier: an unfitted classifier of rows.
        by_speaker: whether the classifier's `fit` takes the rows' speakers.
        cache_key: names an encoder that is the same in all folds, so that its rows are kept; else `None`.
        members: parts whose probabilities it reads instead of an input; it is fitted on clips they did not see.
    """

    name: str
    reads: str
    fit_encoder: Callable[[Sequence[Tensor]], nn.Module]
    make_classifier: Callable[[], Any]
    by_speaker: bool = True
    cache_key: str | None = None
    members: tuple[str, ...] = ()

    @property
    def modality(self) -> ModalityName:
        """What a clip must have for the part to say anything."""
        return "face" if self.reads == FRAMES else "voice"


class FittedPart(nn.Module):
    """One clip's input to probabilities: rows, their answers, averaged."""

    columns: Tensor

    def __init__(self, part: Part, encoder: nn.Module, classifier: Any) -> None:
        """Store what was fitted.

        Args:
            part: what it is.
            encoder: one clip's input to rows (n, d).
            classifier: fitted on rows, with `classes_`.
        """
        super().__init__()
        self.part = part
        self.encoder = encoder.eval()
        self.classifier = to_module(classifier)
        # A toy corpus may lack a class; its probability is 0 then.
        self.register_buffer("columns", torch.eye(N_EMOTIONS)[torch.as_tensor(np.asarray(classifier.classes_))])

    def forward(self, given: Tensor) -> Tensor:
        """Return probabilities, shape (7,)."""
        return self.classify(self.encoder(given))

    def classify(self, rows: Tensor) -> Tensor:
        """Return the mean of the rows' probabilities, shape (7,)."""
        probabilities: Tensor = self.classifier(rows).mean(0) @ self.columns
        return probabilities


def make_parts(recipe: PredecessorRecipe, cnn: FaceCnn | None) -> tuple[Part, ...]:
    """Return the recipe's parts in the order they are fitted.

    Args:
        recipe: the recipe.
        cnn: the face network; without it the parts that need it are left out.
    """
    makers = {
        "face_cnn": lambda: _face_part(recipe, cnn),
        "audio_dbn": lambda: _audio_part(recipe),
        "bag_of_mouths": lambda: _mouth_part(recipe),
        "relational_autoencoder": lambda: _motion_part(recipe),
        "functionals": lambda: _functionals_part(recipe),
        "convnet_audio": lambda: _joined_part(recipe),
    }
    names = [name for name in recipe.part_names if cnn is not None or name not in {"face_cnn", "convnet_audio"}]
    return tuple(makers[name]() if name in makers else _relations_part(recipe, name) for name in names)


def _face_part(recipe: PredecessorRecipe, cnn: FaceCnn | None) -> Part:
    settings = recipe.parts.face_cnn
    assert settings is not None and cnn is not None
    answers = FaceAnswers(cnn, settings.segments)
    weights = [float(value.double().sum()) for value in cnn.state_dict().values()]
    return Part(
        "face_cnn",
        FRAMES,
        lambda _: answers,
        lambda: KernelSvm("rbf", settings.penalties),
        cache_key=make_key("face answers", weights, settings.segments),
    )


def _audio_part(recipe: PredecessorRecipe) -> Part:
    settings = recipe.parts.audio_dbn
    assert settings is not None
    return Part(
        "audio_dbn",
        DESCRIPTORS,
        lambda _: nn.Identity(),
        lambda: DeepBeliefNetwork(**asdict(settings), seed=recipe.seed),
        by_speaker=False,
    )


def _mouth_part(recipe: PredecessorRecipe) -> Part:
    settings = recipe.parts.bag_of_mouths
    assert settings is not None
    return Part(
        "bag_of_mouths",
        FRAMES,
        lambda clips: fit_mouths(clips, settings, recipe.seed),
        lambda: make_logistic(settings.penalty),
        by_speaker=False,
    )


def _motion_part(recipe: PredecessorRecipe) -> Part:
    settings = recipe.parts.relational_autoencoder
    assert settings is not None
    return Part(
        "relational_autoencoder",
        FRAMES,
        lambda clips: fit_motion(clips, settings, recipe.seed),
        lambda: KernelSvm("chi2", (settings.penalty,)),
    )


def _functionals_part(recipe: PredecessorRecipe) -> Part:
    settings = recipe.parts.functionals
    assert settings is not None
    return Part(
        "functionals",
        FUNCTIONALS,
        lambda _: nn.Unflatten(0, (1, -1)),
        lambda: KernelSvm(settings.kernel, settings.penalties),
    )


def _relations_part(recipe: PredecessorRecipe, name: str) -> Part:
    settings = recipe.parts.au_relations
    assert settings is not None
    family = next(family for family in settings.families if name == f"au_{family}")
    return Part(
        name,
        FRAMES,
        lambda _: PatchFeatures(family),
        lambda: AuRelationSvm(GRID, settings.kept, settings.components, settings.penalties),
        cache_key=make_key("patches", 2, family),
    )


def _joined_part(recipe: PredecessorRecipe) -> Part:
    settings = recipe.parts.convnet_audio
    assert settings is not None
    return Part(
        "convnet_audio",
        FRAMES,
        lambda _: nn.Identity(),
        lambda: KernelSvm(settings.kernel, settings.penalties),
        members=CONVNET_AUDIO_MEMBERS,
    )
