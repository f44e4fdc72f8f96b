"""`moodreel postmortem`: why the paper's network does not converge, one cause per row, one thing changed at a time.

Every row starts from `repaired`, shrunk to one network and few epochs, puts one of the paper's choices back, and is
scored on the same unseen speakers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from moodreel.corpora import Corpus
from moodreel.errors import MoodreelError
from moodreel.storage.whole_files import whole_file, write_text
from moodreel.training.backbones.resnet import N_STAGES, STAGE_WIDTHS
from moodreel.training.joint.material import Material
from moodreel.training.joint.recipe import Recipe, load_recipe
from moodreel.training.joint.train import prepare_material, train_and_score
from moodreel.training.options import TrainOptions
from moodreel.voice.functionals import N_FUNCTIONALS

logger = logging.getLogger(__name__)

BASE = "repaired"
SMALL = ("fit.ensemble=1", "fit.epochs=12", "fit.patience=0", "head.modality_dropout=0")
CHANCE = 1 / 7
RESNET_MACS_A_PIXEL = (14_256, 26_928, 39_600)
"""Multiplications of ResNet-20 per pixel of its input up to the end of each stage (all: 41 million at 32x32)."""


@dataclass(frozen=True)
class Cause:
    """One of the paper's choices.

    Attributes:
        name: in few words.
        changes: what is put back, as `key=value` changes of the recipe; empty for what others are compared with.
        base: the recipe that is changed: an ablation of one branch shows its causes without the other's help.
        beside: changes that the row it is compared with has as well: where one part makes up for another, that other
            one is taken out of both.
    """

    name: str
    changes: tuple[str, ...]
    base: str = BASE
    beside: tuple[str, ...] = ()

    @property
    def all_changes(self) -> tuple[str, ...]:
        """What the row's recipe is made of, beside its base."""
        return (*self.beside, *self.changes)


_FROM_NOTHING = ("head.from_scores=false",)
_LSTM_ALONE = (
    "video.scores=false",
    "video.mirrored=false",
    "video.reduced=0",
    "video.stages=3",
    "video.cells=4",
    "fit.rate_low=3e-3",  # an LSTM that stands alone starts from nothing, and must get somewhere in few epochs
    "fit.rate_high=3e-3",
)
# Whole maps of 64x64 pictures would take 6 GB here, and training ResNet-20 on them an hour.
_SMALL_PICTURES = (*_LSTM_ALONE, "frames.side_px=32", "frames.rate_hz=2")
_NO_COPIES = ("audio.speeds=[]",)
_COORDINATES = ("audio.shrinkage=none", "audio.scores=false", "audio.cross_fit=0")

# Rows that read the same of each clip stand together: clips are then read once for all of them.
CAUSES = (
    Cause("repaired, for comparison", ()),
    Cause("dropout .5 after every ReLU", ("head.dropout=0.5", "audio.dropout=0.5")),
    Cause("LDA without shrinkage", ("audio.shrinkage=none",)),
    Cause("frames unscaled", ("video.scale=false",)),
    Cause("a head that starts from nothing", _FROM_NOTHING),
    Cause(
        "the same, rates of 1e-8 to 1e-6 and SGD",
        ("fit.optimizer=sgd", "fit.rate_low=1e-8", "fit.rate_high=1e-6"),
        beside=_FROM_NOTHING,
    ),
    Cause(
        "the same, one loss and no votes of branches", ("head.branch_loss=0", "head.vote=false"), beside=_FROM_NOTHING
    ),
    Cause("no linear reading beside the LSTM", ("video.scores=false", "video.mirrored=false")),
    Cause("ResNet-20 to its end, 4x4 cells", ("video.stages=3", "video.cells=4")),
    Cause("the whole frame, not the face", ("frames.framing=whole",)),
    Cause("LSTM alone, for comparison", (), "video", _LSTM_ALONE),
    Cause("LSTM: the last frame answers", ("video.pool=last",), "video", _LSTM_ALONE),
    Cause("LSTM: no motion", ("video.centre=none",), "video", _LSTM_ALONE),
    Cause("LSTM: small pictures, for comparison", (), "video", _SMALL_PICTURES),
    Cause("LSTM: small pictures, maps whole (8x8 cells)", ("video.cells=0",), "video", _SMALL_PICTURES),
    Cause("LSTM: small pictures, ResNet-20 trained too", ("video.frozen=false",), "video", _SMALL_PICTURES),
    Cause("sound alone, for comparison", (), "audio"),
    Cause("sound: LDA without shrinkage", ("audio.shrinkage=none",), "audio"),
    Cause("sound: shrinkage by Ledoit and Wolf's rule", ("audio.shrinkage=ledoit_wolf",), "audio"),
    Cause("sound: functionals not squashed", ("audio.squash=false",), "audio"),
    Cause("sound: functionals neither squashed nor scaled", ("audio.squash=false", "audio.scale=false"), "audio"),
    Cause("sound: LDA not cross-fitted", ("audio.cross_fit=0",), "audio"),
    Cause("sound: 6 coordinates without shrinkage, for comparison", (), "audio", _COORDINATES),
    Cause("sound: 512 coordinates without shrinkage", ("audio.directions=512",), "audio", _COORDINATES),
    Cause("sound: no copies at other speeds", _NO_COPIES, "audio"),
    Cause("the same, silence before and behind the speech", ("audio.trimmed=false",), "audio", _NO_COPIES),
)


