"""A recipe: everything a training run depends on, as strict YAML."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml

from moodreel.errors import CorpusError, RecipeError
from moodreel.labels import check_class_map
from moodreel.recognition.inputs import FrameSpec, InputSpec, check_spec
from moodreel.storage.cache import make_key
from moodreel.training.strict_yaml import compose, lay_over, read_strict

EXPRESSION = "expression"
"""What `video.weights` says for the pretrained face encoder."""
SPEECH = "speech"
"""What `audio.source` says for the pretrained voice encoder."""

_SUFFIXES = {".yaml", ".yml"}
_DEEPEST = 8
"""So many recipes may build on each other."""


@dataclass(frozen=True)
class VideoRecipe:
    """The picture branch: ResNet-20 over single frames and the LSTM over what it gives.

    Attributes:
        weights: `cifar10` (shipped with the package), `none` (random), a file (`.onnx` out of `pretrain cifar10`, or a
            checkpoint of the public naming), or `expression`: the face encoder of the bundle `encoders` instead of
            ResNet-20, always frozen.
        expressions: whether the features of that face encoder stand beside those of ResNet-20, frame by frame.
        frozen: whether the encoder stays as it is; its output is then computed once and cached.
        stages: how many of ResNet's three stages frames go through. The last ones know the ten kinds of things that
            CIFAR-10 shows; earlier ones see edges and folds at finer places.
        cells: ResNet's maps are averaged to cells x cells; 0 keeps them whole, as the paper does.
        grey: whether ResNet-20 sees grey pictures of one mean and contrast instead of colours.
        centre: `none`; `both` appends to each feature its difference from the clip's mean; `only` keeps the difference.
        scale: whether features are brought to mean 0 and deviation 1 over the training frames.
        reduced: features per frame after a principal component projection; 0 for none.
        width: units of each LSTM layer.
        layers: stacked LSTM layers.
        both_ways: whether each layer also runs backwards.
        pool: what of the sequence goes on: the `last` output, or `statistics`: mean, deviation and maximum over time.
        dropout: share of features dropped in front of the LSTM and of its outputs behind it, 0-1.
        scores: whether LDA's class scores of each feature's mean, deviation and course over the clip go on beside the
            LSTM; a strongly regularised linear model errs elsewhere than an LSTM that learned from few clips.
        share: of the identity in the scatter of that LDA, 0-1.
        cross_fit: as in `audio`, for these scores; 2 or more.
        mirrored: whether that LDA also learns from the training clips' mirrored frames, seen through ResNet-20 anew.
    """

    weights: str = "cifar10"
    expressions: bool = False
    frozen: bool = True
    stages: int = 3
    cells: int = 0
    grey: bool = False
    centre: Literal["none", "both", "only"] = "none"
    scale: bool = False
    reduced: int = 0
    width: int = 128
    layers: int = 3
    both_ways: bool = False
    pool: Literal["last", "statistics"] = "last"
    dropout: float = 0.0
    scores: bool = False
    share: float = 0.8
    cross_fit: int = 8
    mirrored: bool = False


@dataclass(frozen=True)
class AudioRecipe:
    """The sound branch: functionals, projected by LDA, and a dense network.

    Attributes:
        source: what is projected: openSMILE's functionals (`opensmile`), feature files that came with the corpus
            (`corpus`), or the statistics of the voice encoder of the bundle `encoders` (`speech`).
        trimmed: whether functionals are computed without the silence before and behind the speech.
        speeds: LDA also learns from each training clip played at these speeds, such as 0.9: pitch, tempo and timbre
            move together, much as they do from one person to another. Not with `corpus`.
        directions: dimensions of the LDA subspace; at most 6 of them can tell 7 classes apart.
        shrinkage: how the within-class scatter is made invertible: `none` (but for rounding), `ledoit_wolf`, or
            `fixed`: blended with as much of the identity as `share` says.
        share: see `shrinkage`, 0-1.
        scale: whether functionals are brought to mean 0 and deviation 1 first.
        limit: with `scale`, how many deviations a functional may go out before it is held; 0 for no limit.
        squash: whether features are squashed first: linear near their median, logarithmic far out.
        scores: whether the dense layers read a score per class, made of the subspace, instead of its coordinates.
        cross_fit: training clips are projected by an LDA fitted without their own speaker, in so many parts; 0: the
            one LDA that saw them. Needs `scores`: coordinates of different fits cannot stand for each other.
        dense: widths of the dense layers.
        dropout: share dropped after every ReLU, 0-1.
        skip: whether what the dense layers read also goes past them.
    """

    source: Literal["opensmile", "corpus", "speech"] = "opensmile"
    trimmed: bool = False
    speeds: tuple[float, ...] = ()
    directions: int = 512
    shrinkage: Literal["none", "ledoit_wolf", "fixed"] = "none"
    share: float = 0.0
    scale: bool = False
    limit: float = 0.0
    squash: bool = False
    scores: bool = False
    cross_fit: int = 0
    dense: tuple[int, ...] = (512, 512, 512)
    dropout: float = 0.5
    skip: bool = False


@dataclass(frozen=True)
class HeadRecipe:
    """What stands on top of the two branches.

    Attributes:
        dense: widths of the dense layers in front of the softmax.
        dropout: share dropped after every ReLU, 0-1.
        branch_loss: weight of the branches' own cross-entropies beside the joint one; 0 for none.
        modality_dropout: chance that a training clip loses its picture, and as much that it loses its sound, 0-0.5.
        vote: whether the branches' own logits are added to the joint ones, with learned weights.
        from_scores: with `vote`: whether the first answer is the sum of LDA's class scores, where there are some,
            instead of what random weights say.
    """

    dense: tuple[int, ...] = (512, 512, 512)
    dropout: float = 0.5
    branch_loss: float = 0.0
    modality_dropout: float = 0.0
    vote: bool = False
    from_scores: bool = True


@dataclass(frozen=True)
class FitRecipe:
    """How the network is fitted.

    Attributes:
        optimizer: `sgd` or `adam` (with decoupled weight decay).
        rate_low: least learning rate; the run's own is drawn uniformly between the two, as in the paper.
        rate_high: greatest learning rate.
        momentum: of SGD.
        weight_decay: of either.
        schedule: `constant` or `cosine` (to zero over `epochs`).
        batch_size: clips per step.
        epochs: passes over the training clips.
        patience: epochs without a better validation UAR after which fitting stops; 0 for never. The best epoch is kept.
        class_weights: whether rare classes weigh more in the loss.
        label_smoothing: share of the target spread over all classes, 0-1.
        clip_norm: the gradient is scaled down to this norm; 0 for never.
        ensemble: networks fitted from different seeds, whose logits are averaged.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    rate_low: float = 1e-8
    rate_high: float = 1e-6
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = 16
    epochs: int = 20
    patience: int = 0
    class_weights: bool = False
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    ensemble: int = 1


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        name: of the recipe; the bundle is called so.
        about: one line for people.
        seed: of weights, order, dropout and the draw of the learning rate.
        folds: folds of unseen speakers, where the corpus gives no split of its own.
        valid_share: part of the training speakers set aside for early stopping and choices; 0 for none: all are learned
            from, and the last epoch is kept.
        longest_s: what of a clip lies beyond is left out, seconds.
        encoders: name or folder of the bundle whose networks describe faces and speech, where the recipe asks for that.
        labels: what the corpus's own classes are: class -> emotion, or `ignore`.
        frames: how frames are read; needed with `video`.
        video: the picture branch; `null` for a network of sound alone.
        audio: the sound branch; `null` for a network of pictures alone.
        head: what joins them.
        fit: how the network is fitted.
    """

    name: str
    about: str = ""
    seed: int = 0
    folds: int = 5
    valid_share: float = 0.2
    longest_s: float = 8.0
    encoders: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    frames: FrameSpec | None = None
    video: VideoRecipe | None = None
    audio: AudioRecipe | None = None
    head: HeadRecipe = HeadRecipe()
    fit: FitRecipe = FitRecipe()

    @property
    def inputs(self) -> InputSpec:
        """What is read of each clip."""
        return InputSpec(
            frames=self.frames if self.video else None,
            expressions=self.video is not None and (self.video.weights == EXPRESSION or self.video.expressions),
            beside=self.video is not None and self.video.expressions,
            functionals=self.audio is not None and self.audio.source != SPEECH,
            trimmed=self.audio is not None and self.audio.source != SPEECH and self.audio.trimmed,
            speech=self.audio is not None and self.audio.source == SPEECH,
            longest_s=self.longest_s,
            speeds=self.audio.speeds if self.audio else (),
        )

    @property
    def reading(self) -> str:
        """What of the recipe decides on what is read and encoded of each clip, as text to compare.

        An encoder that is trained reads frames anew in every step; its start is drawn by `seed`.
        """
        video, audio = self.video, self.audio
        encoded = video and (
            video.weights, video.expressions, video.frozen, video.stages, video.cells, video.grey, video.scores,
            video.mirrored,
        )  # fmt: skip
        return repr((self.inputs, self.encoders, self.seed, encoded, audio and audio.source))

    @property
    def fingerprint(self) -> str:
        """A short hash; checkpoints carry it so that no run goes on from another recipe's."""
        return make_key(dataclasses.asdict(self))[:16]


