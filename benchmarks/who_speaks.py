"""Measure whose a voice is taken for, on conversations made of clips of one person each, with known turns.

    python benchmarks/who_speaks.py --clips MANIFEST_OR_FOLDER [--clips …] [--model BUNDLE] [--number 24] [--seed 0]
                                    [--reader network|motion|none] [--out scores.json]

Four kinds: two people side by side; shot and reverse shot, with the listener's silent face on screen for a third of
each turn; a stranger's voice over a silent face; a stranger's voice over a face that says something else. The clips
should show people whom no part of the bundle was trained on. Intervals are of a bootstrap over the first person of each
conversation.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel import Arrays, Prediction, Recognizer
from moodreel.corpora import Sample, read_corpus
from moodreel.labels import EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.frames import Frame
from moodreel.recognition.lip_reading import find_loud_slots
from moodreel.timeline import count_windows, window_times

RATE_HZ, SOUND_HZ = 25, 16_000
SLOT = SOUND_HZ // RATE_HZ
SIZE = (360, 270)
OFF_SCREEN = "off_screen"
KINDS = ("side", "cut", "over silent", "over moving")
MAJORITY = 0.75
"""Windows in which one voice has less of the speech than this are left out."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Take:
    """One clip: its speech, and stretches in which its face is silent."""

    sample: Sample
    frames: list[Pixels]
    sound: npt.NDArray[np.float32]
    spoken: npt.NDArray[np.bool_]

    @property
    def span(self) -> slice:
        """From shortly before the speech to shortly behind it, in slots."""
        slots = np.flatnonzero(self.spoken)
        return slice(max(0, int(slots[0]) - 5), min(len(self.frames), int(slots[-1]) + 6))

    def listen(self, length: int) -> list[Pixels]:
        """Show the face silent: its longest silent stretch to and fro."""
        quiet = np.flatnonzero(~self.spoken)
        runs = np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1)
        longest = max(runs, key=len)
        inner = longest[1:-1] if len(longest) > 6 else longest[:1] if len(longest) else np.array([0])
        loop = np.concatenate([inner, inner[::-1]])
        return [self.frames[int(loop[index % len(loop)])] for index in range(length)]


@dataclass(frozen=True, eq=False)
class Conversation:
    """A made clip, and what is true of it, slot by slot."""

    kind: str
    people: tuple[str, ...]
    labels: dict[str, str]
    frames: list[Pixels]
    sound: npt.NDArray[np.float32]
    voice: npt.NDArray[Any]
    places: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Of each person on screen the middle of the face's half, in pixels across, by slot; NaN while not shown."""