@dataclass(frozen=True)
class Finding:
    """What one cause costs.

    Attributes:
        cause: its name.
        base: the recipe that was changed.
        changes: what was changed, that of the row it is compared with included.
        uar: unweighted average recall on the unseen speakers, 0-1; `None` where training failed.
        note: why it failed; empty otherwise.
    """

    cause: str
    base: str
    changes: tuple[str, ...]
    uar: float | None
    note: str = ""


@dataclass(frozen=True)
class Cost:
    """What a choice of maps costs, by arithmetic.

    Attributes:
        choice: in words.
        first_layer_parameters: weights of the first LSTM layer.
        maps_mb: the maps of a 4 s clip in float32, in 1e6 bytes.
        resnet_gmacs: multiplications of ResNet-20 over a 4 s clip, in 1e9.
    """

    choice: str
    first_layer_parameters: int
    maps_mb: float
    resnet_gmacs: float


def postmortem(
    corpus: Path, out: Path, options: TrainOptions, causes: Sequence[Cause] = CAUSES
) -> tuple[list[Finding], list[Cost]]:
    """Measure every cause; a study that was stopped goes on, and reads the rows that were done.

    Args:
        corpus: the corpus's folder or manifest; every speaker known.
        out: folder for `postmortem.json`, `postmortem.png` and the runs.
        options: as for training; the fold is 1 unless given.
        causes: which.

    Raises:
        CorpusError: the corpus cannot be used.
        RecipeError: `out` holds runs of other changes.
        OutputError: `out` cannot be written, or holds runs of another fold or corpus.
    """
    last_read = _LastRead()
    findings = []
    for index, cause in enumerate(causes):
        logger.info("row %d of %d: %s, %s", index + 1, len(causes), cause.base, cause.name)
        findings.append(_measure(corpus, out / f"run-{index:02d}", options, cause, last_read))
    costs = [
        count_cost("paper: 256x256, 25 per second, maps whole, width 64", 256, 25.0, 0, 64),
        count_cost("the same, width 128", 256, 25.0, 0, 128),
        count_cost("64x64 faces, 7.5 per second, maps whole, width 64", 64, 7.5, 0, 64),
        count_cost("64x64 faces, 7.5 per second, two stages, 8x8 cells, width 64", 64, 7.5, 8, 64, stages=2),
    ]
    content = {"findings": [asdict(one) for one in findings], "costs": [asdict(one) for one in costs]}
    write_text(out / "postmortem.json", json.dumps(content, indent=2) + "\n")
    plot_findings(findings, out / "postmortem.png")
    return findings, costs


def shrink(cause: Cause) -> tuple[str, ...]:
    """Return the changes that make the cause's recipe small enough for a run of a minute."""
    return SMALL if cause.base == BASE else tuple(change for change in SMALL if not change.startswith("head."))


