"""Measure moodreel beside what else a user could take, on the same clips, one process after the other.

    python benchmarks/peers.py CORPUS ... --peer fer=VENV --peer face-api=FOLDER [--held-out HEADS/held-out.npz]

Each peer has an environment of its own: a virtual environment, or a folder with `node_modules`; docs/benchmarks.md
says what to install there. A peer is shown the frames that moodreel analyses, and, where it takes faces that are cut
out already, moodreel's crops of the same face. A clip's answer is the mean over its frames. A peer that cannot be run
stands in the table with its error. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.bundle import load_bundle
from moodreel.corpora import Sample, read_corpus
from moodreel.evaluation.answers import ClipAnswer, gather_outcomes
from moodreel.face.tracking import ANALYSIS_RATE_HZ
from moodreel.labels import EMOTIONS
from moodreel.metrics import Outcomes, compare, measure_calibration, score
from moodreel.recognition.fusion import Fusion, log_softmax, read_fusion
from moodreel.recognition.prediction import UNIFORM
from peer_clips import Shown, show_clips
from peer_processes import PEERS, PeerError, open_peer
from predict_speed import commit, cpu_name

MOST_ERROR = 160
"""Characters of an error that stand in the table."""

Row = Sequence[float] | None
"""Seven probabilities in the order of `EMOTIONS`; `None` without a face, or a voice."""


@dataclass(frozen=True)
class Heard:
    """What one process of a peer said.

    Attributes:
        name: the peer, with its version where it could be opened.
        how: whether it found the faces itself or was given ours, in words.
        replies: to each clip, what it goes by and the seven probabilities of that.
        n_frames: pictures looked at.
        seconds: of processor time that this took, with the networks open.
        peak_mb: most memory that the process had; NaN where the system does not tell.
        error: why it could not be run; empty where it could.
    """

    name: str
    how: str
    replies: tuple[Mapping[str, Row], ...] = ()
    n_frames: int = 0
    seconds: float = math.nan
    peak_mb: float = math.nan
    error: str = ""


@dataclass(frozen=True)
class Scored:
    """One line of the tables.

    Attributes:
        heard: the process.
        what: what the answers go by, empty for a peer that has one answer only.
        outcomes: the answers beside the labels; clips without an answer count as a guess.
        n_missed: clips without an answer.
    """

    heard: Heard
    what: str
    outcomes: Outcomes
    n_missed: int

    @property
    def name(self) -> str:
        """What stands first in the line."""
        return ", ".join(part for part in (self.heard.name, self.what, self.heard.how) if part)


def main() -> None:
    """Measure and print Markdown."""
    given = read_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])  # children inherit it
    cores = f"{given.cores} core{'s' * (given.cores > 1)}"
    print(f"{platform.machine()}, {cpu_name()}, {cores}, {date.today()}, commit {commit()}")
    environments = {"moodreel": given.moodreel, **dict(given.peer)}
    print_sizes(environments)
    for path in given.corpora:
        measure_corpus(path, environments, given)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+", help="labelled folders or manifests")
    named = ", ".join(PEERS)
    parser.add_argument("--peer", type=read_peer, action="append", default=[], help=f"NAME=FOLDER; names: {named}")
    parser.add_argument("--moodreel", type=Path, default=Path(sys.prefix), help="environment that moodreel runs in")
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--held-out", type=Path, help="answers by `moodreel pretrain heads` that stand for the bundle's"
    )
    parser.add_argument("--cut", action="store_true", help="pictures are faces cut out already: nothing is detected")
    parser.add_argument("--most", type=int, default=10_000, help="clips of a corpus; of more so many are drawn")
    parser.add_argument("--every", type=int, default=1, help="peers see only every so many of the frames, to save time")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="processor cores for everything")
    parser.add_argument("--answers", type=Path, help="folder to write every peer's answers to, as JSON lines")
    return parser.parse_args()


def read_peer(text: str) -> tuple[str, Path]:
    """Read NAME=FOLDER."""
    name, _, folder = text.partition("=")
    if name not in PEERS or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected one of {', '.join(PEERS)}, = and its environment's folder"
        )
    return name, Path(folder)


def print_sizes(environments: Mapping[str, Path]) -> None:
    """Print how much each environment holds."""
    print("\n| environment | installed, MB |\n|---|---|")
    for name, folder in environments.items():
        print(f"| {name} | {measure_packages(folder):.0f} |")


def measure_packages(folder: Path) -> float:
    """Measure what is installed in an environment in MB, without the installer itself."""
    roots = [*folder.glob("lib/python*/site-packages"), *folder.glob("node_modules")]
    installers = ("pip", "pip-", "setuptools", "wheel", "pkg_resources", "_distutils_hack")
    packages = [one for root in roots for one in root.iterdir() if not one.name.startswith(installers)]
    files = [file for one in packages for file in (one.rglob("*") if one.is_dir() else [one])]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def measure_corpus(path: Path, environments: Mapping[str, Path], given: argparse.Namespace) -> None:
    """Ask every peer about a corpus and print how well it answers."""
    corpus = read_corpus(path, allow_outside=True)
    samples = draw(corpus.samples, given.most)
    name = path.absolute().parent.name if path.is_file() else corpus.name
    options = {"model": given.model, "threads": given.cores}
    with tempfile.TemporaryDirectory() as folder:
        shown = list(show_clips(samples, Path(folder), given.model, given.cut))
        fewer = [one.thin(given.every) for one in shown]
        heard = [
            ask_peer(peer, cut, environments[peer], options, shown if peer == "moodreel" else fewer)
            for peer in environments
            for cut in choose_ways(peer, given.cut)
        ]
    if given.held_out:
        fusion = read_fusion(load_bundle(given.model).section("fusion"))
        heard = [hold_out(one, given.held_out, shown, fusion) if is_ours(one) else one for one in heard]
    scored = [line for one in heard for line in score_replies(one, shown)]
    print(f"\n{name}: {describe_clips(shown)}\n")
    print_scores(scored, [one for one in heard if one.error], sum(one.duration_s for one in shown))
    print_recalls(scored)
    if given.answers:
        write_answers(scored, given.answers / f"{name}.jsonl")


def choose_ways(peer: str, faces_only: bool) -> tuple[bool, ...]:
    """Say in which ways a peer is asked: by whole frames, by faces cut out; moodreel cuts out the same ones anyway."""
    if faces_only:
        return (True,)
    return (False, True) if PEERS[peer].takes_cut and peer != "moodreel" else (False,)


def draw(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Draw at most so many clips, the same ones every time."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(samples))[:most])
    return [samples[index] for index in chosen]


def ask_peer(peer: str, cut: bool, environment: Path, options: Mapping[str, Any], shown: Sequence[Shown]) -> Heard:
    """Run a peer over all clips in a process of its own; the first clip is asked twice and timed once."""
    how = "our crops" if cut else ""
    ask = [one for one in shown if one.crops or not cut]
    if not ask:
        return Heard(peer, how, error="no clip shows a face")
    try:
        with open_peer(PEERS[peer].script, environment) as process:
            name = process.exchange(options)["name"]
            process.exchange(ask[0].ask(cut))
            replies = {one.sample.clip_id: process.exchange(one.ask(cut)) for one in ask}
            peak_mb = process.peak_mb()
    except PeerError as error:
        return Heard(peer, how, error=str(error))
    return Heard(
        name,
        how,
        tuple(pool(replies.get(one.sample.clip_id, {})) for one in shown),
        sum(len(one.crops if cut else one.frames) for one in ask),
        sum(reply["seconds"] for reply in replies.values()),
        peak_mb,
    )


def pool(reply: Mapping[str, Any]) -> dict[str, Row]:
    """Average a clip over the frames with a face; moodreel's own reply stands as it is."""
    if "frames" not in reply:
        return {key: value for key, value in reply.items() if key != "seconds"}
    seen = [row for row in reply["frames"] if row is not None]
    return {"": np.mean(seen, axis=0).tolist() if seen else None}