def recipe_names() -> tuple[str, ...]:
    """Return the names of the joint networks' recipes that ship with the package, sorted."""
    return tuple(name for name in shipped_names() if not (is_predecessor(name) or is_tuned(name)))


def shipped_names() -> tuple[str, ...]:
    """Return the names of all recipes that ship with the package, sorted."""
    folder = resources.files("moodreel") / "recipes"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def is_predecessor(name_or_path: str) -> bool:
    """Say whether a recipe is made of parts, as those of `moodreel.predecessors` are.

    Raises:
        RecipeError: no such recipe, or it is no YAML.
    """
    return _has_key(name_or_path, "parts")


def is_tuned(name_or_path: str) -> bool:
    """Say whether a recipe tunes a late bundle, as those of `moodreel.training.tuned` do.

    Raises:
        RecipeError: no such recipe, or it is no YAML.
    """
    return _has_key(name_or_path, "level")


def _has_key(name_or_path: str, name: str) -> bool:
    node, _ = compose_recipe(name_or_path)
    return isinstance(node, yaml.MappingNode) and any(key.value == name for key, _ in node.value)


def load_recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name (shipped with the package) or from a file.

    Args:
        name_or_path: for example `repaired`, or `mine.yaml`, which may build on another: `base: best`.
        changes: `key=value` each, keys with dots, e.g. `fit.epochs=5`; they stand in the run's own recipe.

    Raises:
        RecipeError: no such recipe, an unknown or ill-typed key, or values that do not go together.
    """
    node, where = compose_recipe(name_or_path, changes)
    recipe = read_strict(node, Recipe, where)
    _check(recipe, where)
    return replace(recipe, labels=check_labels(recipe.labels, where))


def check_labels(labels: dict[str, str], where: str) -> dict[str, str]:
    """Return a recipe's labels in moodreel's words.

    Raises:
        RecipeError: one is no emotion.
    """
    try:
        return check_class_map(labels, where)
    except CorpusError as error:
        raise RecipeError(str(error)) from None


def compose_recipe(name_or_path: str, changes: Sequence[str] = ()) -> tuple[yaml.Node | None, str]:
    """Return a recipe's YAML, laid over what it builds on and with changes, and what to call it in an error.

    Raises:
        RecipeError: no such recipe, no YAML, or a change that cannot be made.
    """
    node, where = _compose_file(name_or_path, ())
    for change in changes:
        where = f"{name_or_path} with {change}"
        node = lay_over(node, _compose_change(node, change, where))
    return node, where


def _compose_file(name_or_path: str, above: tuple[str, ...]) -> tuple[yaml.Node | None, str]:
    """Compose a recipe and all that it builds on; `above` names what builds on it."""
    text, where = read_recipe_text(name_or_path)
    node = compose(text, where)
    base = _take_base(node)
    if not isinstance(node, yaml.MappingNode) or base is None:
        return node, where
    if where in above or len(above) >= _DEEPEST:
        raise RecipeError(f"{where}: base: {base} leads back to itself or too far; name a recipe that stands alone")
    named = any(key.value == "name" for key, _ in node.value)
    own = [] if named else [_compose_pair("name", Path(name_or_path).stem, where)]
    top = yaml.MappingNode(node.tag, [*own, *node.value], node.start_mark, node.end_mark)
    below, _ = _compose_file(_beside(base, name_or_path), (*above, where))
    return lay_over(below, top), where


def _take_base(node: yaml.Node | None) -> str | None:
    """Take the key `base` out of a recipe; `None` where there is none."""
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [value for key, value in node.value if key.value == "base"]
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0], yaml.ScalarNode) or not found[0].value:
        mark = found[-1].start_mark
        raise RecipeError(f"{mark.name}:{mark.line + 1}: 'base' must be the name or file of one recipe")
    node.value = [(key, value) for key, value in node.value if key.value != "base"]
    return str(found[0].value)


def _beside(base: str, name_or_path: str) -> str:
    """Return a file named in a recipe as seen from the recipe's own folder; shipped names stay."""
    is_file = Path(base).suffix in _SUFFIXES
    return str(Path(name_or_path).parent / base) if is_file else base


