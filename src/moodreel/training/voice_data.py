"""RAVDESS and nEMO as takes of mel power, and the examples a training step is made of.

What is slow is done once a clip: decoding, trimming and degraded copies, whose mel power is kept. What is cheap is done
at every step: tempo, microphone, backgrounds, windows, two takes in one chunk.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moodreel.errors import CorpusError
from moodreel.labels import EMOTIONS, read_emotion
from moodreel.speech import (
    CHUNK_S,
    FRAMES_PER_TOKEN,
    HOP_SAMPLES,
    N_MELS,
    RATE_HZ,
    TOKEN_S,
    Float32,
    measure_power,
    measure_tokens,
    pool_windows,
    prepare_speech,
)
from moodreel.training import augment

SNR_RANGE_DB = (-10.0, 40.0)
"""The estimate's floor (no speech at all) and cap (nothing but speech)."""
MIXED_SNR_DB = (-5.0, 25.0)
MARGIN_S = 0.4
LONGEST_S = 4.0
WINDOW_S = (1.0, 2.5)
N_BACKGROUNDS = 40
BACKGROUND_S = 6.0
SUBJECTS_PER_FOLD = 4

_RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@dataclass(frozen=True)
class Recording:
    """One labelled clip.

    Attributes:
        path: its sound file.
        corpus: `ravdess` or `nemo`.
        speaker: unique over the corpora, such as `ravdess-03`.
        label: index into `EMOTIONS`.
    """

    path: Path
    corpus: str
    speaker: str
    label: int


@dataclass(frozen=True)
class Take:
    """A recording ready to train on.

    Attributes:
        recording: where it comes from.
        copies: log10 mel power, float16, shape (80, n_frames) each; the first is the clip as recorded.
    """

    recording: Recording
    copies: tuple[NDArray[np.float16], ...]


@dataclass(frozen=True)
class Example:
    """One chunk of a training step.

    Attributes:
        features: log-mel spectrum, float32, shape (80, n_frames); or, of an encoder whose lower blocks stay as they
            are, the tokens they give, float16, shape (width, n_tokens).
        pooling: float32, shape (n_windows, n_tokens).
        labels: int64, shape (n_windows,); -1 where the window holds no speech.
        snr_db: float32, shape (n_windows,).
        known: bool, shape (7,): the emotions that the corpus of the chunk can name.
    """

    features: NDArray[np.floating[Any]]
    pooling: Float32
    labels: NDArray[np.int64]
    snr_db: Float32
    known: NDArray[np.bool_]


def find_ravdess(folder: Path) -> list[Recording]:
    """List RAVDESS's speech clips, sorted by name (`03-01-EE-II-SS-RR-AA`, in any audio format).

    Raises:
        CorpusError: there is none.
    """
    paths = sorted(path for path in folder.rglob("03-01-*-*-*-*-*.*") if path.is_file())
    if not paths:
        raise CorpusError(
            f"{folder}: expected RAVDESS speech named 03-01-EE-II-SS-RR-AA in Actor_XX folders, found none"
        )
    return [_read_ravdess_name(path) for path in paths]


def _read_ravdess_name(path: Path) -> Recording:
    fields = path.stem.split("-")
    emotion = read_emotion(_RAVDESS_EMOTIONS[int(fields[2]) - 1])
    return Recording(path, "ravdess", f"ravdess-{fields[6]}", EMOTIONS.index(emotion))


def find_nemo(folder: Path) -> list[Recording]:
    """List nEMO's clips in the order of its `data.tsv`; the sound may be in any format under `audio`.

    Raises:
        CorpusError: the table or a clip is missing.
    """
    table = folder / "data.tsv"
    if not table.is_file():
        raise CorpusError(f"{folder}: expected nEMO's data.tsv, found none")
    paths = {path.stem: path for path in (folder / "audio").iterdir()}
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    missing = [row["file_id"] for row in rows if Path(row["file_id"]).stem not in paths]
    if missing:
        raise CorpusError(f"{folder / 'audio'}: {len(missing)} clips of data.tsv are missing, such as {missing[0]}")
    return [
        Recording(
            paths[Path(row["file_id"]).stem],
            "nemo",
            f"nemo-{row['speaker_id'].strip()}",
            EMOTIONS.index(read_emotion(row["emotion"])),
        )
        for row in rows
    ]


