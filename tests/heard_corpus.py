"""Toy corpora as files, and as the voice network hears them."""

import csv
from pathlib import Path

import numpy as np

from media_files import syllables, write_sound
from moodreel.corpora import Sample
from moodreel.labels import EMOTIONS
from moodreel.training.heads.voices import HeardCorpus

WIDTH = 24


def make_corpus(name, rng, emotions=range(7), speakers=4, clips=6):
    """Recordings whose statistics are the emotion's, the speaker's and, larger, the corpus's."""
    shown = np.random.default_rng(0).normal(size=(7, WIDTH))
    corpus = 1.5 * rng.normal(size=WIDTH)
    samples, rows = [], []
    for speaker in range(speakers):
        own = rng.normal(size=WIDTH)
        for emotion in emotions:
            for _ in range(clips):
                clip = f"{name}-{len(samples)}"
                samples.append(Sample(Path(clip), EMOTIONS[emotion], f"s{speaker}", clip, None, name))
                rows.append(shown[emotion] + own + corpus + 0.3 * rng.normal(size=WIDTH))
    statistics = np.repeat(np.array(rows, np.float32)[:, None], 3, axis=1)
    logits = rng.normal(size=(len(rows), 3, 7)).astype(np.float32)
    return HeardCorpus(name, tuple(samples), statistics, logits, np.full(logits.shape[:2], 30, np.float32))


def write_voices(folder, shift_hz, emotions=("angry", "happy", "neutral", "sad")):
    """A corpus of two speakers whose pitch tells the emotion; the licence lies beside it."""
    folder.mkdir()
    rows = []
    for column, speaker in enumerate(("ann", "bob")):
        for place, emotion in enumerate(emotions):
            name = f"{speaker}-{emotion}.wav"
            write_sound(folder / name, 1.0, sound=syllables(120 + shift_hz + 40 * place + 15 * column), rate=16_000)
            rows.append([name, emotion, speaker])
    with (folder / "labels.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["path", "label", "speaker"], *rows])
    (folder / "LICENCE.txt").write_text(f"terms of {folder.name}\n")
    return folder / "labels.tsv"


def write_faces(folder):
    folder.mkdir()
    for side, seed, n in (("train", 0, 42), ("valid", 1, 14)):
        rng = np.random.default_rng(seed)
        votes = np.zeros((n, 10), np.uint8)
        votes[np.arange(n), np.arange(n) % 7] = 10
        images = rng.integers(0, 256, (n, 48, 48)).astype(np.uint8)
        np.savez(folder / f"{side}.npz", images=images, votes=votes, fer2013=(np.arange(n) % 7).astype(np.uint8))
    return folder
