"""Recipes of the predecessors: which parts, and how each is fitted, as strict YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from moodreel.errors import RecipeError
from moodreel.predecessors.emonets.bag_of_mouths import MouthSettings
from moodreel.predecessors.emonets.class_weights import SearchSettings
from moodreel.predecessors.emonets.face_cnn import CnnSettings
from moodreel.predecessors.emonets.relational_autoencoder import RelationalSettings
from moodreel.predecessors.shared.pictures import FRAME_SIDE_PX
from moodreel.predecessors.yao2015.patch_features import Family
from moodreel.recognition.inputs import FrameSpec, InputSpec, check_spec
from moodreel.training.joint.recipe import check_labels, compose_recipe
from moodreel.training.strict_yaml import read_strict

CONVNET_AUDIO_MEMBERS = ("face_cnn", "audio_dbn")


@dataclass(frozen=True)
class DbnSettings:
    """The audio network of EmoNets; see `DeepBeliefNetwork`."""

    n_hidden: int = 400
    rbm_rate: float = 0.001
    rbm_epochs: int = 30
    epochs: int = 240
    rows_an_epoch: int = 5000
    learning_rate: float = 0.001
    dropout: float = 0.5
    max_norm: float = 1.8356
    batch_size: int = 100


@dataclass(frozen=True)
class SvmSettings:
    """A support vector machine; see `KernelSvm`."""

    kernel: Literal["linear", "rbf", "chi2"] = "rbf"
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class RelationSettings:
    """The faces of Yao et al., a part for each family of features; see `AuRelationSvm`."""

    families: tuple[Family, ...] = ("gradients", "binary_patterns", "grey")
    kept: tuple[int, ...] = (4, 8)
    components: int = 16
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class FaceCnnSettings(CnnSettings):
    """The face network and the machine on its answers.

    Attributes:
        segments: stretches of a clip within which probabilities are averaged.
        penalties: values of the machine's C to choose from on training speakers.
    """

    segments: int = 10
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class PartRecipes:
    """The parts; one that is `null` or missing is left out.

    Attributes:
        face_cnn: EmoNets' face network.
        audio_dbn: EmoNets' audio network.
        bag_of_mouths: EmoNets' mouths.
        relational_autoencoder: EmoNets' motion.
        convnet_audio: EmoNets' machine on the probabilities of face network and audio network.
        au_relations: the patches of Yao et al.
        functionals: the challenge's functionals of the sound.
    """

    face_cnn: FaceCnnSettings | None = None
    audio_dbn: DbnSettings | None = None
    bag_of_mouths: MouthSettings | None = None
    relational_autoencoder: RelationalSettings | None = None
    convnet_audio: SvmSettings | None = None
    au_relations: RelationSettings | None = None
    functionals: SvmSettings | None = None


@dataclass(frozen=True)
class PredecessorRecipe:
    """A training run of a predecessor.

    Attributes:
        name: of the recipe; the bundle is called so.
        parts: what is fitted.
        frames: how faces are read.
        about: one line for people.
        seed: of everything random.
        folds: folds of unseen speakers, where the corpus gives no split of its own.
        valid_share: part of the training speakers set aside for the fusion.
        longest_s: what of a clip lies beyond is left out, seconds.
        labels: what the corpus's own classes are: class -> emotion, or `ignore`.
        faces: folder of static faces for the face network (`train.npz`, `valid.npz`); `null` leaves that part out.
        fusion: what the bundle answers by: `class_weights`, or the plain `mean` of the parts.
        search: how class weights are found.
    """

    name: str
    parts: PartRecipes
    frames: FrameSpec
    about: str = ""
    seed: int = 0
    folds: int = 5
    valid_share: float = 0.2
    longest_s: float = 8.0
    labels: dict[str, str] = field(default_factory=dict)
    faces: str | None = None
    fusion: Literal["class_weights", "mean"] = "class_weights"
    search: SearchSettings = field(default_factory=SearchSettings)

    @property
    def inputs(self) -> InputSpec:
        """What is read of each clip."""
        reads_faces = any(name not in {"audio_dbn", "functionals"} for name in self.part_names)
        return InputSpec(
            frames=self.frames if reads_faces else None,
            functionals=self.parts.functionals is not None,
            trimmed=self.parts.functionals is not None,
            descriptors=self.parts.audio_dbn is not None,
            longest_s=self.longest_s,
        )

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts in the order they are fitted, those built on others last."""
        given = [one.name for one in dataclasses.fields(self.parts) if getattr(self.parts, one.name) is not None]
        relations = self.parts.au_relations
        names = [name for name in given if name not in {"au_relations", "convnet_audio"}]
        names += [f"au_{family}" for family in relations.families] if relations else []
        return (*names, *(["convnet_audio"] if "convnet_audio" in given else []))

    def keep(self, names: Collection[str]) -> PredecessorRecipe:
        """Return the recipe with some of its parts alone, which then reads only what these need."""
        parts = {one.name: getattr(self.parts, one.name) for one in dataclasses.fields(self.parts)}
        kept = {name: settings if name in names else None for name, settings in parts.items()}
        relations = self.parts.au_relations
        families = tuple(one for one in relations.families if f"au_{one}" in names) if relations else ()
        if relations and families:
            kept["au_relations"] = dataclasses.replace(relations, families=families)
        return dataclasses.replace(self, parts=PartRecipes(**kept))


def load_predecessor(name_or_path: str, changes: Sequence[str] = ()) -> PredecessorRecipe:
    """Load a predecessor's recipe by name or from a file.

    Args:
        name_or_path: `emonets`, `yao2015`, or a YAML file.
        changes: `key=value` each, as in `moodreel.training.joint.recipe.load_recipe`.

    Raises:
        RecipeError: no such recipe, an unknown or ill-typed key, or values that do not go together.
    """
    node, where = compose_recipe(name_or_path, changes)
    recipe = read_strict(node, PredecessorRecipe, where)
    problems = [problem for holds, problem in _rules(recipe) if not holds]
    if problems:
        raise RecipeError(f"{where}: {problems[0]}")
    try:
        check_spec(recipe.inputs)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
    return dataclasses.replace(recipe, labels=check_labels(recipe.labels, where))


def _rules(recipe: PredecessorRecipe) -> list[tuple[bool, str]]:
    members = all(getattr(recipe.parts, name) for name in CONVNET_AUDIO_MEMBERS)
    return [
        (bool(recipe.part_names), "parts: nothing to learn"),
        (recipe.frames.side_px == FRAME_SIDE_PX, f"frames.side_px must be {FRAME_SIDE_PX}: patches lie in such faces"),
        (recipe.frames.framing != "whole", "frames.framing must be face or frontal"),
        (0 < recipe.valid_share < 1, "valid_share must lie within 0-1"),
        (recipe.folds >= 2, "folds must be 2 or more"),
        (recipe.parts.convnet_audio is None or members, "parts.convnet_audio needs parts face_cnn and audio_dbn"),
    ]