def main() -> None:
    """Make the conversations, ask about each, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, action="append", required=True, help="manifest or folder; repeatable")
    parser.add_argument("--model", default="default")
    parser.add_argument("--number", type=int, default=24, help="conversations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=("network", "motion", "none"), default="network")
    parser.add_argument("--people", help="only these speakers, separated by commas")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--no-emotions", action="store_true", help="leave the single clips out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    recognizer = choose_reader(Recognizer.load(options.model, threads=1), options.reader)
    takes = read_takes(options.clips, options.people.split(",") if options.people else None)
    print(f"{sum(map(len, takes.values()))} clips of {len(takes)} people: {', '.join(takes)}", flush=True)
    rng = np.random.default_rng(options.seed)
    rows: list[dict[str, Any]] = []
    for kind in options.kinds.split(","):
        for _ in range(options.number):
            made = make_conversation(kind, takes, rng)
            rows.append(judge(made, recognizer))
        print_kind(kind, [row for row in rows if row["kind"] == kind])
    print_voice_overs(rows)
    single = [] if options.no_emotions else judge_single(takes, recognizer)
    print_emotions(rows, single)
    if options.out:
        options.out.write_text(json.dumps({"rows": rows, "single": single}, indent=1))


def choose_reader(recognizer: Recognizer, name: str) -> Recognizer:
    """Put another reader of lips into a recognizer: the baseline, or none."""
    reader: Any = recognizer._reader
    if name == "motion":
        reader._networks = replace(reader._networks, speaker=MotionReader())
    if name == "none":
        reader._networks = replace(reader._networks, speaker=None)
    return recognizer


class MotionReader:
    """The baseline: how the motion of the mouth's pixels goes with the loudness, over a second and a half."""

    gain, offset = 8.0, 0.3
    lags = range(-4, 5)
    reach = 18

    def read(self, lips: Pixels, cepstra: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return log-odds as `SpeakerReader.read` does."""
        loud = cepstra[:, 0].reshape(-1, 4).mean(axis=1)
        return np.stack([self._score(face.astype(np.float32), loud) for face in lips])

    def _score(self, face: npt.NDArray[np.float32], loud: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        mouth = np.abs(np.diff(face[:, 50:105, 24:88], axis=0)).mean(axis=(1, 2))
        motion = np.concatenate([mouth[:1], mouth])
        best = np.full(len(motion), -1.0, np.float32)
        for lag in self.lags:
            best = np.maximum(best, _correlate(np.roll(motion, lag), loud, self.reach))
        return (self.gain * (best - self.offset)).astype(np.float32)


def _correlate(one: npt.NDArray[Any], other: npt.NDArray[Any], reach: int) -> npt.NDArray[Any]:
    """Correlate two series over a window around each place."""
    box = np.ones(2 * min(reach, (len(one) - 1) // 2) + 1)

    def mean(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.convolve(values, box, "same") / np.convolve(np.ones(len(values)), box, "same")

    both = mean(one * other) - mean(one) * mean(other)
    spread = (mean(one**2) - mean(one) ** 2).clip(1e-6) * (mean(other**2) - mean(other) ** 2).clip(1e-6)
    return np.asarray(both / np.sqrt(spread))


def read_takes(paths: Sequence[Path], people: Sequence[str] | None) -> dict[str, list[Take]]:
    """Read the clips of each person that hold speech."""
    takes: dict[str, list[Take]] = {}
    for path in paths:
        corpus = read_corpus(path, allow_outside=True)
        for sample in corpus.samples:
            person = f"{corpus.name}-{sample.speaker}"
            if people is None or sample.speaker in people:
                take = read_take(sample)
                if take.spoken.sum() >= RATE_HZ:
                    takes.setdefault(person, []).append(take)
    return takes


def read_take(sample: Sample) -> Take:
    """Read a clip's frames at 25 Hz and its sound, of one length."""
    frames: list[Frame] = []
    sound = np.zeros(0, np.float32)
    with open_clip(sample.path, start_s=sample.start_s, end_s=sample.end_s) as clip:
        for item in clip.stream(longest_side_px=480, frames_rate_hz=RATE_HZ):
            if isinstance(item, Frame):
                frames.append(item)
            else:
                start = round(item.start_s * SOUND_HZ)
                sound = np.concatenate([sound, np.zeros(max(0, start - len(sound)), np.float32), item.samples])
    n_slots = round(frames[-1].time_s * RATE_HZ) + 1
    times = np.array([frame.time_s for frame in frames])
    shown = np.clip(np.searchsorted(times, np.arange(n_slots) / RATE_HZ + 0.02) - 1, 0, None)
    fitted = [fit(frame.pixels) for frame in frames]
    padded = np.zeros(n_slots * SLOT, np.float32)
    padded[: min(len(sound), len(padded))] = sound[: len(padded)]
    loud = np.concatenate([find_loud_slots(padded[i : i + 150 * SLOT]) for i in range(0, len(padded), 150 * SLOT)])
    padded = (
        padded / max(1e-3, float(np.sqrt((padded.reshape(-1, SLOT)[loud] ** 2).mean()))) * 0.05
        if loud.any()
        else padded
    )
    return Take(sample, [fitted[int(index)] for index in shown], padded.clip(-1, 1), loud)


def fit(pixels: Pixels) -> Pixels:
    """Fit a picture into the size of a shot."""
    picture = Image.fromarray(pixels)
    scale = max(SIZE[0] / picture.width, SIZE[1] / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR)
    left, top = (picture.width - SIZE[0]) // 2, (picture.height - SIZE[1]) // 2
    return np.asarray(picture.crop((left, top, left + SIZE[0], top + SIZE[1])))


def make_conversation(kind: str, takes: dict[str, list[Take]], rng: np.random.Generator) -> Conversation:
    """Make one conversation of a kind; each person shows one emotion in it."""
    names = [str(one) for one in rng.permutation(list(takes))]
    first, second, third = (names * 3)[:3]
    pools = {name: _same_emotion(takes[name], rng) for name in {first, second, third}}
    labels = {name: pool[0].sample.label for name, pool in pools.items()}
    pick: Callable[[str], Take] = lambda name: pools[name][rng.integers(len(pools[name]))]  # noqa: E731
    shots: list[_Shot] = []
    for number in range(4):
        if kind in ("side", "cut"):
            name, other = (first, second) if number % 2 == 0 else (second, first)
            shots.append(_Shot(name, pick(name), other, pick(other)))
        elif number in (0, 3):
            shots.append(_Shot(first, pick(first), second, pick(second)))
        else:
            shots.append(_Shot(OFF_SCREEN, pick(third), second, pick(second)))
    frames: list[Pixels] = []
    sounds, voices = [], []
    places: dict[str, list[float]] = {first: [], second: []}
    for shot in shots:
        shown, where = _show(kind, shot, first, second)
        span = shot.take.span
        spoken = shot.take.spoken[span]
        voice = np.where(spoken, shot.speaker, "").astype(object)
        if kind != "side" and shot.speaker != OFF_SCREEN:
            hidden = np.isnan(where[shot.speaker])
            voice[hidden & spoken] = OFF_SCREEN
        frames += shown
        sounds.append(shot.take.sound[span.start * SLOT : span.stop * SLOT])
        voices.append(voice)
        for name in places:
            places[name] += list(where[name])
    noise = rng.standard_normal(sum(map(len, sounds))).astype(np.float32) * 2e-4
    held = {name: np.array(values) for name, values in places.items()}
    shown_labels = {name: labels[name] for name in (first, second)}
    return Conversation(
        kind, (first, second), shown_labels, frames, np.concatenate(sounds) + noise, np.concatenate(voices), held
    )


@dataclass(frozen=True, eq=False)
class _Shot:
    """A turn: who speaks, the clip of it, and who else is there."""

    speaker: str
    take: Take
    other: str
    beside: Take


def _same_emotion(takes: list[Take], rng: np.random.Generator) -> list[Take]:
    label = takes[rng.integers(len(takes))].sample.label
    return [take for take in takes if take.sample.label == label]


def _show(kind: str, shot: _Shot, first: str, second: str) -> tuple[list[Pixels], dict[str, npt.NDArray[np.float64]]]:
    """Return a turn's pictures, and where each person stands."""
    span = shot.take.span
    length = span.stop - span.start
    nowhere = np.full(length, np.nan)
    spoken, silent = shot.take.frames[span], shot.beside.listen(length)
    if kind == "side":
        pair = (spoken, silent) if shot.speaker == first else (silent, spoken)
        left, right = np.full(length, 0.5 * SIZE[0]), np.full(length, 1.5 * SIZE[0])
        return [np.concatenate(both, axis=1) for both in zip(*pair, strict=True)], {first: left, second: right}
    middle = np.full(length, 0.5 * SIZE[0])
    if shot.speaker == OFF_SCREEN:
        moving = shot.beside.frames[shot.beside.span]
        face = [moving[index % len(moving)] for index in range(length)] if kind == "over moving" else silent
        return face, {first: nowhere, second: middle}
    if kind != "cut":
        return list(spoken), {shot.speaker: middle, shot.other: nowhere}
    aside = slice(length // 3, 2 * length // 3)
    shown = [*spoken[: aside.start], *silent[aside], *spoken[aside.stop :]]
    is_aside = np.zeros(length, np.bool_)
    is_aside[aside] = True
    return shown, {shot.speaker: np.where(is_aside, np.nan, middle), shot.other: np.where(is_aside, middle, np.nan)}


def judge(made: Conversation, recognizer: Recognizer) -> dict[str, Any]:
    """Ask about a conversation and compare with what is true."""
    media = Arrays(made.frames, RATE_HZ, made.sound, SOUND_HZ)
    begun = time.process_time()
    found = recognizer.predict(media, name="made")
    spent_s = time.process_time() - begun
    names = name_people(found, made)
    windows = []
    for index in range(count_windows(found.duration_s)):
        truth, share = true_voice(made, *window_times(index, found.duration_s))
        if truth is not None and share >= MAJORITY:
            window = found.timeline[index]
            said = names.get(window.voice_of) if isinstance(window.voice_of, int) else window.voice_of
            windows.append([truth, said, names.get(window.person) if window.person else None])
    people = []
    for person in found.people:
        name = names.get(person.id)
        if name is not None:
            both = person.fused or person.probabilities
            people.append([name, made.labels[name], _top(both), _top(person.probabilities), person.fused is not None])
    spoken_for = names.get(found.person) if found.person else None
    whole = [spoken_for, made.labels.get(spoken_for or ""), found.label]
    return {
        "kind": made.kind,
        "first": made.people[0],
        "windows": windows,
        "people": people,
        "whole": whole,
        "state": found.speakers,
        "n_people": len(found.people),
        "s": round(spent_s, 3),
        "duration_s": found.duration_s,
    }


def _top(probabilities: Sequence[float]) -> str:
    return EMOTIONS[int(np.argmax(probabilities))]


def true_voice(made: Conversation, start_s: float, end_s: float) -> tuple[str | None, float]:
    """Return whose the voice is in most of the speech between two instants, and in which part of it."""
    said = [one for one in made.voice[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] if one]
    if len(said) < RATE_HZ // 3:
        return None, 0.0
    names = sorted(set(said), key=said.count)
    return names[-1], said.count(names[-1]) / len(said)


def name_people(found: Prediction, made: Conversation) -> dict[int, str]:
    """Say which person each number is, by where and when the face was seen."""
    names = {}
    for person in found.people:
        votes = dict.fromkeys(made.people, 0)
        for box in person.boxes:
            slot = min(round(box.time_s * RATE_HZ), len(made.voice) - 1)
            middle = (box.box_px[0] + box.box_px[2]) / 2
            for name in made.people:
                place = made.places[name][slot]
                votes[name] += bool(np.isfinite(place) and abs(place - middle) < SIZE[0] / 2)
        best = max(votes, key=votes.__getitem__)
        if votes[best]:
            names[person.id] = best
    return names


def judge_single(takes: dict[str, list[Take]], recognizer: Recognizer) -> list[list[str]]:
    """Ask about each clip alone: person, label, answer."""
    return [
        [name, take.sample.label, str(recognizer.predict(take.sample.path).label)]
        for name, held in takes.items()
        for take in held
    ]


def interval(groups: Sequence[str], values: Sequence[float], n: int = 2000) -> tuple[float, float, float]:
    """Return a mean and its 95 % interval by a bootstrap over groups."""
    names = sorted(set(groups))
    sums = np.array(
        [[sum(v for g, v in zip(groups, values, strict=True) if g == name), groups.count(name)] for name in names]
    )
    chosen = np.random.default_rng(0).integers(len(names), size=(n, len(names)))
    drawn = sums[chosen].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return float(np.mean(values)), float(low), float(high)


def _told(groups: Sequence[str], values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean, low, high = interval(list(groups), list(values))
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def print_kind(kind: str, rows: list[dict[str, Any]]) -> None:
    """Print how often the voice is given to whose it is."""
    told = [(row["first"], *one) for row in rows for one in row["windows"]]
    if not told:
        print(f"{kind}: no window in which one voice has most of the speech", flush=True)
        return
    groups = [one[0] for one in told]
    right = _told(groups, [float(one[1] == one[2]) for one in told])
    today = _told(groups, [float(one[1] == one[3]) for one in told])
    unsure = np.mean([one[2] is None for one in told])
    speed = sum(row["s"] for row in rows) / sum(row["duration_s"] for row in rows)
    print(
        f"{kind}: {len(told)} windows: right {right}, unsure {unsure:.3f}; most present {today}; {speed:.3f} s/s",
        flush=True,
    )


def print_voice_overs(rows: list[dict[str, Any]]) -> None:
    """Print precision and recall of voices from off screen, over all kinds."""
    told = [(row["first"], *one) for row in rows for one in row["windows"]]
    said = [(one[0], float(one[1] == OFF_SCREEN)) for one in told if one[2] == OFF_SCREEN]
    true = [(one[0], float(one[2] == OFF_SCREEN)) for one in told if one[1] == OFF_SCREEN]
    for name, pairs in (("precision", said), ("recall", true)):
        print(f"off screen, {name}: {_told([one[0] for one in pairs], [one[1] for one in pairs])} of {len(pairs)}")


def print_emotions(rows: list[dict[str, Any]], single: list[list[str]]) -> None:
    """Print how often the emotion is right: of speakers by their own face and voice, by the face; of single clips."""
    people = [one for row in rows for one in row["people"] if one[4]]
    groups = [one[0] for one in people]
    print(f"emotion, own face and voice: {_told(groups, [float(one[1] == one[2]) for one in people])} of {len(people)}")
    print(f"emotion, face alone: {_told(groups, [float(one[1] == one[3]) for one in people])}")
    whole = [row["whole"] for row in rows if row["whole"][0]]
    print(f"emotion, the clip's label: {_told([one[0] for one in whole], [float(one[1] == one[2]) for one in whole])}")
    if single:
        print(
            f"emotion, single clips: {_told([one[0] for one in single], [float(one[1] == one[2]) for one in single])}"
        )


if __name__ == "__main__":
    main()
