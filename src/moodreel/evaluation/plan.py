"""Running bundles over a corpus: what is asked of which bundle, and the answers, clip by clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moodreel.bundle import load_bundle
from moodreel.corpora import SPLITS, Corpus, Sample, natural_key
from moodreel.errors import EvaluationError, MediaError
from moodreel.evaluation.adapted import CLIP, NONE, adapt_answers, keep_unadapted
from moodreel.evaluation.answers import ClipAnswer, make_answer, make_failure, open_answers
from moodreel.evaluation.run_folders import find_folds, read_test_clips
from moodreel.media.defence import name_clip
from moodreel.recognition.adaptation import NO_ADAPTER, read_adapter
from moodreel.recognition.recognizer import Recognizer

ALL = "all"


@dataclass(frozen=True)
class PlanPart:
    """Clips that one bundle is asked about.

    Attributes:
        model: name or folder of the bundle.
        samples: the clips.
    """

    model: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be evaluated.

    Attributes:
        model: what the evaluation is called after: the bundle's title, or the folder of folds.
        corpus: the corpus.
        protocol: which clips of it, in words.
        parts: one for a bundle; one per fold for a folder of folds.
        not_covered: clips of the corpus that no fold left out, so that no bundle can be asked about them.
        adapt: what answers are adapted to: `none`, `clip`, or `folder`: all clips of a speaker that a bundle is asked
            about.
    """

    model: str
    corpus: Corpus
    protocol: str
    parts: tuple[PlanPart, ...]
    not_covered: tuple[str, ...] = ()
    adapt: str = CLIP

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All the clips."""
        return tuple(sample for part in self.parts for sample in part.samples)


def plan_split(model: str, corpus: Corpus, split: str | None) -> Plan:
    """Plan to ask one bundle about a side of a corpus.

    Args:
        model: name or folder of the bundle.
        corpus: the corpus.
        split: one of `SPLITS`, or `all`; by default `test` where the corpus gives a split, else all.

    Raises:
        BundleError: the bundle cannot be opened.
        EvaluationError: the corpus has no such side, or two clips bear one name.
    """
    sides = {sample.split for sample in corpus.samples} - {None}
    wanted = split or ("test" if "test" in sides else ALL)
    if wanted not in (*SPLITS, ALL):
        raise EvaluationError(f"unknown split {wanted!r}, expected one of {', '.join((*SPLITS, ALL))}")
    samples = tuple(sample for sample in corpus.samples if wanted in (ALL, sample.split))
    if not samples:
        held = ", ".join(sorted(filter(None, sides))) or "no split"
        raise EvaluationError(f"{corpus.root}: no clip of the split {wanted!r}; the corpus gives {held}")
    _check_clips(samples)
    protocol = f"the corpus's own {wanted} split" if wanted != ALL else "all clips"
    return Plan(load_bundle(model).title, corpus, protocol, (PlanPart(model, samples),))


def plan_folds(runs: Path, corpus: Corpus) -> Plan:
    """Plan to ask the bundle of each fold about the clips that it left out.

    Args:
        runs: folder of run folders, one for each `moodreel train --fold K`.
        corpus: the corpus that they were trained on.

    Raises:
        EvaluationError: there are no such runs, a clip is left out by two of them, or is not in the corpus.
    """
    folds = find_folds(runs)
    samples = {sample.clip_id: sample for sample in corpus.samples}
    parts = tuple(
        PlanPart(str(run / "bundle"), tuple(_look_up(name, samples, run) for name in read_test_clips(run)))
        for run in folds
    )
    covered = [sample for part in parts for sample in part.samples]
    _check_clips(covered)
    not_covered = tuple(samples.keys() - {sample.clip_id for sample in covered})
    protocol = f"{len(folds)} folds, each scored on the clips it left out"
    return Plan(runs.name or str(runs), corpus, protocol, parts, tuple(sorted(not_covered, key=natural_key)))


def _look_up(name: str, samples: dict[str, Sample], run: Path) -> Sample:
    if name not in samples:
        raise EvaluationError(f"{run}: clip {name!r} is not in the corpus; name the corpus the folds were trained on")
    return samples[name]


def _check_clips(samples: Sequence[Sample]) -> None:
    repeated = [name for name, count in Counter(sample.clip_id for sample in samples).items() if count > 1]
    if repeated:
        raise EvaluationError(f"two clips of one name: {repeated[0]!r} ({len(repeated)} such names)")


def run_plan(
    plan: Plan, answers_path: Path, threads: int, track: Callable[[Sequence[Sample]], Iterable[Sample]] = iter
) -> tuple[ClipAnswer, ...]:
    """Ask the bundles, leaving out what has been answered before.

    Args:
        plan: what to ask.
        answers_path: file of the answers; one that an interrupted run left is gone on with.
        threads: processor threads that a network may use.
        track: passes the clips on that are still to be read, to show progress.

    Returns:
        An answer for every clip, in the plan's order; those of clips that cannot be read say why.

    Raises:
        BundleError: a bundle cannot be used.
        OutputError: the file cannot be written, or holds another evaluation.
        EvaluationError: the file is damaged, or tells of clips with other labels or speakers.
    """
    with open_answers(answers_path, _describe(plan)) as file:
        _check_same(file.answers, plan.samples, answers_path)
        for part in plan.parts:
            left = [sample for sample in part.samples if sample.clip_id not in file.answers]
            recognizer = Recognizer.load(part.model, threads=threads) if left else None
            for sample in track(left):
                assert recognizer is not None
                file.add(_ask(recognizer, sample, plan.adapt))
        adapted = [one for part in plan.parts for one in _adapt_part(part, file.answers, plan.adapt)]
        if any(one.unadapted for one in adapted):
            file.rewrite(_describe(plan), adapted)
        return tuple(file.answers[sample.clip_id] for sample in plan.samples)


def _adapt_part(part: PlanPart, answers: Mapping[str, ClipAnswer], to: str) -> tuple[ClipAnswer, ...]:
    mine = [answers[sample.clip_id] for sample in part.samples]
    adapter = read_adapter(load_bundle(part.model).manifest.get("adaptation"))
    return tuple(mine) if to == NONE or adapter == NO_ADAPTER else adapt_answers(mine, adapter, to)


def _describe(plan: Plan) -> dict[str, object]:
    networks = [[str(entry["sha256"]) for entry in load_bundle(part.model).networks.values()] for part in plan.parts]
    return {
        "model": plan.model,
        "networks": networks,
        "corpus": plan.corpus.name,
        "protocol": plan.protocol,
        "adapt": plan.adapt,
    }


def _check_same(answers: dict[str, ClipAnswer], samples: Sequence[Sample], path: Path) -> None:
    there = {sample.clip_id: (sample.label, sample.speaker) for sample in samples}
    for name, answer in answers.items():
        if there.get(name) != (answer.label, answer.speaker):
            raise EvaluationError(
                f"{path}: clip {name!r} is not in the corpus as it was; name another folder with --out"
            )


def _ask(recognizer: Recognizer, sample: Sample, adapt: str) -> ClipAnswer:
    try:
        with name_clip(sample.path):
            evidence = recognizer.observe(sample.path, start_s=sample.start_s, end_s=sample.end_s)
        unadapted = keep_unadapted(evidence) if recognizer.adapts and adapt != NONE else None
        return make_answer(sample, recognizer.conclude(evidence), unadapted)
    except MediaError as error:
        return make_failure(sample, str(error))