def split_folds(recordings: Sequence[Recording]) -> list[list[str]]:
    """Group RAVDESS's actors, sorted, by consecutive fours."""
    actors = sorted({recording.speaker for recording in recordings if recording.corpus == "ravdess"})
    return [actors[start : start + SUBJECTS_PER_FOLD] for start in range(0, len(actors), SUBJECTS_PER_FOLD)]


def read_sound(path: Path) -> Float32:
    """Decode a file's first sound track to mono float32 at 16 kHz.

    Raises:
        CorpusError: it cannot be decoded.
    """
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("fltp", "mono", RATE_HZ)
            frames = [*container.decode(audio=0), None]
            return np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])
    except (av.FFmpegError, IndexError) as error:
        raise CorpusError(f"{path}: cannot decode its sound ({error})") from error


def make_take(recording: Recording, n_copies: int, seed: int) -> Take:
    """Decode a clip, keep its speech and a little around, and add degraded copies.

    Args:
        recording: the clip.
        n_copies: how many degraded copies.
        seed: together with the clip's name decides the copies.

    Raises:
        CorpusError: it cannot be decoded.
    """
    sound = _limit_length(read_sound(recording.path))
    power = measure_power(sound)
    first, last = find_speech(power)
    rng = np.random.default_rng([seed, *recording.path.stem.encode()])
    voice = sound[first * HOP_SAMPLES : last * HOP_SAMPLES]
    copies = [measure_power(_limit_length(augment.degrade(voice, rng))) for _ in range(n_copies)]
    return Take(recording, tuple(_store_power(copy) for copy in (power[:, first:last], *copies)))


def find_speech(power: Float32) -> tuple[int, int]:
    """Find the frames from the first to the last speech, with `MARGIN_S` around; all when there is none."""
    active = np.flatnonzero(prepare_speech(power).active)
    if not len(active):
        return 0, power.shape[1]
    margin = int(MARGIN_S / TOKEN_S)
    first, last = (FRAMES_PER_TOKEN * int(token) for token in (active[0] - margin, active[-1] + 1 + margin))
    return max(first, 0), min(last, power.shape[1])


def save_takes(takes: Sequence[Take], path: Path) -> None:
    """Keep the takes' mel power, which takes minutes to make, in one `.npz`."""
    arrays = {f"{index}/{copy}": power for index, take in enumerate(takes) for copy, power in enumerate(take.copies)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, names=np.array([take.recording.path.stem for take in takes]), allow_pickle=False, **arrays)


def load_takes(recordings: Sequence[Recording], path: Path) -> list[Take]:
    """Read what `save_takes` kept for the same recordings.

    Raises:
        CorpusError: the file was made of other recordings.
    """
    with np.load(path, allow_pickle=False) as stored:
        if stored["names"].tolist() != [recording.path.stem for recording in recordings]:
            raise CorpusError(f"{path}: made of other recordings; delete it to make it again")
        copies: dict[int, list[NDArray[np.float16]]] = {}
        for key in stored.files:
            if "/" in key:
                copies.setdefault(int(key.split("/")[0]), []).append(stored[key])
    return [Take(recording, tuple(copies[index])) for index, recording in enumerate(recordings)]