def _compose_pair(key: str, value: object, where: str) -> tuple[yaml.Node, yaml.Node]:
    node = compose(str(yaml.safe_dump({key: value})), where)
    assert isinstance(node, yaml.MappingNode)
    pair: tuple[yaml.Node, yaml.Node] = node.value[0]
    return pair


def read_recipe_text(name_or_path: str) -> tuple[str, str]:
    """Return a recipe's YAML as it stands in its file, and what to call it in an error.

    Raises:
        RecipeError: no such recipe.
    """
    shipped = resources.files("moodreel") / "recipes" / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    try:
        if path.suffix in _SUFFIXES or path.is_file():
            return path.read_text(encoding="utf-8"), str(path)
        return shipped.read_text(encoding="utf-8"), f"{name_or_path}.yaml"
    except (OSError, UnicodeDecodeError) as error:
        names = shipped_names()
        near = difflib.get_close_matches(name_or_path, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected a .yaml file or one of {', '.join(names)}"
        raise RecipeError(f"{name_or_path}: no recipe can be read there; {hint}") from error


def _compose_change(node: yaml.Node | None, change: str, where: str) -> yaml.Node | None:
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise RecipeError(f"{where}: a change must read key=value, found {change!r}")
    keys = key.strip().split(".", 1 if key.strip().startswith("labels.") else -1)  # a class may have dots in its name
    _check_parents(node, keys, f"{where}: {change!r}")
    tree: object = _load_value(value, where)
    for part in reversed(keys):
        tree = {part: tree}
    return compose(str(yaml.safe_dump(tree)), where)


def _load_value(value: str, where: str) -> object:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not YAML ({' '.join(str(error).split())})") from error


def _check_parents(node: yaml.Node | None, keys: Sequence[str], where: str) -> None:
    """Refuse a key below a plain value, such as `audio.dropout` where `audio` is null."""
    for parent in keys[:-1]:
        if not isinstance(node, yaml.MappingNode):
            return
        node = next((value for key, value in node.value if key.value == parent), None)
        if isinstance(node, yaml.Node) and not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{where}: {'.'.join(keys)!r} leads below a plain value")


def _check(recipe: Recipe, where: str) -> None:
    problems = [problem for holds, problem in _rules(recipe) if not holds]
    if problems:
        raise RecipeError(f"{where}: {problems[0]}")
    try:
        check_spec(recipe.inputs)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _rules(recipe: Recipe) -> list[tuple[bool, str]]:
    fit, head, video, audio = recipe.fit, recipe.head, recipe.video, recipe.audio
    rules = [
        (video is not None or audio is not None, "neither video nor audio: nothing to learn from"),
        (video is None or recipe.frames is not None, "video needs frames: say how they are read"),
        (0 <= recipe.valid_share < 1, "valid_share must lie within 0-1"),
        (
            recipe.valid_share > 0 or not fit.patience,
            "fit.patience needs valid_share: early stopping watches those clips",
        ),
        (recipe.folds >= 2, "folds must be 2 or more"),
        (0 < fit.rate_low <= fit.rate_high, "fit.rate_low must lie above 0 and not above fit.rate_high"),
        (min(fit.batch_size, fit.epochs, fit.ensemble) >= 1, "batch_size, epochs and ensemble must be 1 or more"),
        (0 <= head.modality_dropout <= 0.5, "head.modality_dropout must lie within 0-0.5"),
        (0 <= head.dropout < 1, "head.dropout must lie within 0-1"),
        (min(head.dense, default=1) >= 1, "head.dense: widths must be 1 or more"),
    ]
    if video is not None:
        rules += [
            (min(video.width, video.layers) >= 1, "video.width and video.layers must be 1 or more"),
            (0 <= video.dropout < 1, "video.dropout must lie within 0-1"),
            (1 <= video.stages <= 3, "video.stages must lie within 1-3: ResNet-20 has three"),
            (video.frozen or not video.scores, "video.scores needs video.frozen: it is fitted on the encoder's output"),
            (0 <= video.share <= 1, "video.share must lie within 0-1"),
            (video.cross_fit >= 2, "video.cross_fit must be 2 or more"),
            (
                not video.mirrored or (video.scores and not (video.expressions or video.weights == EXPRESSION)),
                "video.mirrored needs video.scores, which learn from mirrored frames, and ResNet-20 alone",
            ),
            (
                not video.expressions or (video.frozen and video.weights != EXPRESSION),
                "video.expressions stand beside a frozen ResNet-20: they need video.frozen and its weights",
            ),
            (video.frozen or video.weights != EXPRESSION, "video.weights: expression needs video.frozen"),
            (
                video.frozen or not video.reduced,
                "video.reduced needs video.frozen: it is fitted on the encoder's output",
            ),
        ]
    if audio is not None:
        rules += [
            (audio.directions >= 1, "audio.directions must be 1 or more"),
            (0 <= audio.dropout < 1, "audio.dropout must lie within 0-1"),
            (audio.cross_fit == 0 or audio.cross_fit >= 2, "audio.cross_fit must be 0, or 2 or more"),
            (audio.cross_fit == 0 or audio.scores, "audio.cross_fit needs audio.scores"),
            (0 <= audio.share <= 1, "audio.share must lie within 0-1"),
            (audio.limit >= 0, "audio.limit must be 0 or more"),
            (
                not audio.speeds or audio.source != "corpus",
                "audio.speeds needs audio.source: opensmile or speech, which can be computed at other speeds",
            ),
            (len(audio.speeds) <= 8, "audio.speeds: at most 8"),
        ]
    return rules
