"""Toy corpora as the voice network hears them: the emotion, whose voice it is, and in which recording."""

from pathlib import Path

import numpy as np

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