def is_ours(heard: Heard) -> bool:
    """Say whether moodreel itself answered whole clips."""
    return bool(heard.replies) and "weights" in heard.replies[0]


def hold_out(heard: Heard, file: Path, shown: Sequence[Shown], fusion: Fusion) -> Heard:
    """Add the answers of last layers that did not learn from the person, calibrated and weighted as the bundle's."""
    names = [one.sample.clip_id for one in shown]
    rows = read_held_out(file, names)
    if rows is None:
        return heard
    added = [fuse_held_out(reply, *row, fusion) for reply, row in zip(heard.replies, rows, strict=True)]
    replies = tuple({**reply, **more} for reply, more in zip(heard.replies, added, strict=True))
    return replace(heard, replies=replies)


def read_held_out(file: Path, names: Sequence[str]) -> list[tuple[Row, Row]] | None:
    """Read face and voice logits of these clips; `None` where no corpus of the file has them all."""
    with np.load(file, allow_pickle=False) as archive:
        for corpus in (key.removesuffix(".clip") for key in archive if key.endswith(".clip")):
            clips = archive[f"{corpus}.clip"].tolist()
            if len(set(names) & set(clips)) > len(names) / 2:
                face, voice = (
                    dict(zip(clips, archive[f"{corpus}.{kind}.after"], strict=True)) for kind in ("face", "voice")
                )
                return [(take_row(face.get(name)), take_row(voice.get(name))) for name in names]
    return None


def take_row(row: npt.NDArray[np.floating[Any]] | None) -> Row:
    """Take seven logits; `None` where there are none."""
    return None if row is None or np.isnan(row).any() else row.tolist()


