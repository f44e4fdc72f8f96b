"""`moodreel calibrate`: a bundle asked about a labelled corpus, calibrated on it, and written as a new bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from moodreel.bundle import Bundle, load_bundle, read_network
from moodreel.corpora import Corpus, Sample
from moodreel.corpora.splits import Split, clip_folds, speaker_folds
from moodreel.errors import CorpusError, MediaError
from moodreel.evaluation.plan import ALL, plan_split
from moodreel.leaks.fingerprints import read_fingerprints
from moodreel.leaks.guard import TESTED, find_leaks
from moodreel.leaks.training_clips import KnownClip, know_clips, read_training_clips, write_training_clips
from moodreel.media.defence import name_clip
from moodreel.metrics import Interval, to_plain
from moodreel.recognition import Recognizer
from moodreel.recognition.adaptation import NO_ADAPTER, Adapter
from moodreel.recognition.fusion import BIASES, Fusion
from moodreel.storage.cache import Cache, default_cache
from moodreel.storage.whole_files import whole_folder
from moodreel.text import printable
from moodreel.training.calibration.choose import AskedClip, Change, Choice, choose_calibration
from moodreel.training.calibration.offsets import Adapted, learn_adapter, measure_adapter

MOST_FOLDS = 10
"""So many folds of speakers are made where there are as many speakers and no number is asked for."""

Track = Callable[[Sequence[Sample]], Iterable[Sample]]


@dataclass(frozen=True)
class CalibrateOptions:
    """What a user may choose.

    Attributes:
        split: side of the corpus: `train`, `valid`, `test` or `all`; by default `valid` where there is one, else all.
        n_folds: folds of speakers; by default one per speaker, at most `MOST_FOLDS`.
        allow_shared_speakers: part the folds by clip, blind to who speaks.
        threads: processor threads that a network may use.
        cache: where fingerprints of clips are kept; the user's cache by default.
        track: passes the clips on that are still to be read, to show progress.
    """

    split: str | None = None
    n_folds: int | None = None
    allow_shared_speakers: bool = False
    threads: int = 2
    cache: Cache | None = None
    track: Track = iter


@dataclass(frozen=True)
class Calibrated:
    """What a calibration came to.

    Attributes:
        model: title of the bundle that was calibrated.
        choice: the values and what they are worth.
        adapted: what adapting to a person is worth; `None` where too few people show enough to tell.
        failures: clips that could not be read, and why.
        empty: clips without face and speech, which tell nothing.
        known: clips left out because the bundle was trained on them or on their speakers.
        knows: whether the bundle says what it was trained on.
    """

    model: str
    choice: Choice
    adapted: Adapted | None
    failures: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]
    known: tuple[str, ...]
    knows: bool


def calibrate(model: str, corpus: Corpus, out: Path, options: CalibrateOptions) -> Calibrated:
    """Calibrate a bundle on a corpus and write the new bundle.

    Args:
        model: name or folder of the bundle.
        corpus: labelled clips.
        out: folder of the new bundle, which must not be there yet.
        options: what the user chose.

    Raises:
        BundleError: the bundle cannot be used.
        CorpusError: too few clips or speakers, or speakers unknown without leave.
        EvaluationError: the corpus has no such side, or its clips cannot be read whole.
        OutputError: the new folder cannot be written, or is there already.
    """
    with whole_folder(out, discard=True):  # whoever cannot write there hears so before hours of reading
        pass
    bundle = load_bundle(model)
    samples = plan_split(model, corpus, options.split or _own_side(corpus)).samples
    trained = read_training_clips(bundle)
    asked = () if trained is None else _know(samples, options)
    known = find_leaks([*asked, *trained], "").leaked if trained is not None else ()
    kept = [sample for sample in samples if sample.clip_id not in set(known)]
    if not kept:
        raise CorpusError(f"{corpus.root}: the bundle was trained on every clip or speaker; calibrate on others")
    folds = _part(kept, options)
    recognizer = Recognizer.load(model, threads=options.threads)
    clips, failures, empty = _ask(recognizer, options.track(kept))
    if not clips:
        raise CorpusError(f"{corpus.root}: no clip shows a face or holds speech; {_name_first(failures)}")
    fold_of = {sample.clip_id: number for number, fold in enumerate(folds) for sample in fold.test}
    choice = choose_calibration(clips, fold_of, _name_folds(folds, options), recognizer.calibration)
    used = {clip.sample.clip_id for clip in clips}
    adapted = measure_adapter(clips, choice.values)
    adapter = learn_adapter(clips, choice.values) if adapted and adapted.nll_after < adapted.nll_before else NO_ADAPTER
    section = describe_adapter(adapter, adapted, choice.corpus)
    learned = [one for one in asked if one.name in used]
    write_calibrated(bundle, choice, section, out, trained, learned, corpus.class_map)
    return Calibrated(bundle.title, choice, adapted, failures, empty, known, trained is not None)


def _know(samples: Sequence[Sample], options: CalibrateOptions) -> tuple[KnownClip, ...]:
    prints = read_fingerprints(samples, options.cache or default_cache(), track=options.track)
    return know_clips(samples, prints, [TESTED] * len(samples))


def _own_side(corpus: Corpus) -> str:
    return "valid" if any(sample.split == "valid" for sample in corpus.samples) else ALL


def _part(samples: Sequence[Sample], options: CalibrateOptions) -> tuple[Split, ...]:
    if options.allow_shared_speakers:
        return clip_folds(samples, options.n_folds or min(MOST_FOLDS, len(samples)), allow_shared_speakers=True)
    n_speakers = len({(sample.corpus, sample.speaker) for sample in samples})
    return speaker_folds(samples, options.n_folds or min(MOST_FOLDS, n_speakers))


def _name_folds(folds: Sequence[Split], options: CalibrateOptions) -> str:
    if options.allow_shared_speakers:
        return f"{len(folds)} folds by clip, whose speakers stand in several"
    alone = all(len({sample.speaker for sample in fold.test}) == 1 for fold in folds)
    return f"{len(folds)} folds by speaker" + (", one left out at a time" if alone else "")


def _ask(
    recognizer: Recognizer, samples: Iterable[Sample]
) -> tuple[list[AskedClip], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Ask about each clip: those answered, those that failed with the reason, and those with nothing to go by."""
    clips: list[AskedClip] = []
    failures: list[tuple[str, str]] = []
    empty: list[str] = []
    for sample in samples:
        try:
            with name_clip(sample.path):
                logits = recognizer.read_logits(sample.path, start_s=sample.start_s, end_s=sample.end_s)
        except MediaError as error:  # whatever is wrong with one clip, the others count
            failures.append((sample.clip_id, str(error)))
            continue
        clip = AskedClip(sample, logits)
        if recognizer.calibration.answer(clip.logits) is None:
            empty.append(sample.clip_id)
        else:
            clips.append(clip)
    return clips, tuple(failures), tuple(empty)