def save_examples(examples: Sequence[Example], path: Path) -> None:
    """Keep examples of tokens: all of a kind one behind the other, and where each ends."""
    arrays = {
        "features": np.concatenate([example.features for example in examples], axis=1),
        "pooling": np.concatenate([example.pooling.ravel() for example in examples]),
        "labels": np.concatenate([example.labels for example in examples]),
        "snr_db": np.concatenate([example.snr_db for example in examples]),
        "known": np.stack([example.known for example in examples]),
        "shapes": np.array([example.pooling.shape for example in examples]),
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_examples(path: Path) -> list[Example]:
    """Read what `save_examples` kept."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    n_windows, n_tokens = arrays["shapes"].T
    features = np.split(arrays["features"], np.cumsum(n_tokens)[:-1], axis=1)
    pooling = np.split(arrays["pooling"], np.cumsum(n_windows * n_tokens)[:-1])
    labels, snr_db = (np.split(arrays[name], np.cumsum(n_windows)[:-1]) for name in ("labels", "snr_db"))
    return [
        Example(features[i], pooling[i].reshape(shape), labels[i], snr_db[i], arrays["known"][i])
        for i, shape in enumerate(arrays["shapes"])
    ]


@dataclass(frozen=True)
class Backgrounds:
    """Mel power of sounds to mix in, by kind, float32, shape (80, n_frames) each."""

    powers: dict[str, list[Float32]]

    def draw(self, n_frames: int, rng: Generator) -> Float32:
        """Draw a kind, one of its sounds and a moment of it; shorter sounds are repeated."""
        kinds = list(self.powers)
        sounds = self.powers[kinds[rng.integers(len(kinds))]]
        power = sounds[rng.integers(len(sounds))]
        start = rng.integers(power.shape[1])
        return power[:, (start + np.arange(n_frames)) % power.shape[1]]


def make_backgrounds(seed: int) -> Backgrounds:
    """Synthesise noise, music and laughter; voices and babble come from the takes in training themselves."""
    rng = np.random.default_rng([seed, 1])
    n_samples = int(BACKGROUND_S * RATE_HZ)
    makers = {"noise": augment.make_noise, "music": augment.make_music, "laughter": augment.make_laughter}
    return Backgrounds(
        {kind: [measure_power(make(n_samples, rng)) for _ in range(N_BACKGROUNDS)] for kind, make in makers.items()}
    )


@dataclass(frozen=True)
class ExampleMaker:
    """Makes training examples out of takes.

    Attributes:
        takes: the takes to train on; other voices in the background are drawn from them alone, so that no test speaker
            is heard in training.
        backgrounds: what else may cover the speech.
    """

    takes: Sequence[Take]
    backgrounds: Backgrounds

    def make(self, take: Take, rng: Generator) -> Example:
        """Make one example of a take, at times followed by another take of the same corpus."""
        parts = [take]
        if rng.random() < 0.15:
            parts.append(self._draw_take(rng, take.recording.corpus))
        speech, spans = _join([_vary(part, rng) for part in parts])
        background = self._make_background(speech, rng)
        if rng.random() < 0.04 and background.any():
            speech = speech * np.float32(1e-5)
        return self._cut_windows(parts, spans, speech, background, rng)

    def _draw_take(self, rng: Generator, corpus: str) -> Take:
        while (take := self.takes[int(rng.integers(len(self.takes)))]).recording.corpus != corpus:
            pass
        return take

    def _make_background(self, speech: Float32, rng: Generator) -> Float32:
        """Nothing in two of five examples, else one to two sounds together."""
        total = np.zeros_like(speech)
        if rng.random() < 0.4:
            return total
        snr_db = rng.uniform(*MIXED_SNR_DB)
        for _ in range(rng.integers(1, 3)):
            if rng.random() < 0.4:
                power = self._make_voices(speech.shape[1], rng)
            else:
                power = self.backgrounds.draw(speech.shape[1], rng)
            total += augment.scale_background(speech, augment.colour(power, rng), snr_db + rng.uniform(0, 10))
        return total

    def _make_voices(self, n_frames: int, rng: Generator) -> Float32:
        """One other voice, or babble of up to six."""
        total = np.zeros((N_MELS, n_frames), dtype=np.float32)
        for _ in range(rng.choice([1, 2, 4, 6])):
            power = _restore_power(self.takes[int(rng.integers(len(self.takes)))].copies[0])
            start = rng.integers(power.shape[1])
            power = power[:, (start + np.arange(n_frames)) % power.shape[1]]
            total += power / max(float(measure_tokens(power).mean()), 1e-12) * 10 ** (rng.uniform(-6, 6) / 10)
        return total

    def _cut_windows(
        self,
        parts: Sequence[Take],
        spans: Sequence[tuple[float, float]],
        speech: Float32,
        background: Float32,
        rng: Generator,
    ) -> Example:
        """Weigh two windows a part: the whole of it and a random stretch of it."""
        prepared = prepare_speech(speech + background)
        windows = [
            window for start_s, end_s in spans for window in ((start_s, end_s), _draw_window(start_s, end_s, rng))
        ]
        pooling = pool_windows(prepared.active, windows)
        snr_db = measure_snr(pooling.weights, speech, background)
        labels = np.repeat([part.recording.label for part in parts], 2)
        heard = (pooling.speech_share > 0) & (snr_db > SNR_RANGE_DB[0])
        mel = augment.mask_spectrum(prepared.mel, rng) if rng.random() < 0.5 else prepared.mel
        return Example(mel, pooling.weights, np.where(heard, labels, -1), snr_db, list_known(parts[0].recording.corpus))


def measure_snr(pooling: Float32, speech: Float32, background: Float32) -> Float32:
    """Measure the speech-to-background ratio of each window, within `SNR_RANGE_DB`.

    Args:
        pooling: shape (n_windows, n_tokens), each row sums to 1.
        speech: mel power, shape (80, n_frames).
        background: mel power, shape (80, n_frames).
    """
    powers = [np.maximum(pooling @ measure_tokens(part), 1e-15) for part in (speech, background)]
    ratios_db = 10 * np.log10(powers[0] / powers[1])
    return np.asarray(ratios_db.clip(*SNR_RANGE_DB), dtype=np.float32)


def list_known(corpus: str) -> NDArray[np.bool_]:
    """Mark the emotions a corpus can name: nEMO has no disgust, so it cannot teach what is not disgust."""
    return np.array([not (corpus == "nemo" and emotion == "disgust") for emotion in EMOTIONS])


def group_batches(examples: Sequence[Example], n_batch: int, rng: Generator) -> Iterator[list[Example]]:
    """Batch examples of similar length, the batches in random order."""
    order = sorted(range(len(examples)), key=lambda index: examples[index].pooling.shape[1])
    batches = [order[start : start + n_batch] for start in range(0, len(order), n_batch)]
    for index in rng.permutation(len(batches)):
        yield [examples[place] for place in batches[index]]


def _vary(take: Take, rng: Generator) -> Float32:
    """Draw a copy; change its tempo and microphone; bring it to level 1 so that takes can be joined."""
    power = _restore_power(take.copies[rng.integers(len(take.copies))])
    power = augment.change_tempo(power, rng.uniform(*augment.TEMPO_RANGE))
    if rng.random() < 0.5:
        power = augment.colour(power, rng)
    start = 2 * rng.integers(int(MARGIN_S / TOKEN_S))
    end = 2 * rng.integers(int(MARGIN_S / TOKEN_S))
    n_longest = int(LONGEST_S / TOKEN_S) * 2
    power = power[:, start : max(power.shape[1] - end, start + 2)][:, :n_longest]
    return np.asarray(power / max(float(measure_tokens(power).mean()), 1e-12), dtype=np.float32)


def _join(powers: Sequence[Float32]) -> tuple[Float32, list[tuple[float, float]]]:
    """Put mel powers one behind the other, up to a chunk; each one's start and end in seconds."""
    joined = np.concatenate(powers, axis=1)[:, : int(CHUNK_S / TOKEN_S) * 2]
    ends_s = np.cumsum([power.shape[1] for power in powers]) * TOKEN_S / 2
    starts_s = [0.0, *ends_s[:-1]]
    return joined, [
        (float(start_s), min(float(end_s), CHUNK_S)) for start_s, end_s in zip(starts_s, ends_s, strict=True)
    ]


def _draw_window(start_s: float, end_s: float, rng: Generator) -> tuple[float, float]:
    length_s = min(rng.uniform(*WINDOW_S), end_s - start_s)
    first_s = start_s + rng.random() * (end_s - start_s - length_s)
    return first_s, first_s + length_s


def _limit_length(sound: Float32) -> Float32:
    return sound[: int(CHUNK_S * RATE_HZ)]


def _store_power(power: Float32) -> NDArray[np.float16]:
    return np.log10(np.maximum(power, 1e-10)).astype(np.float16)


def _restore_power(stored: NDArray[np.float16]) -> Float32:
    return np.asarray(np.float32(10) ** stored.astype(np.float32), dtype=np.float32)