def fuse_held_out(reply: Mapping[str, Any], face: Row, voice: Row, fusion: Fusion) -> dict[str, Row]:
    """Calibrate held-out logits and add them with the weights that the bundle gave to face and voice."""
    parts = {
        "face": None if face is None else fusion.face_log_probabilities(face),
        "voice": None if voice is None else fusion.voice_log_probabilities(voice),
    }
    there = [(weight, part) for weight, part in zip(reply["weights"], parts.values(), strict=True) if part is not None]
    total = np.sum([weight * part for weight, part in there], axis=0) if there else None
    return {
        "face, held out": None if parts["face"] is None else np.exp(parts["face"]).tolist(),
        "fused, held out": None if total is None else np.exp(log_softmax(total)).tolist(),
    }


def score_replies(heard: Heard, shown: Sequence[Shown]) -> list[Scored]:
    """Put a peer's answers beside the labels, one line for each thing that it goes by and answers at all."""
    kinds = dict.fromkeys(kind for reply in heard.replies for kind in reply if kind != "weights")
    rows = {kind: [reply.get(kind) for reply in heard.replies] for kind in kinds}
    return [score_rows(heard, kind, answers, shown) for kind, answers in rows.items() if any(answers)]


def score_rows(heard: Heard, what: str, rows: Sequence[Row], shown: Sequence[Shown]) -> Scored:
    """Put answers beside labels."""
    answers = [
        ClipAnswer(one.sample.clip_id, one.sample.speaker, one.sample.label, probabilities=tuple(row or UNIFORM))
        for one, row in zip(shown, rows, strict=True)
    ]
    return Scored(heard, what, gather_outcomes(answers), sum(row is None for row in rows))


def describe_clips(shown: Sequence[Shown]) -> str:
    """Say what was shown."""
    n_frames = sum(len(one.frames or one.crops) for one in shown)
    length_s = sum(one.duration_s for one in shown)
    length = f", {length_s:.0f} s" if length_s else ""
    return f"{len(shown)} clips{length}, {n_frames} frames, {len({one.sample.speaker for one in shown})} speakers"


def print_scores(scored: Sequence[Scored], failed: Sequence[Heard], length_s: float) -> None:
    """Print how well and how fast each answers; gains are of moodreel's face alone, held out where it can be."""
    reference = find_reference(scored)
    print("| what | no answer | UAR | NLL | our face: gain in UAR | frames/s, processor | x real time | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for one in scored:
        uar, nll = score(one.outcomes).uar, measure_calibration(one.outcomes).nll
        gain = compare(one.outcomes, reference.outcomes).uar if reference and one is not reference else ""
        rate, heard = one.heard.n_frames / one.heard.seconds, one.heard
        speed = f"{rate / ANALYSIS_RATE_HZ:.1f}" if length_s else ""
        print(
            f"| {one.name} | {one.n_missed} | {uar} | {nll.value:.2f} | {gain} | {rate:.1f} | {speed} "
            f"| {heard.peak_mb:.0f} |"
        )
    for lost in failed:
        name = ", ".join(filter(None, (lost.name, lost.how)))
        print(f"| {name} | {lost.error[:MOST_ERROR].replace('|', '/')} | | | | | | |")


def find_reference(scored: Sequence[Scored]) -> Scored | None:
    """Find moodreel's face alone, held out where it can be."""
    ours = {one.what: one for one in scored if one.what}
    return ours.get("face, held out") or ours.get("face")


def print_recalls(scored: Sequence[Scored]) -> None:
    """Print how many clips of each emotion are found, and what is answered most where it is not."""
    print(f"\n| what, recall | {' | '.join(EMOTIONS)} |\n|---|{'---|' * len(EMOTIONS)}")
    for one in scored:
        cells = [describe_class(np.array(row), index) for index, row in enumerate(score(one.outcomes).confusion)]
        print(f"| {one.name} | {' | '.join(cells)} |")


def describe_class(counts: npt.NDArray[np.int64], true: int) -> str:
    """Write an emotion's recall, and the commonest wrong answer with its share."""
    if not counts.sum():
        return ""
    others = np.where(np.arange(len(counts)) == true, -1, counts)
    wrong = int(others.argmax())
    most = f", {EMOTIONS[wrong]} {others[wrong] / counts.sum():.2f}" if others[wrong] > 0 else ""
    return f"{counts[true] / counts.sum():.2f}{most}"


def write_answers(scored: Sequence[Scored], path: Path) -> None:
    """Write every answer as a line of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for one in scored:
            for clip, truth, row in zip(
                one.outcomes.clip_ids, one.outcomes.truth, one.outcomes.probabilities, strict=True
            ):
                line = {"what": one.name, "clip": clip, "label": EMOTIONS[truth], "probabilities": row.tolist()}
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