def applicable(changes: Sequence[str], base: str) -> tuple[str, ...]:
    """Return the changes that concern a recipe: a branch that it lacks must not be grown by changing it.

    Args:
        changes: `key=value` each.
        base: name of the recipe.
    """
    recipe = load_recipe(base)
    lacking = [f"{section}." for section in ("frames", "video", "audio") if getattr(recipe, section) is None]
    return tuple(change for change in changes if not change.startswith(tuple(lacking)))


class _LastRead:
    """Keeps what was last read and encoded of the clips, for the next row may want the same of them."""

    def __init__(self) -> None:
        self._material: Material | None = None

    def take(self, corpus: Corpus, recipe: Recipe, options: TrainOptions) -> Material:
        if self._material is None or self._material.recipe.reading != recipe.reading:
            self._material = None  # there is not always room for two
            self._material = prepare_material(corpus, recipe, options)
        return self._material.under(recipe)


def _measure(corpus: Path, out: Path, options: TrainOptions, cause: Cause, last_read: _LastRead) -> Finding:
    recipe = load_recipe(cause.base, (*applicable(options.changes, cause.base), *shrink(cause), *cause.all_changes))
    try:
        scores = train_and_score(
            corpus, recipe, out, replace(options, fold=options.fold or 1, resume=True), last_read.take
        )
    except MoodreelError as error:
        if "NaN" not in str(error):
            raise
        return Finding(cause.name, cause.base, cause.all_changes, None, str(error))
    uar = float(scores["test"]["uar"]["value"])
    logger.info("%s: UAR %.3f", cause.name, uar)
    return Finding(cause.name, cause.base, cause.all_changes, uar)


def count_cost(
    choice: str, side_px: int, rate_hz: float, cells: int, width: int, stages: int = N_STAGES, seconds: float = 4.0
) -> Cost:
    """Count what a choice of maps costs.

    Args:
        choice: in words.
        side_px: side of a frame.
        rate_hz: frames per second.
        cells: maps are averaged to cells x cells; 0 keeps them whole.
        width: units of the LSTM's first layer.
        stages: of ResNet-20 that frames go through.
        seconds: length of the clip.
    """
    n_frames = rate_hz * seconds
    n_features = STAGE_WIDTHS[stages - 1] * (cells or side_px // 2 ** (stages - 1)) ** 2
    return Cost(
        choice,
        first_layer_parameters=4 * width * (n_features + width + 2),
        maps_mb=n_frames * n_features * 4 / 1e6,
        resnet_gmacs=n_frames * RESNET_MACS_A_PIXEL[stages - 1] * side_px**2 / 1e9,
    )


def format_postmortem(findings: Sequence[Finding], costs: Sequence[Cost]) -> str:
    """Return the tables, for people and for Markdown."""
    lines = ["| from | put back | UAR |", "|---|---|---|"]
    lines += [
        f"| {one.base} | {one.cause} | {'diverged' if one.uar is None else f'{one.uar:.3f}'} |" for one in findings
    ]
    lines += [
        "",
        "| maps | weights of the first LSTM layer | maps a 4 s clip | ResNet-20 a 4 s clip |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {cost.choice} | {cost.first_layer_parameters / 1e6:.2f} M | {cost.maps_mb:.1f} MB | "
        f"{cost.resnet_gmacs:.1f} GMAC |"
        for cost in costs
    ]
    n_arbitrary = 512 - 6
    lines += [
        "",
        f"LDA of {N_FUNCTIONALS} functionals to 512: 6 directions can tell 7 classes apart, {n_arbitrary} cannot.",
    ]
    return "\n".join(lines)


def plot_findings(findings: Sequence[Finding], path: Path) -> None:
    """Draw one bar per cause.

    Args:
        findings: the rows.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(findings) + 1.2))
    names = [f"{one.base}: {one.cause}" for one in findings]
    axes.barh(names, [one.uar or 0.0 for one in findings], color="tab:blue")
    axes.axvline(CHANCE, color="grey", linestyle=":")
    axes.set(xlabel="UAR on unseen speakers (dotted: chance)", xlim=(0, 1))
    axes.invert_yaxis()
    figure.tight_layout()
    with whole_file(path) as whole:
        figure.savefig(whole, dpi=100)
    pyplot.close(figure)