def _name_first(failures: Sequence[tuple[str, str]]) -> str:
    return f"{len(failures)} cannot be read, the first: {': '.join(failures[0])}" if failures else "all can be read"


def write_calibrated(
    bundle: Bundle,
    choice: Choice,
    adaptation: dict[str, Any] | None,
    out: Path,
    trained: Sequence[KnownClip] | None,
    used: Sequence[KnownClip],
    class_map: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a bundle anew with other values, whole or not at all.

    Args:
        bundle: the bundle that was calibrated.
        choice: the values and how they were chosen.
        adaptation: how answers vary from person to person, as `bundle.json` has it; `None` takes out what is there, for
            it belongs to other values.
        out: folder of the new bundle, which must not be there yet.
        trained: the clips that the bundle was trained on; `None` where it does not say.
        used: the clips that the values were chosen on: no figure on them is honest any more.
        class_map: what the user said of the corpus's own classes.

    Raises:
        BundleError: a network is missing or altered.
        OutputError: the folder cannot be written, or is there already.
    """
    manifest = _manifest(bundle, choice, out.absolute().name)
    manifest["calibration"]["class_map"] = dict(class_map)
    manifest.pop("adaptation", None)
    if adaptation is not None:
        manifest["adaptation"] = adaptation
    with whole_folder(out) as folder:
        for entry in bundle.networks.values():
            (folder / str(entry["file"])).write_bytes(read_network(bundle.path, entry))
        if trained is not None:
            manifest["training_clips"] = write_training_clips([*trained, *(used if choice.taken else ())], folder)
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / "bundle.json").write_text(text, encoding="utf-8")


def describe_adapter(adapter: Adapter, adapted: Adapted | None, corpus: str) -> dict[str, Any] | None:
    """Return the `adaptation` section of `bundle.json`; `None` where nothing was learnt."""
    if adapter == NO_ADAPTER or adapted is None:
        return None
    models = {name: model for name, model in vars(adapter).items() if model is not None}
    numbers = {
        name: {part: np.round(values, 4).tolist() for part, values in vars(model).items()}
        for name, model in models.items()
    }
    measured = {"protocol": "each person adapted to by all clips of that person, with what the others teach"}
    return {"learnt_on": f"{corpus}: {adapted.n_people} people", **measured, **to_plain(adapted), **numbers}


def _manifest(bundle: Bundle, choice: Choice, name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = {**bundle.manifest, "name": name, "calibration": to_plain(choice)}
    if choice.taken:
        values = to_plain(choice.chosen)
        if isinstance(choice.chosen, Fusion):
            chosen_on = f"{choice.corpus}: `calibration` says how"
            chosen_with = {network: entry["sha256"] for network, entry in bundle.networks.items()}
            manifest["fusion"] = {**values, "chosen_on": chosen_on, "chosen_with": chosen_with}
        else:
            manifest["networks"] = {**bundle.networks, "joint": {**bundle.networks["joint"], **values}}
    return manifest


def format_calibrated(calibrated: Calibrated, out: Path) -> str:
    """Write what was chosen and what it is worth as plain text, ending in a newline."""
    choice = calibrated.choice
    lines = [
        printable(
            f"{calibrated.model} on {choice.corpus}: {choice.n_clips} clips of {choice.n_speakers} known speakers"
        ),
        choice.protocol.partition(": each clip")[0],
        "",
        *(row for change in choice.changes for row in _change_rows(change)),
        "",
        *_value_rows(choice),
        "",
        f"intervals: {choice.changes[-1].gain.method}",
        *_adapted_rows(calibrated.adapted),
        *_left_out_rows(calibrated),
        _verdict(choice),
        printable(f"bundle: {out}"),
    ]
    return "\n".join(lines) + "\n"


def _adapted_rows(adapted: Adapted | None) -> list[str]:
    if adapted is None:
        return ["adapting to a person: too few people show four emotions or more, twice each, to learn from"]
    verdict = "taken" if adapted.nll_after < adapted.nll_before else "not taken: no better"
    return [
        f"adapting to a person by all clips of that person: UAR {adapted.uar_before} -> {adapted.uar_after}, "
        f"NLL {adapted.nll_before:.2f} -> {adapted.nll_after:.2f} ({verdict})"
    ]


def _change_rows(change: Change) -> list[str]:
    def row(name: str, before: Interval | str, after: Interval | str) -> str:
        return f"  {name:<18}{before!s:<24} -> {after!s}"

    return [
        row(f"{change.kind:<7}UAR", change.before.uar, change.after.uar) + f"   {change.n_clips} clips",
        row(f"{'':<7}NLL", change.before.nll, change.after.nll) + f"   gain {change.gain}",
        row(f"{'':<7}ECE", f"{change.before.ece:.3f}", f"{change.after.ece:.3f}"),
    ]


def _value_rows(choice: Choice) -> list[str]:
    before, after = asdict(choice.present), asdict(choice.chosen)
    return [
        f"  {name:<18}{_show(value)} -> {_show(after[name])}" for name, value in before.items() if name not in BIASES
    ]


def _show(value: object) -> str:
    return ", ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else f"{value:g}"


def _left_out_rows(calibrated: Calibrated) -> list[str]:
    rows = [printable(f"failed: {clip}: {reason}") for clip, reason in calibrated.failures]
    if calibrated.empty:
        rows.append(printable(f"without face and speech: {', '.join(calibrated.empty)}"))
    if calibrated.known:
        names = ", ".join(calibrated.known[:3]) + (" and more" if len(calibrated.known) > 3 else "")
        rows.append(
            printable(f"left out, since the bundle was trained on them: {len(calibrated.known)} clips ({names})")
        )
    if not calibrated.knows:
        rows.append("warning: the bundle does not say what it was trained on; on such clips it is too sure of itself")
    return rows


def _verdict(choice: Choice) -> str:
    if choice.taken:
        gain = choice.changes[-1].gain
        sure = gain.low is not None and gain.low > 0
        doubt = "" if sure else "; whether they would on other people is open, for the interval of the gain holds 0"
        return f"taken: on left-out clips the answers cost fewer nats with chosen values{doubt}"
    return "kept: on left-out clips chosen values are no better, so the bundle keeps the values it had"
